"""STANet: features that attend to each other across space and time, and their distance as the measure of change."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cdengine.models.backbones import SiameseEncoder
from cdengine.models.layers import ResidualBlock, attend, conv_norm_relu, halves, upsample

ATTENTIONS = ("pam", "bam", "none")
THRESHOLD = 1.0  # distance from which a pixel counts as changed: half the margin of 2 that the loss asks for
SLOPE = 4.0  # logits per unit of distance: probability 0.02 at distance 0 and 0.98 at the margin


class STANet(nn.Module):
    """Spatial-temporal attention network.

    Source: Chen & Shi 2020, "A Spatial-Temporal Attention-Based Method and a New Dataset for Remote Sensing Image
    Change Detection", Remote Sensing 12(10) 1662, figures 3 to 5; sizes of the authors' release: ResNet-18 with a
    third block of dilation 4 in its last stage, levels of stride 4 to 32 brought to 96 channels each, 64 at the end.

    The paper thresholds the distance D of the two dates' features at 1. Here logits = 4 (D - 1), so that a sigmoid
    gives 0.5 there and any loss on logits works; `distance` turns logits back into D for the batch-balanced
    contrastive loss of the paper (margin 2): mean of D² over unchanged plus mean of max(0, 2 - D)² over changed pixels.

    What differs: bilinear upsampling with pixel edges in place; the second block of the last stage is not dilated.

    Attributes:
        stride: heights and widths must be multiples of it.
    """

    def __init__(
        self,
        bands_before: int = 3,
        bands_after: int = 3,
        backbone: str = "resnet18",
        attention: str = "pam",
        width: int = 64,
        scales: Sequence[int] = (1, 2, 4, 8),
    ) -> None:
        """Builds the network with random weights.

        Args:
            bands_before: bands of the first date.
            bands_after: bands of the second date.
            backbone: name of a timm model that gives a feature pyramid.
            attention: "pam" (over several grids of sub-regions), "bam" (over the whole) or "none".
            width: channels of the features that are compared.
            scales: sub-regions per side of each branch of "pam"; they must divide `stride / 4`.
        """
        super().__init__()
        if attention not in ATTENTIONS:
            raise ValueError(f"attention is {attention!r}, but must be one of {', '.join(ATTENTIONS)}")
        self.encoder = SiameseEncoder(backbone, bands_before, bands_after)
        used = [index for index, stride in enumerate(self.encoder.strides) if stride >= 4]
        channels = [self.encoder.channels[index] for index in used]
        strides = [self.encoder.strides[index] for index in used]
        self.first, self.stride, self.factor = used[0], strides[-1], strides[0]
        if attention == "pam" and any((self.stride // self.factor) % scale for scale in scales):
            raise ValueError(f"scales is {tuple(scales)}, but each must divide {self.stride // self.factor}")
        self.context = ResidualBlock(channels[-1], channels[-1], dilation=4)
        self.reduce = nn.ModuleList(conv_norm_relu(count, 96, 1) for count in channels)
        self.factors = [stride // strides[0] for stride in strides]
        self.merge = nn.Sequential(
            conv_norm_relu(96 * len(channels), 256), nn.Dropout(0.5), conv_norm_relu(256, width, 1)
        )
        self.attention: nn.Module = nn.Identity()
        if attention != "none":
            branches = scales if attention == "pam" else (1,)
            self.attention = PyramidAttention(width, branches) if attention == "pam" else BasicAttention(width)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Logits of change.

        Args:
            before: (B, bands_before, H, W), normalised.
            after: (B, bands_after, H, W), normalised.

        Returns:
            (B, 1, H, W).
        """
        levels = self.encoder.backbone(self.encoder.join(before, after))[self.first :]
        levels[-1] = self.context(levels[-1])
        reduced = [
            upsample(layer(level), factor)
            for layer, level, factor in zip(self.reduce, levels, self.factors, strict=True)
        ]
        # Dates above each other, so that plain 2-D convolutions see both.
        above, below = halves(self.attention(torch.cat(halves(self.merge(torch.cat(reduced, 1))), 2)), 2)
        difference = above.float() - below.float()  # squares of half precision lose what is near zero
        # The small constant keeps the root's gradient finite where both dates agree exactly.
        distance = torch.sqrt((difference * difference).sum(1, keepdim=True) + 1e-12)
        return SLOPE * (upsample(distance, self.factor) - THRESHOLD)

    @staticmethod
    def distance(logits: Tensor) -> Tensor:
        """The features' Euclidean distance D that logits of this network stand for."""
        return logits / SLOPE + THRESHOLD


class BasicAttention(nn.Module):
    """BAM: every pixel of both dates attends to every other (figure 4); the result is added to the features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(width, width // 8, 1)
        self.key = nn.Conv2d(width, width // 8, 1)
        self.value = nn.Conv2d(width, width, 1)

    def forward(self, pair: Tensor) -> Tensor:
        """(B, C, 2 H, W), the first date above the second, to the same shape."""
        query, key, value = (layer(pair).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        seen = attend(query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1), query.shape[-1] ** -0.5)
        return pair + torch.unflatten(seen.squeeze(1).transpose(1, 2), 2, pair.shape[2:])


class PyramidAttention(nn.Module):
    """PAM: branches that attend within 1, 4, 16 and 64 sub-regions, concatenated and mixed (figure 5)."""

    def __init__(self, width: int, scales: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(RegionAttention(width, scale) for scale in scales)
        self.mix = nn.Conv2d(width * len(scales), width, 1, bias=False)

    def forward(self, pair: Tensor) -> Tensor:
        """(B, C, 2 H, W) to the same shape."""
        mixed: Tensor = self.mix(torch.cat([branch(pair) for branch in self.branches], 1))
        return mixed


class RegionAttention(nn.Module):
    """Attention of both dates' pixels within each of `scale` x `scale` sub-regions."""

    def __init__(self, width: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.query = nn.Sequential(nn.Conv2d(width, width // 8, 1), nn.BatchNorm2d(width // 8))
        self.key = nn.Sequential(nn.Conv2d(width, width // 8, 1), nn.BatchNorm2d(width // 8))
        self.value = nn.Conv2d(width, width, 1)

    def forward(self, pair: Tensor) -> Tensor:
        """(B, C, 2 H, W) to the same shape."""
        height, width = pair.shape[-2] // 2 // self.scale, pair.shape[-1] // self.scale
        query, key, value = (self._regions(layer(pair), height, width) for layer in (self.query, self.key, self.value))
        seen = attend(query, key, value, query.shape[-1] ** -0.5)
        # (B, regions, pixels, C), pixels as (date, row, column), back to (B, C, 2 H, W)
        split = torch.unflatten(torch.unflatten(seen, 2, (2, height, width)), 1, (self.scale, self.scale))
        return split.permute(0, 6, 3, 1, 4, 2, 5).flatten(5, 6).flatten(2, 4)

    def _regions(self, features: Tensor, height: int, width: int) -> Tensor:
        """(B, C, 2 H, W) to (B, regions, pixels of both dates, C)."""
        split = torch.unflatten(torch.unflatten(features, 3, (self.scale, width)), 2, (2, self.scale, height))
        return split.permute(0, 3, 5, 2, 4, 6, 1).flatten(3, 5).flatten(1, 2)
