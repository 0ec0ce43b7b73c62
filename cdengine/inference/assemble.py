"""Finished bands → rasters and polygons, in one pass from top to bottom; also where totals are counted."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cdengine.events import Reporter
from cdengine.inference.journal import Journal
from cdengine.inference.layers import NODATA, SCALE, LayerFormat
from cdengine.inference.tiles import Tiling
from cdengine.raster.grid import Grid, Window
from cdengine.raster.sink import GeoTiffSink
from cdengine.raster.spec import RasterSpec, change_spec, classes_spec, probability_spec, transitions_spec
from cdengine.vector.area import PixelArea
from cdengine.vector.stream import PolygonStream

Array = np.ndarray[Any, np.dtype[Any]]

NO_TRANSITION = 65535
HISTOGRAM_BINS = 50
COUNTED_PX = 1 << 22  # pixels whose bins are counted at a time
CONFIDENCE = (np.arange(256) / SCALE).astype(np.float32)  # of a probability stored as uint8
CONFIDENCE[NODATA] = 0


@dataclass
class Totals:
    """What was counted on the way; areas are on the ellipsoid, None where the CRS has no ground.

    Attributes:
        changed: pixels.
        valid: compared pixels.
        changed_m2: area of the changed pixels.
        valid_m2: area of the compared pixels.
        histogram: int64 (50,), compared pixels by probability in bins of 0.02.
        transitions: int64 (K, K), changed pixels by class before and after.
        transitions_m2: float64 (K, K), their areas.
    """

    changed: int
    valid: int
    changed_m2: float | None
    valid_m2: float | None
    histogram: Array
    transitions: Array
    transitions_m2: Array

    @classmethod
    def of(cls, classes: int, on_earth: bool) -> Totals:
        """Zeros for K = `classes`."""
        area = 0.0 if on_earth else None
        histogram = np.zeros(HISTOGRAM_BINS, np.int64)
        return cls(0, 0, area, area, histogram, np.zeros((classes, classes), np.int64), np.zeros((classes, classes)))

    def add(self, window: Window, layers: dict[str, Array], area: PixelArea) -> None:
        """Counts one band."""
        change = layers["change"]
        changed, valid = change == 1, change != NODATA
        self.changed += int(changed.sum())
        self.valid += int(valid.sum())
        self.changed_m2 = _plus(self.changed_m2, area.total(window, changed))
        self.valid_m2 = _plus(self.valid_m2, area.total(window, valid))
        bins = np.minimum((layers["confidence"] * HISTOGRAM_BINS).astype(np.uint8), HISTOGRAM_BINS - 1)
        bins = bins[valid] if not valid.all() else bins.ravel()
        for at in range(0, bins.size, COUNTED_PX):  # bincount makes 8 bytes of each: a wide band at once is too much
            self.histogram += np.bincount(bins[at : at + COUNTED_PX], minlength=HISTOGRAM_BINS)
        if self.transitions.size:
            labels = layers["labels"]
            for code in np.unique(labels[changed]):
                pair = divmod(int(code) - 1, len(self.transitions))
                self.transitions[pair] += int((labels == code).sum())
                self.transitions_m2[pair] += area.total(window, labels == code) or 0.0


def _plus(total: float | None, more: float | None) -> float | None:
    return None if total is None or more is None else total + more


@dataclass(frozen=True)
class Assembly:
    """Everything the final pass needs to know.

    Attributes:
        grid: of the outputs.
        window: the part of it that was computed.
        tiling: whose rows are the bands.
        layers: form of the stored layers.
        classes: names of land-cover classes, () for binary change.
        rasters: output name → file to write ("change", "probability", "before_classes", "after_classes",
            "transitions").
        tags: of every raster.
        cog: write Cloud-Optimized GeoTIFFs.
        changed_classes: class rasters tell changed pixels alone, so that both dates leave the same ones blank.
    """

    grid: Grid
    window: Window
    tiling: Tiling
    layers: LayerFormat
    classes: tuple[str, ...]
    rasters: dict[str, Path]
    tags: dict[str, str]
    cog: bool
    changed_classes: bool = False

    def run(self, journal: Journal, polygons: PolygonStream | None, reporter: Reporter) -> Totals:
        """Writes all outputs from the journal's bands.

        Raises:
            OutputError: a file cannot be written.
            Cancelled: the user stopped the run.
        """
        area = PixelArea(self.grid)
        totals = Totals.of(len(self.classes), area.on_earth)
        rows = self.tiling.rows
        with ExitStack() as stack:
            # Polygons are traced beside writing and counting; the bands stay in order in both.
            side = stack.enter_context(ThreadPoolExecutor(1, "cdengine-polygons"))
            sinks = {
                name: stack.enter_context(
                    GeoTiffSink(path, self.grid, self._spec(name), cog=self.cog, reporter=reporter)
                )
                for name, path in self.rasters.items()
            }
            with reporter.stage("write", self.window.pixels, "px") as stage:
                for band, start in enumerate(rows.starts):
                    layers = self._derive(journal.read(band))
                    row = self.window.row + start
                    traced = None
                    if polygons is not None:
                        traced = side.submit(polygons.add, row, layers["labels"], layers["confidence"])
                    for name, sink in sinks.items():
                        reporter.check()
                        sink.write(row, layers[name][None], self.window.col)
                    change = layers["change"]
                    totals.add(Window(row, self.window.col, *change.shape), layers, area)
                    if traced is not None:
                        traced.result()
                    stage.advance(change.size)
        return totals

    def _derive(self, stored: dict[str, Array]) -> dict[str, Array]:
        """All layers that follow from the stored ones."""
        probability = stored["probability"]
        valid, changed = self.layers.valid(probability), self.layers.changed(probability)
        layers = dict(stored)
        layers["change"] = np.where(valid, changed.astype(np.uint8), np.uint8(NODATA))
        layers["labels"] = changed.astype(np.uint8)
        if self.classes:
            kinds = len(self.classes)
            codes = 1 + stored["before_classes"].astype(np.uint16) * kinds + stored["after_classes"]
            layers["labels"] = np.where(changed, codes, 0).astype(np.uint16)
            layers["transitions"] = np.where(valid, layers["labels"], NO_TRANSITION).astype(np.uint16)
            for name in ("before_classes", "after_classes") if self.changed_classes else ():
                layers[name] = np.where(changed, stored[name], np.uint8(NODATA))
        if probability.dtype == np.float32:
            layers["confidence"] = np.where(valid, probability, np.float32(0))
        else:
            layers["confidence"] = CONFIDENCE[probability]
        return layers

    def _spec(self, name: str) -> RasterSpec:
        dtype: Literal["float32", "uint8"] = "uint8" if self.layers.probability_dtype == "uint8" else "float32"
        where = " of changed pixels" if self.changed_classes else ""
        specs: dict[str, Callable[[], RasterSpec]] = {
            "change": lambda: change_spec(self.tags),
            "probability": lambda: probability_spec(dtype, self.tags),
            "before_classes": lambda: classes_spec(self.classes, self.tags, description="class before" + where),
            "after_classes": lambda: classes_spec(self.classes, self.tags, description="class after" + where),
            "transitions": lambda: transitions_spec(self.classes, self.tags),
        }
        return specs[name]()
