"""Decoders that turn a feature pyramid into one map at the resolution of its finest level: FPN and UPerNet."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from cdengine.models.layers import conv_norm_relu, grid_pool, upsample

DECODERS = ("fpn", "upernet")


class FPNDecoder(nn.Module):
    """Feature pyramid whose levels are summed at the finest one's resolution.

    Sources: Lin et al. 2017, "Feature Pyramid Networks for Object Detection", figure 3 (1x1 laterals, top-down sums);
    Kirillov et al. 2019, "Panoptic Feature Pyramid Networks", figure 3 (levels upsampled and summed). What differs
    from the latter: one convolution a level in place of one per factor 2, and one more on the sum, which costs a CPU
    less.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int = 128, norm: str = "batch") -> None:
        """Builds the decoder.

        Args:
            channels: of the levels, finest first.
            strides: of the levels, finest first, each a multiple of the one before.
            width: channels of the pyramid and of the result.
            norm: see `layers.normalisation`.
        """
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.smooth = nn.ModuleList(conv_norm_relu(width, width, norm=norm) for _ in channels)
        self.merge = conv_norm_relu(width, width, norm=norm)
        self.steps = [coarse // fine for fine, coarse in pairwise(strides)]
        self.factors = [stride // strides[0] for stride in strides]

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """(B, channels[i], H / strides[i], W / strides[i]) each, finest first, to (B, width, H / strides[0], ...)."""
        pyramid = _top_down([lateral(x) for lateral, x in zip(self.laterals, levels, strict=True)], self.steps)
        smooth = [
            upsample(layer(x), factor) for layer, x, factor in zip(self.smooth, pyramid, self.factors, strict=True)
        ]
        merged: Tensor = self.merge(torch.stack(smooth).sum(0) if len(smooth) > 1 else smooth[0])
        return merged


class UPerNetDecoder(nn.Module):
    """Pyramid pooling on the coarsest level, an FPN above it, and all levels fused.

    Source: Xiao et al. 2018, "Unified Perceptual Parsing for Scene Understanding", figure 4; pooling of Zhao et al.
    2017, "Pyramid Scene Parsing Network", with bins 1, 2, 3, 6. What differs: the pooled branches have a bias in place
    of batch normalisation, which has no variance to learn from in a single bin.
    """

    BINS = (1, 2, 3, 6)

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int = 512, norm: str = "batch") -> None:
        """Builds the decoder; arguments as of `FPNDecoder`."""
        super().__init__()
        coarsest = channels[-1]
        self.pooled = nn.ModuleList(
            nn.Sequential(nn.Conv2d(coarsest, width, 1), nn.ReLU(inplace=True)) for _ in self.BINS
        )
        self.context = conv_norm_relu(coarsest + len(self.BINS) * width, width, norm=norm)
        self.laterals = nn.ModuleList(conv_norm_relu(count, width, 1, norm=norm) for count in channels[:-1])
        self.smooth = nn.ModuleList(conv_norm_relu(width, width, norm=norm) for _ in channels[:-1])
        self.merge = conv_norm_relu(len(channels) * width, width, norm=norm)
        self.steps = [coarse // fine for fine, coarse in pairwise(strides)]
        self.factors = [stride // strides[0] for stride in strides]

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """As `FPNDecoder.forward`."""
        finer = [lateral(x) for lateral, x in zip(self.laterals, levels[:-1], strict=True)]
        *pyramid, top = _top_down([*finer, self._context(levels[-1])], self.steps)
        smooth = [*(layer(x) for layer, x in zip(self.smooth, pyramid, strict=True)), top]
        together = torch.cat([upsample(x, factor) for x, factor in zip(smooth, self.factors, strict=True)], 1)
        merged: Tensor = self.merge(together)
        return merged

    def _context(self, coarsest: Tensor) -> Tensor:
        context: Tensor = self.context(torch.cat([coarsest, *pyramid_pool(coarsest, self.pooled, self.BINS)], 1))
        return context


def pyramid_pool(image: Tensor, layers: nn.ModuleList, bins: Sequence[int]) -> list[Tensor]:
    """Means over grids of `bins` cells a side, each through its layer, enlarged to the image's size again."""
    size = image.shape[-2:]
    pooled = [layer(grid_pool(image, cells)) for layer, cells in zip(layers, bins, strict=True)]
    return [functional.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in pooled]


def decoder(kind: str, channels: Sequence[int], strides: Sequence[int], width: int, norm: str = "batch") -> nn.Module:
    """The decoder of that name.

    Raises:
        ValueError: unknown kind.
    """
    if kind == "fpn":
        return FPNDecoder(channels, strides, width, norm)
    if kind == "upernet":
        return UPerNetDecoder(channels, strides, width, norm)
    raise ValueError(f"decoder is {kind!r}, but must be one of {', '.join(DECODERS)}")


def _top_down(levels: Sequence[Tensor], steps: Sequence[int]) -> list[Tensor]:
    """Adds to each level the sum of all coarser ones; finest first, as given."""
    sums = [levels[-1]]
    for finer, step in zip(reversed(levels[:-1]), reversed(steps), strict=True):
        sums.append(finer + upsample(sums[-1], step))
    return sums[::-1]
