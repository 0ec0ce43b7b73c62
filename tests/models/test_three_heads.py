"""The base of semantic networks, and Bi-SRNet upon it."""

import torch

from cdengine.models.bisrnet import BiSRNet, CrossReasoning, Reasoning
from cdengine.models.three_heads import ThreeHeads

SMALL = {"backbone": "resnet18", "width": 16, "change_depth": 2, "classes": 3}


def test_three_heads_at_the_inputs_size():
    logits = ThreeHeads(2, 4, **SMALL).eval()(torch.randn(1, 2, 64, 32), torch.randn(1, 4, 64, 32))
    assert [tuple(head.shape) for head in logits] == [(1, 1, 64, 32), (1, 3, 64, 32), (1, 3, 64, 32)]


def test_reasoning_starts_as_nothing():
    """Learnt weights of both blocks are 0 at first, so training begins from the plain base."""
    torch.manual_seed(0)
    base = ThreeHeads(**SMALL).eval()
    network = BiSRNet(**SMALL).eval()
    network.load_state_dict({**network.state_dict(), **base.state_dict()})
    before, after = torch.randn(2, 1, 3, 32, 32).unbind(0)
    for found, expected in zip(network(before, after), base(before, after), strict=True):
        torch.testing.assert_close(found, expected)


def test_attention_within_and_across_dates():
    torch.manual_seed(0)
    first, second = torch.randn(2, 1, 16, 4, 5).unbind(0)
    alone = Reasoning(16)
    with torch.no_grad():
        alone.weight.fill_(0.5)
        query, key, value = (x[0, 0] for x in alone.projections(first))
        expected = first + 0.5 * (torch.softmax(query @ key.T, -1) @ value).T.view(1, 16, 4, 5)
        torch.testing.assert_close(alone(first), expected)

        cross = CrossReasoning(16)
        cross.weights.copy_(torch.tensor([2.0, 3.0]))
        query1, key1, value1 = (x[0, 0] for x in cross.first(first))
        query2, key2, value2 = (x[0, 0] for x in cross.second(second))
        found1, found2 = cross(first, second)
        seen1 = (torch.softmax(query1 @ key2.T, -1) @ value2).T.view(1, 16, 4, 5)
        seen2 = (torch.softmax(query2 @ key1.T, -1) @ value1).T.view(1, 16, 4, 5)
        torch.testing.assert_close(found1, first + 2 * seen1)
        torch.testing.assert_close(found2, second + 3 * seen2)
