"""Where a pixel of the common grid lies in a date's own pixels: an affine map within one CRS, PROJ between two.

Both are functions of the pixel's absolute place alone, to the last bit: the same pixel gets the same position whatever
window it is asked with. So what is read does not depend on who reads how much.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from affine import Affine

from cdengine.raster.grid import Grid, Window
from cdengine.raster.projection import Projection

Array = np.ndarray[Any, np.dtype[Any]]

LATTICE = (
    16  # pixels between the points that PROJ transforms; those between are interpolated where that is exact enough
)
LATTICE_ERROR_PX = 0.002  # largest interpolation error in a cell's middle; GDAL's own default is 0.125


class Mapping(Protocol):
    """From positions on the common grid to positions in a source, both in pixels (0.5, 0.5 is the first centre)."""

    # samples per output pixel along rows and columns: more than 1 where the source is finer
    subsamples: tuple[int, int]
    # source pixels between the centre of an output pixel and what its samples may touch
    reach: int

    def positions(self, window: Window, offset: tuple[float, float] = (0.0, 0.0)) -> tuple[Array, Array]:
        """(rows, cols), both (h, w) float64, of the window's pixel centres plus `offset` (rows, cols) pixels."""

    def points(self, rows: Array, cols: Array) -> tuple[Array, Array]:
        """Exact (rows, cols) in the source of any positions on the grid; infinite where there is no such place."""

    def back(self, rows: Array, cols: Array) -> tuple[Array, Array]:
        """The inverse of `points`."""


class AffineMapping:
    """Source and grid share a CRS (or neither has one)."""

    def __init__(self, matrix: Affine) -> None:
        self.matrix = matrix
        self._inverse = ~matrix
        scales = math.hypot(matrix.b, matrix.e), math.hypot(matrix.a, matrix.d)
        self.subsamples, self.reach = _subsamples(scales), _reach(scales)

    @property
    def axis_aligned(self) -> bool:
        """Rows depend on rows only and columns on columns only."""
        return abs(self.matrix.b) < 1e-12 and abs(self.matrix.d) < 1e-12

    def rows(self, window: Window, offset: float) -> Array:
        """Source rows (h,) of the window's rows, for an axis-aligned map."""
        return self.matrix.e * (np.arange(window.row, window.row_stop) + (0.5 + offset)) + self.matrix.f

    def cols(self, window: Window, offset: float) -> Array:
        """Source columns (w,) of the window's columns, for an axis-aligned map."""
        return self.matrix.a * (np.arange(window.col, window.col_stop) + (0.5 + offset)) + self.matrix.c

    def positions(self, window: Window, offset: tuple[float, float] = (0.0, 0.0)) -> tuple[Array, Array]:
        """See Mapping."""
        rows = (np.arange(window.row, window.row_stop) + (0.5 + offset[0]))[:, None]
        cols = (np.arange(window.col, window.col_stop) + (0.5 + offset[1]))[None, :]
        return self.points(rows, cols)

    def points(self, rows: Array, cols: Array) -> tuple[Array, Array]:
        """See Mapping."""
        return _apply(self.matrix, rows, cols)

    def back(self, rows: Array, cols: Array) -> tuple[Array, Array]:
        """See Mapping."""
        return _apply(self._inverse, rows, cols)


