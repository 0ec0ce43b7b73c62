"""Which pixels of any window have their centre inside polygons; made once, then cheap for every strip."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from cdengine.raster.grid import Window

Array = np.ndarray[Any, np.dtype[Any]]

_CROSSINGS = 1 << 22  # made at a time


class Fill:
    """Crossings of a polygon's outline with the centre lines of pixel rows, sorted by row and column.

    A row between its first and second crossing is inside, between the third and fourth, and so on. A centre that
    lies on the outline belongs to the polygon on its left or below, as in GDAL; adjoining polygons share no pixel.
    """

    def __init__(self, polygon: BaseGeometry, window: Window) -> None:
        """Finds the crossings.

        Args:
            polygon: valid polygon or multipolygon, x = column and y = row of the pixel lattice.
            window: what will be asked for lies within.
        """
        rings, _ = shapely.get_rings(shapely.get_parts(polygon), return_index=True)
        xy, ring = shapely.get_coordinates(rings, return_index=True)
        same = ring[1:] == ring[:-1]
        x0, y0 = xy[:-1][same].T
        x1, y1 = xy[1:][same].T
        first = np.ceil(np.minimum(y0, y1) - 0.5)
        stop = np.ceil(np.maximum(y0, y1) - 0.5)
        first = np.clip(first, window.row, window.row_stop).astype(np.int64)
        stop = np.clip(stop, window.row, window.row_stop).astype(np.int64)
        edges = np.flatnonzero(stop > first)
        counts = (stop - first)[edges]
        total = np.cumsum(counts)
        rows, cols = [], []
        begin = 0
        while begin < len(edges):  # in pieces: a simple outline over a tall raster has many crossings an edge
            done = total[begin - 1] if begin else 0
            end = max(begin + 1, int(np.searchsorted(total, done + _CROSSINGS)))
            some, count = edges[begin:end], counts[begin:end]
            edge = np.repeat(some, count)
            step = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
            row = first[edge] + step
            slope = (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
            col = np.floor(x0[edge] + (row + 0.5 - y0[edge]) * slope + 0.5)
            rows.append(row)
            cols.append(np.clip(col, window.col, window.col_stop).astype(np.int64))
            begin = end
        row = np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)
        col = np.concatenate(cols) if cols else np.empty(0, dtype=np.int64)
        order = np.lexsort((col, row))
        self._row, self._col = row[order], col[order]

    def extent(self) -> Window | None:
        """The smallest window that holds all inside pixels; None when there is none."""
        begin, end = self._col[0::2], self._col[1::2]
        filled = end > begin
        if not filled.any():
            return None
        rows = self._row[0::2][filled]
        row, col = int(rows[0]), int(begin[filled].min())
        return Window(row, col, int(rows[-1]) + 1 - row, int(end[filled].max()) - col)

    def mask(self, window: Window) -> Array:
        """(h, w) bool, True inside."""
        some = slice(*np.searchsorted(self._row, [window.row, window.row_stop]))
        toggled = np.zeros((window.height, window.width + 1), dtype=np.uint8)
        cols = np.clip(self._col[some] - window.col, 0, window.width)
        np.add.at(toggled, (self._row[some] - window.row, cols), 1)  # wraps at 256, an even number: parity stays
        return np.asarray(np.add.accumulate(toggled, axis=1, dtype=np.uint8)[:, :-1] & 1).astype(bool)
