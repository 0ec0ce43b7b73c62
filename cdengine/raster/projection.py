"""One PROJ operation between two CRSs, the same for every point and every thread, and what is known of its accuracy."""

from __future__ import annotations

import re
import threading
import warnings
from typing import Any

import numpy as np
from pyproj import CRS, Transformer
from pyproj.enums import TransformDirection
from pyproj.exceptions import DataDirError
from pyproj.exceptions import ProjError as PyprojError
from pyproj.transformer import AreaOfInterest, TransformerGroup

from cdengine.errors import ProjError
from cdengine.raster.grid import Grid

Array = np.ndarray[Any, np.dtype[Any]]
Box = tuple[float, float, float, float]

_REMEDY = "reproject one of them first, and see `cdengine doctor` for PROJ"


class Projection:
    """From the CRS of one grid to that of another.

    PROJ on its own may choose among several operations point by point, which would leave a step inside an image. Here
    the best one available for the ground that the source covers is chosen once.

    Attributes:
        name: PROJ's name of the operation.
        accuracy_m: its stated accuracy in metres; None where unknown.
        missing: (accuracy in metres, grid files) of a better operation that this machine lacks files for, or None.

    Raises:
        ProjError: no operation, or only a ballpark one where a better one needs files that are missing.
    """

    def __init__(self, grid: Grid, source: Grid) -> None:
        assert grid.crs is not None and source.crs is not None
        self._threads = threading.local()
        self.name = "identity"
        self.accuracy_m: float | None = 0.0
        self.missing: tuple[float, str] | None = None
        self._definition: str | None = None
        if grid.crs == source.crs:
            return
        try:
            group = _group(grid, source)
            if not group.transformers:
                raise PyprojError("none is known")
            best = group.transformers[0]
            self._definition = best.definition
            self.name, accuracy = best.description, best.accuracy
            self.accuracy_m = accuracy if accuracy >= 0 else None
            lacking = [operation for operation in group.unavailable_operations if operation.accuracy >= 0]
            if lacking:
                better = min(lacking, key=lambda operation: operation.accuracy)
                if self.accuracy_m is None or better.accuracy < self.accuracy_m:
                    files = ", ".join(item.short_name for item in better.grids)
                    self.missing = better.accuracy, files
            self._transformer()
        except (PyprojError, DataDirError) as error:
            raise ProjError(
                f"no transformation between {crs_name(grid)} and {crs_name(source)} "
                f"({' '.join(str(error).split())}); {_REMEDY}"
            ) from error
        if self.missing and "ballpark" in self.name.lower():
            raise ProjError(
                f"PROJ can bring {crs_name(source)} to {crs_name(grid)} only roughly (tens of metres) without the grid "
                f"file(s) {self.missing[1]}; install them with `projsync --file {self.missing[1]}`, or {_REMEDY}"
            )

    def forward(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Coordinates in the source's CRS of coordinates in the grid's; infinite where there are none."""
        return self._move(x, y, TransformDirection.FORWARD)

    def back(self, x: Array, y: Array) -> tuple[Array, Array]:
        """The inverse of `forward`."""
        return self._move(x, y, TransformDirection.INVERSE)

    def warning(self, pixel_m: float) -> str | None:
        """What the user should know where the operation is coarser than a pixel and a better one lacks its files."""
        if self.missing is None or (self.accuracy_m is not None and self.accuracy_m <= pixel_m):
            return None
        known = "an unknown accuracy" if self.accuracy_m is None else f"an accuracy of about {self.accuracy_m:g} m"
        return (
            f"the CRSs are brought together with {known}; a better way (about {self.missing[0]:g} m) needs "
            f"{self.missing[1]} (`projsync --file {self.missing[1].split(',')[0]}`)"
        )

    def _move(self, x: Array, y: Array, direction: TransformDirection) -> tuple[Array, Array]:
        if self._definition is None:
            return x, y
        moved = self._transformer().transform(np.ravel(x), np.ravel(y), direction=direction)
        return np.reshape(moved[0], np.shape(x)), np.reshape(moved[1], np.shape(x))

    def _transformer(self) -> Transformer:
        # One per thread: PROJ objects may not be shared between threads.
        transformer: Transformer | None = getattr(self._threads, "transformer", None)
        if transformer is None:
            assert self._definition is not None
            transformer = self._threads.transformer = Transformer.from_pipeline(self._definition)
        return transformer


def crs_name(grid: Grid) -> str:
    """EPSG code, or the name in the WKT."""
    if grid.crs is None:
        return "no CRS"
    code = grid.crs.to_epsg()
    return f"EPSG:{code}" if code else str(CRS.from_wkt(grid.crs.to_wkt()).name)


def degrees(grid: Grid) -> Box | None:
    """(west, south, east, north) of a grid on WGS 84; None where PROJ cannot say."""
    if grid.crs is None:
        return None
    try:
        transformer = Transformer.from_crs(grid.crs.to_wkt(), "EPSG:4326", always_xy=True)
        cols, rows = grid.outline(8)
        t = grid.transform
        lon, lat = transformer.transform(t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f)
    except (PyprojError, DataDirError):
        return None
    known = np.isfinite(lon) & np.isfinite(lat)
    if not known.any():
        return None
    return float(lon[known].min()), float(lat[known].min()), float(lon[known].max()), float(lat[known].max())


def _group(grid: Grid, source: Grid) -> TransformerGroup:
    assert grid.crs is not None and source.crs is not None
    boxes = [box for box in (degrees(source), degrees(grid)) if box is not None]
    area = None
    if boxes:
        smaller = min(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
        # east of 180 degrees is written as west; PROJ takes west > east as a box across the antimeridian
        west, east = (((lon + 180) % 360) - 180 if abs(lon) > 180 else lon for lon in (smaller[0], smaller[2]))
        area = AreaOfInterest(west, max(smaller[1], -90.0), east, min(smaller[3], 90.0))
    with warnings.catch_warnings():
        # said in our own words by `warning`
        warnings.filterwarnings("ignore", message=re.escape("Best transformation is not available"))
        return TransformerGroup(grid.crs.to_wkt(), source.crs.to_wkt(), always_xy=True, area_of_interest=area)
