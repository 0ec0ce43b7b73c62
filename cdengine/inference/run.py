"""The streaming runner: strips in, tiles through a detector, bands of finished pixels into the journal.

Reading ahead, computing and storing overlap in threads; this module keeps them in order and knows nothing of what a
detector does or where results end up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from cdengine.errors import ResourceError
from cdengine.events import Reporter, Stage
from cdengine.inference.blend import RowBlender
from cdengine.inference.detector import BatchTooLarge, Detector, channels
from cdengine.inference.feed import RowFeed
from cdengine.inference.journal import Journal
from cdengine.inference.layers import LayerFormat
from cdengine.inference.tiles import Tiling
from cdengine.raster.grid import Grid, Window
from cdengine.raster.pair import PixelBlock, SourceInfo

Array = np.ndarray[Any, np.dtype[Any]]
POLL_S = 0.2  # how often a wait for the detector looks whether the user cancelled


class StripSource(Protocol):
    """A pair that can be read from any row on (a `Pair`)."""

    grid: Grid
    window: Window
    before: SourceInfo
    after: SourceInfo

    def strips(self, workers: int = 2, start_row: int | None = None) -> Iterator[PixelBlock]:
        """Strips in row order from the one that holds `start_row` (of the grid) on."""


class Mask(Protocol):
    """An area of interest on a grid."""

    def mask(self, grid: Grid, window: Window) -> Array:
        """Boolean (h, w): inside."""


class Budget(Protocol):
    """A detector that shares out time among the tiles (`TimeBudgeted`)."""

    def expect(self, tiles: int, threads: int) -> None:
        """Before the first tile: how many come at most, and how many calls of `predict` run at a time."""

    def skip(self, tiles: int) -> None:
        """Some of the tiles announced hold no pixel to compute."""

    def counts(self) -> dict[str, int]:
        """Figures of the tiles so far; the journal keeps them with each band."""


@dataclass
class _Work:
    """Tiles of one row that go to the detector together; `slots` are None for tiles without a pixel to compute."""

    row: int
    cols: list[int]
    slots: list[int | None]
    before: list[Array]
    after: list[Array]
    valid: list[Array]
    last: bool = False


class Runner:
    """Computes the bands (rows of tiles) that a journal lacks.

    Args:
        detector: prepared.
        source: the pair.
        tiling: tiles over `source.window`.
        layers: what is kept of the detector's channels.
        batch: tiles per call; halved for good when memory runs out.
        workers: reading threads.
        aoi: limits what is computed; its outside is nodata.
        budget: the detector once more, where it wants to know how many tiles come.
    """

    def __init__(
        self,
        detector: Detector,
        source: StripSource,
        tiling: Tiling,
        layers: LayerFormat,
        *,
        batch: int = 1,
        workers: int = 2,
        aoi: Mask | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._detector, self._source, self._tiling, self._layers = detector, source, tiling, layers
        self._workers, self._aoi, self._budget = workers, aoi, budget
        self.batch = batch
        self._wanted: dict[int, Array] = {}
        self._failure: BaseException | None = None

    def run(self, journal: Journal, reporter: Reporter) -> None:
        """Fills the journal.

        Raises:
            Cancelled: the user stopped the run; finished bands stay in the journal.
            ResourceError: memory does not suffice for one tile.
        """
        rows, window = self._tiling.rows, self._source.window
        first = journal.first_missing(len(rows.starts), reporter)
        if first == len(rows.starts):
            return
        self.batch = int(journal.settings.get("batch", self.batch))
        journal.set(batch=self.batch)
        done = rows.starts[first] * window.width if first else 0
        # Training-free methods are NumPy and gain from calling threads; a network has its own.
        threads = getattr(self._detector, "concurrency", self._workers)
        enter = getattr(self._detector, "enter_thread", None)
        if self._budget is not None:
            computed = len(rows.starts) - rows.first_needed(first)
            self._budget.expect(computed * len(self._tiling.cols.starts), threads)
        compute = ThreadPoolExecutor(threads, "cdengine-compute", partial(enter, threads) if enter else None)
        store = ThreadPoolExecutor(1, "cdengine-store")
        strips = self._source.strips(self._workers, start_row=window.row + rows.starts[rows.first_needed(first)])
        try:
            with reporter.stage("detect", window.pixels, "px", done) as stage:
                self._consume(strips, first, threads, compute, store, journal, reporter, stage)
        finally:
            compute.shutdown(wait=False, cancel_futures=True)
            store.shutdown(wait=True)  # bands that are done stay done, and nobody writes after the caller cleans up
            close = getattr(strips, "close", None)
            if close is not None:
                close()

    def _consume(
        self,
        strips: Iterator[PixelBlock],
        first: int,
        threads: int,
        compute: ThreadPoolExecutor,
        store: ThreadPoolExecutor,
        journal: Journal,
        reporter: Reporter,
        stage: Stage,
    ) -> None:
        blender = RowBlender(self._tiling, channels(self._detector))
        band: dict[str, Array] = {}
        writing: deque[Future[None]] = deque()
        row = -1
        for work, values in self._in_order(self._work(strips, first), threads, compute, journal, reporter):
            if work.row != row:
                row = work.row
                blender.start_row(row)
                band = self._layers.empty(self._final_rows(row), self._tiling.cols.length)
            for col, slot in zip(work.cols, work.slots, strict=True):
                start, block = blender.add(col, None if slot is None else values[slot])
                if row >= first:
                    wanted = self._wanted[row][:, start : start + block.shape[2]]
                    self._layers.put(band, start, block, wanted)
                    stage.advance(block.shape[1] * block.shape[2])
            if work.last:
                del self._wanted[row]
                if row >= first:
                    while len(writing) > 1:  # at most two finished bands wait for the disk
                        _wait(writing.popleft(), reporter)
                    writing.append(store.submit(self._store, journal, row, band))
        while writing:
            _wait(writing.popleft(), reporter)

    def _store(self, journal: Journal, row: int, band: dict[str, Array]) -> None:
        journal.write(row, band)
        if self._budget is not None:
            journal.set(**self._budget.counts())

    def _final_rows(self, row: int) -> int:
        return self._tiling.rows.final(row) - self._tiling.rows.starts[row]

    def _work(self, strips: Iterator[PixelBlock], first: int) -> Iterator[_Work]:
        """Cuts tiles row by row and groups those of a row into batches."""
        rows, cols, window = self._tiling.rows, self._tiling.cols, self._source.window
        feed = RowFeed(strips, window, rows.size)
        size = (rows.size, cols.size)
        for row in range(rows.first_needed(first), len(rows.starts)):
            start, stop = rows.starts[row], rows.stop(row)
            feed.advance(start, stop)
            wanted = feed.valid
            if self._aoi is not None:
                part = Window(window.row + start, window.col, stop - start, window.width)
                wanted = wanted & self._aoi.mask(self._source.grid, part)
            self._wanted[row] = wanted[: self._final_rows(row)].copy()
            work = _Work(row, [], [], [], [], [])
            for col, left in enumerate(cols.starts):
                work.cols.append(col)
                if not wanted[:, left : left + cols.size].any():
                    work.slots.append(None)
                    if self._budget is not None:
                        self._budget.skip(1)
                    continue
                work.slots.append(len(work.before))
                for kept, tile in zip((work.before, work.after, work.valid), feed.cut(left, size), strict=True):
                    kept.append(tile)
                if len(work.before) == self.batch and col + 1 < len(cols.starts):
                    yield work
                    work = _Work(row, [], [], [], [], [])
            work.last = True
            yield work

    def _in_order(
        self, works: Iterator[_Work], threads: int, compute: ThreadPoolExecutor, journal: Journal, reporter: Reporter
    ) -> Iterator[tuple[_Work, Array]]:
        """Runs the detector on up to `threads` + 1 batches at a time and yields results in the order of the tiles."""
        waiting: deque[tuple[_Work, Future[Array] | None]] = deque()
        nothing = np.zeros((0,), np.float32)

        def result() -> tuple[_Work, Array]:
            work, future = waiting.popleft()
            if future is None:
                return work, nothing
            try:
                return work, _wait(future, reporter)
            except BatchTooLarge:
                pass  # out of the except block first: its traceback keeps the tensors of the failed try alive
            return work, self._smaller(work, journal, reporter)

        for work in works:
            waiting.append((work, compute.submit(self._predict, work) if work.before else None))
            while len(waiting) > threads:
                yield result()
        while waiting:
            yield result()

    def _predict(self, work: _Work) -> Array:
        if self._failure is not None:
            raise self._failure  # a batch that waited its turn: a lost device must not be touched again
        try:
            return self._detector.predict(np.stack(work.before), np.stack(work.after), np.stack(work.valid))
        except BatchTooLarge:
            raise
        except BaseException as error:
            self._failure = error
            raise

    def _smaller(self, work: _Work, journal: Journal, reporter: Reporter) -> Array:
        """Does a batch again in halves, and keeps the smaller size for all that follows."""
        size = len(work.before)
        while True:
            if size == 1:
                raise ResourceError(
                    f"out of memory on one tile of {self._tiling.rows.size} x {self._tiling.cols.size} pixels: "
                    "use a smaller --tile, or --device cpu"
                )
            size //= 2
            if size < self.batch:
                self.batch = size
                journal.set(batch=size)
                reporter.warning(f"out of memory: going on with batches of {size}")
            try:
                parts = []
                for at in range(0, len(work.before), size):
                    reporter.check()
                    part = slice(at, at + size)
                    tiles = [np.stack(kept[part]) for kept in (work.before, work.after, work.valid)]
                    parts.append(self._detector.predict(*tiles))
                return np.concatenate(parts)
            except BatchTooLarge:
                continue


def _wait(future: Future[Any], reporter: Reporter) -> Any:  # noqa: ANN401
    while True:
        try:
            return future.result(timeout=POLL_S)
        except FutureTimeout:
            if future.done():  # the work itself timed out (a remote file), not the wait
                raise
            reporter.check()
