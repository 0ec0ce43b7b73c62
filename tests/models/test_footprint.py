"""A network's memory, told from its shapes, against the same network computing."""

import inspect

import pytest
import torch
from model_files import card_for
from torch import nn

from cdengine.models.footprint import _Living, forward_bytes
from cdengine.models.zoo import ARCHITECTURES, build


def living(module, *inputs):
    """Most bytes alive while a real network computes on real tensors, inputs counted."""
    with torch.inference_mode(), _Living() as mode:
        copies = [torch.empty_like(item).copy_(item) for item in inputs]
        module(*copies)
    return mode.peak


def test_a_chain_keeps_two_of_its_tensors():
    """Convolution, normalisation, ReLU in place: input and output of the normalisation, and the network's input."""
    chain = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(inplace=True)).eval()
    assert living(chain, torch.zeros(1, 3, 100, 200)) == (2 * 64 + 3) * 100 * 200 * 4


def test_views_and_operations_in_place_cost_nothing():
    class Views(nn.Module):
        def forward(self, image):
            return image.view(-1)[10:].relu_().reshape(2, -1).add_(1)

    assert living(Views(), torch.zeros(1000 + 10)) == 4 * 1010


@pytest.mark.parametrize("architecture", ["fc-siam-diff", "fc-ef"])
def test_shapes_tell_what_computing_takes(architecture):
    card = card_for(architecture)
    module = build(architecture, card.constructor_arguments()).eval()
    assert forward_bytes(card, 96, 128) == living(module, torch.zeros(1, 3, 96, 128), torch.zeros(1, 3, 96, 128))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_can_be_told(architecture):
    semantic = "classes" in inspect.signature(ARCHITECTURES[architecture]).parameters
    card = card_for(architecture, (3, 3), ("a", "b") if semantic else ())
    small, large = forward_bytes(card, 64, 64), forward_bytes(card, 128, 128)
    assert small >= 2 * 3 * 64 * 64 * 4
    assert 3 * small < large < 40 * small  # attention grows with the square of the pixels
    assert forward_bytes(card, 97, 65) <= forward_bytes(card, 128, 96)  # at most brought to the next multiples of 32
