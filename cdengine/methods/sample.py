"""One streaming pass over a pair: blocks of bearable size with progress, and a reproducible sample of pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cdengine.events import Stage
from cdengine.raster.grid import Window
from cdengine.raster.pair import PixelBlock, PixelSource

Array = np.ndarray[Any, np.dtype[Any]]

_SAMPLE_PIXELS = 1 << 19  # a quarter of a million move AUC by less than 0.002 (docs/methods.md)
_SAMPLE_VALUES = 1 << 25  # pixels × bands: bounds the memory of iterations on hyperspectral pairs (256 MB in float64)
_BLOCK_VALUES = 1 << 22  # pixels × bands between two looks at the cancel flag: about 0.1 s of statistics


class PixelSample:
    """Pixels chosen by a hash of their place on the grid: all of them while they fit, else a half, a quarter, ….

    A pixel is kept while its hash is below a limit, and the limit halves whenever more than `size` pixels are held.
    The final limit is the largest one under which the whole scene fits, so the sample depends neither on strip
    heights nor on threads, and holds between `size / 2` and `size` pixels of a large scene.
    """

    def __init__(self, size: int = _SAMPLE_PIXELS) -> None:
        self._size = size
        self._limit = 1 << 32
        self._hashes: list[Array] = []
        self._parts: list[list[Array]] = []
        self.count = 0

    def add(self, window: Window, usable: Array, *arrays: Array) -> None:
        """Takes the pixels of a window, in row order.

        Args:
            window: where they are on the grid.
            usable: (h, w) bool.
            arrays: any number of (K, h, w).
        """
        hashes = position_hash(window)
        chosen = np.flatnonzero(usable & (hashes < self._limit))
        if not chosen.size and self._parts:
            return
        self._hashes.append(hashes.ravel()[chosen])
        self._parts.append([array.reshape(len(array), -1)[:, chosen] for array in arrays])
        self.count += chosen.size
        while self.count > self._size:
            self._halve()

    def arrays(self) -> list[Array]:
        """The sampled pixels: one (K, n) for each array that was added; [] if nothing ever was."""
        return [np.concatenate(columns, axis=1) for columns in zip(*self._parts, strict=True)]

    def _halve(self) -> None:
        self._limit >>= 1
        kept = [hashes < self._limit for hashes in self._hashes]
        self._hashes = [hashes[keep] for hashes, keep in zip(self._hashes, kept, strict=True)]
        self._parts = [[column[:, keep] for column in columns] for columns, keep in zip(self._parts, kept, strict=True)]
        self.count = sum(hashes.size for hashes in self._hashes)


def sample_size(values: int) -> int:
    """How many pixels to sample when each brings this many values."""
    return min(_SAMPLE_PIXELS, _SAMPLE_VALUES // max(1, values))


def position_hash(window: Window) -> Array:
    """(h, w) uint32: well-mixed numbers that depend on row and column of the grid only."""
    rows = _mix(np.arange(window.row, window.row_stop, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(1))
    cols = np.arange(window.col, window.col_stop, dtype=np.uint32) * np.uint32(0x85EBCA77)
    return _mix(rows[:, None] + cols[None, :])


def blocks(source: PixelSource, stage: Stage, halo: int = 0) -> Iterator[tuple[PixelBlock, slice]]:
    """Blocks of a few rows in order, each with up to `halo` rows of context above and below.

    Args:
        source: the pair.
        stage: is advanced by the pixels of each finished block; that is also where a cancel is noticed.
        halo: rows of context; fewer at the upper and lower end of the source.

    Yields:
        the block, context included, and the slice of its rows that are not context.
    """
    step = max(1, _BLOCK_VALUES // (source.window.width * (source.before.count + source.after.count)))
    first, last = source.window.row, source.window.row_stop
    done, held = first, None
    for strip in source.strips():
        for window in _pieces(strip.window, step):
            piece = _rows(strip, window.row, window.row_stop)
            held = piece if held is None else _below(held, piece)
            stop = held.window.row_stop
            ready = stop if stop == last else max(done, stop - halo)
            if ready > done:
                yield held, slice(done - held.window.row, ready - held.window.row)
                stage.advance((ready - done) * source.window.width)
            done = ready
            held = _rows(held, max(held.window.row, done - halo), stop)


def core_window(window: Window, core: slice) -> Window:
    """The window of a block without its context, from what `blocks` yields."""
    return Window(window.row + core.start, window.col, core.stop - core.start, window.width)


def _pieces(window: Window, rows: int) -> Iterator[Window]:
    for row in range(window.row, window.row_stop, rows):
        yield Window(row, window.col, min(rows, window.row_stop - row), window.width)


def _rows(block: PixelBlock, start: int, stop: int) -> PixelBlock:
    window = Window(start, block.window.col, stop - start, block.window.width)
    inside = slice(start - block.window.row, stop - block.window.row)
    return PixelBlock(window, block.before[:, inside], block.after[:, inside], block.valid[inside])


def _below(upper: PixelBlock, lower: PixelBlock) -> PixelBlock:
    if not upper.window.height:
        return lower
    a, b = upper.window, lower.window
    return PixelBlock(
        Window(a.row, a.col, a.height + b.height, a.width),
        np.concatenate([upper.before, lower.before], axis=1),
        np.concatenate([upper.after, lower.after], axis=1),
        np.concatenate([upper.valid, lower.valid], axis=0),
    )


def _mix(numbers: Array) -> Array:
    # Finaliser of MurmurHash3 (Appleby, public domain): every input bit reaches every output bit.
    numbers = (numbers ^ (numbers >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    numbers = (numbers ^ (numbers >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    mixed: Array = numbers ^ (numbers >> np.uint32(16))
    return mixed
