"""The common base of semantic change networks: one encoder, a change branch, and a class head for each date."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cdengine.models.backbones import SiameseEncoder
from cdengine.models.layers import ResidualBlock, conv_norm_relu, halves, upsample
from cdengine.models.logits import Logits


class ThreeHeads(nn.Module):
    """Classes before, classes after, and change, from one Siamese encoder.

    Source: SSCD-l of Ding, Guo, Liu, Mou, Zhang & Bruzzone 2022, "Bi-Temporal Semantic Reasoning for the Semantic
    Change Detection in HR Remote Sensing Images", IEEE TGRS, arXiv 2108.06103, figure 2(d): ResNet-34 of stride 8, its
    512 channels brought to 128, six residual blocks on both dates side by side for change, 1x1 convolutions for the
    classes.

    What differs: the stages that lose their stride are dilated, as is usual, which keeps the receptive field of
    trained weights (the authors' release leaves them undilated); parameters and multiply-adds are the same.

    Networks built on it override `reason_alone` (what happens to one date's features) or `reason_together` (what
    happens between the dates before classes are told); `change_features` sees what `reason_alone` gave.

    Attributes:
        stride: heights and widths must be multiples of it.
        width: channels of each date's features.
    """

    def __init__(
        self,
        bands_before: int = 3,
        bands_after: int = 3,
        backbone: str = "resnet34",
        width: int = 128,
        change_depth: int = 6,
        classes: int = 6,
    ) -> None:
        """Builds the network with random weights.

        Args:
            bands_before: bands of the first date.
            bands_after: bands of the second date.
            backbone: name of a timm model that gives a feature pyramid and can be dilated.
            width: channels of each date's features.
            change_depth: residual blocks of the change branch.
            classes: land-cover classes; "unchanged" is none of them, since the change head tells it.
        """
        super().__init__()
        self.encoder = SiameseEncoder(backbone, bands_before, bands_after, output_stride=8)
        self.stride, self.width = self.encoder.strides[-1], width
        self.reduce = conv_norm_relu(self.encoder.channels[-1], width, 1)
        blocks = [ResidualBlock(2 * width if index == 0 else width, width) for index in range(change_depth)]
        self.compare = nn.Sequential(*blocks)
        self.change = nn.Sequential(
            nn.Conv2d(width, width // 2, 1), nn.BatchNorm2d(width // 2), nn.ReLU(), nn.Conv2d(width // 2, 1, 1)
        )
        self.classify_before = nn.Conv2d(width, classes, 1)
        self.classify_after = nn.Conv2d(width, classes, 1)

    def forward(self, before: Tensor, after: Tensor) -> Logits:
        """Logits of change and of classes.

        Args:
            before: (B, bands_before, H, W), normalised.
            after: (B, bands_after, H, W), normalised.
        """
        both = self.reason_alone(self.reduce(self.encoder.backbone(self.encoder.join(before, after))[-1]))
        first, second = halves(both)
        change = self.change(self.change_features(first, second))
        first, second = self.reason_together(first, second)
        heads = (change, self.classify_before(first), self.classify_after(second))
        return Logits(*(upsample(head, self.stride) for head in heads))

    def reason_alone(self, both: Tensor) -> Tensor:
        """Features (2 B, width, H / stride, W / stride) of both dates as one batch, each date by itself."""
        return both

    def change_features(self, first: Tensor, second: Tensor) -> Tensor:
        """What the change head sees: (B, width, H / stride, W / stride)."""
        compared: Tensor = self.compare(torch.cat([first, second], 1))
        return compared

    def reason_together(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Each date's features in the light of the other's, for the class heads."""
        return first, second
