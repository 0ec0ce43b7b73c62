"""What patches are cut from: images of one or two dates on one grid, and labels of any kind brought onto it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from cdengine.data.codings import CODINGS, IGNORE, ChangeCoding, shown
from cdengine.errors import LabelError, NoCrsError, NothingToEstimateError
from cdengine.events import Reporter
from cdengine.raster.date import Date
from cdengine.raster.grid import Grid, Window
from cdengine.raster.kernels import sample
from cdengine.raster.pair import Bands, Pair, SourceInfo
from cdengine.raster.register import estimate_shift
from cdengine.raster.source import inspect
from cdengine.vector.aoi import Aoi, load_aoi

Array = np.ndarray[Any, np.dtype[Any]]
Align = Literal["auto", "strict", "register"]
Decode = Callable[[Array, str], Array]  # stored values and the file's name → what they mean, uint8

STRIP_ROWS = 512  # of a label, when its values are looked through
VECTORS = frozenset((".gpkg", ".geojson", ".json", ".fgb", ".parquet", ".geoparquet", ".shp", ".gdb", ".kml", ".gml"))


class Images(Protocol):
    """Pixels of all dates of a scene."""

    grid: Grid
    window: Window

    @property
    def dates(self) -> dict[str, SourceInfo]:
        """What each date delivers."""

    def read(self, window: Window) -> tuple[dict[str, Array], Array]:
        """Date → (C, h, w), and (h, w) bool: True where all dates have data. Any window of the grid, and beyond."""

    def close(self) -> None:
        """Closes the files."""


class PairImages:
    """Two dates, AFTER brought onto BEFORE's pixels."""

    def __init__(self, before: str, after: str, bands: tuple[Bands, Bands], align: Align, reporter: Reporter) -> None:
        pair = Pair.open(before, after, bands_before=bands[0], bands_after=bands[1], align=align, reporter=reporter)
        if align == "register":
            try:
                shift = estimate_shift(pair, reporter)
                reporter.info(shift.text)
                pair = pair.with_shift((shift.rows, shift.cols))
            except NothingToEstimateError as error:
                reporter.warning(f"residual shift not removed: {error}")
        self._pair, self.grid, self.window = pair, pair.grid, pair.window

    @property
    def dates(self) -> dict[str, SourceInfo]:
        """See `Images`."""
        return {"before": self._pair.before, "after": self._pair.after}

    def read(self, window: Window) -> tuple[dict[str, Array], Array]:
        """See `Images`."""
        block = self._pair.read(window)
        return {"before": block.before, "after": block.after}, block.valid

    def close(self) -> None:
        """Closes the files."""
        self._pair.close()


class SingleImage:
    """One date on its own pixels."""

    def __init__(self, image: str, bands: Bands, reporter: Reporter) -> None:
        raster = inspect(image, "image", reporter=reporter)
        self._date = Date("image", raster, bands)
        for note in self._date.notes:
            reporter.warning(note)
        self.grid, self.window = raster.grid, raster.grid.window
        self._date.place(self.grid)

    @property
    def dates(self) -> dict[str, SourceInfo]:
        """See `Images`."""
        return {"image": self._date.info}

    def read(self, window: Window) -> tuple[dict[str, Array], Array]:
        """See `Images`."""
        pixels = np.zeros((self._date.info.count, window.height, window.width), self._date.info.dtype)
        valid = np.zeros((window.height, window.width), bool)
        for task in self._date.tasks(window, pixels, valid):
            task()
        return {"image": pixels}, valid

    def close(self) -> None:
        """Closes the files."""
        self._date.reader.close()


class Label(Protocol):
    """A label on the grid of the images."""

    def read(self, window: Window) -> Array:
        """uint8 (h, w): change {0, 1} or class ids, 255 where nothing is known."""

    def close(self) -> None:
        """Closes the files."""


