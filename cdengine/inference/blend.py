"""Joins overlapping tiles without an accumulator of the scene: only the overlaps are carried on.

Tiles come row by row, left to right. Within a row the right overlap is carried to the next tile; between rows the
bottom overlap is carried to the next row. All else leaves at once, final. The order of additions is that of the
tiles' positions, whatever order they were computed in, so results are equal bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cdengine.inference.tiles import Tiling

Array = np.ndarray[Any, np.dtype[Any]]


class RowBlender:
    """Blends one row of tiles after another into bands of final pixels.

    Memory: channels × shared rows × width floats between rows, and one tile.
    """

    def __init__(self, tiling: Tiling, channels: int) -> None:
        self._tiling, self._channels = tiling, channels
        self._above: Array | None = None  # (K, shared rows, width) from the rows above
        self._below: Array | None = None  # the same, for the next row
        self._left: Array | None = None  # (K, size, shared columns): the same for the next tile
        self._row = self._col = -1

    def start_row(self, row: int) -> None:
        """Begins tile row `row`; rows come in order, and the first one given need not be 0 (resume)."""
        self._above = self._below if row == self._row + 1 else None
        rows = self._tiling.rows
        kept = rows.starts[row] + rows.size - rows.final(row) if row + 1 < len(rows.starts) else 0
        self._below = np.zeros((self._channels, kept, self._tiling.cols.length), np.float32) if kept else None
        self._left, self._row, self._col = None, row, -1

    def add(self, col: int, tile: Array | None) -> tuple[int, Array]:
        """Takes tile `col` of the row, in order, and returns what is final with it.

        Args:
            col: index of the tile in its row.
            tile: float32 (K, size, size), or None where the tile holds no pixel to compute.

        Returns:
            The first column (of the window) and float32 (K, h, w), h reaching from the row's first pixel to `final`.
        """
        if col != self._col + 1:
            raise ValueError(f"tile column {col} came after {self._col}; tiles of a row are blended in order")
        self._col = col
        rows, cols = self._tiling.rows, self._tiling.cols
        start, final = cols.starts[col], cols.final(col)
        values = np.zeros((self._channels, rows.size, cols.size), np.float32) if tile is None else tile
        if self._left is not None:
            shared = self._left.shape[2]
            joined = _mix(self._left, values[:, :, :shared], cols.shares[col][:shared])
            values = np.concatenate([joined, values[:, :, shared:]], axis=2)
        # copies: what is carried on must not keep the whole tile alive
        self._left = values[:, :, final - start :].copy() if final < cols.length else None
        block = values[:, :, : final - start]
        return start, self._join_above(block, start, final)

    def _join_above(self, block: Array, start: int, final: int) -> Array:
        rows = self._tiling.rows
        if self._above is not None:
            shared = self._above.shape[1]
            share = rows.shares[self._row][:shared, None]
            joined = _mix(self._above[:, :, start:final], block[:, :shared], share)
            block = np.concatenate([joined, block[:, shared:]], axis=1)
        height = rows.final(self._row) - rows.starts[self._row]
        if self._below is not None:
            self._below[:, :, start:final] = block[:, height:]
        return block[:, :height]


def _mix(before: Array, new: Array, share: Array) -> Array:
    """Running mean, before + share (new - before); share 1 and 0 give `new` and `before` exactly."""
    mixed: Array = new - before
    mixed *= share
    mixed += before
    # before + (new - before) may differ from new in the last bit
    return np.where(share == 1, new, mixed)
