"""TinyCDv2: early fusion guided by what both dates share, inverted residuals with strip attention, a small pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from cdengine.models.dates import CommonBands
from cdengine.models.layers import conv_norm_relu, halves, upsample
from cdengine.models.norms import ChannelNorm, PooledBatchNorm

PYRAMID = 24  # channels of the decoder
STRIPS = (41, 31, 21, 11)  # lengths of the strip kernels, finest level first
EXPANSIONS = (4, 6, 6, 6)


class Size(NamedTuple):
    """What tells the sizes apart.

    Attributes:
        stem: channels of the stem.
        fusions: interacting blocks of the fusion.
        widths: channels of the four stages.
        depths: blocks of the four stages.
    """

    stem: int
    fusions: int
    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]


SIZES = {
    "s": Size(8, 2, (8, 16, 16, 24), (2, 2, 3, 1)),
    "b": Size(16, 2, (16, 24, 32, 48), (2, 2, 3, 1)),
    "l": Size(24, 4, (24, 32, 40, 56), (2, 2, 6, 1)),
}


class TinyCDv2(nn.Module):
    """Lighter and stronger successor of TinyCD.

    Source: "TinyCDv2: A Lighter and Stronger Network for Remote Sensing Change Detection", known from the configuration
    and the code of Open-CD (Li et al. 2024, arXiv 2407.15317), whose authors are its own; no paper is out. What
    differs: one logit stands for two; dates of different bands pass through a 1x1 convolution each.

    Attributes:
        stride: heights and widths must be multiples of it.
    """

    stride = 16

    def __init__(self, bands_before: int = 3, bands_after: int = 3, size: str = "b") -> None:
        """Builds the network with random weights.

        Args:
            bands_before: bands of the first date.
            bands_after: bands of the second date.
            size: "s", "b" or "l".
        """
        super().__init__()
        stem, fusions, widths, depths = SIZES[size]
        self.common = CommonBands(bands_before, bands_after)
        self.stem = _convolution(self.common.bands, stem, 3, stride=2)
        self.interact = nn.ModuleList(_InteractingBlock(stem) for _ in range(fusions))
        self.fuse = nn.Sequential(
            nn.Conv2d(2 * stem, 2 * stem, 3, padding=1, groups=2 * stem),
            ChannelNorm(2 * stem),
            nn.GELU(),
            nn.Conv2d(2 * stem, stem, 3, padding=1, groups=stem),
        )
        self.stages = nn.ModuleList()
        channels = stem
        for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            strides = [2 if index else 1] + [1] * (depth - 1)
            inputs = [channels] + [width] * (depth - 1)
            blocks = [_Block(i, width, s, EXPANSIONS[index]) for i, s in zip(inputs, strides, strict=True)]
            self.stages.append(nn.Sequential(*blocks, _StripAttention(width, STRIPS[index])))
            channels = width
        self.laterals = nn.ModuleList(nn.Conv2d(width, PYRAMID, 1) for width in widths)
        self.smooth = nn.ModuleList(_Block(PYRAMID, PYRAMID, 1, 1) for _ in widths)
        self.scale = nn.ModuleList(conv_norm_relu(PYRAMID, PYRAMID, 1) for _ in widths)
        self.prior = nn.Conv2d(stem, PYRAMID, 1)
        self.head = nn.Conv2d(PYRAMID, 1, 1)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Logits of change.

        Args:
            before: (B, bands_before, H, W), normalised.
            after: (B, bands_after, H, W), normalised.

        Returns:
            (B, 1, H, W).
        """
        stems = self.stem(torch.cat(self.common(before, after)))
        features = stems
        for block in self.interact:
            features = block(features)
        first, second = halves(features + stems)
        levels = [self.fuse(torch.cat([first, second], 1))]
        for stage in self.stages:
            levels.append(stage(levels[-1]))
        merged = self._pyramid(levels[1:])
        merged = merged * torch.sigmoid(self.prior((first - second).abs())) + merged
        logits: Tensor = self.head(merged)
        return upsample(logits, 2)

    def _pyramid(self, levels: Sequence[Tensor]) -> Tensor:
        """Top-down sums, each smoothed, and all of them summed at the finest one's resolution."""
        laterals = [lateral(level) for lateral, level in zip(self.laterals, levels, strict=True)]
        for fine in reversed(range(len(laterals) - 1)):
            laterals[fine] = laterals[fine] + functional.interpolate(laterals[fine + 1], scale_factor=2)
        outputs = []
        for index, (smooth, scale) in enumerate(zip(self.smooth, self.scale, strict=True)):
            outputs.append(upsample(scale(smooth(laterals[index])), 2**index))
        return torch.stack(outputs).sum(0)


def _convolution(
    channels: int, width: int, kernel: int, *, stride: int = 1, groups: int = 1, activated: bool = True
) -> nn.Sequential:
    convolution = nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False)
    layers = [convolution, nn.BatchNorm2d(width), *([nn.ReLU6(inplace=True)] if activated else [])]
    return nn.Sequential(*layers)


class _Block(nn.Module):
    """Inverted residual of MobileNetV2 (Sandler et al. 2018)."""

    def __init__(self, channels: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.residual = stride == 1 and channels == width
        self.layers = nn.Sequential(
            *([_convolution(channels, hidden, 1)] if expansion > 1 else []),
            _convolution(hidden, hidden, 3, stride=stride, groups=hidden),
            _convolution(hidden, width, 1, activated=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class _InteractingBlock(nn.Module):
    """Inverted residual of both dates (one batch, first half and second half) that see each other in its middle.

    The channels of each date are weighed by what their difference says over the whole image (selective kernels, Li et
    al. 2019, with the dates as the two paths).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels * EXPANSIONS[0]
        squeezed = max(hidden // 16, 8)
        self.expand = nn.Sequential(_convolution(channels, hidden, 1), _convolution(hidden, hidden, 3, groups=hidden))
        self.squeeze = nn.Conv2d(hidden, squeezed, 1, bias=False)
        self.norm = PooledBatchNorm(squeezed)
        self.select = nn.Conv2d(squeezed, 2 * hidden, 1, bias=False)
        self.project = _convolution(hidden, channels, 1, activated=False)

    def forward(self, dates: Tensor) -> Tensor:
        hidden = self.expand(dates)
        first, second = halves(hidden)
        pooled = (first - second).abs().mean((2, 3), keepdim=True)
        weights = torch.sigmoid(self.select(functional.relu(self.norm(self.squeeze(pooled)))))
        hidden = hidden * (1 + torch.cat(weights.chunk(2, 1)))
        projected: Tensor = self.project(hidden)
        return dates + projected


class _StripAttention(nn.Module):
    """Features weighed by long horizontal and vertical strips, added with a scale that starts near nothing."""

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        half = length // 2
        self.strips = nn.Sequential(
            nn.Conv2d(channels, channels, 1),
            nn.Conv2d(channels, channels, (1, length), padding=(0, half), groups=channels),
            nn.Conv2d(channels, channels, (length, 1), padding=(half, 0), groups=channels),
        )
        self.value = nn.Conv2d(channels, channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)
        self.norm = ChannelNorm(channels)
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        weighed: Tensor = self.norm(self.project(self.strips(x) * self.value(x)))
        return x + self.scale * weighed
