"""Dates of different bands."""

import pytest
import torch

from cdengine.models.dates import CommonBands
from cdengine.models.zoo import build

NETWORKS = [
    ("fc-ef", {}),
    ("fc-siam-conc", {}),
    ("fc-siam-diff", {"backbone": None}),
    ("snunet", {"width": 8}),
    ("tinycd", {}),
    ("tinycd", {"variant": "v2-s"}),
    ("lightcdnet", {}),
]


def test_alike_dates_pass_untouched():
    common = CommonBands(3, 3)
    before, after = torch.randn(1, 3, 4, 4), torch.randn(1, 3, 4, 4)
    first, second = common(before, after)
    assert first is before and second is after
    assert list(common.parameters()) == []


@pytest.mark.parametrize(("architecture", "arguments"), NETWORKS)
@pytest.mark.parametrize("bands", [(4, 1), (2, 13)])
def test_dates_of_different_bands(architecture, arguments, bands):
    network = build(architecture, {**arguments, "bands_before": bands[0], "bands_after": bands[1]}).eval()
    with torch.inference_mode():
        logits = network(torch.randn(1, bands[0], 32, 48), torch.randn(1, bands[1], 32, 48))
    assert logits.shape == (1, 1, 32, 48)
