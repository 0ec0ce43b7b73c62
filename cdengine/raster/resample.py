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
Taps = tuple[Array, Array, Array]

NOWHERE = Window(0, 0, 0, 0)


class Resampling:
    """The pixels of one window of the grid, out of the pixels of one source.

    Args:
        mapping: from grid to source positions.
        window: what is wanted, on the grid.
        source: the whole source raster.

    Attributes:
        part: the part of the source that must be read; zero-sized when the window lies outside.
    """

    def __init__(self, mapping: Mapping, window: Window, source: Window) -> None:
        self._mapping, self._window, self._source = mapping, window, source
        self._separable = isinstance(mapping, AffineMapping) and mapping.axis_aligned
        if isinstance(mapping, AffineMapping) and self._separable:
            self._rows, self._cols = mapping.rows(window, 0.0), mapping.cols(window, 0.0)
            row_in, col_in = _inside(self._rows, source.height), _inside(self._cols, source.width)
            self._in = row_in[:, None] & col_in[None, :]
            near_r, near_c = self._rows[row_in], self._cols[col_in]
        else:
            self._rows, self._cols = mapping.positions(window)
            self._in = _inside(self._rows, source.height) & _inside(self._cols, source.width)
            all_in = bool(self._in.all())
            near_r, near_c = (self._rows, self._cols) if all_in else (self._rows[self._in], self._cols[self._in])
        self.part = NOWHERE
        if near_r.size and near_c.size:
            margin = mapping.reach
            row, col = int(near_r.min()) - margin, int(near_c.min()) - margin
            stop_r, stop_c = int(near_r.max()) + 1 + margin, int(near_c.max()) + 1 + margin
            self.part = Window(row, col, stop_r - row, stop_c - col).intersect(source)

    def run(self, pixels: Array, valid: Array) -> tuple[Array, Array]:
        """Resamples.

        Args:
            pixels: (C, h, w) of `part`.
            valid: (h, w) bool of `part`.

        Returns:
            (C, H, W) of the window in the dtype of `pixels`, 0 where there is no data, and (H, W) bool.
        """
        out = np.zeros((len(pixels), self._window.height, self._window.width), pixels.dtype)
        if self.part.pixels == 0 or not valid.any():
            return out, np.zeros(out.shape[1:], bool)
        whole = bool(valid.all())
        exact = pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32
        values = _framed(pixels.astype(np.float32 if exact else np.float64))
        framed = _framed(valid)
        if not whole:
            values[:, ~framed] = 0
        total, weight, ok = (self._two_passes if self._separable else self._scattered)(values, framed, whole)
        samples = self._mapping.subsamples[0] * self._mapping.subsamples[1]
        if weight is not None:
            total /= np.where(weight > 0, weight, 1)
        elif samples > 1:
            total /= total.dtype.type(samples)
        _store(total, out)
        if not ok.all():
            out[:, ~ok] = 0
        return out, ok

    def _two_passes(self, values: Array, valid: Array, whole: bool) -> tuple[Array, Array | None, Array]:
        """Rows first, then columns: for maps without rotation."""
        mapping, window, part = self._mapping, self._window, self.part
        assert isinstance(mapping, AffineMapping)
        count_r, count_c = mapping.subsamples
        row_taps = [_taps(mapping.rows(window, o), part.row, part.height) for o in _offsets(count_r)]
        col_taps = [_taps(mapping.cols(window, o), part.col, part.width) for o in _offsets(count_c)]
        ok = self._in
        if not whole:
            near_r = _nearest(self._rows, part.row, part.height)
            near_c = _nearest(self._cols, part.col, part.width)
            ok = ok & valid[np.ix_(near_r, near_c)]
        total = _across(_down(values, row_taps), col_taps)
        if whole:
            return total, None, ok
        weight = _across(_down(valid[None].astype(values.dtype), row_taps), col_taps)[0]
        full = np.logical_and.reduce([valid[low] & valid[low + 1] for low, _, _ in row_taps])
        full = np.logical_and.reduce([full[:, low] & full[:, low + 1] for low, _, _ in col_taps])
        # exactly the count where nothing is left out: such a pixel must equal that of a window without gaps
        weight[full] = count_r * count_c
        return total, weight, ok

    def _scattered(self, values: Array, valid: Array, whole: bool) -> tuple[Array, Array | None, Array]:
        """Any map: four gathers a sample."""
        part, window = self.part, self._window
        count_r, count_c = self._mapping.subsamples
        stride = part.width + 2
        flat, flat_valid = values.reshape(len(values), -1), valid.ravel()
        ok = self._in
        if not whole:
            index = _nearest(self._rows, part.row, part.height) * stride
            index += _nearest(self._cols, part.col, part.width)
            ok = ok & flat_valid[index]
        shape = (window.height, window.width)
        total = np.zeros((len(values), *shape), values.dtype)
        weight = None if whole else np.zeros(shape, values.dtype)
        full = np.ones(shape, bool)
        tap = np.empty(shape, values.dtype)
        for at_r in _offsets(count_r):
            for at_c in _offsets(count_c):
                rows, cols = self._rows, self._cols
                if (count_r, count_c) != (1, 1):
                    rows, cols = self._mapping.positions(window, (at_r, at_c))
                low_r, up, down = _taps(rows, part.row, part.height, values.dtype)
                low_c, left, right = _taps(cols, part.col, part.width, values.dtype)
                low_r *= stride
                low_r += low_c
                for step, share in ((0, up * left), (1, up * right), (stride, down * left), (stride + 1, down * right)):
                    for band, source_band in zip(total, flat, strict=True):
                        # mode "clip" spares take a second buffer; indices are inside anyway
                        np.take(source_band[step:], low_r, out=tap, mode="clip")
                        tap *= share
                        band += tap
                    if weight is not None:
                        there = flat_valid[step:][low_r]
                        weight += there * share
                        full &= there
        if weight is not None:
            weight[full] = count_r * count_c
        return total, weight, ok


