"""Reduced copies inside a GeoTIFF, filled block by block.

GDAL's own builder cannot be stopped or watched from Python (rasterio holds the interpreter lock all the while), so
it only declares the levels while the file is still empty; each level is then filled from the one above it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.windows import Window as RioWindow

from cdengine.events import Reporter
from cdengine.raster.quiet import opened
from cdengine.raster.spec import RasterSpec

Array = np.ndarray[Any, np.dtype[Any]]

SMALLEST = 512  # levels are added until the larger side is at most this
BLOCK = 512
CHUNK = 4096  # columns of a level filled at once: bounds memory whatever the raster's width


def overview_factors(height: int, width: int) -> list[int]:
    """2, 4, 8, … until the larger side is at most 512 pixels."""
    factors: list[int] = []
    while -(-max(height, width) // (2 ** len(factors))) > SMALLEST:
        factors.append(2 ** (len(factors) + 1))
    return factors


def declare_overviews(path: str, factors: list[int]) -> None:
    """Adds empty levels to a raster whose own blocks are all missing still; nothing is computed."""
    with (
        rasterio.Env(SPARSE_OK_OVERVIEW="YES", GDAL_TIFF_OVR_BLOCKSIZE=str(BLOCK)),
        opened(path, "r+", SPARSE_OK="TRUE") as dataset,
    ):
        dataset.build_overviews(factors, Resampling.nearest)


def fill_overviews(path: Path, spec: RasterSpec, reporter: Reporter, threads: int) -> None:
    """Computes the declared levels of a complete raster, each from the next larger one.

    Memory is a chunk of 1024 × 8192 pixels, whatever the raster's size; a cancel takes effect at the next chunk.
    """
    with opened(path) as dataset:
        levels = len(dataset.overviews(1))
        height, width = dataset.shape
    if not levels:
        return
    shapes = [(-(-height // 2**k), -(-width // 2**k)) for k in range(1, levels + 1)]
    with reporter.stage("overviews", sum(rows * cols for rows, cols in shapes), "px") as stage:
        for level in range(levels):
            larger: dict[str, Any] = {} if level == 0 else {"OVERVIEW_LEVEL": level - 1}
            with (
                opened(path, num_threads=threads, **larger) as source,
                opened(path, "r+", num_threads=threads, OVERVIEW_LEVEL=level, SPARSE_OK="TRUE") as target,
            ):
                for window in _chunks(*target.shape):
                    row, col, rows, cols = window
                    width, height = min(2 * cols, source.width - 2 * col), min(2 * rows, source.height - 2 * row)
                    small = halve(source.read(window=RioWindow(2 * col, 2 * row, width, height)), spec)
                    if not spec.is_fill(small).all():
                        target.write(small, window=RioWindow(col, row, cols, rows))
                    stage.advance(rows * cols)


def halve(values: Array, spec: RasterSpec) -> Array:
    """(bands, h, w) → (bands, ceil(h / 2), ceil(w / 2)) by the spec's rule; nodata takes no part."""
    odd = values.shape[1] % 2, values.shape[2] % 2
    if any(odd):
        padding = ((0, 0), (0, odd[0]), (0, odd[1]))
        if spec.nodata is None:
            values = np.pad(values, padding, mode="edge")
        else:
            values = np.pad(values, padding, constant_values=np.dtype(spec.dtype).type(spec.nodata))
    four = [values[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    if spec.overview == "nearest":
        return np.ascontiguousarray(four[0])
    return _mode(four, spec) if spec.overview == "mode" else _average(four, spec)


def _average(four: list[Array], spec: RasterSpec) -> Array:
    dtype = np.dtype(spec.dtype)
    wide = np.float32 if dtype.itemsize <= 2 or dtype == np.float32 else np.float64
    if spec.nodata is None:
        total = sum((part.astype(wide) for part in four[1:]), four[0].astype(wide))
        return _stored(total / 4, dtype)
    total, count = np.zeros(four[0].shape, wide), np.zeros(four[0].shape, np.uint8)
    for part in four:
        data = ~spec.is_fill(part)
        count += data
        np.add(total, part, out=total, where=data, casting="unsafe")
    mean = _stored(np.divide(total, count, out=total, where=count > 0), dtype)
    if not np.isnan(spec.nodata):
        nodata = dtype.type(spec.nodata)
        mean[mean == nodata] = beside(nodata)
        mean[count == 0] = nodata
    else:
        mean[count == 0] = np.nan
    return mean


def _stored(values: Array, dtype: np.dtype[Any]) -> Array:
    stored: Array = (values if dtype.kind == "f" else np.rint(values)).astype(dtype)
    return stored


def beside(value: Any) -> Any:  # noqa: ANN401 (any NumPy scalar)
    """The neighbouring value of the same type, for valid pixels that happen to equal nodata (as gdalwarp does)."""
    dtype = value.dtype
    if dtype.kind == "f":
        return np.nextafter(value, dtype.type(0) if value else dtype.type(1))
    return dtype.type(value - 1) if value == np.iinfo(dtype).max else dtype.type(value + 1)


def _mode(four: list[Array], spec: RasterSpec) -> Array:
    """Most frequent of four by a sorting network; nodata is the type's largest value and so sorts last."""
    a, b, c, d = four
    a, b = np.minimum(a, b), np.maximum(a, b)
    c, d = np.minimum(c, d), np.maximum(c, d)
    a, c = np.minimum(a, c), np.maximum(a, c)
    b, d = np.minimum(b, d), np.maximum(b, d)
    b, c = np.minimum(b, c), np.maximum(b, c)
    nodata = np.iinfo(four[0].dtype).max
    result: Array = a.copy()  # all four differ: the largest that is data
    for value in (b, c, d):
        np.copyto(result, value, where=value != nodata)
    np.copyto(result, a, where=a == b)
    np.copyto(result, b, where=(b == c) & (b != nodata))
    np.copyto(result, c, where=(c == d) & (c != nodata))
    return result


def _chunks(height: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    """(row, col, rows, cols) that cover a level, borders on its blocks, so that no block is written twice."""
    for row in range(0, height, BLOCK):
        for col in range(0, width, CHUNK):
            yield row, col, min(BLOCK, height - row), min(CHUNK, width - col)
