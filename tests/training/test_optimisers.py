"""Learning rates worked out by hand, and which weights decay."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from cdengine.models.senseearth import SenseEarth
from cdengine.training.averaging import AveragedNetwork
from cdengine.training.config import OptimiserConfig
from cdengine.training.optimisers import build_optimiser, learning_rate, set_learning_rate


def rates(steps=10, **options):
    config = OptimiserConfig(learning_rate=1.0, **options)
    return [learning_rate(config, step, steps) for step in range(steps)]


def test_warm_up_is_linear_and_ends_at_the_top():
    assert rates(warmup=0.4, schedule="constant")[:5] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert rates(warmup=0, schedule="constant") == [1.0] * 10


def test_cosine():
    found = rates(warmup=0.2)
    assert found[2] == 1 and found[6] == pytest.approx(0.5) and found[9] == pytest.approx(0.0380602337)
    assert all(one > other for one, other in pairwise(found[2:]))


def test_poly():
    assert rates(warmup=0, schedule="poly", power=2.0)[5] == pytest.approx(0.25)
    assert learning_rate(OptimiserConfig(schedule="poly"), 99, 10) == 0


def test_norms_and_biases_do_not_decay():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    network[2].bias.requires_grad_(False)
    optimiser = build_optimiser(network, OptimiserConfig(weight_decay=0.3))
    decayed, plain = optimiser.param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.3, 0.0)
    assert {id(p) for p in decayed["params"]} == {id(network[0].weight), id(network[2].weight)}
    assert {id(p) for p in plain["params"]} == {id(p) for p in (network[0].bias, *network[1].parameters())}
    set_learning_rate(optimiser, 0.125)
    assert {group["lr"] for group in optimiser.param_groups} == {0.125}


def test_heads_learn_faster_than_the_backbone():
    with torch.device("meta"):
        network = SenseEarth(backbone="hrnet_w18_small")
    optimiser = build_optimiser(network, OptimiserConfig(name="adam", head_factor=10, weight_decay=1e-4))
    assert type(optimiser) is torch.optim.Adam
    set_learning_rate(optimiser, 1.5e-4)
    rates = {id(value): group["lr"] for group in optimiser.param_groups for value in group["params"]}
    assert len(rates) == len(list(network.parameters()))
    for name, value in network.named_parameters():
        assert rates[id(value)] == pytest.approx(1.5e-4 if name.startswith("encoder.backbone") else 1.5e-3), name
    for group in optimiser.param_groups:
        assert {value.ndim > 1 for value in group["params"]} == {group["weight_decay"] > 0}


def test_sgd():
    optimiser = build_optimiser(nn.Linear(2, 2), OptimiserConfig(name="sgd", momentum=0.5))
    assert isinstance(optimiser, torch.optim.SGD) and optimiser.defaults["nesterov"]
    assert not build_optimiser(nn.Linear(2, 2), OptimiserConfig(name="sgd", momentum=0)).defaults["nesterov"]


def test_average_follows_by_the_formula():
    network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    network[0].weight.data.fill_(0.0)
    averaged = AveragedNetwork(network, 0.5)
    network[0].weight.data.fill_(1.0)
    network[1].running_mean.fill_(10.0)
    network[1].num_batches_tracked.fill_(7)
    expected = mean = 0.0
    for count in range(8):
        averaged.update(network)
        decay = min(0.5, (1 + count) / (10 + count))
        expected, mean = decay * expected + (1 - decay), decay * mean + (1 - decay) * 10
        assert float(averaged.network[0].weight) == pytest.approx(expected)
        assert float(averaged.network[1].running_mean) == pytest.approx(mean)
    assert int(averaged.network[1].num_batches_tracked) == 7


def test_average_is_never_trained():
    averaged = AveragedNetwork(nn.BatchNorm1d(1), 0.9).train()
    assert not averaged.network.training and not any(p.requires_grad for p in averaged.parameters())


def test_average_goes_on_after_loading():
    network = nn.Linear(1, 1)
    one, other = AveragedNetwork(network, 0.99), AveragedNetwork(network, 0.99)
    for _ in range(5):
        one.update(network)
    other.load_state_dict(one.state_dict())
    network.weight.data.add_(1.0)
    one.update(network)
    other.update(network)
    assert torch.equal(one.network.weight, other.network.weight)
