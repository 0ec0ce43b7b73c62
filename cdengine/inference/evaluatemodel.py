"""A detector over the pairs of a data set, one whole pair at a time, with the tiles and the blending of `detect`."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cdengine.data.layouts import PairFiles
from cdengine.errors import NothingToEstimateError, ResourceError
from cdengine.events import Event, Reporter
from cdengine.inference.blend import RowBlender
from cdengine.inference.choose import build, resolve
from cdengine.inference.detector import BatchTooLarge, Detector, channels
from cdengine.inference.evaluateoptions import EvaluateOptions
from cdengine.inference.feed import RowFeed
from cdengine.inference.options import DEFAULT_TILE
from cdengine.inference.tiles import Tiling
from cdengine.methods.table import METHODS
from cdengine.raster.grid import Grid, Window
from cdengine.raster.pair import Pair, PixelBlock, SourceInfo
from cdengine.raster.source import gdal_env

Array = np.ndarray[Any, np.dtype[Any]]
CROP = 256  # the tiles that papers cut data sets into
WARNINGS = 5  # of one kind of run that are told; the rest is counted


@dataclass(frozen=True)
class Output:
    """What a detector says of one pair, on BEFORE's grid.

    Attributes:
        probability: float32 (K, H, W) as `Detector.predict` gives it; 0 where nothing was computed.
        valid: (H, W) bool: where both dates have data.
        threshold: the detector's own for this pair.
        grid: of the pair.
    """

    probability: Array
    valid: Array
    threshold: float
    grid: Grid


class HeldSource:
    """A pair in memory as a `PixelSource`; its strips are those that `detect` would read."""

    def __init__(self, window: Window, before: SourceInfo, after: SourceInfo, blocks: Sequence[PixelBlock]) -> None:
        self.window, self.before, self.after, self._blocks = window, before, after, blocks

    @classmethod
    def of(cls, pair: Pair, workers: int) -> HeldSource:
        """Reads the whole pair once."""
        return cls(pair.window, pair.before, pair.after, list(pair.strips(workers)))

    def strips(self, workers: int = 1) -> Iterator[PixelBlock]:
        """The strips in row order."""
        yield from self._blocks

    def whole(self) -> PixelBlock:
        """All strips as one block."""
        parts = [(block.before, block.after, block.valid) for block in self._blocks]
        before, after, valid = (np.concatenate(part, axis=-2) for part in zip(*parts, strict=True))
        return PixelBlock(self.window, before, after, valid)

    def crop(self, block: PixelBlock, window: Window) -> HeldSource:
        """A part of `whole()`, counted from its first pixel, as a pair of its own."""
        rows, cols = window.slices
        own = Window(0, 0, window.height, window.width)
        part = PixelBlock(own, block.before[:, rows, cols], block.after[:, rows, cols], block.valid[rows, cols])
        return HeldSource(own, self.before, self.after, [part])


class ModelRun:
    """One model, or several as one, loaded once, for all pairs.

    Attributes:
        detector: what does the work.
        label: for people.
        files: model files that were read.
    """

    def __init__(self, models: Sequence[str], first: PairFiles, options: EvaluateOptions, reporter: Reporter) -> None:
        """Loads the model.

        Args:
            models: as `--model`; the mean of several.
            first: a pair of the set: "default" chooses by its bands.
            options: how to run.
            reporter: is told the device, and stops the run.
        """
        self._options, self._reporter = options, reporter
        self.quiet = Reporter(_Terse(reporter), reporter.cancellation)
        self._workers = options.workers or min(4, os.cpu_count() or 1)
        settings = options.detect_options(*models)
        with gdal_env(), self._opened(first) as pair:
            bands = pair.before.count if pair.before.count == pair.after.count else 0
        choice = resolve(settings, bands, reporter)
        self.label, self.files = choice.label, choice.files
        self.detector: Detector = build(choice, settings, reporter)
        self._settings = settings
        self.per_pair = any(name in METHODS for name in choice.names)  # methods fit themselves to what they compare
        self._prepared: tuple[int, int] | None = None

    def run(self, files: PairFiles) -> Output:
        """Finds change in one pair.

        Raises:
            InputError: an image cannot be used, or has other bands than the model takes.
            ResourceError: one tile does not fit into memory.
        """
        with gdal_env(), self._opened(files) as pair:
            source = HeldSource.of(pair, self._workers)
            window = pair.window
            try:
                if self._options.protocol == "tiles256":
                    values = self._crops(source)
                else:
                    self._prepare(source)
                    values = self._blended(source)
            except NothingToEstimateError as error:
                self._reporter.warning(f"{files.name}: counted as unchanged: {error}")
                values = np.zeros((channels(self.detector), window.height, window.width), np.float32)
            grid = pair.grid
        valid = np.zeros((grid.height, grid.width), bool)
        valid[window.slices] = source.whole().valid
        probability = np.zeros((len(values), grid.height, grid.width), np.float32)
        probability[:, window.slices[0], window.slices[1]] = values
        probability *= valid
        np.clip(probability[0], 0, 1, out=probability[0])  # blending and means may miss 1 by the last bit
        return Output(probability, valid, float(self.detector.threshold), grid)

    def grid(self, files: PairFiles) -> Grid:
        """Of what `run` gives for a pair.

        Raises:
            InputError: an image cannot be opened, or the two do not fit together.
        """
        with gdal_env(), self._opened(files) as pair:
            return pair.grid

    def tiling(self, window: Window) -> Tiling:
        """As `detect` covers a window of this size."""
        return Tiling.of(window.height, window.width, self.tile, self.overlap, self.detector.margin)

    @property
    def tile(self) -> int:
        """Side of a tile, in pixels."""
        return self._settings.tile or int(getattr(self.detector, "tile", DEFAULT_TILE))

    @property
    def overlap(self) -> int:
        """Pixels that neighbouring tiles share at least."""
        return 2 * self.detector.margin if self._settings.overlap is None else self._settings.overlap

    def _opened(self, files: PairFiles) -> Pair:
        return Pair.open(
            str(files.before),
            str(files.after),
            bands_before=self._options.bands_before,
            bands_after=self._options.bands_after,
            reporter=self.quiet,
        )

    def _prepare(self, source: HeldSource) -> None:
        """Statistics of every pair for methods; for a network once, which checks bands and finds its batch."""
        bands = source.before.count, source.after.count
        if not self.per_pair and self._prepared == bands:
            return
        self.detector.prepare(source, self.quiet)
        self._prepared = bands

    def _blended(self, source: HeldSource) -> Array:
        """float32 (K, h, w) of the pair's window: what `inference.run.Runner` computes, held in memory."""
        window, tiling = source.window, self.tiling(source.window)
        rows, cols = tiling.rows, tiling.cols
        feed = RowFeed(source.strips(), window, rows.size)
        blender = RowBlender(tiling, channels(self.detector))
        result = np.zeros((channels(self.detector), window.height, window.width), np.float32)
        for row, top in enumerate(rows.starts):
            feed.advance(top, rows.stop(row))
            blender.start_row(row)
            wanted = [bool(feed.valid[:, left : left + cols.size].any()) for left in cols.starts]
            cuts = [
                feed.cut(left, (rows.size, cols.size)) for left, some in zip(cols.starts, wanted, strict=True) if some
            ]
            tiles = iter(self._predicted(cuts))
            for col, some in enumerate(wanted):
                start, block = blender.add(col, next(tiles) if some else None)
                result[:, top : top + block.shape[1], start : start + block.shape[2]] = block
        return result

    def _crops(self, source: HeldSource) -> Array:
        """The same, every tile of 256 px an image of its own; those at the right and lower edge may be smaller."""
        whole = source.whole()
        result = np.zeros((channels(self.detector), source.window.height, source.window.width), np.float32)
        alike: dict[tuple[int, int], list[tuple[Window, HeldSource]]] = defaultdict(list)
        for crop in Window(0, 0, source.window.height, source.window.width).tiles(CROP, CROP):
            part = source.crop(whole, crop)
            if part.whole().valid.any():
                alike[crop.height, crop.width].append((crop, part))
        for parts in alike.values():
            # methods fit themselves to each crop, networks take many at a time
            for group in [[part] for part in parts] if self.per_pair else [parts]:
                self._prepare(group[0][1])
                blocks = [part.whole() for _, part in group]
                tiles = self._predicted([(block.before, block.after, block.valid) for block in blocks])
                for (crop, _), tile in zip(group, tiles, strict=True):
                    result[:, crop.slices[0], crop.slices[1]] = tile
        return result

    def _predicted(self, cuts: list[tuple[Array, Array, Array]]) -> list[Array]:
        """(K, h, w) of every tile, in batches that fit into memory."""
        size = self._options.batch_size
        size = int(getattr(self.detector, "batch", 1)) if size == "auto" else size
        found: list[Array] = []
        while len(found) < len(cuts):
            self._reporter.check()
            before, after, valid = (np.stack(part) for part in zip(*cuts[len(found) : len(found) + size], strict=True))
            try:
                found += list(self.detector.predict(before, after, valid))
            except BatchTooLarge as error:
                if size == 1:
                    raise ResourceError(
                        f"out of memory on one tile of {valid.shape[1]} x {valid.shape[2]} pixels: use a smaller "
                        "--tile, or --device cpu"
                    ) from error
                size //= 2
        return found


