"""SenseEarth: widths of the paper, every backbone with every head, and heads as described."""

import pytest
import torch
from torch import nn

from cdengine.models.backbones import Backbone
from cdengine.models.senseearth import HEADS, HRNET, DeepLabHead, FCNHead, PSPHead, SenseEarth
from cdengine.models.zoo import build_meta


@pytest.mark.parametrize("width", [18, 30, 32, 40, 44, 48, 64])
def test_hrnet_has_the_papers_widths(width):
    """Sun et al. 2019, section 3.2: branches of w, 2w, 4w, 8w, joined to 15 w."""
    with torch.device("meta"):
        backbone = Backbone(f"hrnet_w{width}", options=HRNET)
        network = SenseEarth(backbone=f"hrnet_w{width}")
    assert backbone.channels == (width, 2 * width, 4 * width, 8 * width)
    assert backbone.strides == (4, 8, 16, 32)
    assert network.channels == 15 * width


def test_the_small_hrnet_starts_at_16():
    with torch.device("meta"):
        assert SenseEarth(backbone="hrnet_w18_small").channels == 15 * 16


@pytest.mark.parametrize("lightweight", [True, False])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "backbone", ["hrnet_w18", "hrnet_w18_small", "hrnet_w64", "resnet18", "resnet50", "resnet101", "resnext50_32x4d"]
)
def test_every_backbone_goes_with_every_head(backbone, head, lightweight):
    """In the original some of them crash."""
    arguments = {"backbone": backbone, "head": head, "lightweight": lightweight, "classes": 7}
    network = build_meta("senseearth", arguments).eval()
    with torch.device("meta"):
        images = torch.empty(2, 3, 96, 64)
        change, before, after = network(images, images)
    assert change.shape == (2, 1, 96, 64)
    assert before.shape == after.shape == (2, 7, 96, 64)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("backbone", ["hrnet_w18_small", "resnet18"])
def test_gradients_reach_every_parameter_even_of_one_pair(backbone, head):
    network = SenseEarth(backbone=backbone, head=head).train()
    before, after = torch.randn(2, 1, 3, 64, 64)
    sum(output.square().mean() for output in network(before, after)).backward()
    still = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    if backbone == "resnet18":  # timm starts the last scale of each block at 0, which holds back what lies within it
        still = [name for name in still if ".layer" not in name]
    assert not still


def test_classes_of_a_date_depend_on_that_date_alone_and_change_on_both_alike():
    torch.manual_seed(0)
    network = SenseEarth(backbone="hrnet_w18_small").eval()
    one, two, other = torch.randn(3, 1, 3, 64, 64)
    with torch.inference_mode():
        first, swapped, third = network(one, two), network(two, one), network(one, other)
    torch.testing.assert_close(first.before, swapped.after)
    torch.testing.assert_close(first.change, swapped.change)
    torch.testing.assert_close(first.before, third.before)
    assert (first.change - third.change).abs().max() > 1e-4


def test_heads_as_described():
    fcn, light = FCNHead(64, 6, False), FCNHead(64, 6, True)
    kernels = [layer for layer in fcn.modules() if isinstance(layer, nn.Conv2d)]
    assert [(layer.in_channels, layer.out_channels, layer.kernel_size[0]) for layer in kernels] == [
        (64, 16, 3),
        (16, 6, 1),
    ]
    depthwise, pointwise, _ = (layer for layer in light.modules() if isinstance(layer, nn.Conv2d))
    assert (depthwise.groups, depthwise.kernel_size, depthwise.bias) == (64, (3, 3), None)
    assert (pointwise.out_channels, pointwise.kernel_size, pointwise.bias) == (16, (1, 1), None)
    psp = PSPHead(64, 1, False)
    assert [layer.in_channels for layer in psp.body.modules() if isinstance(layer, nn.Conv2d)] == [64 + 4 * 16, 16]
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in psp.pooled.modules())
    deep = DeepLabHead(64, 32, 2, False)
    assert [branch[0].dilation[0] for branch in deep.branches] == [1, 12, 24, 36]


def shapes(module):
    """(inputs, outputs, kernel, groups, dilation) of every convolution."""
    return [
        (layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.groups, layer.dilation[0])
        for layer in module.modules()
        if isinstance(layer, nn.Conv2d)
    ]


def test_lightweight_heads_split_every_3x3_of_theirs_and_nothing_else():
    psp, light = (PSPHead(64, 1, lightweight) for lightweight in (False, True))
    assert shapes(psp.pooled) == shapes(light.pooled) == [(64, 16, 1, 1, 1)] * 4
    assert shapes(psp.body) == [(128, 16, 3, 1, 1), (16, 1, 1, 1, 1)]
    assert shapes(light.body) == [(128, 128, 3, 128, 1), (128, 16, 1, 1, 1), (16, 1, 1, 1, 1)]
    deep, light = (DeepLabHead(64, 32, 2, lightweight) for lightweight in (False, True))
    assert shapes(deep.branches) == [(64, 8, 1, 1, 1), *((64, 8, 3, 1, rate) for rate in (12, 24, 36))]
    split = [((64, 64, 3, 64, rate), (64, 8, 1, 1, 1)) for rate in (12, 24, 36)]
    assert shapes(light.branches) == [(64, 8, 1, 1, 1), *(layer for pair in split for layer in pair)]
    assert shapes(deep.project) == shapes(light.project) == [(40, 8, 1, 1, 1)]
    assert shapes(deep.fuse) == [(56, 256, 3, 1, 1), (256, 256, 3, 1, 1), (256, 1, 1, 1, 1)]
    assert [kind[3] for kind in shapes(light.fuse)] == [56, 1, 256, 1, 1]


def test_an_unknown_head_is_told():
    with pytest.raises(ValueError, match="fcn, psp, deeplabv3plus"):
        SenseEarth(head="ocr")
