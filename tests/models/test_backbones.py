"""Pyramids of timm: levels that are not asked for are not built, dates share weights, names are checked."""

import pytest
import torch

from cdengine.models.backbones import OWN_NAMES, Backbone, SiameseEncoder


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "resnet18c",
        "convnext_atto",
        "mit_b0",
        "swin_tiny_patch4_window7_224",
        "efficientnet_b0",
        "regnety_002",
    ],
)
@pytest.mark.parametrize("levels", [3, None])
def test_levels_are_as_told_and_every_weight_is_used(name, levels):
    torch.manual_seed(0)
    backbone = Backbone(name, 4, levels)
    image = torch.randn(2, 4, 64, 96)
    features = backbone(image)
    assert len(features) == len(backbone.channels) and (levels is None or len(features) == levels)
    for level, channels, stride in zip(features, backbone.channels, backbone.strides, strict=True):
        assert level.shape == (2, channels, 64 // stride, 96 // stride)
    sum(level.square().mean() for level in features).backward()
    assert [name for name, weight in backbone.named_parameters() if weight.grad is None] == []


def test_stages_lead_from_level_to_level():
    backbone = Backbone("resnet18").eval()
    image = torch.randn(1, 3, 64, 64)
    levels, features = [], image
    for stage in backbone.stages():
        for module in stage:
            features = module(features)
        levels.append(features)
    for by_stage, at_once in zip(levels, backbone(image), strict=True):
        assert torch.equal(by_stage, at_once)
    with pytest.raises(ValueError, match="one by one"):
        Backbone("efficientnet_b0").stages()


def test_dilation_keeps_the_resolution():
    assert Backbone("resnet18", output_stride=8).strides == (2, 4, 8, 8, 8)


@pytest.mark.parametrize(
    ("name", "millions"), [("mit_b0", 3.32), ("mit_b1", 13.15), ("mit_b2", 24.20), ("mit_b5", 81.4)]
)
def test_mix_transformers_have_their_papers_size(name, millions):
    """SegFormer's table 1: encoder parameters 3.4, 13.1, 24.2 and 81.4 M."""
    with torch.device("meta"):
        count = sum(weight.numel() for weight in Backbone(name).parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.02)


def test_both_dates_pass_the_same_weights():
    encoder = SiameseEncoder("resnet18", levels=2).eval()
    image, other = torch.randn(2, 2, 3, 32, 32).unbind(0)
    first, second = encoder(image, other)
    swapped = encoder(other, image)
    for a, b in zip([*first, *second], [*swapped[1], *swapped[0]], strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    "name", ["resnet19", "hf-hub:someone/model", "local-dir:/tmp", "vit_tiny_patch16_224", "mit_b7"]
)
def test_names_that_are_no_pyramid_are_refused(name):
    with pytest.raises(ValueError, match=r"backbone '" + name.split(":")[0]):
        Backbone(name)


def test_own_names_are_not_timms():
    import timm

    assert not set(OWN_NAMES) & set(timm.list_models())
