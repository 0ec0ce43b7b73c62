"""BTC: a Siamese pyramid encoder, the difference of each level, a segmentation decoder, and nothing else."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cdengine.models.backbones import SiameseEncoder
from cdengine.models.decoders import decoder as make_decoder
from cdengine.models.layers import upsample

DIFFERENCES = ("absolute", "signed")
FINEST = 4  # levels finer than a quarter of the input's resolution cost most of the time and add little


class BTC(nn.Module):
    """Plain subtract-and-decode on any timm pyramid.

    Source: Rolih, Fucka, Wolf & Cehovin Zajc 2025, "Be the Change You Want to See: Revisiting Remote Sensing Change
    Detection Practices", IEEE TGRS, arXiv 2507.03367, figure 2: Swin encoder, subtraction at every level, UPerNet
    decoder of 512 channels, one logit upsampled bilinearly by 4.

    BTC-B of the paper is `backbone="swin_base_patch4_window7_224", decoder="upernet", width=512, difference="signed"`.
    The defaults are a small network for CPUs: ResNet-18 without its last stage and an FPN decoder of 128 channels. What
    differs from the paper besides: with "absolute", exchanging the dates does not change the answer.

    Attributes:
        stride: heights and widths must be multiples of it.
    """

    def __init__(
        self,
        bands_before: int = 3,
        bands_after: int = 3,
        backbone: str = "resnet18",
        levels: int = 4,
        decoder: str = "fpn",
        width: int = 128,
        difference: str = "absolute",
        norm: str = "batch",
    ) -> None:
        """Builds the network with random weights.

        Args:
            bands_before: bands of the first date.
            bands_after: bands of the second date.
            backbone: name of a timm model that gives a feature pyramid.
            levels: how many of its levels exist, from the finest (ResNet-18 has five, of strides 2 to 32). Those of
                stride 2 feed the next one but are not decoded.
            decoder: "fpn" (fast) or "upernet".
            width: channels of the decoder.
            difference: "absolute" or "signed" (after - before).
            norm: of the decoder, "batch" or "group"; "group" does not look at the batch.
        """
        super().__init__()
        if difference not in DIFFERENCES:
            raise ValueError(f"difference is {difference!r}, but must be one of {', '.join(DIFFERENCES)}")
        self.encoder = SiameseEncoder(backbone, bands_before, bands_after, levels=levels)
        self.signed = difference == "signed"
        channels, strides = self.encoder.channels, self.encoder.strides
        self.first = sum(stride < FINEST for stride in strides)
        if self.first == len(strides):
            raise ValueError(f"levels is {levels}, which leaves no level of {backbone!r} of stride {FINEST} or more")
        self.stride = strides[-1]
        self.factor = strides[self.first]
        self.decoder = make_decoder(decoder, channels[self.first :], strides[self.first :], width, norm)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Logits of change.

        Args:
            before: (B, bands_before, H, W), normalised.
            after: (B, bands_after, H, W), normalised.

        Returns:
            (B, 1, H, W).
        """
        first, second = self.encoder(before, after)
        pairs = list(zip(first, second, strict=True))[self.first :]
        differences = [b - a if self.signed else torch.abs(b - a) for a, b in pairs]
        return upsample(self.head(self.decoder(differences)), self.factor)
