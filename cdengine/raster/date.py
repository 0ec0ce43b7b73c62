"""One raster as it is read onto a common grid: copied where its pixels coincide, resampled where they do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from cdengine.raster import alignment as geometry
from cdengine.raster.bands import select
from cdengine.raster.blocks import BlockReader
from cdengine.raster.grid import Grid, Window
from cdengine.raster.mapping import Mapping
from cdengine.raster.resample import Resampling
from cdengine.raster.source import Raster
from cdengine.raster.validity import Validity

Array = np.ndarray[Any, np.dtype[Any]]
Bands = str | Sequence[int | str] | None

TILE_ROWS, TILE_COLS = 128, 512  # of a resampled date: what one thread does at a time, small enough for its cache
FINER = 8.0  # a date that is finer than the grid by more is resampled in smaller tiles: one would take gigabytes
STORE_BYTES = 1 << 30  # most that is kept of one date's decoded cells


@dataclass(frozen=True)
class SourceInfo:
    """What one date delivers.

    Attributes:
        uri: as the user gave it, credentials and query strings removed.
        bands: 1-based numbers of the selected bands.
        names: their descriptions ("" where the file has none).
        dtype: stored dtype of the delivered pixels.
        pixel_m: about how wide its own pixels are on the ground, in metres; NaN where that is unknown.
    """

    uri: str
    bands: tuple[int, ...]
    names: tuple[str, ...]
    dtype: np.dtype[Any]
    pixel_m: float = math.nan

    @property
    def count(self) -> int:
        """Number of selected bands."""
        return len(self.bands)


class Date:
    """One raster as it is read onto the common grid.

    Attributes, once it is placed:
        mapping: from positions on the grid to positions in the raster.
        offset: (rows, cols) where its pixels are the grid's, moved by whole numbers; else None.
        tile: (rows, cols) of the grid that one thread resamples at a time.
    """

    def __init__(self, role: str, raster: Raster, wanted: Bands, *, indices: bool = False) -> None:
        self.role, self.raster = role, raster
        label = f"{role.upper()} ({raster.name})"
        with raster.opened() as dataset, raster.reading(role):
            bands = select(dataset, wanted, label, indices=indices)
            names = tuple(dataset.descriptions[band - 1] or "" for band in bands)
            dtype = np.result_type(*(dataset.dtypes[band - 1] for band in bands))
            self.validity = Validity.of(dataset, bands, label)
        self.info = SourceInfo(raster.name, bands, names, dtype, geometry.pixel_metres(raster.grid))
        self.notes = raster.notes + self.validity.notes
        self.reader = BlockReader(raster, bands, self.validity, dtype)
        self.mapping: Mapping
        self.offset: tuple[int, int] | None = None

    def place(self, grid: Grid, shift: tuple[float, float] = (0.0, 0.0)) -> None:
        """Fixes where the raster's pixels lie on the common grid."""
        self.mapping = geometry.pixel_mapping(grid, self.raster.grid, shift)
        self.offset = geometry.whole_offset(self.mapping, grid)
        ratio = geometry.linear_ratio(grid, self.mapping, grid.window)
        shrink = max(1.0, ratio / FINER) if math.isfinite(ratio) else 1.0
        self.tile = max(1, int(TILE_ROWS / shrink)), max(1, int(TILE_COLS / shrink))

    def budget(self, strips: list[Window], ahead: int) -> None:
        """Keeps as many decoded cells as the strips under way together depend on.

        Args:
            strips: those to be read, or some of them, in row order; the first, a middle and a late one are looked at.
            ahead: how many are read ahead of the one that is waited for.
        """
        spans = []
        for index in {0, len(strips) // 2, max(0, len(strips) - 1 - ahead)}:
            first = strips[index]
            rows = min((ahead + 1) * first.height, strips[-1].row_stop - first.row)
            spans.append(replace(first, height=rows))
        most = 0
        for span in spans:
            # the source pixels of a rectangle lie within those of its edges
            edges = (
                replace(span, height=1),
                replace(span, row=span.row_stop - 1, height=1),
                replace(span, width=1),
                replace(span, col=span.col_stop - 1, width=1),
            )
            parts = [part for part in map(self.needed, edges) if part.pixels]
            if parts:
                row, col = min(part.row for part in parts), min(part.col for part in parts)
                stop_r, stop_c = max(part.row_stop for part in parts), max(part.col_stop for part in parts)
                keys = self.reader.cells(Window(row, col, stop_r - row, stop_c - col))
                most = max(most, sum(self.reader.cell_window(key).pixels for key in keys))
        self.reader.budget = min(STORE_BYTES, most * self.reader.pixel_bytes)

    def needed(self, window: Window) -> Window:
        """The source pixels that a window of the grid depends on."""
        if self.offset is not None:
            moved = Window(window.row + self.offset[0], window.col + self.offset[1], window.height, window.width)
            return moved.intersect(self.reader.window)
        return Resampling(self.mapping, window, self.reader.window).part

    def tasks(self, window: Window, pixels: Array, valid: Array) -> list[Callable[[], None]]:
        """Independent pieces of work that together fill `pixels` (C, h, w) and `valid` (h, w) with a window."""
        if self.offset is None:
            pieces = list(window.tiles(*self.tile))
        else:
            source = self.needed(window)
            pieces = []
            for key in self.reader.cells(source):
                part = self.reader.cell_window(key).intersect(source)
                pieces.append(Window(part.row - self.offset[0], part.col - self.offset[1], part.height, part.width))
        return [partial(self.fill, piece, window, pixels, valid) for piece in pieces]

    def fill(self, piece: Window, window: Window, pixels: Array, valid: Array) -> None:
        """Reads `piece` into its place in the arrays of `window`."""
        rows, cols = piece.within(window).slices
        target, mask = pixels[:, rows, cols], valid[rows, cols]
        if self.offset is not None:
            self.reader.read_into(self.needed(piece), target, mask)
            return
        moved = Resampling(self.mapping, piece, self.reader.window)
        target[...], mask[...] = moved.run(*self.reader.read(moved.part))
