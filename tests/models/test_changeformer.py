"""ChangeFormer: patches of the release, other encoders, and the light decoder."""

import pytest
import torch
from torch import nn

from cdengine.models.zoo import build, build_meta


def test_patches_are_seven_pixels_wide():
    network = build_meta("changeformer", {})
    patches = [
        layer.kernel_size
        for name, layer in network.encoder.named_modules()
        if isinstance(layer, nn.Conv2d) and name.endswith("proj") and layer.stride != (1, 1)
    ]
    assert patches == [(7, 7)] * 4


@pytest.mark.parametrize("full", [True, False])
def test_other_encoders_and_both_ends(full):
    network = build("changeformer", {"backbone": "mit_b0", "width": 16, "full_resolution": full}).eval()
    assert network(torch.randn(1, 3, 64, 32), torch.randn(1, 3, 64, 32)).shape == (1, 1, 64, 32)
