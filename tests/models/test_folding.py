"""Folded batch normalisation gives the same function, for every architecture, and nothing where it would not."""

import inspect

import pytest
import torch
from model_files import card_for, trained
from torch import nn

from cdengine.models.folding import folded
from cdengine.models.logits import Logits
from cdengine.models.zoo import ARCHITECTURES


def norms(module):
    return [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_stays_the_same_function(architecture):
    semantic = "classes" in inspect.signature(ARCHITECTURES[architecture]).parameters
    module = trained(card_for(architecture, (3, 3), ("water", "wood", "field") if semantic else ()))
    copied = folded(module, (3, 3), module.stride)
    torch.manual_seed(1)
    before, after = torch.randn(1, 3, 64, 96), torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        plain, found = module(before, after), copied(before, after)
        exact = module.double()(before.double(), after.double())
    heads = zip(exact, plain, found, strict=True) if isinstance(exact, Logits) else [(exact, plain, found)]
    for truth, one, other in heads:
        # Random weights may give logits of a thousand; no more is asked of folding than float32 itself can tell.
        rounding = float((one - truth).abs().max())
        assert float((other - truth).abs().max()) <= max(4 * rounding, 1e-5)


def test_nothing_is_left_to_normalise_in_fc_siam_diff_on_resnet18():
    module = trained(card_for())
    assert len(norms(module)) > 20
    assert norms(folded(module, (3, 3))) == []
    assert len(norms(module)) > 20  # the original stays


class UsedTwice(nn.Module):
    """The convolution's output goes round the normalisation as well."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 1, 1), nn.BatchNorm2d(1)
        self.norm.running_var.fill_(9.0)

    def forward(self, before, after):
        features = self.conv(after - before)
        return features + self.norm(features)


class Branches(UsedTwice):
    """One normalisation behind two convolutions."""

    def __init__(self):
        super().__init__()
        self.other = nn.Conv2d(3, 1, 1)

    def forward(self, before, after):
        return self.norm(self.conv(before)) - self.norm(self.other(after))


@pytest.mark.parametrize("kind", [UsedTwice, Branches])
def test_what_cannot_be_folded_is_given_back(kind):
    module = kind().eval()
    assert folded(module, (3, 3), 1) is module


def test_folding_draws_no_random_numbers():
    module = trained(card_for())
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    folded(module, (3, 3))
    assert torch.equal(torch.rand(1), expected)
