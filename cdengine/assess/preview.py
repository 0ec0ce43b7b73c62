"""Small pictures of large rasters: read through overviews, warped onto one small grid, stretched alike."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from affine import Affine
from rasterio.enums import Resampling
from rasterio.errors import RasterioIOError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterioWindow

from cdengine.assess.colours import hatch
from cdengine.raster.bands import alpha_band, band_names, shown_bands
from cdengine.raster.grid import Grid, Window
from cdengine.raster.paths import parse
from cdengine.raster.quiet import opened
from cdengine.raster.source import Raster

Array = np.ndarray[Any, np.dtype[Any]]
Image = str | os.PathLike[str] | Raster
# Blocks that may be decoded for one picture where a raster has no overviews: some seconds of work.
BLOCK_BUDGET = 1600
PATCH_ROWS = 16  # of a picture that go missing with a block that cannot be decoded
DETAIL_PX = 4096


@dataclass(frozen=True)
class Frame:
    """What a picture shows: a window of a grid, at so many pixels.

    Attributes:
        grid: the full grid, that of the results or of BEFORE.
        window: the part that is shown.
        height: rows of the picture.
        width: columns of the picture.
    """

    grid: Grid
    window: Window
    height: int
    width: int

    @property
    def whole(self) -> bool:
        """Whether all of the grid is shown."""
        return self.window == self.grid.window

    @property
    def small_grid(self) -> Grid:
        """The grid of the picture's pixels."""
        part = self.grid.crop(self.window)
        scale = Affine.scale(self.window.width / self.width, self.window.height / self.height)
        return Grid(part.crs, part.transform @ scale, self.height, self.width)


@dataclass(frozen=True)
class Preview:
    """A decimated picture: bands (1 or 3, h, w) float32 and where it is valid (h, w)."""

    bands: Array
    valid: Array
    numbers: tuple[int, ...]
    dtype: np.dtype[Any]


def display_bands(dataset: Any) -> tuple[int, ...]:  # noqa: ANN401 (rasterio has no types)
    """Numbers of the bands to show as red, green, blue, or of one for a grey picture; see `shown_bands`."""
    count = dataset.count - (alpha_band(dataset) is not None)
    return tuple(place + 1 for place in shown_bands(band_names(dataset), count))


def grid_of(dataset: Any) -> Grid:  # noqa: ANN401
    """The dataset's place on earth."""
    return Grid(dataset.crs, dataset.transform, dataset.height, dataset.width)


def too_dear(dataset: Any, factor: float, share: tuple[float, float] = (1.0, 1.0)) -> bool:  # noqa: ANN401
    """Whether reading the raster decimated by `factor` would decode more blocks than a picture is worth.

    Args:
        dataset: opened raster.
        factor: its pixels per pixel of the picture.
        share: part of its height and width that is shown.
    """
    levels = [1, *dataset.overviews(1)]
    level = max([step for step in levels if step <= max(1.0, factor) * 1.2], default=1)
    height, width = dataset.block_shapes[0]
    rows = min(share[0] * dataset.height / factor, share[0] * dataset.height / level / height)
    return bool(rows * math.ceil(share[1] * dataset.width / level / width) > BLOCK_BUDGET)


@contextmanager
def opened_image(image: Image, label: str) -> Iterator[tuple[Any, Grid]]:
    """A date's dataset and its place on earth.

    Args:
        image: a path, or a raster of an opened pair: that one may be placed by control points or by the user's word.
        label: what messages call it.
    """
    if isinstance(image, Raster):
        with image.opened() as dataset:
            yield dataset, image.grid
    else:
        with opened(parse(image, label).gdal) as dataset:
            yield dataset, grid_of(dataset)


