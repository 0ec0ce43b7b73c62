"""STANet: its attention against a slow way, and distance and logits as two names of one thing."""

import pytest
import torch

from cdengine.errors import ModelArchitectureError
from cdengine.models.stanet import BasicAttention, PyramidAttention, STANet
from cdengine.models.zoo import build


def slow_regions(branch, pair):
    """Region by region, as the paper's figure 5 draws it."""
    branch.eval()
    query, key, value = branch.query(pair), branch.key(pair), branch.value(pair)
    height, width = pair.shape[2] // 2, pair.shape[3]
    rows, columns = height // branch.scale, width // branch.scale
    out = torch.zeros_like(value)
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            places = [
                (date * height + row, column)
                for date in range(2)
                for row in range(top, top + rows)
                for column in range(left, left + columns)
            ]
            y, x = torch.tensor(places).T
            q, k, v = (tensor[0][:, y, x].T for tensor in (query, key, value))
            seen = torch.softmax(q @ k.T / q.shape[1] ** 0.5, -1) @ v
            out[0][:, y, x] = seen.T
    return out


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_attention_within_regions(scale):
    torch.manual_seed(0)
    pyramid = PyramidAttention(16, (scale,)).eval()
    pair = torch.randn(1, 16, 16, 12)
    (branch,) = pyramid.branches
    with torch.no_grad():
        torch.testing.assert_close(branch(pair), slow_regions(branch, pair))


def test_basic_attention_adds_a_mean_over_everything():
    attention = BasicAttention(16)
    torch.nn.init.zeros_(attention.query.weight)
    torch.nn.init.zeros_(attention.query.bias)
    pair = torch.randn(1, 16, 8, 4)
    with torch.no_grad():
        expected = pair + attention.value(pair).mean((2, 3), keepdim=True)
        torch.testing.assert_close(attention(pair), expected)


def test_equal_dates_have_distance_zero_and_logits_say_so():
    network = build("stanet", {"attention": "none"}).eval()
    image = torch.randn(1, 3, 64, 64)
    logits = network(image, image)
    torch.testing.assert_close(STANet.distance(logits), torch.zeros(1, 1, 64, 64), atol=1e-5, rtol=0)
    assert bool((logits.sigmoid() < 0.02).all())
    assert STANet.distance(torch.tensor(0.0)) == 1.0 and STANet.distance(torch.tensor(4.0)) == 2.0


def test_a_step_from_equal_dates_has_a_finite_gradient():
    network = build("stanet", {"attention": "bam"}).train()
    image = torch.randn(2, 3, 32, 32)
    network(image, image).sum().backward()
    assert all(bool(torch.isfinite(weight.grad).all()) for weight in network.parameters())


def test_wrong_arguments_are_told():
    with pytest.raises(ModelArchitectureError, match="pam, bam, none"):
        build("stanet", {"attention": "cbam"})
    with pytest.raises(ModelArchitectureError, match="must divide 8"):
        build("stanet", {"scales": [3]})
