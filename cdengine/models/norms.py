"""Normalisations that torch lacks: over the channels of each pixel, and of values pooled over a whole image."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class PooledBatchNorm(nn.BatchNorm2d):
    """As its parent, but a single image in training is normalised with the running statistics.

    Behind a global pooling each channel has one value per image; one image alone has no variance, and torch refuses.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, 1, 1) to the same."""
        if self.training and len(input) == 1:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        return super().forward(input)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel (as in ConvNeXt, Liu et al. 2022)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