class ProjectedMapping:
    """Source and grid have different CRSs (or are geographic and meet on both sides of the antimeridian).

    PROJ is asked at the nodes of an absolute lattice and in the middle of its cells. A cell whose middle agrees with
    the mean of its corners to LATTICE_ERROR_PX is interpolated bilinearly; any other (strong curvature, the
    antimeridian, the border of a projection's domain) is transformed pixel by pixel.

    Args:
        grid: the common grid.
        source: the date's own grid.
        shift: (rows, cols) added to grid positions before they are mapped.

    Raises:
        ProjError: PROJ knows no way between the two CRSs.
    """

    def __init__(self, grid: Grid, source: Grid, shift: tuple[float, float] = (0.0, 0.0)) -> None:
        self._grid, self._source, self._shift = grid, source, shift
        self._to_source, self._to_grid = ~source.transform, ~grid.transform
        self.projection = Projection(grid, source)
        middle = Window(grid.height // 2, grid.width // 2, 1, 1)
        matrix = jacobian(self, middle.row + 0.5, middle.col + 0.5)
        scales = (1.0, 1.0) if matrix is None else (math.hypot(*matrix[:, 0]), math.hypot(*matrix[:, 1]))
        self.subsamples, self.reach = _subsamples(scales), _reach(scales)

    def positions(self, window: Window, offset: tuple[float, float] = (0.0, 0.0)) -> tuple[Array, Array]:
        """See Mapping."""
        first_r, first_c = window.row // LATTICE, window.col // LATTICE
        node_r = np.arange(first_r, (window.row_stop - 1) // LATTICE + 2) * float(LATTICE)
        node_c = np.arange(first_c, (window.col_stop - 1) // LATTICE + 2) * float(LATTICE)
        nodes = self.points(node_r[:, None] + 0.5, node_c[None, :] + 0.5)
        half = LATTICE / 2 + 0.5
        middles = self.points(node_r[:-1, None] + half, node_c[None, :-1] + half)
        with np.errstate(invalid="ignore"):  # infinite minus infinite: the cell is then transformed exactly
            smooth = np.hypot(*(_corner_mean(n) - m for n, m in zip(nodes, middles, strict=True))) <= LATTICE_ERROR_PX
            at_r = np.arange(window.row, window.row_stop)
            at_c = np.arange(window.col, window.col_stop)
            rows, cols = (_interpolate(n, at_r, at_c, first_r, first_c, offset) for n in nodes)
        if not smooth.all():
            rough = ~smooth[np.ix_(at_r // LATTICE - first_r, at_c // LATTICE - first_c)]
            which_r, which_c = np.nonzero(rough)
            exact = self.points(at_r[which_r] + (0.5 + offset[0]), at_c[which_c] + (0.5 + offset[1]))
            rows[rough], cols[rough] = exact
        return rows, cols

    def points(self, rows: Array, cols: Array) -> tuple[Array, Array]:
        """See Mapping."""
        rows, cols = np.broadcast_arrays(rows + self._shift[0], cols + self._shift[1])
        y, x = _apply(self._grid.transform, rows, cols)
        x, y = self.projection.forward(x, y)
        x = _unwrap(x, self._source)
        with np.errstate(invalid="ignore"):
            return _apply(self._to_source, y, x)

    def back(self, rows: Array, cols: Array) -> tuple[Array, Array]:
        """See Mapping."""
        rows, cols = np.broadcast_arrays(rows, cols)
        y, x = _apply(self._source.transform, rows, cols)
        x, y = self.projection.back(x, y)
        x = _unwrap(x, self._grid)
        with np.errstate(invalid="ignore"):
            rows, cols = _apply(self._to_grid, y, x)
        return rows - self._shift[0], cols - self._shift[1]


def jacobian(mapping: Mapping, row: float, col: float) -> Array | None:
    """Derivatives of source (row, col) by grid (row, col) at a place, (2, 2); None where the map is not defined."""
    near_r = np.array([row, row + 0.5, row - 0.5, row, row])
    near_c = np.array([col, col, col, col + 0.5, col - 0.5])
    rows, cols = mapping.points(near_r, near_c)
    if not (np.isfinite(rows).all() and np.isfinite(cols).all()):
        return None
    return np.array([[rows[1] - rows[2], rows[3] - rows[4]], [cols[1] - cols[2], cols[3] - cols[4]]])


def _subsamples(scales: tuple[float, float]) -> tuple[int, int]:
    # Source pixels per grid pixel. Above 16 further samples no longer change what is seen.
    rows, cols = (min(16, max(1, math.floor(scale + 0.5))) for scale in scales)
    return rows, cols


def _reach(scales: tuple[float, float]) -> int:
    # Half an output pixel, turned by any angle, is at most its side; two more for the neighbours of a sample.
    return math.ceil(max(scales)) + 2


def _apply(matrix: Affine, rows: Array, cols: Array) -> tuple[Array, Array]:
    return matrix.d * cols + matrix.e * rows + matrix.f, matrix.a * cols + matrix.b * rows + matrix.c


def _unwrap(x: Array, grid: Grid) -> Array:
    """Longitudes moved by whole turns to lie within half a turn of the grid's middle."""
    if grid.crs is None or not grid.crs.is_geographic:
        return x
    left, _, right, _ = grid.bounds
    turn = 360.0 if grid.crs.units_factor[0] == "degree" else 2 * math.pi / grid.crs.units_factor[1]
    start = (left + right) / 2 - turn / 2
    with np.errstate(invalid="ignore"):
        return start + np.mod(x - start, turn)


def _corner_mean(nodes: Array) -> Array:
    mean: Array = (nodes[:-1, :-1] + nodes[1:, :-1] + nodes[:-1, 1:] + nodes[1:, 1:]) / 4
    return mean


def _interpolate(
    nodes: Array, at_r: Array, at_c: Array, first_r: int, first_c: int, offset: tuple[float, float]
) -> Array:
    cell_r, cell_c = at_r // LATTICE - first_r, at_c // LATTICE - first_c
    part_r = ((at_r % LATTICE) + offset[0]) / LATTICE
    part_c = ((at_c % LATTICE) + offset[1]) / LATTICE
    left, right = nodes[:, cell_c], nodes[:, cell_c + 1]
    across = left + (right - left) * part_c[None, :]
    top, bottom = across[cell_r], across[cell_r + 1]
    between: Array = top + (bottom - top) * part_r[:, None]
    return between
