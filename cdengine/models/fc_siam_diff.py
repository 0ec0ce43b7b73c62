"""FC-Siam-diff: a Siamese U-Net whose skip connections carry the absolute difference of the two dates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cdengine.models.backbones import SiameseEncoder
from cdengine.models.fully_convolutional import WIDTHS, Decoder, Encoder, SharedEncoder


class FCSiamDiff(nn.Module):
    """Fully convolutional Siamese network with difference skips.

    Source: Caye Daudt, Le Saux & Boulch 2018, "Fully Convolutional Siamese Networks for Change Detection", ICIP,
    arXiv 1810.08462, figure 2(c).

    With `backbone=None` it is the paper's network, trained from scratch: four levels of 16 to 128 channels, dropout, a
    decoder that starts from the second date's deepest features. One logit with a sigmoid stands for its two with a
    softmax.

    With a backbone (ResNet-18 unless told otherwise) it is the same idea on a stronger encoder, and differs from the
    paper in more: the decoder starts from the difference of the deepest features, so that exchanging the dates does
    not change the answer; batch normalisation stands for dropout in the decoder.

    Attributes:
        stride: heights and widths must be multiples of it.
    """

    def __init__(
        self,
        bands_before: int = 3,
        bands_after: int = 3,
        backbone: str | None = "resnet18",
        widths: Sequence[int] | None = None,
    ) -> None:
        """Builds the network with random weights.

        Args:
            bands_before: bands of the first date.
            bands_after: bands of the second date.
            backbone: name of a timm model that gives a feature pyramid, or None for the paper's own encoder.
            widths: with a backbone: channels of the decoder after each upsampling, coarsest first, as many as the
                backbone has levels (256, 128, … 16 unless told otherwise); without: channels of the paper's four
                levels, finest first (16, 32, 64, 128).
        """
        super().__init__()
        self.encoder: SharedEncoder | SiameseEncoder
        self.decoder: Decoder | nn.ModuleList
        if backbone is None:
            widths = WIDTHS if widths is None else widths
            self.encoder = SharedEncoder(bands_before, bands_after, widths)
            self.stride = Encoder.stride
            self.decoder = Decoder(widths)
            self.head = nn.Conv2d(widths[0], 1, 3, padding=1)
            return
        self.encoder = SiameseEncoder(backbone, bands_before, bands_after)
        channels, strides = self.encoder.channels, self.encoder.strides
        widths = (256, 128, 64, 32, 16) if widths is None else widths
        if len(widths) != len(channels):
            raise ValueError(f"widths has {len(widths)} entries, backbone {backbone!r} has {len(channels)} levels")
        self.stride = strides[-1]
        # Coarsest level first; behind the finest comes the input's own resolution, which has no skip.
        skips = [*reversed(channels[:-1]), 0]
        finer = [*reversed(strides[:-1]), 1]
        inputs = [channels[-1], *widths[:-1]]
        factors = [coarse // fine for coarse, fine in zip(reversed(strides), finer, strict=True)]
        self.decoder = nn.ModuleList(_Up(*sizes) for sizes in zip(inputs, skips, widths, factors, strict=True))
        self.head = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Logits of change.

        Args:
            before: (B, bands_before, H, W), normalised.
            after: (B, bands_after, H, W), normalised.

        Returns:
            (B, 1, H, W).
        """
        first, second = self.encoder(before, after)
        differences = [torch.abs(a - b) for a, b in zip(first, second, strict=True)]
        if isinstance(self.decoder, Decoder):
            features = self.decoder(second[-1], differences)
        else:
            features, *skips = reversed(differences)
            for up, skip in zip(self.decoder, [*skips, None], strict=True):
                features = up(features, skip)
        logits: Tensor = self.head(features)
        return logits


class _Up(nn.Module):
    """Transposed convolution to the next finer level, then the skip joined and two convolutions."""

    def __init__(self, channels: int, skip: int, width: int, factor: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels, width, factor, stride=factor)
        self.merge = nn.Sequential(*_convolution(width + skip, width), *_convolution(width, width))

    def forward(self, coarse: Tensor, skip: Tensor | None) -> Tensor:
        fine = self.up(coarse)
        merged: Tensor = self.merge(fine if skip is None else torch.cat([fine, skip], 1))
        return merged


def _convolution(channels: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