def read_pair(
    before: Image, after: Image, frame: Frame, shift: tuple[float, float] = (0.0, 0.0)
) -> tuple[Preview, Preview]:
    """Both dates on the frame's small grid, warped there where their grids differ.

    Args:
        before: raster of the first date.
        after: raster of the second date.
        frame: what to show.
        shift: (rows, cols) in pixels of the frame's grid by which AFTER lies too far down and to the right.
    """
    moved = frame.grid.transform @ Affine.translation(shift[1], shift[0])
    grid = Grid(frame.grid.crs, moved, frame.grid.height, frame.grid.width)
    part = replace(frame.window, row=frame.window.row + round(shift[0]), col=frame.window.col + round(shift[1]))
    return _read(before, "BEFORE", frame, frame.window), _read(after, "AFTER", replace(frame, grid=grid), part)


def _read(image: Image, label: str, frame: Frame, part: Window) -> Preview:
    """`part` is the frame's window in the image's pixels, where it has those of the frame's grid."""
    with opened_image(image, label) as (dataset, own):
        numbers = display_bands(dataset)
        alpha = alpha_band(dataset)
        wanted = [*numbers, alpha] if alpha is not None else list(numbers)
        if own.crs is None or frame.grid.crs is None:
            values, mask = _decimated(dataset, wanted, frame, part)
        elif own.same_pixels(frame.grid):
            values, mask = _decimated(dataset, wanted, frame, frame.window)
        else:
            values, mask = _warped(dataset, wanted, frame, own)
        dtype = np.dtype(dataset.dtypes[0])
    valid = mask & np.isfinite(values).all(axis=0)
    if alpha is not None:
        valid &= values[-1] > 0
        values = values[:-1]
    return Preview(values, valid, numbers, dtype)


def _decimated(dataset: Any, bands: list[int], frame: Frame, part: Window) -> tuple[Array, Array]:  # noqa: ANN401
    """The pixels of `part`, which may reach beyond the raster, as many as the frame has."""
    step = part.height / frame.height
    boundless = {} if part.intersect(Window(0, 0, dataset.height, dataset.width)) == part else {"boundless": True}

    def read(first: int, stop: int) -> tuple[Array, Array]:
        height = part.height if stop - first == frame.height else (stop - first) * step
        window = RasterioWindow(part.col, part.row + first * step, part.width, height)
        where = {"window": window, "out_shape": (len(bands), stop - first, frame.width), **boundless}
        values = dataset.read(bands, resampling=Resampling.nearest, out_dtype="float32", **where)
        if _shadowed(dataset):
            return values, (values != dataset.nodata).all(axis=0)
        return values, (dataset.read_masks(bands, **where) > 0).all(axis=0)

    return _around_damage(read, len(bands), frame)


def _around_damage(read: Callable[[int, int], tuple[Array, Array]], bands: int, frame: Frame) -> tuple[Array, Array]:
    """All rows of a picture at once; where a block cannot be decoded, a few at a time, and without those that fail."""
    try:
        return read(0, frame.height)
    except RasterioIOError as error:
        failure = error
    values, mask = np.zeros((bands, frame.height, frame.width), np.float32), np.zeros((frame.height, frame.width), bool)
    good = 0
    for first in range(0, frame.height, PATCH_ROWS):
        rows = slice(first, min(first + PATCH_ROWS, frame.height))
        with suppress(RasterioIOError):
            values[:, rows], mask[rows] = read(rows.start, rows.stop)
            good += 1
    if not good:
        raise failure
    return values, mask


def _shadowed(dataset: Any) -> bool:  # noqa: ANN401
    """Whether a nodata value overrules a band tagged as alpha; GDAL's masks then come with a warning."""
    return dataset.nodata is not None and any(colour.name == "alpha" for colour in dataset.colorinterp)


