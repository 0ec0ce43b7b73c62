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
    for axis in (0, 1):
        lines = values if axis == 0 else values.T
        total = values.copy()
        view = total if axis == 0 else total.T
        for shift in range(1, min(size // 2, len(lines) - 1) + 1):
            view[shift:] += lines[:-shift]
            view[:-shift] += lines[shift:]
        values = total
    return values


def box_weight(valid: Array, size: int) -> Array:
    """1 / number of valid pixels among size × size around each pixel; 0 where there are none.

    Times a `box_sum` of values that are 0 where not valid, this is the mean of the valid ones.

    Args:
        valid: (H, W) bool.
        size: odd.

    Returns:
        float32 (H, W).
    """
    count = box_sum(valid.astype(np.float32), size)
    weight: Array = np.zeros_like(count)
    np.divide(np.float32(1), count, out=weight, where=count > 0)
    return weight


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
