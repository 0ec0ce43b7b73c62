"""LightCDNet: early fusion of the dates, a ShuffleNetV2 with criss-cross attention behind it, a small pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from cdengine.models.dates import CommonBands
from cdengine.models.layers import conv_norm_relu, halves, upsample
from cdengine.models.norms import ChannelNorm, PooledBatchNorm

STEM = 24
PYRAMID = 48  # channels of the decoder
DEPTHS = (4, 8, 4)  # units of the three stages, as in ShuffleNetV2
RECURRENCE = 2


class Size(NamedTuple):
    """What tells the sizes apart.

    Attributes:
        widths: channels of the three stages.
        fusions: units of the fusion module.
    """

    widths: tuple[int, int, int]
    fusions: int


SIZES = {
    "s": Size((48, 96, 192), 4),
    "b": Size((116, 232, 464), 8),
    "l": Size((176, 352, 704), 16),
}


class LightCDNet(nn.Module):
    """Lightweight change detection network.

    Source: Xing, Jiang, Xiang, Yan, Song & Mo 2023, "LightCDNet: Lightweight Change Detection Network Based on VHR
    Images", IEEE GRSL, doi 10.1109/LGRS.2023.3304309, figures 1 and 2; widths, the criss-cross attention behind each
    stage and the decoder as in the authors' published code.

    What differs: one logit stands for two; the auxiliary head on the fused features (5,282 parameters, used in
    training alone) is left out, since a network of the zoo gives one map; each stage hands its last features to the
    decoder. In the authors' code the attention layers were put in without moving the places at which features are
    taken, so the decoder there sees stage one without its attention, unit seven of eight of stage two and unit two of
    four of stage three, and what comes behind the last of them is computed for nothing; `published_taps` does likewise,
    for weights trained with that code. Dates of different bands pass through a 1x1 convolution each.

    Attributes:
        stride: heights and widths must be multiples of it.
    """

    stride = 16

    def __init__(
        self, bands_before: int = 3, bands_after: int = 3, size: str = "s", published_taps: bool = False
    ) -> None:
        """Builds the network with random weights.

        Args:
            bands_before: bands of the first date.
            bands_after: bands of the second date.
            size: "s", "b" or "l".
            published_taps: take features where the authors' code does, and leave out what it computes for nothing.
        """
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"size is {size!r}, but must be one of {', '.join(SIZES)}")
        widths, fusions = SIZES[size]
        self.common = CommonBands(bands_before, bands_after)
        self.stem = nn.Sequential(
            nn.Conv2d(self.common.bands, STEM, 3, stride=2, padding=1, bias=False), ChannelNorm(STEM), nn.GELU()
        )
        self.fusion = _Fusion(STEM, fusions)
        layers: list[nn.Module] = []
        ends = []
        channels = STEM
        for width, depth in zip(widths, DEPTHS, strict=True):
            layers += [_Unit(channels if index == 0 else width, width, index == 0) for index in range(depth)]
            layers.append(_CrissCross(width))
            ends.append(len(layers) - 1)
            channels = width
        self.taps = (3, 11, 15) if published_taps else tuple(ends)
        self.layers = nn.ModuleList(layers[: self.taps[-1] + 1])
        self.laterals = nn.ModuleList(nn.Conv2d(width, PYRAMID, 1) for width in (STEM, *widths))
        self.smooth = nn.ModuleList(nn.Conv2d(PYRAMID, PYRAMID, 3, padding=1) for _ in self.laterals)
        self.scale = nn.ModuleList(conv_norm_relu(PYRAMID, PYRAMID, 1) for _ in self.laterals)
        self.head = nn.Conv2d(PYRAMID, 1, 1)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Logits of change.

        Args:
            before: (B, bands_before, H, W), normalised.
            after: (B, bands_after, H, W), normalised.

        Returns:
            (B, 1, H, W).
        """
        features = self.fusion(self.stem(torch.cat(self.common(before, after))))
        levels = [features]
        for index, layer in enumerate(self.layers):
            features = layer(features)
            if index in self.taps:
                levels.append(features)
        logits: Tensor = self.head(self._pyramid(levels))
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


def _shuffle(x: Tensor) -> Tensor:
    """Channels of the two halves in turn (Zhang et al. 2018, "ShuffleNet", figure 1)."""
    return torch.stack(x.chunk(2, 1), 2).flatten(1, 2)


def _pointwise(channels: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


def _depthwise(channels: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
    return [convolution, nn.BatchNorm2d(channels)]


class _Unit(nn.Module):
    """Unit of ShuffleNetV2 (Ma et al. 2018, figure 3 c and d)."""

    def __init__(self, channels: int, width: int, halving: bool) -> None:
        super().__init__()
        half = width // 2
        self.short = nn.Sequential(*_depthwise(channels, 2), *_pointwise(channels, half)) if halving else None
        self.long = nn.Sequential(
            *_pointwise(channels if halving else half, half),
            *_depthwise(half, 2 if halving else 1),
            *_pointwise(half, half),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.short is not None:
            return _shuffle(torch.cat([self.short(x), self.long(x)], 1))
        kept, changed = x.chunk(2, 1)
        return _shuffle(torch.cat([kept, self.long(changed)], 1))


class _Fusion(nn.Module):
    """Deep supervised fusion module: each date refined with shared weights, weighed by the other, then joined."""

    def __init__(self, channels: int, units: int) -> None:
        super().__init__()
        inner = 4 * channels
        squeezed = max(channels // 16, 8)
        self.refine = nn.Sequential(
            *_pointwise(channels, inner),
            *(_Unit(inner, inner, False) for _ in range(units)),
            *_pointwise(inner, channels),
        )
        self.attention = nn.Sequential(
            nn.Conv2d(2 * channels, squeezed, 1, bias=False),
            PooledBatchNorm(squeezed),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, 2 * channels, 1, bias=False),
        )
        self.join = nn.Sequential(*_pointwise(2 * channels, channels))

    def forward(self, dates: Tensor) -> Tensor:
        """One batch of 2 B, first dates then second dates, to (B, channels, H, W)."""
        both = torch.cat(halves(dates + self.refine(dates)), 1)
        weighed = both * (1 + torch.sigmoid(self.attention(both.mean((2, 3), keepdim=True))))
        joined: Tensor = self.join(_shuffle(weighed))
        return joined


class _CrissCross(nn.Module):
    """Each pixel looks at its row and its column, twice, so that at last it has seen the whole image.

    Source: Huang et al. 2019, "CCNet: Criss-Cross Attention for Semantic Segmentation", figure 3 and equations 1, 2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, 1)
        self.key = nn.Conv2d(channels, channels // 8, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(RECURRENCE):
            x = self._look(x)
        return x

    def _look(self, x: Tensor) -> Tensor:
        query, key, value = self.query(x), self.key(x), self.value(x)
        width = x.shape[-1]
        along = torch.einsum("bchw,bchv->bhwv", query, key)
        across = torch.einsum("bchw,bcgw->bhwg", query, key)
        rows = torch.arange(x.shape[-2], device=x.device)
        itself = (rows[:, None] == rows[None, :])[:, None, :]  # (H, 1, H): the pixel is in its row already
        across = across.masked_fill(itself, float("-inf"))
        weights = torch.softmax(torch.cat([along, across], -1), -1)
        gathered = torch.einsum("bhwv,bchv->bchw", weights[..., :width], value)
        gathered = gathered + torch.einsum("bhwg,bcgw->bchw", weights[..., width:], value)
        return x + self.scale * gathered
