"""Sums over square neighbourhoods, by shifted additions.

Every pixel's sum is added up in the same order wherever the tile begins, and a wild value disturbs only the windows
that hold it; running sums (as in `scipy.ndimage.uniform_filter`) promise neither.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def box_sum(values: Array, size: int) -> Array:
    """Sum over size × size pixels centred on each pixel, zeros outside.

    Args:
        values: (H, W) float32.
        size: odd.
    """
    radius = size // 2
    for axis in (0, 1):
        widths = [(radius, radius) if other == axis else (0, 0) for other in (0, 1)]
        padded = np.pad(values, widths)
        values = _window(padded, 0, axis, values.shape[axis]).copy()
        for shift in range(1, size):
            values += _window(padded, shift, axis, values.shape[axis])
    return values


def box_mean(values: Array, valid: Array, size: int) -> Array:
    """Mean of the valid pixels among size × size around each pixel; 0 where there are none.

    Args:
        values: (H, W) float32; may be anything finite where not valid.
        valid: (H, W) bool.
        size: odd.
    """
    count = box_sum(valid.astype(np.float32), size)
    total = box_sum(np.where(valid, values, np.float32(0)), size)
    return np.divide(total, count, out=np.zeros_like(total), where=count > 0)


def correlate(values: Array, kernel: Array) -> Array:
    """Σ kernel[i, j] · neighbour[i, j], the raster's edge repeated outwards.

    Args:
        values: (H, W) float32.
        kernel: (h, h), h odd.
    """
    height, width = values.shape
    padded = np.pad(values, len(kernel) // 2, mode="edge")
    result = np.zeros_like(values)
    for row, weights in enumerate(kernel):
        for col, weight in enumerate(weights):
            result += padded[row : row + height, col : col + width] * np.float32(weight)
    return result


def patches(values: Array, size: int) -> Array:
    """(size², H, W) view-like copy: the neighbours of each pixel, the raster's edge repeated outwards."""
    height, width = values.shape
    padded = np.pad(values, size // 2, mode="edge")
    views = np.lib.stride_tricks.sliding_window_view(padded, (height, width))
    return views.reshape(size * size, height, width)


def _window(padded: Array, shift: int, axis: int, length: int) -> Array:
    return padded[shift : shift + length] if axis == 0 else padded[:, shift : shift + length]
