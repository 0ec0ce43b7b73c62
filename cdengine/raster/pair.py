"""Two dates as one source of pixels on one grid, each block of the files decoded once.

One grid is common (BEFORE's, unless asked otherwise); a date whose pixels lie elsewhere is resampled while it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import starmap
from types import TracebackType
from typing import Any, Literal, Protocol

import numpy as np

from cdengine.errors import AoiError, ChangedError, InputError, UsageError
from cdengine.events import Reporter
from cdengine.raster import alignment as geometry
from cdengine.raster.alignment import Alignment, Kind
from cdengine.raster.assume import with_stated_crs
from cdengine.raster.date import Bands, Date, SourceInfo
from cdengine.raster.grid import Grid, Window
from cdengine.raster.mapping import ProjectedMapping
from cdengine.raster.source import Raster, fingerprint, inspect
from cdengine.raster.strips import read_ahead

__all__ = ["Align", "Bands", "GridChoice", "Pair", "PixelBlock", "PixelSource", "SourceInfo"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class PixelBlock:
    """Pixels of both dates in one window of the grid.

    Attributes:
        window: where.
        before: (C1, h, w), stored dtype.
        after: (C2, h, w), stored dtype, on the same pixels.
        valid: (h, w) bool, True where both dates have data; values elsewhere are unspecified.
    """

    window: Window
    before: Array
    after: Array
    valid: Array


class PixelSource(Protocol):
    """Anything that delivers a pair strip by strip: a `Pair` of files, or a part of one."""

    window: Window
    before: SourceInfo
    after: SourceInfo

    def strips(self, workers: int = 2) -> Iterator[PixelBlock]:
        """Full-width strips of `window` in row order, read ahead by threads; chunk borders are fixed on the grid."""


Align = Literal["auto", "strict", "register"]
GridChoice = Literal["before", "after", "finer"]

WIDE_STRIP_BYTES = 128 << 20  # above this only one strip is read ahead


class Pair:
    """Two rasters on one grid; a `PixelSource` and a context manager. Open with `Pair.open`.

    Attributes:
        grid: of the outputs.
        window: the part of it where both dates can have data, narrowed by `limit`.
        before: what BEFORE delivers.
        after: what AFTER delivers.
        alignment: what was done to bring them together.
        notes: what the user should know; they were logged already.
        overlap: share of the grid's pixels that both rasters cover.
    """

    def __init__(
        self, before: Date, after: Date, grid: Grid, shift: tuple[float, float], align: Align, reporter: Reporter
    ) -> None:
        self._before, self._after, self.grid, self._reporter = before, after, grid, reporter
        self._align: Align = align
        self.before, self.after = before.info, after.info
        before.place(grid)
        after.place(grid, shift)
        self.window = grid.window
        self.overlap = 1.0
        for date in (before, after):
            part = geometry.common_window(grid, date.mapping, date.raster.grid)
            self.window = self.window.intersect(part)
            if self.window.pixels == 0:
                raise geometry.no_overlap(before.raster.grid, after.raster.grid)
            share = geometry.shared_part(grid, date.mapping, date.raster.grid, part)
            self.overlap = min(self.overlap, share)
        self.alignment = self._describe(shift)
        self.notes = before.notes + after.notes
        self.strip_rows = (after if grid == after.raster.grid and after.offset == (0, 0) else before).reader.strip_rows
        self._fingerprints = self._fingerprint()

    @classmethod
    def open(
        cls,
        before: str,
        after: str,
        *,
        bands_before: Bands = None,
        bands_after: Bands = None,
        align: Align = "auto",
        grid: GridChoice = "before",
        window: Window | None = None,
        shift: tuple[float, float] = (0.0, 0.0),
        assume_crs: str | None = None,
        allow_coarse: bool = False,
        allow_remote: bool = False,
        fill_damaged: bool = False,
        indices: bool = False,
        reporter: Reporter | None = None,
    ) -> Pair:
        """Opens two rasters as one source.

        Args:
            before: path of the first date, as GDAL takes it.
            after: path of the second date.
            bands_before: numbers or descriptions; None: all apart from alpha.
            bands_after: as `bands_before`.
            align: "strict" refuses grids that differ; "auto" and "register" resample (a residual shift is estimated by
                the caller and removed with `with_shift`).
            grid: whose grid is the common one.
            window: part of the common grid to which reading is limited.
            shift: (rows, cols) in pixels of the common grid by which AFTER's content lies too far down and to the
                right; it is removed in reading.
            assume_crs: CRS of a date whose file holds none, such as "EPSG:32632".
            allow_coarse: pixel sizes may differ by any factor.
            allow_remote: a local VRT may name remote sources.
            indices: AFTER may hold indices into a colour table, to be copied and not measured.
            fill_damaged: what cannot be decoded is not valid, instead of an error; see `damaged`.
            reporter: takes notes and warnings, and stops reading when the job is cancelled.

        Raises:
            InputError: a subclass says which date cannot be used and why.
            UsageError: a selected band is not there, or `assume_crs` is no CRS.
        """
        reporter = reporter or Reporter()
        first_raster, second_raster = with_stated_crs(
            inspect(before, "before", allow_remote=allow_remote, reporter=reporter),
            inspect(after, "after", allow_remote=allow_remote, reporter=reporter),
            assume_crs,
            reporter,
        )
        first = Date("before", first_raster, bands_before)
        second = Date("after", second_raster, bands_after, indices=indices)
        first.reader.fill_damaged = second.reader.fill_damaged = fill_damaged
        grids = first.raster.grid, second.raster.grid
        names = f"BEFORE ({first.raster.name})", f"AFTER ({second.raster.name})"
        notes = [geometry.check_crs_presence(*grids, names)]
        if align == "strict":
            geometry.check_strict(*grids)
        mapping = geometry.pixel_mapping(*grids)
        overlap = geometry.common_window(grids[0], mapping, grids[1])
        if overlap.pixels == 0:
            raise geometry.no_overlap(*grids)
        ratio = geometry.linear_ratio(grids[0], mapping, overlap)
        notes.append(geometry.check_ratio(ratio, allowed=allow_coarse))
        if isinstance(mapping, ProjectedMapping):
            coarse = mapping.projection.warning(geometry.pixel_metres(grids[0]))
            helps = "" if align == "register" else "; --align register helps too"
            notes.append(coarse and coarse + helps)
        chosen = grids[1] if grid == "after" or (grid == "finer" and ratio > 1.001) else grids[0]
        pair = cls(first, second, chosen, shift, align, reporter)
        if pair.overlap < 0.01:
            notes.append(f"the dates share only {pair.overlap:.2%} of the output grid; the rest will be nodata")
        warnings = tuple(note for note in notes if note)
        for text in (*warnings, *pair.notes):
            reporter.warning(text)
        pair.notes = warnings + pair.notes
        if pair.alignment.kind != "same":
            reporter.info(pair.alignment.text)
        if window is not None:
            pair.limit(window)
        return pair

    def with_shift(self, shift: tuple[float, float]) -> Pair:
        """The same pair with a residual displacement (rows, cols) of AFTER removed; use it in place of this one."""
        moved = Pair(self._before, self._after, self.grid, shift, self._align, self._reporter)
        moved.notes, moved._fingerprints = self.notes, self._fingerprints
        moved.limit(self.window)
        return moved

    @property
    def rasters(self) -> tuple[Raster, Raster]:
        """BEFORE and AFTER as they were opened."""
        return self._before.raster, self._after.raster

    @property
    def grids(self) -> tuple[Grid, Grid]:
        """The grids of BEFORE and AFTER themselves."""
        return self._before.raster.grid, self._after.raster.grid

    @property
    def damaged(self) -> dict[str, list[Window]]:
        """Blocks met so far that could not be decoded and were filled, by the raster they belong to."""
        found = {date.raster.name: date.reader.damaged for date in (self._before, self._after)}
        return {name: sorted(blocks) for name, blocks in found.items() if blocks}

    def limit(self, window: Window) -> None:
        """Narrows what is read to a part of the grid.

        Raises:
            AoiError: the part has no pixel in common with the two dates.
        """
        common = self.window.intersect(window)
        if common.pixels == 0:
            raise AoiError("the area to compute lies outside the ground that BEFORE and AFTER share")
        self.window = common

    def read(self, window: Window) -> PixelBlock:
        """Both dates in any window of the grid; what lies outside a raster is not valid."""
        block, validities, tasks = self._job(window)
        for task in tasks:
            task()
        return _joined(block, validities)

    def strips(self, workers: int = 2, start_row: int | None = None) -> Iterator[PixelBlock]:
        """Full-width strips of `window` in row order, read ahead by threads; borders are fixed on the grid.

        Args:
            workers: threads that decode and resample; at least 1.
            start_row: leave out the strips that end at or above this row of the grid.

        Raises:
            CorruptBlockError: a block of a file cannot be decoded.
            Cancelled: the reporter's job was stopped.
        """
        if workers < 1:
            raise UsageError(f"--workers {workers}: at least one thread must read")
        first = self.window.row if start_row is None else start_row
        windows = [strip for strip in self.window.split(self.strip_rows) if strip.row_stop > first]
        if not windows:
            return
        pixel_bytes = self._before.reader.pixel_bytes + self._after.reader.pixel_bytes
        ahead = 1 if windows[0].pixels * pixel_bytes > WIDE_STRIP_BYTES else 2
        for date in (self._before, self._after):
            date.budget(windows, ahead)

        def jobs() -> Iterator[tuple[tuple[PixelBlock, tuple[Array, Array]], list[Callable[[], None]]]]:
            for strip in windows:
                block, validities, tasks = self._job(strip)
                yield (block, validities), tasks

        # No loop: its variable would hold a strip, hundreds of megabytes of a wide pair, until the next is asked for.
        yield from starmap(_joined, read_ahead(jobs(), workers, ahead, self._reporter.check))

    def check_unchanged(self) -> None:
        """Compares the files with what they were when the pair was opened.

        Raises:
            ChangedError: naming the first file that was replaced, altered or removed.
        """
        try:
            now = set(self._fingerprint())
        except InputError as error:  # a VRT, say, that names another file by now
            raise ChangedError(f"{error}; it was changed while it was being read") from error
        for item in self._fingerprints:
            if item not in now:
                raise ChangedError(f"{item[0]} was changed while it was being read; run again on the new file")

    def close(self) -> None:
        """Closes both rasters."""
        self._before.reader.close()
        self._after.reader.close()

    def __enter__(self) -> Pair:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fingerprint(self) -> tuple[tuple[str, int, int], ...]:
        return fingerprint(self._before.raster.path.gdal) + fingerprint(self._after.raster.path.gdal)

    def _job(self, window: Window) -> tuple[PixelBlock, tuple[Array, Array], list[Callable[[], None]]]:
        arrays, validities, tasks = [], [], []
        for date in (self._before, self._after):
            pixels = np.zeros((date.info.count, window.height, window.width), date.info.dtype)
            valid = np.zeros((window.height, window.width), bool)
            arrays.append(pixels)
            validities.append(valid)
            tasks += date.tasks(window, pixels, valid)
        return PixelBlock(window, arrays[0], arrays[1], validities[0]), (validities[0], validities[1]), tasks

    def _describe(self, shift: tuple[float, float]) -> Alignment:
        moved = [date.role for date in (self._before, self._after) if date.offset is None]
        grids = self._before.raster.grid, self._after.raster.grid
        kind: Kind = "same"
        if moved:
            kind = "resampled" if geometry.same_crs(*grids) else "warped"
        resampled = " and ".join(moved)
        return Alignment(
            kind, resampled, shift, geometry.describe(kind, resampled.upper().replace("AND", "and"), shift, *grids)
        )


def _joined(block: PixelBlock, validities: tuple[Array, Array]) -> PixelBlock:
    return replace(block, valid=validities[0] & validities[1])
