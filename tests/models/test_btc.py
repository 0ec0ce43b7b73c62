"""BTC and its decoders."""

import pytest
import torch

from cdengine.errors import ModelArchitectureError
from cdengine.models.decoders import DECODERS
from cdengine.models.zoo import build, build_meta


def pair(size=(64, 96), batch=2):
    torch.manual_seed(0)
    return torch.randn(batch, 3, *size), torch.randn(batch, 3, *size)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("backbone", ["resnet18", "convnext_atto", "swin_tiny_patch4_window7_224"])
def test_any_pyramid_and_decoder(backbone, decoder):
    network = build("btc", {"backbone": backbone, "decoder": decoder, "width": 16})
    before, after = pair()
    logits = network(before, after)
    assert logits.shape == (2, 1, 64, 96)
    logits.square().mean().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_exchange_of_dates():
    before, after = pair()
    network = build("btc", {"width": 16}).eval()
    torch.testing.assert_close(network(before, after), network(after, before))
    signed = build("btc", {"width": 16, "difference": "signed"}).eval()
    assert not torch.allclose(signed(before, after), signed(after, before))


def test_the_default_is_small():
    network = build_meta("btc", {})
    assert sum(weight.numel() for weight in network.parameters()) < 5e6
    assert network.encoder.channels == (64, 64, 128, 256) and network.stride == 16


def test_group_normalisation_trains_as_if_each_pair_were_alone():
    """For training on several processes: the loss over a batch is the mean of the losses over its pairs."""
    torch.manual_seed(0)
    network = build("btc", {"backbone": "convnext_atto", "width": 32, "norm": "group"}).train()
    before, after = pair()
    together = network(before, after)
    alone = torch.cat([network(a.unsqueeze(0), b.unsqueeze(0)) for a, b in zip(before, after, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_one_pair_in_training_is_enough():
    build("btc", {"width": 16, "decoder": "upernet"}).train()(*pair((32, 32), 1))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"decoder": "unet"}, "fpn, upernet"),
        ({"difference": "squared"}, "absolute, signed"),
        ({"norm": "none"}, "batch, group"),
        ({"levels": 1}, "no level"),
        ({"levels": 9}, "levels|index|out"),
        ({"backbone": "resnet181"}, "nearest is 'resnet18'"),
    ],
)
def test_wrong_arguments_are_told(arguments, says):
    with pytest.raises(ModelArchitectureError, match=says):
        build("btc", arguments)
