"""Nearest-neighbour and cubic sampling of a date onto the grid, for `align`; detection itself reads bilinearly."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from cdengine.raster.grid import Window
from cdengine.raster.mapping import Mapping

Array = np.ndarray[Any, np.dtype[Any]]
Method = Literal["nearest", "bilinear", "cubic"]


def sample(
    method: Literal["nearest", "cubic"],
    mapping: Mapping,
    window: Window,
    source: Window,
    part: Window,
    pixels: Array,
    valid: Array,
) -> tuple[Array, Array]:
    """Pixels of a window of the grid.

    Args:
        method: "nearest" takes the source pixel that holds the centre; "cubic" is Keys' convolution with a = -1/2
            (1981, IEEE Trans. ASSP 29, 1153), averaged over several samples where the source is finer than the
            grid, and the nearest pixel where one of its sixteen is not data.
        mapping: grid to source positions.
        window: what is wanted, on the grid.
        source: the whole source raster.
        part: the part of it that `pixels` and `valid` show.
        pixels: (C, h, w).
        valid: (h, w) bool.

    Returns:
        (C, H, W) in the dtype of `pixels`, 0 where there is no data, and (H, W) bool.
    """
    shape = (window.height, window.width)
    if part.pixels == 0 or not valid.any():
        return np.zeros((len(pixels), *shape), pixels.dtype), np.zeros(shape, bool)
    rows, cols = np.broadcast_arrays(*mapping.positions(window))
    with np.errstate(invalid="ignore"):
        ok = (rows >= 0) & (rows < source.height) & (cols >= 0) & (cols < source.width)
    at = _index(rows, part.row, part.height), _index(cols, part.col, part.width)
    ok &= valid[at]
    out = np.where(ok, pixels[:, at[0], at[1]], pixels.dtype.type(0))
    if method == "cubic" and ok.any():
        smooth, complete = _cubic(mapping, window, part, pixels, valid)
        np.copyto(out, smooth, where=ok & complete)
    return out, ok


def _index(position: Array, first: int, size: int) -> Array:
    whole = np.floor(np.where(np.isfinite(position), position, first)).astype(np.int64) - first
    clipped: Array = np.clip(whole, 0, size - 1)
    return clipped


def _cubic(mapping: Mapping, window: Window, part: Window, pixels: Array, valid: Array) -> tuple[Array, Array]:
    """Values in the stored dtype, and where all pixels under the kernel are data."""
    work = np.float32 if pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32 else np.float64
    shape = (window.height, window.width)
    total, complete = np.zeros((len(pixels), *shape), work), np.ones(shape, bool)
    counts = mapping.subsamples
    for at_row in range(counts[0]):
        for at_col in range(counts[1]):
            offset = (at_row + 0.5) / counts[0] - 0.5, (at_col + 0.5) / counts[1] - 0.5
            rows, cols = np.broadcast_arrays(*mapping.positions(window, offset))
            row_taps, col_taps = _taps(rows, part.row, part.height, work), _taps(cols, part.col, part.width, work)
            for row, row_weight in row_taps:
                for col, col_weight in col_taps:
                    complete &= valid[row, col]
                    total += pixels[:, row, col] * (row_weight * col_weight)
    total /= work(counts[0] * counts[1])
    if pixels.dtype.kind != "f":
        limits = np.iinfo(pixels.dtype)
        with np.errstate(invalid="ignore"):
            total = np.clip(np.rint(np.where(complete, total, 0)), limits.min, limits.max)
    with np.errstate(invalid="ignore", over="ignore"):
        return total.astype(pixels.dtype), complete


def _taps(position: Array, first: int, size: int, work: Any) -> list[tuple[Array, Array]]:  # noqa: ANN401 (a NumPy type)
    """Indices into the part (repeated at its edges) and weights of the four pixels around each position."""
    centre = np.where(np.isfinite(position), position, first) - 0.5
    low = np.floor(centre)
    t = (centre - low).astype(work)
    weights = (
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    start = low.astype(np.int64) - first
    return [(np.clip(start + step - 1, 0, size - 1), weight) for step, weight in enumerate(weights)]