class RasterLabel:
    """A raster of change or classes, on any grid, taken by the nearest pixel."""

    def __init__(self, path: str, grid: Grid, reporter: Reporter) -> None:
        """Opens it.

        Args:
            path: one band of whole numbers. Without a CRS it lies pixel for pixel on the first date, of its size.
            grid: of the images.
            reporter: stops the checks.

        Raises:
            LabelError: several bands.
            NoCrsError: it has no CRS, and another size than the images.
        """
        raster = inspect(path, "label", reporter=reporter)
        self.name = raster.name
        self.decode: Decode | None = None  # set once the coding of all scenes is known
        self._date = Date("label", raster, None, indices=True)
        if self._date.info.count != 1:
            self.close()
            raise LabelError(f"{self.name}: has {self._date.info.count} bands, but a label has one; extract it")
        unplaced = raster.grid.crs is None or grid.crs is None
        if unplaced and (raster.height, raster.width) != (grid.height, grid.width):
            self.close()
            raise NoCrsError(
                f"{self.name} ({raster.width} x {raster.height} pixels) cannot be laid over the images "
                f"({grid.width} x {grid.height}), since not all of them have a CRS: georeference them"
            )
        self._date.place(grid)

    def values(self, reporter: Reporter) -> set[int]:
        """All distinct values of the raster's data."""
        found: set[int] = set()
        window = self._date.reader.window
        with reporter.stage("label values", window.height, "rows") as stage:
            for strip in window.split(STRIP_ROWS):
                pixels, valid = self._date.reader.read(strip)
                found.update(np.unique(self._whole(pixels[0][valid])).tolist())
                stage.advance(strip.height)
        return found

    def read(self, window: Window) -> Array:
        """See `Label`."""
        date = self._date
        if date.offset is not None:
            pixels, valid = (
                np.zeros((1, window.height, window.width), date.info.dtype),
                np.zeros((window.height, window.width), bool),
            )
            for task in date.tasks(window, pixels, valid):
                task()
        else:
            part = date.needed(window)
            data, ok = date.reader.read(part)
            pixels, valid = sample("nearest", date.mapping, window, date.reader.window, part, data, ok)
        label = np.full((window.height, window.width), IGNORE, np.uint8)
        values = self._whole(pixels[0][valid])
        assert self.decode is not None
        label[valid] = self.decode(values, self.name)
        return label

    def close(self) -> None:
        """Closes the files."""
        self._date.reader.close()

    def _whole(self, values: Array) -> Array:
        if values.dtype.kind == "f":
            if (values != np.floor(values)).any():
                raise LabelError(f"{self.name}: holds fractions, but a label is made of whole numbers")
            return values.astype(np.int64)
        return values


class VectorLabel:
    """Polygons: each class's ids inside, `outside` elsewhere."""

    def __init__(self, areas: Sequence[tuple[int, Aoi]], grid: Grid, outside: int, reporter: Reporter) -> None:
        self._areas, self._grid, self._outside = list(areas), grid, outside
        for _, area in areas:
            for note in area.notes:
                reporter.warning(note)

    def read(self, window: Window) -> Array:
        """See `Label`."""
        label = np.full((window.height, window.width), self._outside, np.uint8)
        inner = window.intersect(self._grid.window)
        if inner.pixels == 0:
            return label
        rows, cols = inner.within(window).slices
        for value, area in self._areas:
            label[rows, cols][area.mask(self._grid, inner)] = value
        return label

    def close(self) -> None:
        """Nothing is open."""


def is_vector(path: str) -> bool:
    """Whether a label's path names a vector file."""
    return "|layername=" in path or Path(path).suffix.lower() in VECTORS


def change_polygons(path: str, grid: Grid, reporter: Reporter) -> VectorLabel:
    """Polygons of change; what lies outside did not change."""
    return VectorLabel([(1, load_aoi(path))], grid, 0, reporter)


def settle_change_coding(labels: Sequence[RasterLabel], stated: ChangeCoding | None, reporter: Reporter) -> None:
    """Finds out, over all scenes together, whether change is coded 0/1 or 0/255, unless that was stated.

    Raises:
        LabelError: other values, naming the file.
    """
    if stated is None:
        found: set[int] = set()
        for label in labels:
            values = label.values(reporter)
            if not values <= {0, 1, 255}:
                raise LabelError(
                    f"{label.name}: values {shown(np.array(sorted(values)))} in a change label, where 0/1 or 0/255 "
                    "is expected; state its coding (--label-coding)"
                )
            found |= values
        stated = CODINGS["0/1" if 1 in found or 255 not in found else "0/255"]
    for label in labels:
        label.decode = stated.apply
