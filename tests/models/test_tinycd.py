"""TinyCD and TinyCDv2: what the suite over all architectures does not see."""

import pytest
import torch

from cdengine.models.tinycd import VARIANTS, tinycd


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_weight_is_reached_even_by_one_pair(variant):
    torch.manual_seed(0)
    network = tinycd(variant=variant).train()
    logits = network(torch.randn(1, 3, 32, 48), torch.randn(1, 3, 32, 48))
    logits.square().mean().backward()
    assert logits.shape == (1, 1, 32, 48)
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_the_backbone_ends_at_its_third_stage():
    network = tinycd()
    assert len(network.backbone.features.blocks) == 3


def test_unknown_variant():
    with pytest.raises(ValueError, match="one of v1, v2-s, v2-b, v2-l"):
        tinycd(variant="v3")
