"""Changer: two dates that exchange parts of their features within the encoder, and are aligned before comparison."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from cdengine.models.backbones import SiameseEncoder
from cdengine.models.layers import conv_norm_relu, halves, upsample


class ChangerEx(nn.Module):
    """MetaChanger with feature exchange and flow dual-alignment fusion.

    Source: Fang, Li & Li 2023, "Changer: Feature Interaction is What You Need for Change Detection", IEEE TGRS, arXiv
    2209.08290, figures 2, 4 and 5: every other column is exchanged behind the second stage, every other channel
    behind the third and fourth; each level is brought to `width` channels, all together to half of that, and the two
    dates are warped onto each other.

    What differs: both dates pass the encoder as one batch; one logit stands for two. The paper's ResNet-18 begins with
    three 3x3 convolutions: `backbone="resnet18c"`; its MiT-b0 is `backbone="mit_b0"`. The default has the usual 7x7
    convolution, for which there are trained weights.

    Attributes:
        stride: heights and widths must be multiples of it.
    """

    def __init__(
        self, bands_before: int = 3, bands_after: int = 3, backbone: str = "resnet18", width: int = 128
    ) -> None:
        """Builds the network with random weights.

        Args:
            bands_before: bands of the first date.
            bands_after: bands of the second date.
            backbone: name of a timm model whose stages run one by one (ResNets, ConvNeXts, mit_b0 to mit_b5).
            width: channels of each level in the decoder; even.
        """
        super().__init__()
        self.encoder = SiameseEncoder(backbone, bands_before, bands_after)
        self.encoder.backbone.stages()  # refuses what cannot run stage by stage
        used = [index for index, stride in enumerate(self.encoder.strides) if stride >= 4]
        strides = [self.encoder.strides[index] for index in used]
        self.first, self.stride, self.factor = used[0], strides[-1], strides[0]
        self.factors = [stride // strides[0] for stride in strides]
        self.reduce = nn.ModuleList(conv_norm_relu(self.encoder.channels[index], width, 1) for index in used)
        self.fuse = conv_norm_relu(width * len(used), width // 2, 1)
        self.align = DualAlignment(width // 2)
        self.project = nn.Sequential(
            nn.Conv2d(width, width, 1),
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            nn.GELU(),
            nn.Conv2d(width, width, 1),
        )
        self.dropout = nn.Dropout2d(0.1)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Logits of change.

        Args:
            before: (B, bands_before, H, W), normalised.
            after: (B, bands_after, H, W), normalised.

        Returns:
            (B, 1, H, W).
        """
        levels = self._levels(self.encoder.join(before, after))
        reduced = [
            upsample(layer(level), factor)
            for layer, level, factor in zip(self.reduce, levels, self.factors, strict=True)
        ]
        aligned = self.align(*halves(self.fuse(torch.cat(reduced, 1))))
        projected = aligned + self.project(aligned)
        return upsample(self.head(self.dropout(projected)), self.factor)

    def _levels(self, both: Tensor) -> list[Tensor]:
        """Levels of (2 B, C, H, W) of both dates, exchanged on the way."""
        levels: list[Tensor] = []
        for index, stage in enumerate(self.encoder.backbone.stages()):
            for module in stage:
                both = module(both)
            if index > self.first:
                both = exchange(both, 3 if index == self.first + 1 else 1)
            if index >= self.first:
                levels.append(both)
        return levels


def exchange(both: Tensor, dim: int) -> Tensor:
    """Swaps the dates in every other place along a dimension (1: channels, 3: columns), beginning with the first.

    Args:
        both: (2 B, C, H, W), the first date first.
        dim: of the tensor.
    """
    shape = [1] * both.ndim
    shape[dim] = -1
    swapped = (torch.arange(both.shape[dim], device=both.device) % 2 == 0).view(shape)
    first, second = halves(both)
    return torch.cat([torch.where(swapped, second, first), torch.where(swapped, first, second)])


class DualAlignment(nn.Module):
    """Flow dual-alignment fusion (figure 5): each date is warped onto the other and compared there."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.flow = nn.Sequential(
            nn.Conv2d(2 * width, 2 * width, 5, padding=2, groups=2 * width),
            nn.InstanceNorm2d(2 * width),
            nn.GELU(),
            nn.Conv2d(2 * width, 4, 1, bias=False),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(B, C, H, W) of each date to (B, 2 C, H, W)."""
        onto_second, onto_first = self.flow(torch.cat([first, second], 1)).chunk(2, 1)
        return torch.cat([warp(first, onto_second) - second, warp(second, onto_first) - first], 1)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Looks up (B, C, H, W) at places shifted by `flow` (B, 2, H, W): x, y in half pixels; bilinear, 0 outside."""
    height, width = image.shape[-2:]
    # In float32 whatever the precision: half of it would tell places to a few pixels only. Not linspace: pixel centres
    # at -1 to 1 as a formula of the size, which an exported graph can compute.
    x = torch.arange(width, device=image.device, dtype=torch.float32) * (2.0 / max(width - 1, 1)) - 1.0
    y = torch.arange(height, device=image.device, dtype=torch.float32) * (2.0 / max(height - 1, 1)) - 1.0
    shift = flow.float()
    places = torch.stack([x + shift[:, 0] / width, y.unsqueeze(1) + shift[:, 1] / height], -1)
    return functional.grid_sample(image.float(), places, mode="bilinear", padding_mode="zeros", align_corners=True)
