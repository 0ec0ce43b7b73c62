"""ChangeStar: a segmentation network whose features of two images, side by side, also tell change."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from cdengine.models.backbones import SiameseEncoder
from cdengine.models.layers import conv_norm_relu, halves, upsample
from cdengine.models.logits import Logits


class ChangeStar(nn.Module):
    """FarSeg with ChangeMixin.

    Sources: Zheng, Ma, Zhang & Zhong 2021, "Change is Everywhere: Single-Temporal Supervised Object Change Detection
    in Remote Sensing Imagery", ICCV, arXiv 2108.07002, figure 3 and equation 5 (ChangeMixin: both dates' features side
    by side, four convolutions of 16 channels); Zheng et al. 2020, "Foreground-Aware Relation Network", CVPR, figure 3
    (FarSeg: FPN, foreground-scene relation, light decoder).

    Training from labels of single dates: build the network with `classes` (object classes and a background), take a
    batch of labelled images from anywhere, pair each with another by `pseudo_pairs`, and train on the pairs with any
    semantic loss: what differs in label is change (the paper's equation 2). Trained on true pairs with change labels
    only, it needs no classes and gives one tensor.

    What differs: the change logits are the mean over both orders of the dates (the paper trains both and predicts with
    one), so that exchanging the dates does not change the answer; no drop-connect.

    Attributes:
        stride: heights and widths must be multiples of it.
    """

    def __init__(
        self,
        bands_before: int = 3,
        bands_after: int = 3,
        backbone: str = "resnet50",
        width: int = 256,
        mixin_width: int = 16,
        mixin_depth: int = 4,
        classes: int = 0,
    ) -> None:
        """Builds the network with random weights.

        Args:
            bands_before: bands of the first date.
            bands_after: bands of the second date.
            backbone: name of a timm model that gives a feature pyramid.
            width: channels of the segmentation features.
            mixin_width: channels of ChangeMixin.
            mixin_depth: its convolutions in front of the last one.
            classes: of the segmentation; 0: there is none, and the result is one tensor.
        """
        super().__init__()
        self.encoder = SiameseEncoder(backbone, bands_before, bands_after)
        used = [index for index, stride in enumerate(self.encoder.strides) if stride >= 4]
        channels = [self.encoder.channels[index] for index in used]
        strides = [self.encoder.strides[index] for index in used]
        self.first, self.stride, self.factor = used[0], strides[-1], strides[0]
        self.segment = FarSeg(channels, strides, width)
        layers: list[nn.Module] = []
        for index in range(mixin_depth):
            inputs = mixin_width if index else 2 * width
            layers += [nn.Conv2d(inputs, mixin_width, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(mixin_width)]
        self.mixin = nn.Sequential(*layers, nn.Conv2d(mixin_width, 1, 3, padding=1))
        self.classify = nn.Conv2d(width, classes, 3, padding=1) if classes else None

    def forward(self, before: Tensor, after: Tensor) -> Tensor | Logits:
        """Logits of change, and of classes where there are any.

        Args:
            before: (B, bands_before, H, W), normalised.
            after: (B, bands_after, H, W), normalised.

        Returns:
            (B, 1, H, W), or `Logits`.
        """
        levels = self.encoder.backbone(self.encoder.join(before, after))[self.first :]
        features = self.segment(levels)
        first, second = halves(features)
        forth, back = torch.cat([first, second], 1), torch.cat([second, first], 1)
        orders = halves(self.mixin(torch.cat([forth, back])))
        change = upsample((orders[0] + orders[1]) / 2, self.factor)
        if self.classify is None:
            return change
        earlier, later = halves(upsample(self.classify(features), self.factor))
        return Logits(change, earlier, later)


def pseudo_pairs(images: Tensor, labels: Tensor, shift: int = 1, ignore: int = 255) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs each image of a batch with another of it, for training from labels of single dates.

    Args:
        images: (B, C, H, W).
        labels: (B, H, W) class numbers.
        shift: each image is paired with the one so many places further on, 1 to B - 1.
        ignore: label of pixels that are unknown.

    Returns:
        The other images, their labels, and change (B, H, W) uint8: 1 where the labels differ, `ignore` where either is
        unknown.
    """
    later, classes = images.roll(-shift, 0), labels.roll(-shift, 0)
    change = (labels != classes).to(torch.uint8)
    return later, classes, change.masked_fill((labels == ignore) | (classes == ignore), ignore)


class FarSeg(nn.Module):
    """Foreground-aware segmentation features at the finest level's resolution, without a classifier."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(conv_norm_relu(count, width, 1) for count in channels)
        self.smooth = nn.ModuleList(conv_norm_relu(width, width) for _ in channels)
        self.scene = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels[-1], width, 1), nn.ReLU(), nn.Conv2d(width, width, 1)) for _ in channels
        )
        self.content = nn.ModuleList(conv_norm_relu(width, width, 1) for _ in channels)
        self.encode = nn.ModuleList(conv_norm_relu(width, width, 1) for _ in channels)
        # Per level as many convolutions as there are doublings to the finest one, at least one.
        doublings = [(stride // strides[0]).bit_length() - 1 for stride in strides]
        self.decode = nn.ModuleList(
            nn.ModuleList(conv_norm_relu(width, width) for _ in range(max(count, 1))) for count in doublings
        )
        self.doublings = doublings
        self.steps = [coarse // fine for fine, coarse in pairwise(strides)]

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels (B, channels[i], H / strides[i], W / strides[i]), finest first, to (B, width, H / strides[0], ...)."""
        scene = levels[-1].mean((2, 3), keepdim=True)
        total: Tensor | None = None
        for index, level in enumerate(self._pyramid(levels)):
            likeness = (self.scene[index](scene) * self.content[index](level)).sum(1, keepdim=True)
            refined = torch.sigmoid(likeness) * self.encode[index](level)
            convolutions: Sequence[nn.Module] = self.decode[index]  # type: ignore[assignment]
            for convolution in convolutions:
                refined = upsample(convolution(refined), 2 if self.doublings[index] else 1)
            total = refined if total is None else total + refined
        assert total is not None
        return total / len(levels)

    def _pyramid(self, levels: Sequence[Tensor]) -> list[Tensor]:
        narrow = [lateral(level) for lateral, level in zip(self.laterals, levels, strict=True)]
        sums = [narrow[-1]]
        for finer, step in zip(narrow[-2::-1], self.steps[::-1], strict=True):
            sums.append(finer + nn.functional.interpolate(sums[-1], scale_factor=step, mode="nearest"))
        return [smooth(level) for smooth, level in zip(self.smooth, sums[::-1], strict=True)]
