"""Encoder and decoder of the three fully convolutional networks of Caye Daudt et al. 2018 (FC-EF and its Siamese two).

Source: Caye Daudt, Le Saux & Boulch 2018, "Fully Convolutional Siamese Networks for Change Detection", ICIP, arXiv
1810.08462, figure 2 and section 3: a U-Net cut to four levels. Kernel sizes, the number of convolutions a level and the
rate of dropout are those of the authors' published code, which the paper does not tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from cdengine.models.dates import CommonBands
from cdengine.models.layers import halves

WIDTHS = (16, 32, 64, 128)
CONVOLUTIONS = (2, 2, 3, 3)  # per level, finest first
DROPOUT = 0.2


class Encoder(nn.Module):
    """Four levels of 3x3 convolutions, halved by max pooling in between.

    Attributes:
        stride: of the pooled deepest level, which the decoder starts from.
    """

    stride = 16

    def __init__(self, bands: int, widths: Sequence[int] = WIDTHS, dropout: float = DROPOUT) -> None:
        super().__init__()
        if len(widths) != len(CONVOLUTIONS):
            raise ValueError(f"widths has {len(widths)} entries, the network has {len(CONVOLUTIONS)} levels")
        self.levels = nn.ModuleList()
        for width, count in zip(widths, CONVOLUTIONS, strict=True):
            channels = [bands] + [width] * count
            self.levels.append(_stack(channels, dropout))
            bands = width

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of (B, bands, H, W), finest first: (B, widths[i], H / 2**i, W / 2**i)."""
        features: list[Tensor] = []
        for index, level in enumerate(self.levels):
            features.append(level(functional.max_pool2d(features[-1], 2) if index else image))
        return features


class SharedEncoder(nn.Module):
    """The encoder with the same weights for both dates."""

    def __init__(
        self, bands_before: int, bands_after: int, widths: Sequence[int] = WIDTHS, dropout: float = DROPOUT
    ) -> None:
        super().__init__()
        self.common = CommonBands(bands_before, bands_after)
        self.encoder = Encoder(self.common.bands, widths, dropout)

    def forward(self, before: Tensor, after: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Features of each date, finest first; both pass as one batch, so batch normalisation sees both dates."""
        pairs = [halves(level) for level in self.encoder(torch.cat(self.common(before, after)))]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


class Decoder(nn.Module):
    """Transposed convolution to the next finer level, skips joined, convolutions; down to the input's resolution.

    The authors' code has transposed 3x3 convolutions of stride 1 where plain ones stand here: the same operation with
    its kernel turned round.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, skips: int = 1, dropout: float = DROPOUT) -> None:
        """Builds the decoder.

        Args:
            widths: of the encoder.
            skips: feature maps of the encoder's level that join each level: 1, or 2 where both dates' do.
            dropout: share of the channels that are dropped in training.
        """
        super().__init__()
        self.up = nn.ModuleList()
        self.merge = nn.ModuleList()
        for level in reversed(range(len(widths))):
            width = widths[level]
            # The last convolution of a level goes to the next finer one's width; that of the finest is the head.
            inner = [width] * (CONVOLUTIONS[level] - 1)
            finer = [widths[level - 1]] if level else []
            self.up.append(nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1))
            self.merge.append(_stack([width * (1 + skips), *inner, *finer], dropout))

    def forward(self, deepest: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Features at full resolution.

        Args:
            deepest: (B, widths[-1], H / 8, W / 8), of which the pooled values are the decoder's start.
            skips: per level, finest first, (B, skips * widths[i], H / 2**i, W / 2**i).

        Returns:
            (B, widths[0], H, W).
        """
        features = functional.max_pool2d(deepest, 2)
        for up, merge, skip in zip(self.up, self.merge, reversed(skips), strict=True):
            features = merge(torch.cat([up(features), skip], 1))
        return features


def _stack(channels: Sequence[int], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, width in pairwise(channels):
        layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        layers.append(nn.Dropout2d(dropout))
    return nn.Sequential(*layers)
