"""Shared parts against torch's own or a slow way."""

import pytest
import torch
from torch.nn import functional

from cdengine.models.layers import attend, grid_pool, halves, normalisation, upsample


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 7), (6, 12), (13, 4)])
@pytest.mark.parametrize("cells", [1, 2, 3, 6])
def test_grid_pool_is_adaptive_pooling(size, cells):
    image = torch.randn(2, 3, *size)
    torch.testing.assert_close(grid_pool(image, cells), functional.adaptive_avg_pool2d(image, cells))


def test_attention_is_the_softmax_of_products():
    query, key, value = torch.randn(2, 3, 7, 4), torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 9)
    weights = torch.softmax(0.3 * query @ key.transpose(-1, -2), -1)
    torch.testing.assert_close(attend(query, key, value, 0.3), weights @ value)


def test_halves():
    tensor = torch.arange(24).view(4, 6)
    assert torch.equal(torch.cat(halves(tensor)), tensor)
    assert torch.equal(halves(tensor, 1)[1], tensor[:, 3:])


def test_upsampling_keeps_edges_in_place():
    """A ramp stays a ramp away from the border: centre of pixel i lies at (i + 0.5) / factor - 0.5."""
    ramp = torch.arange(8.0).view(1, 1, 1, 8).expand(1, 1, 8, 8)
    fine = upsample(ramp, 4)[0, 0, 16]
    expected = (torch.arange(32) + 0.5) / 4 - 0.5
    torch.testing.assert_close(fine[2:-2], expected[2:-2])


def test_group_normalisation_sees_each_image_alone():
    layer = normalisation("group", 32)
    images = torch.randn(3, 32, 4, 4)
    torch.testing.assert_close(layer(images)[1:2], layer(images[1:2]))
    with pytest.raises(ValueError, match="batch, group"):
        normalisation("layer", 32)
