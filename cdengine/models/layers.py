"""Small parts that several networks share: convolution with normalisation, upsampling, exact adaptive pooling."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

NORMS = ("batch", "group")


def normalisation(kind: str, channels: int) -> nn.Module:
    """A normalisation layer.

    Args:
        kind: "batch", or "group" (one group per 16 channels, Wu & He 2018), which does not look at the batch.
        channels: of the features.

    Raises:
        ValueError: unknown kind.
    """
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        return nn.GroupNorm(channels // 16 if channels % 16 == 0 else 1, channels)
    raise ValueError(f"norm is {kind!r}, but must be one of {', '.join(NORMS)}")


def conv_norm_relu(channels: int, width: int, kernel: int = 3, *, norm: str = "batch", dilation: int = 1) -> nn.Module:
    """Convolution that keeps the size, normalisation, ReLU."""
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(channels, width, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(convolution, normalisation(norm, width), nn.ReLU(inplace=True))


def upsample(image: Tensor, factor: int) -> Tensor:
    """Bilinear, by a whole factor (so that an exported graph holds for every size); pixel edges stay in place."""
    if factor == 1:
        return image
    enlarged: Tensor = functional.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)
    return enlarged


def grid_pool(image: Tensor, cells: int) -> Tensor:
    """Mean over a grid of `cells` x `cells` windows, as `adaptive_avg_pool2d` cuts them.

    Written as two matrix products, since ONNX has no adaptive pooling for sizes known only when it runs.

    Args:
        image: (B, C, H, W).
        cells: windows per side.

    Returns:
        (B, C, cells, cells).
    """
    rows = _windows(image.shape[-2], cells, image)
    columns = _windows(image.shape[-1], cells, image)
    return rows @ image @ columns.transpose(0, 1)


def _windows(size: int, cells: int, like: Tensor) -> Tensor:
    """(cells, size) weights: row i is 1 / length over [floor(i size / cells), ceil((i + 1) size / cells))."""
    index = torch.arange(cells, device=like.device).unsqueeze(1)
    start = index * size // cells
    end = ((index + 1) * size + cells - 1) // cells
    at = torch.arange(size, device=like.device).unsqueeze(0)
    inside = ((at >= start) & (at < end)).to(like.dtype)
    return inside / (end - start).to(like.dtype)
