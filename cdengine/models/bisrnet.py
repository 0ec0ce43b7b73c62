"""Bi-SRNet: semantic change with attention within each date and across both."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cdengine.models.layers import attend
from cdengine.models.three_heads import ThreeHeads


class BiSRNet(ThreeHeads):
    """Bi-temporal semantic reasoning network.

    Source: Ding, Guo, Liu, Mou, Zhang & Bruzzone 2022, "Bi-Temporal Semantic Reasoning for the Semantic Change
    Detection in HR Remote Sensing Images", IEEE TGRS, arXiv 2108.06103, figures 3 to 5: SSCD-l with a Siamese
    reasoning block on each date (Siam-SR) and a cross-temporal one before the class heads (Cot-SR). Its semantic
    consistency loss is of the training. What differs: see `ThreeHeads`.
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
        """Builds the network with random weights; arguments as of `ThreeHeads`, `width` a multiple of 8."""
        super().__init__(bands_before, bands_after, backbone, width, change_depth, classes)
        self.siamese = Reasoning(width)
        self.cross = CrossReasoning(width)

    def reason_alone(self, both: Tensor) -> Tensor:
        """Siam-SR."""
        reasoned: Tensor = self.siamese(both)
        return reasoned

    def reason_together(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Cot-SR."""
        pair: tuple[Tensor, Tensor] = self.cross(first, second)
        return pair


class Projections(nn.Module):
    """Query, key and value of each pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(width, width // 8, 1)
        self.key = nn.Conv2d(width, width // 8, 1)
        self.value = nn.Conv2d(width, width, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) to three tensors (B, 1, pixels, channels)."""
        query, key, value = (
            layer(features).flatten(2).transpose(1, 2).unsqueeze(1) for layer in (self.query, self.key, self.value)
        )
        return query, key, value


class Reasoning(nn.Module):
    """Every pixel of a date attends to every other of it; the result is added with a learnt weight, 0 at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.projections = Projections(width)
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        query, key, value = self.projections(features)
        seen = attend(query, key, value, 1.0)
        return features + self.weight * _image(seen, features)


class CrossReasoning(nn.Module):
    """Every pixel of a date attends to the other date's pixels, with projections of each date's own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Projections(width)
        self.second = Projections(width)
        self.weights = nn.Parameter(torch.zeros(2))

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) of each date to the same."""
        query1, key1, value1 = self.first(first)
        query2, key2, value2 = self.second(second)
        seen1 = _image(attend(query1, key2, value2, 1.0), first)
        seen2 = _image(attend(query2, key1, value1, 1.0), second)
        return first + self.weights[0] * seen1, second + self.weights[1] * seen2


def _image(sequence: Tensor, like: Tensor) -> Tensor:
    """(B, 1, pixels, C) to (B, C, H, W)."""
    return torch.unflatten(sequence.squeeze(1).transpose(1, 2), 2, like.shape[2:])
