"""The pixels of one raster for many threads: every block of the file is decoded once, while its neighbours need it.

The raster is cut into cells, whole blocks grouped to some hundred rows and columns. A cell is decoded in one call by
whichever thread asks first; the others wait for it. Finished cells stay until the budget pushes the oldest out.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import numpy as np
from rasterio import DatasetReader
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.windows import Window as RasterioWindow

from cdengine.errors import CDEngineError, CorruptBlockError, RemoteError
from cdengine.raster.grid import Window
from cdengine.raster.source import Raster, gdal_env
from cdengine.raster.validity import Validity

Array = np.ndarray[Any, np.dtype[Any]]
Cell = tuple[int, int]
Pixels = tuple[Array, Array]

CELL_ROWS, CELL_COLS = 256, 1024
CELL_PIXELS = 1 << 19  # blocks as wide as the raster make flatter cells, so that several threads have work
STRIP_ROWS, STRIP_ROWS_MOST = 256, 512
# Drivers that decode from the top: jumping back costs a fresh start, so a raster of moderate size is one cell.
_SEQUENTIAL = {"PNG", "JPEG", "GIF", "BMP", "WEBP"}
_SEQUENTIAL_BYTES = 512 << 20


class BlockReader:
    """Decodes windows of one raster's selected bands, with their validity. Safe to use from several threads.

    Args:
        raster: the opened source.
        bands: 1-based numbers of the bands.
        validity: what decides over pixels.
        dtype: of the delivered pixels.
        budget: bytes of decoded cells to keep.
    """

    def __init__(
        self, raster: Raster, bands: tuple[int, ...], validity: Validity, dtype: np.dtype[Any], budget: int = 1 << 28
    ) -> None:
        self._raster, self._bands, self._validity, self._dtype = raster, bands, validity, dtype
        self.window = Window(0, 0, raster.height, raster.width)
        self.pixel_bytes = len(bands) * dtype.itemsize + 1
        self.cell_rows, self.cell_cols = self._cell_shape()
        self.budget = budget
        self._lock = threading.Lock()
        self._cells: OrderedDict[Cell, Future[Pixels]] = OrderedDict()
        self._bytes = 0
        self._handles: list[DatasetReader] = []
        self._sequential = threading.Lock() if raster.driver in _SEQUENTIAL or raster.in_archive else None
        self.decoded = 0  # cells decoded so far: a test counts them
        self.fill_damaged = False  # blocks that cannot be decoded become pixels without data
        self.damaged: set[Window] = set()  # such blocks, as far as they were met

    @property
    def strip_rows(self) -> int:
        """Height of strips whose borders are borders of cells, where cells are not very tall."""
        if self.cell_rows > STRIP_ROWS_MOST:
            return STRIP_ROWS if self.cell_rows % STRIP_ROWS_MOST else STRIP_ROWS_MOST
        return self.cell_rows * -(-STRIP_ROWS // self.cell_rows)

    def _cell_shape(self) -> tuple[int, int]:
        raster = self._raster
        if raster.driver in _SEQUENTIAL and self.window.pixels * self.pixel_bytes <= _SEQUENTIAL_BYTES:
            return raster.height, raster.width
        block_rows, block_cols = raster.block_shape
        cols = _grouped(block_cols, CELL_COLS, raster.width)
        return _grouped(block_rows, min(CELL_ROWS, max(16, CELL_PIXELS // cols)), raster.height), cols

    def read(self, window: Window) -> Pixels:
        """(C, h, w) pixels and (h, w) bool validity of a window that lies inside the raster.

        Raises:
            CorruptBlockError: a block cannot be decoded.
        """
        pixels = np.empty((len(self._bands), window.height, window.width), self._dtype)
        valid = np.empty((window.height, window.width), bool)
        self.read_into(window, pixels, valid)
        return pixels, valid

    def read_into(self, window: Window, pixels: Array, valid: Array) -> None:
        """As `read`, into arrays of the caller."""
        for key in self.cells(window):
            cell = self.cell_window(key)
            part = cell.intersect(window)
            # a cell that is wanted whole is not wanted again: it need not be kept
            data, mask = self.load(key) if part != cell else self._decode_unkept(key)
            source, target = part.within(cell).slices, part.within(window).slices
            pixels[:, target[0], target[1]] = data[:, source[0], source[1]]
            valid[target] = mask[source]

    def cells(self, window: Window) -> list[Cell]:
        """Keys of the cells that a window touches, in row order."""
        if window.pixels == 0:
            return []
        rows = range(window.row // self.cell_rows, (window.row_stop - 1) // self.cell_rows + 1)
        cols = range(window.col // self.cell_cols, (window.col_stop - 1) // self.cell_cols + 1)
        return [(row, col) for row in rows for col in cols]

    def cell_window(self, key: Cell) -> Window:
        """Where a cell lies."""
        cell = Window(key[0] * self.cell_rows, key[1] * self.cell_cols, self.cell_rows, self.cell_cols)
        return cell.intersect(self.window)

    def load(self, key: Cell) -> Pixels:
        """Pixels and validity of a cell, decoded now or before."""
        with self._lock:
            future = self._cells.get(key)
            mine = future is None
            if future is None:
                future = self._cells[key] = Future()
            else:
                self._cells.move_to_end(key)
        if not mine:
            return future.result()
        try:
            pixels = self._decode(self.cell_window(key))
        except BaseException as error:
            future.set_exception(error)  # those who wait must not wait for ever
            with self._lock:
                self._cells.pop(key, None)
            raise
        future.set_result(pixels)
        self._keep_within_budget(key, pixels)
        return pixels

    def _decode_unkept(self, key: Cell) -> Pixels:
        with self._lock:
            kept = key in self._cells
            self.decoded += not kept
        if kept:
            return self.load(key)
        return self._decode(self.cell_window(key))

    def close(self) -> None:
        """Closes the handles and forgets the cells."""
        with self._lock:
            handles, self._handles = self._handles, []
            self._cells.clear()
            self._bytes = 0
        for handle in handles:
            handle.close()

    def _keep_within_budget(self, key: Cell, pixels: Pixels) -> None:
        with self._lock:
            if key not in self._cells:  # closed meanwhile
                return
            self._bytes += _size(pixels)
            self.decoded += 1
            for old in list(self._cells):
                if self._bytes <= self.budget:
                    break
                if old != key and self._cells[old].done():
                    self._bytes -= _size(self._cells.pop(old).result())

    @contextmanager
    def _handle(self) -> Iterator[DatasetReader]:
        """A dataset for this thread alone: GDAL handles may not be used by two threads at once."""
        if self._sequential is not None:
            self._sequential.acquire()
        try:
            with self._lock:
                handle = self._handles.pop() if self._handles else None
            with gdal_env(remote=self._raster.remote):
                if handle is None:
                    handle = self._raster.open()
                try:
                    yield handle
                finally:
                    with self._lock:
                        self._handles.append(handle)
        finally:
            if self._sequential is not None:
                self._sequential.release()

    def _decode(self, window: Window) -> Pixels:
        with self._handle() as handle:
            try:
                return self._read(handle, window)
            except RasterioError as error:
                if self.fill_damaged and not self._raster.remote:  # a lost connection is no damaged file
                    return self._read_around_damage(handle, window)
                raise self._failure(handle, window, error) from error

    def _read(self, handle: DatasetReader, window: Window) -> Pixels:
        at = RasterioWindow(window.col, window.row, window.width, window.height)
        pixels = handle.read(list(self._bands), window=at, out_dtype=self._dtype)
        alpha = None if self._validity.alpha is None else handle.read(self._validity.alpha, window=at)
        mask = handle.read_masks(self._bands[0], window=at) if self._validity.mask else None
        if pixels.shape[1:] != (window.height, window.width):  # rasterio clips windows without a word
            raise CorruptBlockError(f"{self._raster.name}: read {pixels.shape[1:]} pixels where {window} was asked")
        return pixels, self._validity.of_pixels(pixels, alpha, mask)

    def _read_around_damage(self, handle: DatasetReader, window: Window) -> Pixels:
        """Block by block; those that cannot be decoded are not valid."""
        pixels = np.zeros((len(self._bands), window.height, window.width), self._dtype)
        valid = np.zeros((window.height, window.width), bool)
        for block in self._blocks(window):
            rows, cols = block.within(window).slices
            try:
                pixels[:, rows, cols], valid[rows, cols] = self._read(handle, block)
            except RasterioError:
                with self._lock:
                    self.damaged.add(block)
        return pixels, valid

    def _blocks(self, window: Window) -> Iterator[Window]:
        """The file's blocks as far as they lie in a window."""
        rows, cols = self._raster.block_shape
        for row in range(window.row - window.row % rows, window.row_stop, rows):
            for col in range(window.col - window.col % cols, window.col_stop, cols):
                yield Window(row, col, rows, cols).intersect(window)

    def _failure(self, handle: DatasetReader, window: Window, error: Exception) -> CDEngineError:
        """Names the first block of the window that fails on its own."""
        reason = self._raster.path.clean(str(error.__cause__ or error))
        if self._raster.remote:
            return RemoteError(f"{self._raster.name}: reading failed ({reason}); check the connection and run again")
        bad = window
        for block in self._blocks(window):
            try:
                self._read(handle, block)
            except RasterioIOError:
                bad = block
                break
        return CorruptBlockError(
            f"{self._raster.name}: rows {bad.row}-{bad.row_stop - 1}, columns {bad.col}-{bad.col_stop - 1} cannot be "
            f"decoded ({reason}); get a fresh copy of the file"
        )


def _size(pixels: Pixels) -> int:
    return pixels[0].nbytes + pixels[1].nbytes


def _grouped(block: int, wanted: int, size: int) -> int:
    """Whole blocks up to about `wanted` pixels, at least one block; never more than the raster has."""
    return min(block * max(1, -(-wanted // block)), max(size, 1))
