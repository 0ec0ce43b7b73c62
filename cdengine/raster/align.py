"""Writes AFTER on the pixels of BEFORE: the alignment that detection does while reading, as a file of its own."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cdengine import __version__
from cdengine.errors import NothingToEstimateError, UsageError
from cdengine.events import Reporter
from cdengine.raster.date import Date
from cdengine.raster.grid import Grid, Window
from cdengine.raster.kernels import Method, sample
from cdengine.raster.overviews import beside
from cdengine.raster.pair import Bands, GridChoice, Pair
from cdengine.raster.publish import Publication
from cdengine.raster.register import Shift, estimate_shift
from cdengine.raster.sink import GeoTiffSink
from cdengine.raster.source import members
from cdengine.raster.spec import RasterSpec
from cdengine.raster.strips import read_ahead

Array = np.ndarray[Any, np.dtype[Any]]

STRIP_ROWS = 256
AHEAD = 2


@dataclass(frozen=True)
class AlignResult:
    """What `align` did.

    Attributes:
        output: the file.
        shift: the residual shift that was removed; None where none was asked for or none could be told.
        text: how AFTER was brought onto the grid, one line.
        valid: share of the grid's pixels where AFTER has data.
        seconds: wall-clock time.
    """

    output: str
    shift: Shift | None
    text: str
    valid: float
    seconds: float


def align(
    before: str | os.PathLike[str],
    after: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    align: Literal["auto", "register"] = "register",
    grid: GridChoice = "before",
    resampling: Method = "bilinear",
    bands_after: Bands = None,
    assume_crs: str | None = None,
    cog: bool = False,
    overwrite: bool = False,
    allow_coarse: bool = False,
    allow_remote: bool = False,
    reporter: Reporter | None = None,
) -> AlignResult:
    """Puts AFTER on the reference grid, in its own pixel type, with its own nodata and band names.

    Args:
        before: the reference image.
        after: the image that is moved.
        output: GeoTIFF to write.
        align: "auto" goes by the georeference alone; "register" also estimates a residual shift and removes it, or
            warns when the images do not allow an estimate.
        grid: whose pixels the output has.
        resampling: ignored where pixels coincide: they are copied.
        bands_after: which bands of AFTER; None: all apart from alpha. Indices into a colour table take "nearest".
        assume_crs: CRS of a date whose file holds none, such as "EPSG:32632".
        cog: write a Cloud-Optimized GeoTIFF.
        overwrite: replace an output that exists.
        allow_coarse: pixel sizes may differ by any factor.
        allow_remote: a local VRT may name remote sources.
        reporter: takes progress and warnings.

    Raises:
        InputError, OutputError, UsageError: their subclasses say which file and why.
    """
    reporter, began = reporter or Reporter(), time.monotonic()
    before, after, target = os.fspath(before), os.fspath(after), Path(output)
    if target.suffix.lower() not in (".tif", ".tiff"):
        raise UsageError(f"{target}: align writes GeoTIFF; give a name that ends in .tif")
    pair = Pair.open(
        before,
        after,
        bands_after=bands_after,
        align=align,
        grid=grid,
        assume_crs=assume_crs,
        allow_coarse=allow_coarse,
        allow_remote=allow_remote,
        indices=resampling == "nearest",
        reporter=reporter,
    )
    with (
        pair,
        Publication(
            {"aligned": target},
            inputs=[*members(before), *members(after)],
            overwrite=overwrite,
            job=secrets.token_hex(4),
            reporter=reporter,
            main="aligned",
        ) as publication,
    ):
        shift = _residual(pair, reporter) if align == "register" else None
        moved = (shift.rows, shift.cols) if shift else (0.0, 0.0)
        text = pair.with_shift(moved).alignment.text.replace("(bilinear)", f"({resampling})")
        date = Date("after", pair.rasters[1], bands_after, indices=resampling == "nearest")
        try:
            date.place(pair.grid, moved)
            tags = _tags(pair, text, shift, resampling if date.offset is None else "none")
            spec = _spec(date, pair.grid, resampling, tags, reporter)
            publication.require_space(pair.grid.window.pixels * spec.count * np.dtype(spec.dtype).itemsize)
            with GeoTiffSink(publication.temporary("aligned"), pair.grid, spec, cog=cog, reporter=reporter) as sink:
                count = _write(date, sink, resampling, reporter)
        finally:
            date.reader.close()
        pair.check_unchanged()
        publication.commit()
    share = count / pair.grid.window.pixels
    return AlignResult(str(target), shift, text, share, round(time.monotonic() - began, 3))


def _residual(pair: Pair, reporter: Reporter) -> Shift | None:
    try:
        shift = estimate_shift(pair, reporter)
    except NothingToEstimateError as error:
        reporter.warning(f"residual shift not removed: {error}")
        return None
    reporter.info(shift.text)
    return shift


def _tags(pair: Pair, text: str, shift: Shift | None, resampling: str) -> dict[str, str]:
    return {
        "CDENGINE_VERSION": __version__,
        "CDENGINE_COMMAND": "align",
        "CDENGINE_BEFORE": pair.before.uri,
        "CDENGINE_AFTER": pair.after.uri,
        "CDENGINE_ALIGNMENT": text,
        "CDENGINE_RESIDUAL_SHIFT": shift.text if shift else "not estimated",
        "CDENGINE_RESAMPLING": resampling,
    }


def _spec(date: Date, grid: Grid, resampling: Method, tags: dict[str, str], reporter: Reporter) -> RasterSpec:
    """AFTER's own looks; overviews of what must not be mixed (nearest, palettes) are not averaged."""
    bands = date.info.bands
    with date.raster.opened() as dataset:
        roles = tuple(dataset.colorinterp[band - 1].name for band in bands)
        roles = tuple("undefined" if role == "alpha" else role for role in roles)  # it was selected as data
        colours = dataset.colormap(bands[0]) if roles == ("palette",) else {}
        scalings = {(dataset.scales[band - 1], dataset.offsets[band - 1]) for band in bands}
    if len(scalings) > 1:
        reporter.warning(f"{date.raster.name}: scale and offset differ between bands and are left out of the output")
    scale, offset = scalings.pop() if len(scalings) == 1 else (1.0, 0.0)
    return RasterSpec(
        date.info.dtype.name,
        _nodata(date, grid, reporter),
        date.info.names,
        colours=colours,
        tags=tags,
        overview="nearest" if resampling == "nearest" or colours else "average",
        scale=scale,
        offset=offset,
        roles=roles,
    )


