"""Areas on the ellipsoid of a CRS, for many polygons at once, and for pixels.

Vertices go to the authalic sphere, which keeps areas (Snyder 1987, Map Projections: A Working Manual, eqs. 3-11 to
3-13). There each polygon is measured in an equal-area plane of its own, so neither poles nor the antimeridian matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyproj
import shapely
from affine import Affine
from rasterio.crs import CRS
from shapely.geometry.base import BaseGeometry

from cdengine.raster.grid import Grid, Window

Array = np.ndarray[Any, np.dtype[Any]]

# A straight edge of the CRS is a curve on the ground. Edges are cut to 1/64 of the polygon's size (but not below
# 500 m), which keeps areas within 0.01 % up to continents, at 85° N as well.
_PIECES = 64
# A pixel shares its edges with its neighbours, so what its curves add to one they take from the next.
_PIXEL_PIECES = 8
_SHORTEST_M = 500.0
_METRES_PER_DEGREE = 111_195.0
_BATCH = 20_000
_BLOCK_M, _BLOCK_PIXELS = 10_000.0, 256


class Ellipsoid:
    """The ground under a CRS. Not shared between threads, as PROJ's transformations are not."""

    def __init__(self, crs: pyproj.CRS) -> None:
        """Prepares the way from the CRS to longitude and latitude on its own datum."""
        geodetic = crs.geodetic_crs
        assert geodetic is not None
        self._to_lonlat = pyproj.Transformer.from_crs(crs, geodetic, always_xy=True)
        self._radians = geodetic.axis_info[0].unit_conversion_factor
        self._is_geographic = crs.is_geographic
        unit = crs.axis_info[0].unit_conversion_factor
        metres_per_unit = np.degrees(unit) * _METRES_PER_DEGREE if crs.is_geographic else unit
        self._shortest = _SHORTEST_M / metres_per_unit
        geod = crs.get_geod()
        assert geod is not None
        self.geod: pyproj.Geod = geod
        self._e2 = geod.es
        self._polar_q = float(self._q(np.array(1.0)))
        self._radius2 = geod.a**2 * self._polar_q / 2

    @staticmethod
    def of(crs: CRS | None) -> Ellipsoid | None:
        """The ellipsoid of a raster's CRS; None where there is none (no CRS, or an engineering one)."""
        if crs is None:
            return None
        known = pyproj.CRS.from_wkt(crs.to_wkt())
        if known.geodetic_crs is None or known.get_geod() is None or known.is_geocentric or not known.axis_info:
            return None
        return Ellipsoid(known)

    def lonlat(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Longitude and latitude in degrees; infinite where the CRS has no such point."""
        lon, lat = self._to_lonlat.transform(x, y)
        return np.degrees(np.asarray(lon) * self._radians), np.degrees(np.asarray(lat) * self._radians)

    def areas(self, geometries: Array, pieces: int = _PIECES) -> Array:
        """Areas of polygons or multipolygons in the CRS's coordinates.

        Args:
            geometries: (n,) object array.
            pieces: edges are cut to this part of a polygon's size.

        Returns:
            (n,) float64, m²; NaN where a vertex has no place on earth.
        """
        result = np.zeros(len(geometries))
        for start in range(0, len(geometries), _BATCH):
            parts, index = shapely.get_parts(geometries[start : start + _BATCH], return_index=True)
            if len(parts):
                np.add.at(result, index + start, self._parts(parts, pieces))
        return result

    def pixel_areas(self, grid: Grid, rows: Array, cols: Array) -> Array:
        """Areas in m² of single pixels, given by row and column."""
        t = grid.transform
        if not (self._is_geographic and t.b == 0 and t.d == 0):
            return self.areas(_quads(grid, rows, cols, 1, 1), _PIXEL_PIECES)
        # Between meridians and parallels the area is exact, and the same along a row.
        each, at = np.unique(rows, return_inverse=True)
        sines = []
        for edge in (each, each + 1):
            _, lat = self.lonlat(np.full(len(each), t.c), t.f + t.e * edge)
            with np.errstate(invalid="ignore"):  # infinite beyond the poles: NaN areas, as of polygons
                sines.append(self._q(np.sin(np.radians(lat))) / self._polar_q)
        area = np.abs((sines[1] - sines[0]) * t.a * self._radians) * self._radius2
        return np.asarray(area[at])

    def pixel_sizes(self, grid: Grid, rows: Array, cols: Array) -> tuple[Array, Array]:
        """Ground lengths in metres of one step along the column axis and along the row axis at pixel positions."""
        middle = positions(grid.transform, cols + 0.5, rows + 0.5)
        lon, lat = self.lonlat(*middle)
        sizes = []
        for dx, dy in ((grid.transform.a, grid.transform.d), (grid.transform.b, grid.transform.e)):
            lon2, lat2 = self.lonlat(middle[0] + dx, middle[1] + dy)
            sizes.append(np.asarray(self.geod.inv(lon, lat, lon2, lat2)[2]))
        return sizes[0], sizes[1]

    def _q(self, sine: Array) -> Array:
        e2 = self._e2
        if e2 < 1e-12:
            return 2 * sine
        e = np.sqrt(e2)
        return np.asarray((1 - e2) * (sine / (1 - e2 * sine**2) + np.arctanh(e * sine) / e))

    def _parts(self, parts: Array, pieces: int) -> Array:
        """Areas of simple polygons, edges cut to `pieces` of their size."""
        bounds = shapely.bounds(parts)
        extent = np.hypot(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1])
        long = np.flatnonzero(extent > self._shortest)
        parts[long] = shapely.segmentize(parts[long], np.maximum(extent[long] / pieces, self._shortest))
        rings, part = shapely.get_rings(parts, return_index=True)
        coordinates, ring = shapely.get_coordinates(rings, return_index=True)
        lon, lat = self.lonlat(coordinates[:, 0], coordinates[:, 1])
        with np.errstate(invalid="ignore"):  # infinite coordinates become NaN areas
            lon, sine = np.radians(lon), self._q(np.sin(np.radians(lat))) / self._polar_q
        sine = np.clip(sine, -1.0, 1.0)
        if self._is_geographic:  # straight edges are straight in longitude, which the file has unwrapped already
            area = _cylindrical(lon, sine, ring, len(rings), unwrapped=True)
        else:
            cosine = np.sqrt(1 - sine**2)
            with np.errstate(invalid="ignore"):
                sphere = np.column_stack([cosine * np.cos(lon), cosine * np.sin(lon), sine])
                plane, wide = _azimuthal(sphere, part[ring], len(parts))
            area = _shoelace(plane[0], plane[1], ring, len(rings))
            if wide.any():
                area = np.where(wide[part], _cylindrical(lon, sine, ring, len(rings), unwrapped=False), area)
        is_hole = np.diff(part, prepend=-1) == 0
        signed = np.where(is_hole, -np.abs(area), np.abs(area))
        return np.bincount(part, weights=signed, minlength=len(parts)) * self._radius2


def areas_m2(geometries: Array, crs: CRS | None) -> Array | None:
    """Areas on the ellipsoid of polygons in CRS coordinates; None where the CRS has no ground.

    Args:
        geometries: (n,) object array of polygons or multipolygons.
        crs: theirs.

    Returns:
        (n,) float64 in m², or None.
    """
    ground = Ellipsoid.of(crs)
    return None if ground is None else ground.areas(geometries)


def area_m2(geometry: BaseGeometry, crs: CRS | None) -> float | None:
    """Area on the ellipsoid of one polygon in CRS coordinates; see `areas_m2`."""
    areas = areas_m2(np.array([geometry], dtype=object), crs)
    return None if areas is None else float(areas[0])


def positions(transform: Affine, cols: Array, rows: Array) -> tuple[Array, Array]:
    """Map coordinates x, y of positions on the pixel lattice."""
    t = transform
    return t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f


def area_text(square_metres: float) -> str:
    """An area in the unit that suits its size."""
    if square_metres >= 1e6:
        return f"{square_metres / 1e6:,.2f} km²"
    if square_metres >= 1e4:
        return f"{square_metres / 1e4:,.2f} ha"
    return f"{square_metres:,.0f} m²"


class PixelArea:
    """Adds up the ground under selected pixels of a grid, strip by strip, without any polygon."""

    def __init__(self, grid: Grid) -> None:
        """Chooses blocks of at most 10 km in which a pixel's area is taken from the middle."""
        self._grid, self._ground = grid, Ellipsoid.of(grid.crs)
        self._rows = self._cols = 1
        if self._ground is not None:
            width, height = self._ground.pixel_sizes(grid, np.array([grid.height / 2]), np.array([grid.width / 2]))
            self._rows, self._cols = (
                int(np.clip(_BLOCK_M / max(size, 1e-6), 1, _BLOCK_PIXELS)) if np.isfinite(size) else 1
                for size in (float(height[0]), float(width[0]))
            )

    @property
    def on_earth(self) -> bool:
        """Whether the CRS has a ground, so that areas are known."""
        return self._ground is not None

    def total(self, window: Window, mask: Array) -> float | None:
        """Area in m² of the pixels of `window` where `mask` (h, w) is True; None where the CRS has no ground."""
        if self._ground is None:
            return None
        rows = np.array(list(_starts(window.row, window.row_stop, self._rows)))
        cols = np.array(list(_starts(window.col, window.col_stop, self._cols)))
        if not len(rows) or not len(cols):
            return 0.0
        counts = np.add.reduceat(mask, cols - window.col, axis=1, dtype=np.int32)
        counts = np.add.reduceat(counts, rows - window.row, axis=0, dtype=np.int64)
        at = np.nonzero(counts)
        middle_row = (rows + np.append(rows[1:], window.row_stop) - 1) / 2
        middle_col = (cols + np.append(cols[1:], window.col_stop) - 1) / 2
        areas = self._ground.pixel_areas(self._grid, middle_row[at[0]], middle_col[at[1]])
        return float(np.nansum(areas * counts[at]))


def _starts(start: int, stop: int, step: int) -> Iterator[int]:
    while start < stop:
        yield start
        start = (start // step + 1) * step


def _quads(grid: Grid, rows: Array, cols: Array, height: int, width: int) -> Array:
    corners = [(0, 0), (width, 0), (width, height), (0, height), (0, 0)]
    xy = [np.column_stack(positions(grid.transform, cols + dc, rows + dr)) for dc, dr in corners]
    return np.asarray(shapely.polygons(np.stack(xy, axis=1)))


def _azimuthal(sphere: Array, part: Array, parts: int) -> tuple[tuple[Array, Array], Array]:
    """Lambert's azimuthal equal-area plane round the middle of each part (Snyder 1987, eqs. 24-2 to 24-4).

    Args:
        sphere: (n, 3) unit vectors.
        part: (n,) which part each belongs to.
        parts: their number.

    Returns:
        x and y (n,) on the unit sphere, and (parts,) bool, whether it reaches more than 60° from its middle, where
        another way is better.
    """
    centre = np.column_stack([np.bincount(part, weights=sphere[:, axis], minlength=parts) for axis in range(3)])
    centre = centre / np.maximum(np.linalg.norm(centre, axis=1, keepdims=True), 1e-12)
    # Any two directions square to the centre will do; the axis it is farthest from gives a stable one.
    helper = np.eye(3)[np.argmin(np.abs(centre), axis=1)]
    east = np.cross(helper, centre)
    east /= np.maximum(np.linalg.norm(east, axis=1, keepdims=True), 1e-12)
    north = np.cross(centre, east)
    towards = np.einsum("ij,ij->i", sphere, centre[part])
    scale = np.sqrt(2 / np.maximum(1 + towards, 1e-12))
    wide = np.zeros(parts, dtype=bool)
    wide[part[towards < 0.5]] = True
    x = scale * np.einsum("ij,ij->i", sphere, east[part])
    y = scale * np.einsum("ij,ij->i", sphere, north[part])
    return (x, y), wide


def _cylindrical(lon: Array, sine: Array, ring: Array, rings: int, *, unwrapped: bool) -> Array:
    """Areas of rings on the unit sphere from longitude (radians) and sine of latitude.

    Where longitudes come from another projection they may jump at the antimeridian and a pole may lie inside.
    """
    same = ring[1:] == ring[:-1]
    owner = ring[1:][same]
    with np.errstate(invalid="ignore"):
        step = np.diff(lon)
        if not unwrapped:
            step = (step + np.pi) % (2 * np.pi) - np.pi
            at_pole = np.abs(sine) > 1 - 1e-15  # where longitude means nothing
            step[at_pole[1:] | at_pole[:-1]] = 0.0
    below = np.bincount(owner, weights=((sine[1:] + sine[:-1]) / 2 * step)[same], minlength=rings)
    if unwrapped:
        return below
    turn = np.bincount(owner, weights=step[same], minlength=rings)
    middle = np.bincount(ring, weights=sine, minlength=rings)
    pole = np.where(middle < 0, -1.0, 1.0)
    return np.asarray(np.where(np.abs(turn) > np.pi, pole * turn - below, below))


def _shoelace(x: Array, y: Array, ring: Array, rings: int) -> Array:
    same = ring[1:] == ring[:-1]
    cross = (x[:-1] * y[1:] - x[1:] * y[:-1])[same]
    return np.bincount(ring[1:][same], weights=cross, minlength=rings) / 2
