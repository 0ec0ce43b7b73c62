"""Opens a finished raster again and compares it with what was sent to it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.errors import RasterioError
from rasterio.windows import Window as RioWindow

from cdengine.errors import DiskFullError, OutputError
from cdengine.events import Reporter
from cdengine.raster.diskerrors import write_error
from cdengine.raster.grid import Grid
from cdengine.raster.quiet import opened
from cdengine.raster.source import gdal_env
from cdengine.raster.spec import RasterSpec

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Sample:
    """A window and the digest of the pixels that were sent for it."""

    row: int
    col: int
    height: int
    width: int
    digest: bytes


@dataclass(frozen=True)
class Expected:
    """What a finished file must be.

    Attributes:
        grid: place and size.
        spec: type, nodata, bands.
        blocks: number of blocks that hold something else than nodata.
        samples: windows with digests, one per row of blocks.
    """

    grid: Grid
    spec: RasterSpec
    blocks: int
    samples: tuple[Sample, ...]


def digest(values: Array) -> bytes:
    """Of C-contiguous pixels."""
    return hashlib.blake2b(values.tobytes(), digest_size=16).digest()


def verify(path: Path, expected: Expected, reporter: Reporter) -> None:
    """Checks a closed file: size, type, place, nodata, no block missing, sampled windows equal.

    Raises:
        OutputError: something differs; DiskFullError where the disk has no room left.
    """
    try:
        with gdal_env(), opened(path) as dataset:
            _check_header(path, dataset, expected, reporter)
            for sample in expected.samples:
                reporter.check()
                window = RioWindow(sample.col, sample.row, sample.width, sample.height)
                if digest(dataset.read(window=window)) != sample.digest:
                    raise _differs(path, f"rows {sample.row}-{sample.row + sample.height - 1} are not what was sent")
            present = _present(dataset, reporter)
            if present < expected.blocks:
                raise _differs(path, f"{expected.blocks - present} of {expected.blocks} blocks are missing")
    except RasterioError as error:
        raise write_error(error, path) from error


def _check_header(path: Path, dataset: Any, expected: Expected, reporter: Reporter) -> None:  # noqa: ANN401
    grid, spec = expected.grid, expected.spec
    if (dataset.height, dataset.width, dataset.count) != (grid.height, grid.width, spec.count):
        raise _differs(path, f"size {dataset.height} × {dataset.width} × {dataset.count}")
    if any(np.dtype(name) != np.dtype(spec.dtype) for name in dataset.dtypes):
        raise _differs(path, f"pixel type {dataset.dtypes[0]}")
    if str(dataset.nodata) != str(None if spec.nodata is None else float(spec.nodata)):  # as text NaN equals NaN
        raise _differs(path, f"nodata {dataset.nodata}")
    if (dataset.crs is None) != (grid.crs is None):
        raise _differs(path, f"coordinate reference system {dataset.crs}")
    if dataset.crs != grid.crs:
        reporter.warning(f"{path.name}: GeoTIFF words its coordinate reference system otherwise than the input does")
    if not np.allclose(tuple(dataset.transform), tuple(grid.transform), rtol=1e-12, atol=1e-12):
        raise _differs(path, f"geotransform {tuple(dataset.transform)[:6]}")


def _present(dataset: Any, reporter: Reporter) -> int:  # noqa: ANN401
    """Blocks of band 1 that the file has; the others are declared sparse."""
    rows, cols = dataset.block_shapes[0]
    count = 0
    for row in range(-(-dataset.height // rows)):
        reporter.check()
        for col in range(-(-dataset.width // cols)):
            count += dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=1) is not None
    return count


def _differs(path: Path, what: str) -> OutputError:
    error = OutputError(f"{path.name}: does not read back as written: {what}; check the disk and run again")
    fuller = write_error(error, path)
    return fuller if isinstance(fuller, DiskFullError) else error
