"""Bilinear resampling in memory that never blends nodata into data, and whose pixels do not depend on each other.

An output pixel is data where the source pixel that holds its centre is. Its value is the mean of the four source
pixels around the centre, weighted by nearness, those that are not data left out and the weights scaled up again. Where
the source is finer than the grid, several such samples spread over the output pixel are averaged: no detail is skipped.
Every step is element-wise, so a pixel is the same to the last bit whatever window it is computed in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cdengine.raster.grid import Window
from cdengine.raster.mapping import AffineMapping, Mapping

Array = np.ndarray[Any, np.dtype[Any]]


def needed(mapping: Mapping, window: Window, source: Window) -> Window:
    """The part of `source` (the whole raster) that `resample` reads for `window`; zero-sized when there is none."""
    if isinstance(mapping, AffineMapping) and mapping.axis_aligned:
        rows, cols = mapping.rows(window, 0.0), mapping.cols(window, 0.0)
    else:
        rows, cols = mapping.positions(window)
    inside = np.isfinite(rows) & np.isfinite(cols) if rows.shape == cols.shape else None
    if inside is not None and rows.ndim == 2:
        with np.errstate(invalid="ignore"):
            inside &= (rows >= 0) & (rows < source.height) & (cols >= 0) & (cols < source.width)
        if not inside.any():
            return Window(0, 0, 0, 0)
        rows, cols = rows[inside], cols[inside]
    # Samples lie within half an output pixel of the centre: n/2 + 1 source pixels, and one more for the neighbours.
    margin = max(mapping.subsamples) + 2
    row, col = int(np.floor(rows.min())) - margin, int(np.floor(cols.min())) - margin
    stop_r, stop_c = int(np.floor(rows.max())) + 1 + margin, int(np.floor(cols.max())) + 1 + margin
    return Window(row, col, stop_r - row, stop_c - col).intersect(source)


def resample(
    mapping: Mapping, window: Window, source: Window, part: Window, pixels: Array, valid: Array
) -> tuple[Array, Array]:
    """Pixels of `window` on the common grid.

    Args:
        mapping: grid to source positions.
        window: what is wanted, on the grid.
        source: the whole source raster.
        part: the part of it that was read (`needed`).
        pixels: (C, h, w) of that part.
        valid: (h, w) bool of that part.

    Returns:
        (C, H, W) in the dtype of `pixels`, 0 where there is no data, and (H, W) bool.
    """
    out = np.zeros((len(pixels), window.height, window.width), pixels.dtype)
    if part.pixels == 0 or not valid.any():
        return out, np.zeros((window.height, window.width), bool)
    work = np.float32 if pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32 else np.float64
    whole = bool(valid.all())
    values = pixels.astype(work)
    if not whole:
        values[:, ~valid] = 0
    if isinstance(mapping, AffineMapping) and mapping.axis_aligned:
        total, weight, ok = _separable(mapping, window, source, part, values, valid, whole)
    else:
        total, weight, ok = _general(mapping, window, source, part, values, valid, whole)
    count = mapping.subsamples[0] * mapping.subsamples[1]
    if weight is not None:
        total /= np.where(weight > 0, weight, 1)
    elif count > 1:
        total /= work(count)
    _store(total, out)
    out[:, ~ok] = 0
    return out, ok


def _offsets(count: int) -> list[float]:
    return [(k + 0.5) / count - 0.5 for k in range(count)]


def _taps(position: Array, first: int, size: int) -> tuple[Array, Array, Array]:
    """The two neighbours of positions as indices into a part that starts at `first`, and the weight of the second."""
    shifted = position - 0.5
    low = np.floor(shifted)
    share = shifted - low
    index = low.astype(np.int64) - first
    return np.clip(index, 0, size - 1), np.clip(index + 1, 0, size - 1), share


def _separable(
    mapping: AffineMapping, window: Window, source: Window, part: Window, values: Array, valid: Array, whole: bool
) -> tuple[Array, Array | None, Array]:
    rows, cols = mapping.rows(window, 0.0), mapping.cols(window, 0.0)
    row_in, col_in = (rows >= 0) & (rows < source.height), (cols >= 0) & (cols < source.width)
    nearest_r = np.clip(np.floor(rows).astype(np.int64) - part.row, 0, part.height - 1)
    nearest_c = np.clip(np.floor(cols).astype(np.int64) - part.col, 0, part.width - 1)
    ok = row_in[:, None] & col_in[None, :] & valid[np.ix_(nearest_r, nearest_c)]
    row_taps = [_taps(mapping.rows(window, o), part.row, part.height) for o in _offsets(mapping.subsamples[0])]
    col_taps = [_taps(mapping.cols(window, o), part.col, part.width) for o in _offsets(mapping.subsamples[1])]
    total = _two_passes(values, row_taps, col_taps)
    if whole:
        return total, None, ok
    weight = _two_passes(valid.astype(values.dtype)[None], row_taps, col_taps)[0]
    full = _all_taps(valid, row_taps, col_taps)
    # exactly the count where nothing is left out: such a pixel must equal that of a window without gaps
    weight[full] = len(row_taps) * len(col_taps)
    return total, weight, ok


def _two_passes(values: Array, row_taps: list[Any], col_taps: list[Any]) -> Array:
    work = values.dtype
    down = 0
    for low, high, share in row_taps:
        part = share.astype(work)[None, :, None]
        down = down + (values[:, low] * (1 - part) + values[:, high] * part)
    across = 0
    for low, high, share in col_taps:
        part = share.astype(work)[None, None, :]
        across = across + (np.take(down, low, axis=2) * (1 - part) + np.take(down, high, axis=2) * part)
    return np.asarray(across)


def _all_taps(valid: Array, row_taps: list[Any], col_taps: list[Any]) -> Array:
    down = np.logical_and.reduce([valid[low] & valid[high] for low, high, _ in row_taps])
    return np.asarray(np.logical_and.reduce([down[:, low] & down[:, high] for low, high, _ in col_taps]))


def _general(
    mapping: Mapping, window: Window, source: Window, part: Window, values: Array, valid: Array, whole: bool
) -> tuple[Array, Array | None, Array]:
    rows, cols = mapping.positions(window)
    with np.errstate(invalid="ignore"):
        ok = (rows >= 0) & (rows < source.height) & (cols >= 0) & (cols < source.width)
    ok &= valid.ravel()[_nearest(rows, part.row, part.height) * part.width + _nearest(cols, part.col, part.width)]
    shape = (window.height, window.width)
    total = np.zeros((len(values), *shape), values.dtype)
    weight = None if whole else np.zeros(shape, values.dtype)
    full = np.ones(shape, bool)
    flat, flat_valid = values.reshape(len(values), -1), valid.ravel()
    for offset_r in _offsets(mapping.subsamples[0]):
        for offset_c in _offsets(mapping.subsamples[1]):
            if mapping.subsamples != (1, 1):
                rows, cols = mapping.positions(window, (offset_r, offset_c))
            for index, share in _corners(rows, cols, part, values.dtype):
                for band, source_band in zip(total, flat, strict=True):
                    band += source_band[index] * share
                if weight is not None:
                    tap = flat_valid[index]
                    weight += tap * share
                    full &= tap
    if weight is not None:
        weight[full] = mapping.subsamples[0] * mapping.subsamples[1]
    return total, weight, ok


def _nearest(position: Array, first: int, size: int) -> Array:
    return np.clip(np.floor(_finite(position)).astype(np.int64) - first, 0, size - 1)


def _finite(position: Array) -> Array:
    return np.nan_to_num(position, nan=-1e9, posinf=-1e9, neginf=-1e9).clip(-1e9, 1e9)


def _corners(rows: Array, cols: Array, part: Window, work: np.dtype[Any]) -> list[tuple[Array, Array]]:
    """Flat indices into the part and weights of the four source pixels around each position."""
    low_r, high_r, share_r = _taps(_finite(rows), part.row, part.height)
    low_c, high_c, share_c = _taps(_finite(cols), part.col, part.width)
    down, right = share_r.astype(work), share_c.astype(work)
    up, left = 1 - down, 1 - right
    low_r *= part.width
    high_r *= part.width
    return [
        (low_r + low_c, up * left),
        (low_r + high_c, up * right),
        (high_r + low_c, down * left),
        (high_r + high_c, down * right),
    ]


def _store(total: Array, out: Array) -> None:
    """Rounds half up, as GDAL does, and clips to what the dtype holds."""
    if out.dtype.kind == "f":
        out[...] = total
        return
    limits = np.iinfo(out.dtype)
    np.floor(total + 0.5, out=total)
    # float64 cannot hold the largest 64-bit integers; one step inside is the nearest that can be stored
    top = float(limits.max) if out.dtype.itemsize < 8 else float(np.nextafter(float(limits.max), 0))
    out[...] = np.clip(total, float(limits.min), top).astype(out.dtype)
