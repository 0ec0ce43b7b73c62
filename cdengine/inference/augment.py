"""Test-time augmentation round any detector: the mean over mirrored and turned views of each tile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cdengine.events import Reporter
from cdengine.inference.detector import Detector
from cdengine.raster.pair import PixelSource

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class View:
    """One symmetry of the square: first transposed or not, then mirrored along rows and columns or not."""

    transpose: bool
    flip_rows: bool
    flip_cols: bool

    def apply(self, array: Array) -> Array:
        """The view of (..., H, W), without a copy."""
        turned = np.swapaxes(array, -1, -2) if self.transpose else array
        return self._flip(turned)

    def undo(self, array: Array) -> Array:
        """Brings a result back to where its pixels belong."""
        unflipped = self._flip(array)
        return np.swapaxes(unflipped, -1, -2) if self.transpose else unflipped

    def _flip(self, array: Array) -> Array:
        rows = slice(None, None, -1 if self.flip_rows else 1)
        cols = slice(None, None, -1 if self.flip_cols else 1)
        return array[..., rows, cols]


_FLIPS = tuple(View(False, rows, cols) for rows in (False, True) for cols in (False, True))
_TURNS = (View(True, True, False), View(True, False, True))  # by a quarter, either way
VIEWS: dict[str, tuple[View, ...]] = {
    "flip": _FLIPS,
    # What SenseEarth2020's winners average: both mirrors and the three turns; no group, so its mean has a north.
    "six": _FLIPS + _TURNS,
    "d4": _FLIPS + tuple(View(True, view.flip_rows, view.flip_cols) for view in _FLIPS),
}


class Augmented:
    """Averages a detector's probabilities over 4 (`flip`), 6 (`six`) or 8 (`d4`) views of the tile.

    What the detector gives are probabilities already (a sigmoid for change, a softmax for each date's classes): their
    mean is taken as it is.

    Attributes:
        detector: the one inside.
        mode: key of `VIEWS`.
        views: how many views a tile has.
        name, classes, margin, tile, batch, concurrency: of the detector inside.
    """

    def __init__(self, detector: Detector, mode: str) -> None:
        """Wraps `detector`; `mode` is a key of `VIEWS`."""
        self.detector, self.mode, self._views = detector, mode, VIEWS[mode]
        self.views = len(self._views)
        self.name, self.classes, self.margin = detector.name, detector.classes, detector.margin
        self._adopt()

    def _adopt(self) -> None:
        for name in ("tile", "batch", "concurrency"):
            if hasattr(self.detector, name):
                setattr(self, name, getattr(self.detector, name))

    @property
    def threshold(self) -> float:
        """The detector's own."""
        return self.detector.threshold

    def prepare(self, source: PixelSource, reporter: Reporter) -> None:
        """Prepares the detector."""
        self.detector.prepare(source, reporter)
        self._adopt()  # a network knows its batch only now

    def enter_thread(self, threads: int) -> None:
        """Tells the detector, if it wants to know."""
        if hasattr(self.detector, "enter_thread"):
            self.detector.enter_thread(threads)

    def predict(self, before: Array, after: Array, valid: Array) -> Array:
        """Mean over the views; shapes as in `Detector.predict`."""
        total: Array | None = None
        for view in self._views:
            turned = (np.ascontiguousarray(view.apply(array)) for array in (before, after, valid))
            probability = view.undo(self.detector.predict(*turned))
            # float64, so that the order of the views does not show in the float32 result
            total = probability.astype(np.float64) if total is None else np.add(total, probability, out=total)
        assert total is not None
        return (total / len(self._views)).astype(np.float32)

    def describe(self) -> dict[str, str | float]:
        """The detector's facts, and the augmentation."""
        return {**self.detector.describe(), "tta": self.mode}