class _Terse:
    """Passes a pair's warnings on, the first few of each run; progress of single pairs and notes are dropped."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter, self._told = reporter, set[str]()

    def emit(self, event: Event) -> None:
        """Takes one event."""
        if event["event"] != "log" or event["level"] != "warning":
            return
        message = str(event["message"])
        if "neither date has a coordinate reference system" in message or message in self._told:
            return  # data sets of plain pictures have none; every pixel is compared with its label anyway
        self._told.add(message)
        if len(self._told) <= WARNINGS:
            self._reporter.emit(event)
        elif len(self._told) == WARNINGS + 1:
            self._reporter.warning("more warnings of single pairs are not shown")


def model_paths(given: Sequence[str]) -> list[str]:
    """`--model` with folders replaced by the models in them: of one run, of several runs, or loose model files."""
    found: list[str] = []
    for name in given:
        folder = Path(name)
        if not folder.is_dir():
            found.append(name)
            continue
        own = folder / "model.safetensors"
        inside = (
            [own]
            if own.is_file()
            else sorted(folder.glob("*/model.safetensors")) or sorted(folder.glob("*.safetensors"))
        )
        found += [str(path) for path in inside] or [name]  # an empty folder is told by name like any wrong model
    return found


def distinct(models: Sequence[str]) -> list[str]:
    """Each model once, by its first name; one file may have several."""
    found: dict[str, str] = {}
    for name in models:
        found.setdefault(os.path.realpath(name) if os.path.isfile(name) else name, name)
    return list(found.values())