def _offsets(count: int) -> list[float]:
    return [(k + 0.5) / count - 0.5 for k in range(count)]


def _inside(position: Array, size: int) -> Array:
    with np.errstate(invalid="ignore"):
        inside: Array = (position >= 0) & (position < size)
    return inside


def _framed(pixels: Array) -> Array:
    """A frame of one pixel, copied from the edge: what lies beyond the raster takes no part, whatever its weight."""
    frame = [(0, 0)] * (pixels.ndim - 2) + [(1, 1), (1, 1)]
    return np.pad(pixels, frame, mode="edge")


def _taps(position: Array, first: int, size: int, work: Any = np.float64) -> Taps:  # noqa: ANN401 (a numpy dtype)
    """Index of the lower neighbour in a framed part that starts at `first`, and the weights of it and the next."""
    shifted = _within(position, first, size) - 0.5
    low = np.floor(shifted)
    share = (shifted - low).astype(work)
    return low.astype(np.int64) - (first - 1), 1 - share, share


def _nearest(position: Array, first: int, size: int) -> Array:
    index: Array = np.minimum(np.floor(_within(position, first, size)).astype(np.int64) - (first - 1), size)
    return index


def _within(position: Array, first: int, size: int) -> Array:
    """Positions moved into the part where they are not: they are not data, and only must not be out of bounds."""
    if position.min() >= first and position.max() <= first + size:
        return position
    moved: Array = np.clip(np.nan_to_num(position, nan=first), first, first + size)
    return moved


def _down(values: Array, taps: list[Taps]) -> Array:
    total = np.zeros((len(values), len(taps[0][0]), values.shape[2]), values.dtype)
    for low, near, far in taps:
        total += values[:, low] * near.astype(values.dtype)[None, :, None]
        total += values[:, low + 1] * far.astype(values.dtype)[None, :, None]
    return total


def _across(values: Array, taps: list[Taps]) -> Array:
    total = np.zeros((*values.shape[:2], len(taps[0][0])), values.dtype)
    for low, near, far in taps:
        total += np.take(values, low, axis=2) * near.astype(values.dtype)
        total += np.take(values, low + 1, axis=2) * far.astype(values.dtype)
    return total


def _store(total: Array, out: Array) -> None:
    """Rounds half up, as GDAL does, and clips to what the dtype holds."""
    if out.dtype.kind == "f":
        out[...] = total
        return
    limits = np.iinfo(out.dtype)
    total += 0.5
    np.floor(total, out=total)
    # float64 cannot hold the largest 64-bit integers; one step inside is the nearest that can be stored
    top = float(limits.max) if out.dtype.itemsize < 8 else float(np.nextafter(float(limits.max), 0))
    np.clip(total, float(limits.min), top, out=total)
    out[...] = total
