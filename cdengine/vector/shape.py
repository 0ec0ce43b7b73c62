"""How polygons should look: small holes filled, small patches dropped, outlines simplified, in that order.

Lengths and areas are meant on the ground whatever the CRS; without a CRS they are pixels and square pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from affine import Affine

from cdengine.errors import UsageError
from cdengine.raster.grid import Grid
from cdengine.vector.area import Ellipsoid, positions
from cdengine.vector.coverage import simplify_coverage
from cdengine.vector.polygonize import Patches

Array = np.ndarray[Any, np.dtype[Any]]

COVERAGE_VERTICES = 5_000_000  # more than these are not held to be simplified together
_LARGER = 1.01  # the largest pixel of a grid is looked for on a lattice, so it may be a little larger still


@dataclass(frozen=True)
class Shaping:
    """What is done to polygons before they are written.

    Attributes:
        fill_holes: holes smaller than this are filled (whatever label lies inside), m².
        min_area: patches smaller than this, holes filled, are dropped, m².
        simplify: tolerance of Douglas–Peucker, m; polygons stay valid and are never lost.
    """

    fill_holes: float = 0.0
    min_area: float = 0.0
    simplify: float = 0.0

    def __post_init__(self) -> None:
        for name in ("fill_holes", "min_area", "simplify"):
            amount = getattr(self, name)
            if not (math.isfinite(amount) and amount >= 0):
                option = "--" + name.replace("_", "-")
                raise UsageError(f"{option} {amount}: give a number of at least 0")


class Shaper:
    """Applies a `Shaping` to patches of one grid."""

    def __init__(self, shaping: Shaping, grid: Grid) -> None:
        self._shaping, self._grid = shaping, grid
        self.ground = Ellipsoid.of(grid.crs)

    def min_pixels(self) -> int:
        """Patches with fewer pixels than this cannot reach `min_area`, so need not be traced."""
        if self._shaping.min_area <= 0:
            return 1
        largest = 1.0
        if self.ground is not None:
            rows, cols = np.meshgrid(
                np.linspace(0, self._grid.height - 1, 9), np.linspace(0, self._grid.width - 1, 9), indexing="ij"
            )
            areas = self.ground.pixel_areas(self._grid, rows.ravel(), cols.ravel())
            areas = areas[np.isfinite(areas)]
            if not len(areas):
                return 1
            largest = float(areas.max()) * _LARGER
        needed = self._shaping.min_area / largest
        if self._shaping.fill_holes > 0:
            # n connected pixels lie in a box with width + height <= n + 1, which they cannot outgrow when filled
            needed = min(needed, 2 * math.sqrt(needed) - 1)
        return max(1, math.ceil(needed - 1e-9))

    def select(self, patches: Patches) -> tuple[Patches, Array | None]:
        """Fills holes and drops small patches; still in pixel coordinates.

        Returns:
            The patches that stay, and their areas in m² (None without a CRS on the ground).
        """
        patches = self._filled(patches)
        areas = self.areas(patches.geometry)
        if self._shaping.min_area > 0:
            size = shapely.area(patches.geometry) if areas is None else areas
            keep = size >= self._shaping.min_area
            patches, areas = patches.take(keep), None if areas is None else areas[keep]
        return patches, areas

    def areas(self, geometry: Array) -> Array | None:
        """Areas in m² of polygons in pixel coordinates; None without a CRS on the ground."""
        return None if self.ground is None else self.ground.areas(to_map(geometry, self._grid.transform))

    def simplified(self, geometry: Array) -> Array:
        """Polygons in pixel coordinates, each simplified by itself with the tolerance in local metres."""
        if self._shaping.simplify <= 0 or not len(geometry):
            return geometry
        bounds = shapely.bounds(geometry)
        width, height = self._pixel_size((bounds[:, 1] + bounds[:, 3]) / 2, (bounds[:, 0] + bounds[:, 2]) / 2)
        metric = _scaled(geometry, width, height)
        simple = _scaled(shapely.simplify(metric, self._shaping.simplify), 1 / width, 1 / height)
        return np.asarray(shapely.transform(simple, np.rint))  # vertices are a part of those given, on the lattice

    def simplified_together(self, geometry: Array) -> Array:
        """Polygons in pixel coordinates that adjoin, simplified so that common borders stay common."""
        if self._shaping.simplify <= 0 or not len(geometry):
            return geometry
        width, height = self._pixel_size(np.array([self._grid.height / 2]), np.array([self._grid.width / 2]))
        return simplify_coverage(geometry, self._shaping.simplify, float(width[0]), float(height[0]))

    def _filled(self, patches: Patches) -> Patches:
        if self._shaping.fill_holes <= 0:
            return patches
        holed = np.flatnonzero(shapely.get_num_interior_rings(patches.geometry))
        if not len(holed):
            return patches
        rings, index = shapely.get_rings(patches.geometry[holed], return_index=True)
        holes = np.asarray(shapely.polygons(rings))
        size = self.areas(holes)
        is_shell = np.diff(index, prepend=-1) > 0
        keep = is_shell | ((shapely.area(holes) if size is None else size) >= self._shaping.fill_holes)
        geometry = patches.geometry.copy()
        geometry[holed] = shapely.polygons(rings[keep], indices=index[keep])
        return Patches(geometry, patches.value, patches.pixels, patches.probability, patches.first)

    def _pixel_size(self, rows: Array, cols: Array) -> tuple[Array, Array]:
        """Ground size of pixels in metres; 1 where there is none."""
        if self.ground is None:
            return np.ones(len(rows)), np.ones(len(rows))
        width, height = self.ground.pixel_sizes(self._grid, rows, cols)
        known = np.isfinite(width) & np.isfinite(height) & (width > 0) & (height > 0)
        return np.where(known, width, 1.0), np.where(known, height, 1.0)


def to_map(geometry: Array, transform: Affine) -> Array:
    """Polygons in pixel coordinates → CRS coordinates, exteriors counter-clockwise and holes clockwise."""
    moved = shapely.transform(geometry, lambda xy: np.column_stack(positions(transform, xy[:, 0], xy[:, 1])))
    return np.asarray(shapely.orient_polygons(moved))


def is_sound(polygons: Array) -> Array:
    """Whether each is a valid, non-empty polygon, as simplifying does not always leave it."""
    sound = shapely.is_valid(polygons) & ~shapely.is_empty(polygons)
    return np.asarray(sound & (shapely.get_type_id(polygons) == shapely.GeometryType.POLYGON))


def _scaled(geometry: Array, width: Array, height: Array) -> Array:
    coordinates, index = shapely.get_coordinates(geometry, return_index=True)
    coordinates[:, 0] *= width[index]
    coordinates[:, 1] *= height[index]
    return np.asarray(shapely.set_coordinates(geometry.copy(), coordinates))