def _warped(dataset: Any, bands: list[int], frame: Frame, own: Grid) -> tuple[Array, Array]:  # noqa: ANN401
    small = frame.small_grid
    # An alpha band made by the warper tells what the raster does not cover.
    has_alpha = any(colour.name == "alpha" for colour in dataset.colorinterp)
    with WarpedVRT(
        dataset,
        src_crs=own.crs,
        crs=small.crs,
        transform=small.transform,
        height=small.height,
        width=small.width,
        resampling=Resampling.nearest,
        add_alpha=not has_alpha and dataset.nodata is None,
    ) as vrt:

        def read(first: int, stop: int) -> tuple[Array, Array]:
            window = RasterioWindow(0, first, small.width, stop - first)
            values = vrt.read(bands, window=window, out_dtype="float32")
            if _shadowed(vrt):
                return values, (values != dataset.nodata).all(axis=0)
            return values, (vrt.read_masks(bands, window=window) > 0).all(axis=0)

        return _around_damage(read, len(bands), frame)


def read_layer(path: str | os.PathLike[str], frame: Frame, *, peak: bool = False) -> Array:
    """One-band result raster on the frame, float32, NaN where it has no data.

    Args:
        path: a raster on the frame's grid, or on another one of the same place.
        frame: what to show.
        peak: the greatest value that falls into a pixel, so that small changes do not vanish.
    """
    fine = max(1, min(4, math.floor(frame.window.width / frame.width))) if peak else 1
    finer = Frame(frame.grid, frame.window, frame.height * fine, frame.width * fine)
    with opened(path) as dataset:
        own = grid_of(dataset)
        if own.crs is None or own.same_pixels(frame.grid):
            values, mask = _decimated(dataset, [1], finer, finer.window)
        else:
            values, mask = _warped(dataset, [1], finer, own)
    layer = np.where(mask, values[0], -np.inf)
    layer = layer.reshape(frame.height, fine, frame.width, fine).max(axis=(1, 3))
    return np.where(np.isfinite(layer), layer, np.nan).astype(np.float32)


def stretched(before: Preview, after: Preview) -> tuple[Array, Array, bool]:
    """Both dates as display pictures.

    Each band is stretched between its joint 2nd and 98th percentiles of both dates, so that equal values look equal.
    Where the dates differ in bands, or in range so much that one would be black, each is stretched by itself.

    Returns:
        Two (h, w, 3) uint8 pictures, and whether the stretch is common to both.
    """
    ranges = [_range(preview) for preview in (before, after)]
    joint = before.bands.shape[0] == after.bands.shape[0] and before.dtype.kind == after.dtype.kind
    if joint:
        common = _percentiles(np.concatenate([p.bands[:, p.valid] for p in (before, after)], axis=1))
        if common is not None and all(limits is None or _shows(limits, common) for limits in ranges):
            return _picture(before, common), _picture(after, common), True
    return _picture(before, ranges[0]), _picture(after, ranges[1]), False


def _range(preview: Preview) -> list[tuple[float, float]] | None:
    return _percentiles(preview.bands[:, preview.valid])


def _shows(own: list[tuple[float, float]], common: list[tuple[float, float]]) -> bool:
    """Whether a date keeps enough contrast under the common stretch."""
    kept = [(high - low) / max(top - bottom, 1e-12) for (low, high), (bottom, top) in zip(own, common, strict=True)]
    return float(np.mean(kept)) > 0.25


def _percentiles(values: Array) -> list[tuple[float, float]] | None:
    if values.shape[1] == 0:
        return None
    low, high = np.percentile(values, [2, 98], axis=1)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _picture(preview: Preview, limits: list[tuple[float, float]] | None) -> Array:
    height, width = preview.valid.shape
    out = hatch(height, width)
    if limits is None:
        return out
    bands = [
        np.clip((np.where(preview.valid, band, low) - low) / max(high - low, 1e-12), 0, 1)
        for band, (low, high) in zip(preview.bands, limits, strict=True)
    ]
    shown = np.stack(bands if len(bands) == 3 else bands * 3, axis=-1)
    return np.where(preview.valid[..., None], np.rint(shown * 255), out).astype(np.uint8)
