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


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation beside an identity (He et al. 2016, figure 2).

    Where the number of channels changes, a 1x1 convolution stands for the identity. The first one may be dilated.
    """

    def __init__(self, channels: int, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_norm_relu(channels, width, dilation=dilation),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        alike = channels == width
        self.skip = (
            nn.Identity() if alike else nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width))
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, width, H, W)."""
        return torch.relu(self.body(features) + self.skip(features))


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """softmax(scale * query @ key^T) @ value, without keeping the matrix of all weights in memory.

    Args:
        query: (..., N, D).
        key: (..., M, D).
        value: (..., M, E), with E >= D.
        scale: of the products.

    Returns:
        (..., N, E).
    """
    # The kernels that save memory want one width for all three; zeros change no product.
    missing = value.shape[-1] - query.shape[-1]
    if missing:
        query, key = functional.pad(query, (0, missing)), functional.pad(key, (0, missing))
    weighted: Tensor = functional.scaled_dot_product_attention(query, key, value, scale=scale)
    return weighted


def halves(tensor: Tensor, dim: int = 0) -> tuple[Tensor, Tensor]:
    """The first and the second half along a dimension of even size.

    `chunk` does the same, but in an exported graph only for the size that it was made with.
    """
    first, second = torch.unflatten(tensor, dim, (2, -1)).unbind(dim)
    return first, second


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
