"""ChangeFormer: a hierarchical transformer encoder, learnt differences, and a light decoder at full resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cdengine.models.backbones import SiameseEncoder
from cdengine.models.layers import upsample

# V6 of the authors' release, by which the paper's figures were made.
ENCODER = {"depths": (3, 3, 4, 3), "num_heads": (1, 2, 4, 8), "mlp_ratios": (4, 4, 4, 4)}


class ChangeFormer(nn.Module):
    """Siamese hierarchical transformer with difference modules.

    Source: Bandara & Patel 2022, "A Transformer-Based Siamese Network for Change Detection", IGARSS, arXiv 2201.01293,
    figure 1; sizes of version 6 of the authors' release: 64 to 512 channels, 3, 3, 4 and 3 layers, decoder of 256.

    The encoder is timm's PVT v2, which has the paper's parts (overlapping patches, attention to a downsampled image, a
    depth-wise convolution in the perceptron), with the release's 7x7 patches at every stage (PVT v2: 3x3 but for the
    first). What differs: one logit stands for two; the side outputs that the release may train with are left out
    (0.02 M parameters).

    Attributes:
        stride: heights and widths must be multiples of it.
    """

    def __init__(
        self,
        bands_before: int = 3,
        bands_after: int = 3,
        backbone: str = "v6",
        width: int = 256,
        full_resolution: bool = True,
    ) -> None:
        """Builds the network with random weights.

        Args:
            bands_before: bands of the first date.
            bands_after: bands of the second date.
            backbone: "v6", or the name of a timm model that gives a feature pyramid (mit_b0, say).
            width: channels of the decoder.
            full_resolution: decode at the input's resolution as the paper does; else bilinear upsampling from a
                quarter of it, which is a tenth of the work.
        """
        super().__init__()
        own = backbone == "v6"
        name, options = ("pvt_v2_b2", ENCODER) if own else (backbone, None)
        self.encoder = SiameseEncoder(name, bands_before, bands_after, options=options)
        if own:
            _enlarge_patches(self.encoder)
        used = [index for index, stride in enumerate(self.encoder.strides) if stride >= 4]
        self.first, self.stride = used[0], self.encoder.strides[-1]
        strides = [self.encoder.strides[index] for index in used]
        if strides[0] != 4:
            raise ValueError(f"backbone {backbone!r} has no level of stride 4")
        self.factors = [stride // 4 for stride in strides]
        self.embed = nn.ModuleList(nn.Conv2d(self.encoder.channels[index], width, 1) for index in used)
        self.differ = nn.ModuleList(_difference(width) for _ in used)
        self.fuse = nn.Sequential(nn.Conv2d(width * len(used), width, 1), nn.BatchNorm2d(width))
        self.full_resolution = full_resolution
        if full_resolution:
            self.refine = nn.Sequential(_Double(width), _Double(width))
        self.head = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Logits of change.

        Args:
            before: (B, bands_before, H, W), normalised.
            after: (B, bands_after, H, W), normalised.

        Returns:
            (B, 1, H, W).
        """
        first, second = self.encoder(before, after)
        levels = list(zip(first[self.first :], second[self.first :], self.embed, self.differ, strict=True))
        found: list[Tensor] = []
        for index, (a, b, embed, differ) in enumerate(reversed(levels)):
            difference = differ(torch.cat([embed(a), embed(b)], 1))
            if index:
                difference = difference + upsample(found[-1], self.factors[-index] // self.factors[-index - 1])
            found.append(difference)
        return self._decode(found)

    def _decode(self, differences: Sequence[Tensor]) -> Tensor:
        """Fuses the differences, coarsest first, at a quarter of the input's resolution."""
        enlarged = [upsample(x, factor) for x, factor in zip(differences, reversed(self.factors), strict=True)]
        fused = self.fuse(torch.cat(enlarged, 1))
        if self.full_resolution:
            logits: Tensor = self.head(self.refine(fused))
            return logits
        return upsample(self.head(fused), 4)


def _enlarge_patches(encoder: SiameseEncoder) -> None:
    """Gives the patches of every stage 7x7 pixels with random weights as timm draws them."""
    for module in encoder.modules():
        small = getattr(module, "proj", None)
        if not (isinstance(small, nn.Conv2d) and small.kernel_size == (3, 3) and small.stride == (2, 2)):
            continue
        large = nn.Conv2d(small.in_channels, small.out_channels, 7, stride=2, padding=3)
        nn.init.kaiming_normal_(large.weight, mode="fan_out", nonlinearity="relu")
        if large.bias is not None:
            nn.init.zeros_(large.bias)
        module.proj = large


def _difference(width: int) -> nn.Module:
    """The difference module: what has changed between two dates' features, learnt."""
    return nn.Sequential(
        nn.Conv2d(2 * width, width, 3, padding=1),
        nn.ReLU(),
        nn.BatchNorm2d(width),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
    )


class _Double(nn.Module):
    """Twice the resolution by a transposed convolution, then a residual block whose branch is scaled by 0.1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enlarge = nn.ConvTranspose2d(width, width, 4, stride=2, padding=1)
        self.branch = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, features: Tensor) -> Tensor:
        fine = self.enlarge(features)
        refined: Tensor = fine + 0.1 * self.branch(fine)
        return refined
