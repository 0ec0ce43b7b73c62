"""A change or class raster on disk → polygons: the same stream as `detect` uses, fed from files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rasterio import DatasetReader
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from cdengine.errors import CorruptBlockError, DtypeError, GridMismatchError, InputError, UsageError
from cdengine.events import Reporter
from cdengine.raster.publish import Publication
from cdengine.raster.source import Raster, inspect, members
from cdengine.vector.files import check_suffix
from cdengine.vector.stream import PolygonStream

Array = np.ndarray[Any, np.dtype[Any]]

_STRIP_PIXELS = 1 << 22


@dataclass(frozen=True)
class VectorizeResult:
    """What was written.

    Attributes:
        output: the vector file.
        polygons: their number.
        area_m2: their area on the ellipsoid, None where the CRS has no ground.
        area_px: their area in pixels.
        seconds: it took.
    """

    output: str
    polygons: int
    area_m2: float | None
    area_px: float
    seconds: float


def vectorize(
    raster: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    probability: str | os.PathLike[str] | None = None,
    values: Sequence[int] | None = None,
    min_area: float = 0.0,
    simplify: float = 0.0,
    fill_holes: float = 0.0,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> VectorizeResult:
    """Polygons of connected pixels of one value, with area, mean probability and value.

    Args:
        raster: whole numbers in its first band.
        output: `.gpkg`, `.geojson`, `.fgb` or `.parquet`.
        probability: raster on the same grid, 0 … 1 (or stored with a scale), for polygons' means.
        values: which ones; all but 0 and nodata when None.
        min_area: m² (px² without a CRS), smaller polygons are dropped.
        simplify: m (px), tolerance.
        fill_holes: m² (px²), smaller holes are filled first.
        overwrite: replace an output that exists.
        reporter: progress, log and cancelling.

    Raises:
        UsageError: an unknown suffix, an empty list of values, an output that exists or is an input.
        InputError: a raster that cannot be read, holds fractions, or does not fit the other one.
        OutputError: the file cannot be written.
        Cancelled: on request.
    """
    began, reporter = time.monotonic(), reporter or Reporter()
    check_suffix(Path(output))
    if values is not None and not len(values):
        raise UsageError("--values is empty: name at least one value, or leave it out for all but 0 and nodata")
    if values is not None and max(map(abs, values)) >= 2**63:
        raise UsageError("--values: a number is too large for any raster")
    source = inspect(raster, "raster", reporter=reporter)
    chance = None if probability is None else inspect(probability, "probability", reporter=reporter)
    if chance is not None and not source.grid.same_pixels(chance.grid):
        raise GridMismatchError(f"{chance.name} is not on the grid of {source.name}: give the two of one run")
    for part in (source, chance):
        for note in () if part is None else part.notes:
            reporter.warning(note)
    if source.grid.crs is None:
        reporter.warning(f"{source.name} has no CRS: areas and lengths are in pixels, area_m2 is empty")
    inputs = [*members(raster), *(members(probability) if probability is not None else ())]
    publication = Publication(
        {"polygons": Path(output)},
        inputs=inputs,
        overwrite=overwrite,
        job="vectorize",
        reporter=reporter,
        main="polygons",
    )
    with publication:
        wanted = None if values is None else np.unique(np.asarray(values, dtype=np.int64))
        stream = PolygonStream(
            publication.temporary("polygons"),
            source.grid,
            values=True if wanted is None else tuple(int(value) for value in wanted),
            min_area=min_area,
            simplify=simplify,
            fill_holes=fill_holes,
            reporter=reporter,
        )
        with stream:
            _feed(stream, source, chance, wanted, reporter)
        publication.commit()
    return VectorizeResult(
        str(output), stream.count, stream.area_m2, stream.area_px, round(time.monotonic() - began, 3)
    )


def _feed(
    stream: PolygonStream, source: Raster, chance: Raster | None, wanted: Array | None, reporter: Reporter
) -> None:
    missing = 0
    with ExitStack() as stack:
        dataset = stack.enter_context(source.opened())
        chances = None if chance is None else stack.enter_context(chance.opened())
        with reporter.stage("polygons", source.grid.window.pixels, "px") as stage:
            for row, height in _strips(source):
                window = RasterioWindow(0, row, source.width, height)
                labels = _labels(dataset, window, source.name, wanted)
                probability = None
                if chances is not None and chance is not None:
                    reporter.check()
                    probability = _probability(chances, window, chance.name)
                    absent = (labels != 0) & np.isnan(probability)
                    missing += int(absent.sum())
                    probability[absent] = 0.0
                stream.add(row, labels, probability)
                stage.advance(labels.size)
    if missing and chance is not None:
        reporter.warning(f"{chance.name} has no data in {missing:,} of the pixels: they count as probability 0")


def _strips(source: Raster) -> Iterator[tuple[int, int]]:
    """First row and height of strips whose borders are those of blocks, so that each block is decoded once."""
    block = source.block_shape[0]
    height = max(1, _STRIP_PIXELS // source.width // block) * block
    for row in range(0, source.height, height):
        yield row, min(height, source.height - row)


def _read(dataset: DatasetReader, window: RasterioWindow, name: str) -> tuple[Array, Array | None]:
    """Band 1 and its mask, None where every pixel is valid."""
    try:
        values = dataset.read(1, window=window)
        flags = dataset.mask_flag_enums[0]
        valid = None if MaskFlags.all_valid in flags else dataset.read_masks(1, window=window) != 0
    except RasterioError as error:
        stop = window.row_off + window.height
        raise CorruptBlockError(
            f"{name}: rows {window.row_off} to {stop - 1} cannot be decoded ({error}): get a fresh copy"
        ) from error
    return values, valid


def _labels(dataset: DatasetReader, window: RasterioWindow, name: str, wanted: Array | None) -> Array:
    """Labels of which 0 is background: the values, or with `wanted` their place there, counted from 1."""
    values, valid = _read(dataset, window, name)
    if values.dtype.kind not in "iu":
        whole = np.where(np.isfinite(values), values, 0)
        if (whole != np.rint(whole)).any() or np.abs(whole).max(initial=0) > 2**53:
            raise DtypeError(
                f"{name} holds fractions ({values.dtype}): vectorize needs classes; apply a threshold first"
            )
        valid = np.isfinite(values) if valid is None else valid & np.isfinite(values)
        values = whole.astype(np.int64)
    elif values.dtype.itemsize == 8:
        values = values.astype(np.int64)
    if wanted is not None:
        place = np.searchsorted(wanted, values)
        found = wanted[np.minimum(place, len(wanted) - 1)] == values
        values = np.where(found, place + 1, 0)
    return values if valid is None else np.where(valid, values, values.dtype.type(0))


def _probability(dataset: DatasetReader, window: RasterioWindow, name: str) -> Array:
    """float32 0 … 1, NaN where there is none."""
    values, valid = _read(dataset, window, name)
    scaled = np.asarray(values * np.float32(dataset.scales[0]) + np.float32(dataset.offsets[0]), dtype=np.float32)
    if valid is not None:
        scaled[~valid] = np.nan
    if np.nanmax(scaled, initial=0) > 1.001 or np.nanmin(scaled, initial=0) < 0:
        raise InputError(f"{name} holds values outside 0 … 1: give a probability raster as detect writes it")
    return scaled