def _nodata(date: Date, grid: Grid, reporter: Reporter) -> float | None:
    """AFTER's own nodata, else NaN for floats, else a value that AFTER does not use; None where every pixel is data.

    If AFTER uses its type's whole range the value is 0, and data of 0 become 1, as gdalwarp does.
    """
    validity, dtype = date.validity, date.info.dtype
    own = {value for value in validity.nodata if value is not None}
    if len(own) == 1:
        return float(own.pop())
    if dtype.kind == "f":
        return float("nan")
    source = date.raster.grid
    same_size = (source.height, source.width) == (grid.height, grid.width)
    if not own and not validity.mask and validity.alpha is None and date.offset == (0, 0) and same_size:
        return None
    limits = np.iinfo(dtype)
    low, high = int(limits.max), int(limits.min)
    with reporter.stage("values", source.height, "rows") as stage:
        for strip in date.reader.window.split(STRIP_ROWS):
            pixels, valid = date.reader.read(strip)
            if valid.any():
                data = pixels[:, valid]
                low, high = min(low, int(data.min())), max(high, int(data.max()))
            stage.advance(strip.height)
    if low > 0 or high < 0:
        return 0.0
    return float(limits.max if high < limits.max else limits.min if low > limits.min else 0)


def _write(date: Date, sink: GeoTiffSink, resampling: Method, reporter: Reporter) -> int:
    """Streams AFTER into the sink; returns the number of pixels with data."""
    grid, spec = sink.grid, sink.spec
    strips = list(grid.window.split(STRIP_ROWS))
    date.budget([strips[0], strips[len(strips) // 2], strips[-1]], AHEAD)
    count = 0

    def jobs() -> Iterator[tuple[tuple[Window, Array, Array], list[Callable[[], None]]]]:
        for strip in strips:
            pixels = np.zeros((spec.count, strip.height, strip.width), spec.dtype)
            valid = np.zeros((strip.height, strip.width), bool)
            yield (strip, pixels, valid), _tasks(date, resampling, strip, pixels, valid)

    workers = min(4, os.cpu_count() or 1)
    with reporter.stage("align", grid.window.pixels, "px") as stage:
        for strip, pixels, valid in read_ahead(jobs(), workers, AHEAD, reporter.check):
            if spec.nodata is not None:
                if not np.isnan(spec.nodata):
                    nodata = pixels.dtype.type(spec.nodata)
                    pixels[pixels == nodata] = beside(nodata)
                pixels[:, ~valid] = spec.nodata
            sink.write(strip.row, pixels)
            count += int(valid.sum())
            stage.advance(strip.pixels)
    return count


def _tasks(date: Date, resampling: Method, strip: Window, pixels: Array, valid: Array) -> list[Callable[[], None]]:
    if resampling == "bilinear" or date.offset is not None:
        return date.tasks(strip, pixels, valid)
    return [partial(_fill, date, resampling, tile, strip, pixels, valid) for tile in strip.tiles(*date.tile)]


def _fill(
    date: Date, method: Literal["nearest", "cubic"], tile: Window, strip: Window, pixels: Array, valid: Array
) -> None:
    rows, cols = tile.within(strip).slices
    part = date.needed(tile)
    data, ok = date.reader.read(part)
    pixels[:, rows, cols], valid[rows, cols] = sample(method, date.mapping, tile, date.reader.window, part, data, ok)
