"""Changer's exchange and alignment."""

import pytest
import torch

from cdengine.errors import ModelArchitectureError
from cdengine.models.changer import exchange, warp
from cdengine.models.zoo import build


def test_exchange_swaps_every_other_place():
    both = torch.cat([torch.zeros(2, 4, 3, 5), torch.ones(2, 4, 3, 5)])
    channels, columns = exchange(both, 1), exchange(both, 3)
    assert channels[0, :, 0, 0].tolist() == [1, 0, 1, 0] and channels[2, :, 0, 0].tolist() == [0, 1, 0, 1]
    assert columns[1, 0, 2].tolist() == [1, 0, 1, 0, 1] and columns[3, 0, 2].tolist() == [0, 1, 0, 1, 0]
    assert torch.equal(exchange(channels, 1), both)


def test_no_flow_is_no_warp_and_a_flow_shifts():
    image = torch.randn(1, 2, 9, 9)
    torch.testing.assert_close(warp(image, torch.zeros(1, 2, 9, 9)), image)
    # Places run from -1 to 1 over 8 steps, so a pixel is 0.25; flow is divided by the size.
    flow = torch.zeros(1, 2, 9, 9)
    flow[:, 0] = 0.25 * 9
    torch.testing.assert_close(warp(image, flow)[..., :-1], image[..., 1:])


@pytest.mark.parametrize("backbone", ["resnet18c", "mit_b0", "convnext_atto"])
def test_backbones_whose_stages_run_one_by_one(backbone):
    network = build("changer", {"backbone": backbone, "width": 16}).eval()
    image = torch.randn(1, 3, 64, 32)
    assert network(image, image).shape == (1, 1, 64, 32)


def test_others_are_refused():
    with pytest.raises(ModelArchitectureError, match="one by one"):
        build("changer", {"backbone": "efficientnet_b0"})
