"""The area of interest: polygons of any vector file, in any CRS, as a mask on a raster's grid."""

from __future__ import annotations

import os
import re
import threading
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyproj
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj.exceptions import ProjError as PyProjError
from shapely.geometry.base import BaseGeometry

from cdengine.errors import AoiError, NotAVectorError, NotFoundInputError, PathError, PermissionInputError
from cdengine.raster.grid import Grid, Window
from cdengine.vector.area import Ellipsoid, positions
from cdengine.vector.fill import Fill
from cdengine.vector.plainpath import plain_for_reading

Array = np.ndarray[Any, np.dtype[Any]]

_DEVIATION = 0.05  # pixels that a reprojected edge may be off
_EARTH_M = 6.4e6


class Aoi:
    """Polygons with their CRS.

    Attributes:
        name: the file, for messages.
        notes: what the user should know (repaired polygons).
    """

    def __init__(
        self,
        polygon: BaseGeometry,
        crs: pyproj.CRS | None,
        name: str,
        notes: tuple[str, ...] = (),
        *,
        crs_by_default: bool = False,
    ) -> None:
        """Takes a valid polygon or multipolygon.

        Args:
            polygon: in coordinates of `crs`.
            crs: None when the file says none.
            name: of the file.
            notes: see the class.
            crs_by_default: the CRS comes with the format (GeoJSON), so may not be meant where rasters have none.
        """
        self.name, self.notes = name, notes
        self._polygon, self._crs, self._by_default = polygon, crs, crs_by_default
        self._fills: dict[Grid, Fill] = {}
        self._lock = threading.Lock()

    def on(self, grid: Grid, window: Window) -> Window:
        """The part of `window` that the area covers: the smallest rectangle with all pixels inside.

        Raises:
            AoiError: no pixel's centre lies inside, or one of raster and area has a CRS and the other has none.
        """
        extent = self._fill(grid).extent()
        covered = None if extent is None else extent.intersect(window)
        if covered is None or not covered.pixels or not self._touches(grid, covered):
            raise AoiError(
                f"{self.name} holds no pixel of the images: check where it lies, and its CRS ({self._known()})"
            )
        return covered

    def mask(self, grid: Grid, window: Window) -> Array:
        """(h, w) bool: True where a pixel's centre lies inside."""
        return self._fill(grid).mask(window)

    def _touches(self, grid: Grid, window: Window) -> bool:
        return any(self._fill(grid).mask(part).any() for part in window.split(max(1, (1 << 22) // window.width)))

    def _known(self) -> str:
        return "none" if self._crs is None else str(self._crs.name)

    def _fill(self, grid: Grid) -> Fill:
        with self._lock:
            if grid not in self._fills:
                self._fills[grid] = Fill(self._in_pixels(grid), grid.window)
            return self._fills[grid]

    def _in_pixels(self, grid: Grid) -> BaseGeometry:
        polygon = self._in_crs_of(grid)
        inverse = ~grid.transform
        moved = shapely.transform(polygon, lambda xy: np.column_stack(positions(inverse, xy[:, 0], xy[:, 1])))
        return shapely.make_valid(moved)

    def _in_crs_of(self, grid: Grid) -> BaseGeometry:
        if grid.crs is None and self._crs is not None and not self._by_default:
            raise AoiError(f"{self.name} is in {self._known()} but the images have no CRS: give one in their pixels")
        if grid.crs is not None and self._crs is None:
            raise AoiError(f"{self.name} has no CRS: assign the one that it is in")
        if grid.crs is None or self._crs is None:
            return self._polygon
        target = pyproj.CRS.from_wkt(grid.crs.to_wkt())
        polygon = self._polygon
        if not target.equals(self._crs, ignore_axis_order=True):
            try:
                polygon = _reprojected(polygon, self._crs, target, grid)
            except PyProjError as error:
                raise AoiError(
                    f"{self.name} cannot be brought from {self._known()} to {target.name}: {error}"
                ) from error
        if target.is_geographic:  # a raster may count longitudes on across the antimeridian
            turn = 2 * np.pi / target.axis_info[0].unit_conversion_factor
            west, _, east, _ = _bounds(grid)
            copies = [shapely.transform(polygon, _Shift(step * turn)) for step in (-1, 0, 1)]
            wanted = [copy for copy in copies if copy.bounds[0] <= east and copy.bounds[2] >= west]
            polygon = shapely.union_all(wanted) if wanted else polygon
        return polygon


class _Shift:
    """Moves coordinates along x."""

    def __init__(self, amount: float) -> None:
        self._amount = np.array([amount, 0.0])

    def __call__(self, xy: Array) -> Array:
        return np.asarray(xy + self._amount)


def load_aoi(path: str | os.PathLike[str], layer: str | None = None) -> Aoi:
    """Reads an area of interest.

    Args:
        path: a vector file; `FILE|layername=NAME` as QGIS writes it names the layer.
        layer: name of the layer in a file that has several.

    Raises:
        NotFoundInputError: there is no such file.
        NotAVectorError: it cannot be read as vector features.
        AoiError: it is empty, holds no polygons, or several layers of which none was named.
    """
    file, _, rest = os.fspath(path).partition("|")
    named = re.search(r"(?:^|\|)layername=([^|]+)", rest)
    layer = layer or (named[1] if named else None)
    _check(file)
    # Path would fold the slashes of /vsizip//absolute/path.
    with nullcontext(file) if file.startswith("/vsi") else plain_for_reading(Path(file)) as plain:
        geometry, crs, driver = _read(file, str(plain), layer)
    geometry = shapely.force_2d(geometry[~(shapely.is_missing(geometry) | shapely.is_empty(geometry))])
    if not len(geometry):
        raise AoiError(f"{file} is empty: it needs at least one polygon")
    parts = shapely.get_parts(shapely.get_parts(geometry))  # twice: multipolygons within collections
    polygons = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    if not len(polygons):
        kinds = ", ".join(sorted({kind.geom_type for kind in geometry}))
        raise AoiError(f"{file} holds {kinds}, not polygons: give areas (a buffer round lines or points makes some)")
    if not np.isfinite(shapely.bounds(polygons)).all():
        raise AoiError(f"{file} holds coordinates that are not finite: repair it")
    broken = ~shapely.is_valid(polygons)
    notes: tuple[str, ...] = ()
    if broken.any():
        reason = str(shapely.is_valid_reason(polygons[broken][0]))
        notes = (f"{file}: {int(broken.sum())} invalid polygon(s) repaired ({reason})",)
        polygons[broken] = shapely.make_valid(polygons[broken])
    whole = _areas_only(shapely.union_all(polygons))
    if whole.is_empty:
        raise AoiError(f"{file} encloses no area: give polygons with an inside")
    known = None if crs is None else pyproj.CRS.from_user_input(crs)
    if known is not None and known.name.startswith("Undefined"):  # GeoPackage's way of saying that there is none
        known = None
    return Aoi(whole, known, file, notes, crs_by_default=driver.startswith("GeoJSON"))


def _check(file: str) -> None:
    if file.startswith("/vsizip/"):
        return
    if not file.strip() or file.lstrip().startswith(("<", "{")) or file.startswith("/vsi") or "://" in file:
        raise PathError(f"AOI {file[:80]!r}: give a vector file on this machine")
    try:
        if os.path.isdir(file) and not file.lower().endswith(".gdb"):
            raise NotAVectorError(f"AOI {file} is a folder: choose a file in it")
        if not os.path.isdir(file):
            with open(file, "rb") as stream:
                if b"OGRVRT" in stream.read(4096):
                    raise NotAVectorError(f"AOI {file} points at other sources (VRT): give the vector file itself")
    except FileNotFoundError as error:
        raise NotFoundInputError(f"AOI {file} does not exist; check the path") from error
    except PermissionError as error:
        raise PermissionInputError(f"AOI {file}: no permission to read it; ask its owner or copy it") from error
    except OSError as error:  # a name too long, a drive that went away
        raise NotFoundInputError(f"AOI {file} cannot be opened ({error.strerror}); check the path") from error


def _read(file: str, plain: str, layer: str | None) -> tuple[Array, Any, str]:
    """Geometries, CRS (None, WKT or PROJJSON) and driver of `file`, which is opened as `plain`."""
    if Path(file).suffix.lower() in (".parquet", ".geoparquet"):
        return _read_geoparquet(file)
    try:
        layers = pyogrio.list_layers(plain)
        names = [str(name) for name, kind in layers if kind is not None]
        if layer is not None and layer not in names:
            raise AoiError(f"{file} has no layer {layer!r}: it has {', '.join(names) or 'none with geometries'}")
        if layer is None and len(names) > 1:
            raise AoiError(
                f"{file} has layers {', '.join(names)}: name one, as in {Path(file).name}|layername={names[0]}"
            )
        if not names:
            raise AoiError(f"{file} has no layer with geometries: give polygons")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # measures dropped, rings closed: both are fine here
            meta, _, wkb, _ = pyogrio.raw.read(plain, layer=layer or names[0], columns=[], force_2d=True)
        info = pyogrio.read_info(plain, layer=layer or names[0])
        geometry = np.asarray(shapely.from_wkb(wkb), dtype=object)
    except (DataSourceError, DataLayerError, shapely.errors.ShapelyError) as error:
        reason = " ".join(str(error).split())
        raise NotAVectorError(f"AOI {file} cannot be read as vector features ({reason})") from error
    return geometry, meta["crs"], str(info.get("driver") or "")


def _read_geoparquet(file: str) -> tuple[Array, Any, str]:
    import geopandas

    try:
        frame = geopandas.read_parquet(file)
    except (ValueError, OSError) as error:
        raise NotAVectorError(f"AOI {file} cannot be read as GeoParquet ({' '.join(str(error).split())})") from error
    return np.asarray(frame.geometry.array, dtype=object), frame.crs, "Parquet"


def _areas_only(geometry: BaseGeometry) -> BaseGeometry:
    """Repairs and unions may leave lines and points among the polygons."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return shapely.union_all(parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON])


def _bounds(grid: Grid) -> tuple[float, float, float, float]:
    cols, rows = np.array([0, grid.width, 0, grid.width]), np.array([0, 0, grid.height, grid.height])
    x, y = positions(grid.transform, cols, rows)
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def _reprojected(polygon: BaseGeometry, source: pyproj.CRS, target: pyproj.CRS, grid: Grid) -> BaseGeometry:
    """The part near the grid, in the grid's CRS, straight edges cut short enough to stay true."""
    back = pyproj.Transformer.from_crs(target, source, always_xy=True)
    west, south, east, north = back.transform_bounds(*_bounds(grid), densify_pts=101)
    box = [west, south, east, north]
    if np.isfinite(box).all():
        # Far from the grid its projection may have no values at all, and vertices there cost time.
        pad = 0.02 * max(abs(east - west), north - south)
        boxes = [shapely.box(west - pad, south - pad, east + pad, north + pad)]
        if west > east:  # across the antimeridian
            boxes = [
                shapely.box(west - pad, south - pad, 540, north + pad),
                shapely.box(-540, south - pad, east + pad, north + pad),
            ]
        polygon = _areas_only(shapely.intersection(polygon, shapely.union_all(boxes)))
    if polygon.is_empty:
        return polygon
    ground = Ellipsoid.of(grid.crs)
    middle = np.array([grid.height / 2]), np.array([grid.width / 2])
    pixel = 1.0 if ground is None else float(min(size[0] for size in ground.pixel_sizes(grid, *middle)))
    # A chord of length s on a circle of radius R is off by s²/8R; near the poles curves are tighter: a fifth.
    longest = np.sqrt(8 * _EARTH_M * _DEVIATION * max(pixel, 1e-3)) / 5
    unit = source.axis_info[0].unit_conversion_factor * (_EARTH_M if source.is_geographic else 1.0)
    extent = np.hypot(*(np.subtract(polygon.bounds[2:], polygon.bounds[:2])))
    polygon = shapely.segmentize(polygon, max(longest / unit, extent / 1e5))
    forth = pyproj.Transformer.from_crs(source, target, always_xy=True)
    moved = shapely.transform(polygon, lambda xy: np.column_stack(forth.transform(xy[:, 0], xy[:, 1])))
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise PyProjError("parts of it have no place there")
    return _areas_only(shapely.make_valid(moved))
