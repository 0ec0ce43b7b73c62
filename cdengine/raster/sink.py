"""Writes one GeoTIFF from rows that arrive in order: tiled, compressed, with overviews, names, colours and tags.

Rows are gathered to whole rows of blocks, so no block is compressed twice and memory is width × 512 rows. What
was never written reads as nodata and takes no room. The closed file is opened again and compared with what was sent.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.windows import Window as RioWindow

from cdengine.errors import OutputError
from cdengine.events import Reporter
from cdengine.raster.apart import run_apart
from cdengine.raster.diskerrors import writing
from cdengine.raster.grid import Grid
from cdengine.raster.overviews import declare_overviews, fill_overviews, overview_factors
from cdengine.raster.pam import write_sidecar
from cdengine.raster.quiet import opened
from cdengine.raster.source import gdal_env
from cdengine.raster.spec import RasterSpec
from cdengine.raster.verify import Expected, Sample, digest, verify

Array = np.ndarray[Any, np.dtype[Any]]

BLOCK = 512
RGB = ("red", "green", "blue")
THREADS = min(4, os.cpu_count() or 1)  # of GDAL's compressor; more than a disk swallows
APART_BYTES = 1 << 28  # declaring overviews costs a second or two per GB, with Python blocked: not in this process


class GeoTiffSink:
    """A GeoTIFF being written. Use as a context manager: leaving it finishes the file, an exception drops it.

    Args:
        path: where to write (a temporary name of a `Publication`).
        grid: place and size.
        spec: what it is made of.
        cog: lay the file out as a Cloud-Optimized GeoTIFF at the end.
        reporter: for the stages "overviews" and "cog", and the cancel check.

    Raises:
        DiskFullError: the disk ran full, at whatever moment.
        OutputError: writing failed otherwise, or the closed file does not hold what was sent.
    """

    def __init__(self, path: Path, grid: Grid, spec: RasterSpec, *, cog: bool = False, reporter: Reporter) -> None:
        self.path, self.grid, self.spec, self._cog, self._reporter = path, grid, spec, cog, reporter
        # inside a Publication's temporary family, so that its clean-up finds it
        self._work = path.with_name(f"{path.stem}.plain{path.suffix}") if cog else path
        self.block_rows, self.block_cols = _block_side(grid.height), _block_side(grid.width)
        self._next = 0  # first row that may still be written
        self._strip: Array | None = None  # the row of blocks being gathered
        self._strip_row = 0
        self._blocks = 0
        self._samples: list[Sample] = []
        self._dataset: Any = None
        with self._guard():
            self._create()

    def __enter__(self) -> GeoTiffSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def write(self, row: int, values: Array, col: int = 0) -> None:
        """Takes rows; what lies between two calls, and left and right of a narrower array, stays nodata.

        Args:
            row: first row; at or below the end of the last call.
            values: (bands, h, w) in the spec's dtype.
            col: first column.
        """
        bands, height, width = values.shape
        if row < self._next or row + height > self.grid.height or col < 0 or col + width > self.grid.width:
            raise ValueError(f"rows {row}-{row + height}, columns {col}-{col + width}: outside, or not in order")
        if bands != self.spec.count or values.dtype != np.dtype(self.spec.dtype):
            raise ValueError(f"{bands} bands of {values.dtype}, expected {self.spec.count} of {self.spec.dtype}")
        self._next = row + height
        done = 0
        while done < height:
            at = row + done
            start = at - at % self.block_rows
            stop = min(start + self.block_rows, self.grid.height)
            count = min(stop - at, height - done)
            part = values[:, done : done + count]
            if count == stop - start and width == self.grid.width:
                self._flush()
                self._put(start, part)
            else:
                if self._strip is None or start != self._strip_row:
                    self._flush()
                    self._strip, self._strip_row = self.spec.empty(stop - start, self.grid.width), start
                self._strip[:, at - start : at - start + count, col : col + width] = part
            done += count

    def close(self) -> None:
        """Finishes the file: overviews, sidecar, COG layout, and the comparison with what was sent."""
        try:
            with self._guard():
                self._flush()
                self._dataset.close()
                fill_overviews(self._work, self.spec, self._reporter, THREADS)
                if self._cog:
                    run_apart("cog", self._reporter, str(self._work), str(self.path), str(self.spec.predictor))
                    self._work.unlink()
                write_sidecar(self.path, self.spec)
                verify(self.path, self._expected(), self._reporter)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Closes the file without finishing it and removes it."""
        if self._dataset is not None and not self._dataset.closed:
            with suppress(OutputError), self._guard():
                self._dataset.close()
        for path in (self._work, self.path):
            path.unlink(missing_ok=True)
            Path(f"{path}.aux.xml").unlink(missing_ok=True)

    # ------------------------------------------------------------ parts
    def _guard(self) -> ExitStack:
        """GDAL's settings, and errors of the disk as ours."""
        stack = ExitStack()
        stack.enter_context(writing(self.path, self._work))
        stack.enter_context(gdal_env())
        return stack

    def _create(self) -> None:
        grid, spec = self.grid, self.spec
        options: dict[str, Any] = {
            "driver": "GTiff",
            "height": grid.height,
            "width": grid.width,
            "count": spec.count,
            "dtype": spec.dtype,
            "tiled": True,
            "blockxsize": self.block_cols,
            "blockysize": self.block_rows,
            "compress": "deflate",
            "predictor": spec.predictor,
            "BIGTIFF": "IF_SAFER",
            "SPARSE_OK": "TRUE",
        }
        if spec.roles:
            options |= {"photometric": "RGB" if spec.roles[:3] == RGB else "MINISBLACK", "ALPHA": "NO"}
        if spec.nodata is not None:
            options["nodata"] = spec.nodata
        if grid.crs is not None:
            options["crs"] = grid.crs
        if grid.transform != Affine.identity():  # pixel space has none
            options["transform"] = grid.transform
        with opened(self._work, "w", **options) as dataset:
            _describe(dataset, spec)
        factors = overview_factors(grid.height, grid.width)
        if factors and grid.window.pixels * spec.count * np.dtype(spec.dtype).itemsize > APART_BYTES:
            run_apart("declare", self._reporter, str(self._work), *map(str, factors))
        elif factors:
            declare_overviews(str(self._work), factors)
        self._dataset = opened(self._work, "r+", num_threads=THREADS, SPARSE_OK="TRUE")

    def _flush(self) -> None:
        if self._strip is not None:
            strip, self._strip = self._strip, None
            self._put(self._strip_row, strip)

    def _put(self, row: int, values: Array) -> None:
        """Writes a whole row of blocks; keeps the digest of one block that holds data."""
        filled: Array = np.asarray(self.spec.is_fill(values).all(axis=(0, 1)))
        starts = range(0, self.grid.width, self.block_cols)
        full = [col for col in starts if not filled[col : col + self.block_cols].all()]
        if not full:
            return
        self._blocks += len(full)
        col = full[(row // self.block_rows) * 7919 % len(full)]  # 7919, a prime: another column each time
        width = min(self.block_cols, self.grid.width - col)
        sample = np.ascontiguousarray(values[:, :, col : col + width])
        self._samples.append(Sample(row, col, sample.shape[1], width, digest(sample)))
        with self._guard():
            self._dataset.write(values, window=RioWindow(0, row, self.grid.width, values.shape[1]))
        self._reporter.check()

    def _expected(self) -> Expected:
        return Expected(self.grid, self.spec, self._blocks, tuple(self._samples))


def _block_side(size: int) -> int:
    """512, or for smaller rasters the next multiple of 16, which TIFF asks for."""
    return min(BLOCK, -(-size // 16) * 16)


def _describe(dataset: Any, spec: RasterSpec) -> None:  # noqa: ANN401
    for band, name in enumerate(spec.descriptions, 1):
        if name:
            dataset.set_band_description(band, name)
    if spec.tags:
        dataset.update_tags(**spec.tags)
    if spec.scale != 1.0 or spec.offset != 0.0:
        dataset.scales, dataset.offsets = (spec.scale,) * spec.count, (spec.offset,) * spec.count
    if spec.roles and not spec.colours:
        dataset.colorinterp = [ColorInterp[role] for role in spec.roles]
    if spec.colours and np.dtype(spec.dtype) == np.uint8:
        # kept in the TIFF for those who copy it without its sidecar; 65,536 entries for uint16 would not be kind
        dataset.write_colormap(1, dict(spec.colours))
