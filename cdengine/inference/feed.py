"""Turns strips of rows into rows of tiles: each strip is read once, and the shared rows stay in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cdengine.raster.grid import Window
from cdengine.raster.pair import PixelBlock

Array = np.ndarray[Any, np.dtype[Any]]


class RowFeed:
    """A window of rows that slides down a stream of strips.

    Args:
        strips: full-width strips in row order; the first one must reach up to the first row asked for.
        window: what is being computed; rows given to `advance` are relative to it.
        height: rows held at a time (the tile size).
    """

    def __init__(self, strips: Iterator[PixelBlock], window: Window, height: int) -> None:
        self._strips, self._window, self._height = strips, window, height
        self._before: Array | None = None
        self._after: Array | None = None
        self._valid = np.zeros((height, window.width), bool)
        self._start = self._stop = -1
        self._rest: PixelBlock | None = None

    @property
    def valid(self) -> Array:
        """Boolean (rows held, width): where both dates have data."""
        return self._valid[: self._stop - self._start]

    def advance(self, start: int, stop: int) -> None:
        """Makes rows `start` … `stop - 1` the ones held; neither may lie above earlier ones."""
        if self._stop > start:
            keep = self._stop - start
            shift = start - self._start
            if shift:
                for held in (self._before, self._after):
                    assert held is not None
                    held[:, :keep] = held[:, shift : shift + keep]
                self._valid[:keep] = self._valid[shift : shift + keep]
        else:
            self._stop = start
        self._start = start
        while self._stop < stop:
            self._take(stop)

    def _take(self, stop: int) -> None:
        block = self._rest if self._rest is not None else next(self._strips)
        first = block.window.row - self._window.row
        last = first + block.window.height
        begin, end = max(self._stop, first), min(stop, last)
        if end > begin:
            if self._before is None or self._after is None:
                shape = (self._height, self._window.width)
                self._before = np.zeros((block.before.shape[0], *shape), block.before.dtype)
                self._after = np.zeros((block.after.shape[0], *shape), block.after.dtype)
            here = slice(begin - self._start, end - self._start)
            there = slice(begin - first, end - first)
            self._before[:, here] = block.before[:, there]
            self._after[:, here] = block.after[:, there]
            self._valid[here] = block.valid[there]
            self._stop = end
        self._rest = _below(block, stop - first) if last > stop else None

    def cut(self, col: int, size: tuple[int, int]) -> tuple[Array, Array, Array]:
        """One tile of the rows held, from column `col` on.

        Beyond the window the last row and column are repeated, validity included: filters see a plain border.

        Returns:
            before (C1, h, w), after (C2, h, w), valid (h, w); copies.
        """
        assert self._before is not None and self._after is not None
        height, width = self._stop - self._start, min(size[1], self._window.width - col)
        rows, cols = slice(0, height), slice(col, col + width)
        pad = ((0, size[0] - height), (0, size[1] - width))
        valid = np.pad(self._valid[rows, cols], pad, mode="edge")
        before = np.pad(self._before[:, rows, cols], ((0, 0), *pad), mode="edge")
        after = np.pad(self._after[:, rows, cols], ((0, 0), *pad), mode="edge")
        return before, after, valid


def _below(block: PixelBlock, rows: int) -> PixelBlock:
    """What lies under the first `rows` of a strip: copied where little is left, so that the strip can be let go."""
    window = block.window
    rows = max(rows, 0)
    if window.height - rows > window.height // 2:
        return block
    part = Window(window.row + rows, window.col, window.height - rows, window.width)
    return PixelBlock(part, block.before[:, rows:].copy(), block.after[:, rows:].copy(), block.valid[rows:].copy())
