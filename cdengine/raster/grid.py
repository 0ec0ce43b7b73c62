"""A raster's place on earth as one frozen value, and pixel windows on it. Pure geometry, no file access."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS


@dataclass(frozen=True, order=True)
class Window:
    """A rectangle of pixels: first row and column, height and width."""

    row: int
    col: int
    height: int
    width: int

    @property
    def row_stop(self) -> int:
        """One past the last row."""
        return self.row + self.height

    @property
    def col_stop(self) -> int:
        """One past the last column."""
        return self.col + self.width

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices for an array that covers the whole grid."""
        return slice(self.row, self.row_stop), slice(self.col, self.col_stop)

    def intersect(self, other: Window) -> Window:
        """The common rectangle; height or width 0 when there is none."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = max(0, min(self.row_stop, other.row_stop) - row)
        width = max(0, min(self.col_stop, other.col_stop) - col)
        return Window(row, col, height, width)

    def within(self, outer: Window) -> Window:
        """The same rectangle with positions relative to `outer`'s first pixel."""
        return Window(self.row - outer.row, self.col - outer.col, self.height, self.width)

    def split(self, rows: int) -> Iterator[Window]:
        """Strips of at most `rows` rows whose borders lie on multiples of `rows` of the grid."""
        start = self.row
        while start < self.row_stop:
            stop = min(self.row_stop, (start // rows + 1) * rows)
            yield Window(start, self.col, stop - start, self.width)
            start = stop

    def tiles(self, rows: int, cols: int) -> Iterator[Window]:
        """Rectangles of at most `rows` x `cols` pixels, borders on multiples of these of the grid, row by row."""
        for strip in self.split(rows):
            start = strip.col
            while start < strip.col_stop:
                stop = min(strip.col_stop, (start // cols + 1) * cols)
                yield Window(strip.row, start, strip.height, stop - start)
                start = stop


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a raster lie: `transform` maps (col, row) corners to x, y in the units of `crs`."""

    crs: CRS | None
    transform: Affine
    height: int
    width: int

    @property
    def window(self) -> Window:
        """All of it."""
        return Window(0, 0, self.height, self.width)

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Lengths of a pixel's two sides along its column and row direction, in CRS units."""
        t = self.transform
        return math.hypot(t.a, t.d), math.hypot(t.b, t.e)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Smallest and largest x and y of the four corners: (left, bottom, right, top) whatever way is up."""
        xs, ys = zip(*(self.transform @ corner for corner in self._corners), strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def _corners(self) -> list[tuple[int, int]]:
        return [(0, 0), (self.width, 0), (0, self.height), (self.width, self.height)]

    def outline(self, points_per_side: int = 64) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """(cols, rows) of points along the four edges and on an inner lattice, as pixel positions.

        A straight edge of one CRS is curved in another, so corners alone do not bound a raster there; the inner points
        are for the poles, which may lie inside a raster whose edges all keep away from them.
        """
        side = np.linspace(0.0, 1.0, points_per_side + 1)
        inner_r, inner_c = np.meshgrid(side[::4], side[::4], indexing="ij")
        zero, one = np.zeros_like(side), np.ones_like(side)
        cols = np.concatenate([side, side, zero, one, inner_c.ravel()]) * self.width
        rows = np.concatenate([zero, one, side, side, inner_r.ravel()]) * self.height
        return cols, rows

    def crop(self, window: Window) -> Grid:
        """The grid of a window of this one."""
        origin = self.transform @ Affine.translation(window.col, window.row)
        return Grid(self.crs, origin, window.height, window.width)

    def same_pixels(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Whether both have the same CRS and size and no corner differs by more than `tolerance` pixels."""
        if (self.height, self.width) != (other.height, other.width) or self.crs != other.crs:
            return False
        to_pixels = ~self.transform @ other.transform
        return all(math.dist(to_pixels @ corner, corner) <= tolerance for corner in self._corners)
