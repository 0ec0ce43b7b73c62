"""TinyCD: the first blocks of an EfficientNet at both dates, mixed channel by channel; and the way to TinyCDv2."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from cdengine.models.backbones import Backbone
from cdengine.models.dates import CommonBands
from cdengine.models.layers import halves
from cdengine.models.tinycd_v2 import SIZES, TinyCDv2

VARIANTS = ("v1", *(f"v2-{size}" for size in SIZES))
BACKBONE_LEVELS = 3


def tinycd(bands_before: int = 3, bands_after: int = 3, variant: str = "v1") -> nn.Module:
    """TinyCD, or the network that its successors call TinyCDv2.

    Args:
        bands_before: bands of the first date.
        bands_after: bands of the second date.
        variant: "v1", "v2-s", "v2-b" or "v2-l".

    Raises:
        ValueError: unknown variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}, but must be one of {', '.join(VARIANTS)}")
    if variant == "v1":
        return TinyCD(bands_before, bands_after)
    return TinyCDv2(bands_before, bands_after, variant.removeprefix("v2-"))


class TinyCD(nn.Module):
    """Siamese U-Net that mixes the dates with grouped convolutions and lets the mixtures mask the upsampled features.

    Source: Codegoni, Lombardi & Ferrari 2022, "TINYCD: A (Not So) Deep Learning Model For Change Detection", arXiv
    2207.13159, figure 1, sections 3.1 to 3.4; widths as in the authors' published code: EfficientNet-B4 up to its
    third stage, mixing and attention mask blocks (MAMB) on the image and the first two stages, a mixing block on the
    third, three upsampling blocks and a pixel-wise perceptron (PW-MLP).

    What differs: upsampling is by a factor and not to 64, 128 and 256 pixels, so that every size of image works; dates
    of different bands pass through a 1x1 convolution each. Its instance normalisation sees the whole tile: the answer
    at a pixel depends somewhat on how an image is cut, as it does in the paper.

    Attributes:
        stride: heights and widths must be multiples of it (twice the deepest level's 8, since one value alone cannot
            be normalised).
    """

    stride = 16

    def __init__(self, bands_before: int = 3, bands_after: int = 3) -> None:
        super().__init__()
        self.common = CommonBands(bands_before, bands_after)
        bands = self.common.bands
        self.backbone = Backbone("efficientnet_b4", bands, BACKBONE_LEVELS)
        # timm builds all stages, whichever are asked for
        blocks = self.backbone.features.blocks
        assert isinstance(blocks, nn.Sequential)
        self.backbone.features.blocks = blocks[:BACKBONE_LEVELS]
        fine, middle, deep = self.backbone.channels
        self.image_mask = _Mask(bands, (10, 5))
        self.masks = nn.ModuleList([_Mask(fine, (fine // 2, fine // 4)), _Mask(middle, (middle // 2, middle // 4))])
        self.mix = _Mix(deep)
        self.up = nn.ModuleList([_Up(deep, 64), _Up(64, 64), _Up(64, 32)])
        self.head = nn.Sequential(_perceptron((32, 16, 8)), nn.Conv2d(8, 1, 1))

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Logits of change.

        Args:
            before: (B, bands_before, H, W), normalised.
            after: (B, bands_after, H, W), normalised.

        Returns:
            (B, 1, H, W).
        """
        first, second = self.common(before, after)
        levels = [halves(level) for level in self.backbone(torch.cat([first, second]))]
        masks = [self.image_mask(first, second)]
        masks += [mask(*level) for mask, level in zip(self.masks, levels, strict=False)]
        features = self.mix(*levels[-1])
        for up, mask in zip(self.up, reversed(masks), strict=True):
            features = up(features, mask)
        logits: Tensor = self.head(features)
        return logits


class _Mix(nn.Module):
    """Mixing block: channel i of both dates side by side, and a 3x3 convolution for each such couple (section 3.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2 * channels, channels, 3, padding=1, groups=channels)
        self.activation = nn.PReLU()
        self.norm = nn.InstanceNorm2d(channels)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        couples = torch.stack([first, second], 2).flatten(1, 2)
        mixed: Tensor = self.norm(self.activation(self.convolution(couples)))
        return mixed


class _Mask(nn.Module):
    """Mixing and attention mask block: a mixture brought down to one value a pixel."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.mix = _Mix(channels)
        self.perceptron = _perceptron((channels, *widths, 1))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        mask: Tensor = self.perceptron(self.mix(first, second))
        return mask


class _Up(nn.Module):
    """Bilinear to twice the size, weighed by the mask, then a depthwise and a pointwise convolution (section 3.3)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.convolution = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.PReLU(),
            nn.InstanceNorm2d(channels),
            nn.Conv2d(channels, width, 1),
            nn.PReLU(),
            nn.InstanceNorm2d(width),
        )

    def forward(self, coarse: Tensor, mask: Tensor) -> Tensor:
        fine = functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=True)
        features: Tensor = self.convolution(fine * mask)
        return features


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels, width in pairwise(widths):
        layers += [nn.Conv2d(channels, width, 1), nn.PReLU()]
    return nn.Sequential(*layers)
