"""LightCDNet's own parts and sizes."""

import pytest
import torch

from cdengine.models.lightcdnet import LightCDNet, _CrissCross, _shuffle


def test_shuffle_takes_channels_of_the_halves_in_turn():
    channels = torch.arange(6.0).view(1, 6, 1, 1)
    assert _shuffle(channels).flatten().tolist() == [0, 3, 1, 4, 2, 5]


def test_criss_cross_attention_against_a_slow_one():
    """Each pixel weighs the pixels of its row and its column, itself once."""
    torch.manual_seed(0)
    layer = _CrissCross(16)
    layer.scale.data.fill_(0.7)
    x = torch.randn(2, 16, 3, 5)
    with torch.inference_mode():
        query, key, value = layer.query(x), layer.key(x), layer.value(x)
        wanted = torch.empty_like(x)
        for b in range(2):
            for h in range(3):
                for w in range(5):
                    seen = [(h, v) for v in range(5)] + [(g, w) for g in range(3) if g != h]
                    products = torch.stack([(query[b, :, h, w] * key[b, :, g, v]).sum() for g, v in seen])
                    shares = torch.softmax(products, 0)
                    gathered = sum(share * value[b, :, g, v] for share, (g, v) in zip(shares, seen, strict=True))
                    wanted[b, :, h, w] = x[b, :, h, w] + 0.7 * gathered
        torch.testing.assert_close(layer._look(x), wanted)


@pytest.mark.parametrize("size", ["s", "b", "l"])
@pytest.mark.parametrize("published_taps", [False, True])
def test_every_weight_is_reached_even_by_one_pair(size, published_taps):
    torch.manual_seed(0)
    network = LightCDNet(size=size, published_taps=published_taps).train()
    logits = network(torch.randn(1, 3, 32, 32), torch.randn(1, 3, 32, 32))
    logits.square().mean().backward()
    assert logits.shape == (1, 1, 32, 32)
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_what_the_published_code_computes_for_nothing_is_left_out():
    assert len(LightCDNet().layers) - len(LightCDNet(published_taps=True).layers) == 3


def test_unknown_size():
    with pytest.raises(ValueError, match="one of s, b, l"):
        LightCDNet(size="xl")
