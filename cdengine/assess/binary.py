"""Agreement of a change map with its labels, pixel by pixel: precision, recall, F1, IoU, OA, kappa."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
IGNORED = 255  # a label's "nobody knows": such pixels are not scored


@dataclass(frozen=True)
class BinaryConfusion:
    """Counts of pixels; two of them add up to those of both images together (pooled figures).

    A quotient without a denominator is defined, so that no figure is ever NaN: where neither labels nor prediction
    hold a change (tp = fp = fn = 0) the map is right, and precision, recall, F1 and IoU are 1; otherwise 0/0 is 0
    (precision of a map without changes that missed some, recall of false alarms on an unchanged image). OA and kappa
    of no pixels at all are 1.

    Attributes:
        tp: changed, and found (hits).
        fp: unchanged, but reported (false alarms).
        fn: changed, but not found (misses).
        tn: unchanged, and left alone.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    @classmethod
    def of(cls, prediction: Array, truth: Array, valid: Array | None = None) -> BinaryConfusion:
        """Counts one image.

        Args:
            prediction: (H, W), bool or 0/1.
            truth: (H, W), bool or 0/1; 255 is not scored.
            valid: (H, W) bool; what lies under False is not scored.
        """
        scored, changed = scored_pixels(truth, valid), truth == 1
        found = prediction.astype(bool) & scored
        hits = int(np.count_nonzero(found & changed))
        reported, there = int(np.count_nonzero(found)), int(np.count_nonzero(changed & scored))
        every = int(np.count_nonzero(scored))
        return cls(hits, reported - hits, there - hits, every - reported - there + hits)

    def __add__(self, other: BinaryConfusion) -> BinaryConfusion:
        return BinaryConfusion(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def pixels(self) -> int:
        """All pixels scored."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def precision(self) -> float:
        """TP / (TP + FP)."""
        return self._share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """TP / (TP + FN)."""
        return self._share(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall."""
        return self._share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN), intersection over union of the changed areas."""
        return self._share(self.tp, self.tp + self.fp + self.fn)

    @property
    def oa(self) -> float:
        """(TP + TN) / all: overall accuracy."""
        return (self.tp + self.tn) / self.pixels if self.pixels else 1.0

    @property
    def kappa(self) -> float:
        """(po − pe) / (1 − pe): agreement beyond chance (Cohen 1960); 1 where labels and map hold one class only."""
        n = self.pixels
        chance = (self.tp + self.fp) * (self.tp + self.fn) + (self.fn + self.tn) * (self.fp + self.tn)  # pe n²
        return (n * (self.tp + self.tn) - chance) / (n * n - chance) if n * n > chance else 1.0

    def figures(self) -> dict[str, float]:
        """All of them by name."""
        return {name: getattr(self, name) for name in ("precision", "recall", "f1", "iou", "oa", "kappa")}

    def _share(self, part: int, whole: int) -> float:
        if whole:
            return part / whole
        return 1.0 if self.tp + self.fp + self.fn == 0 else 0.0


class BinaryScore:
    """Adds up confusions over images.

    Attributes:
        confusion: of all images so far (pooled).
    """

    def __init__(self) -> None:
        self.confusion = BinaryConfusion()

    def add(self, prediction: Array, truth: Array, valid: Array | None = None) -> BinaryConfusion:
        """Takes one image, as `BinaryConfusion.of`, and returns its own counts."""
        one = BinaryConfusion.of(prediction, truth, valid)
        self.confusion += one
        return one

    def figures(self) -> dict[str, float]:
        """Pooled figures."""
        return self.confusion.figures()


def scored_pixels(truth: Array, valid: Array | None) -> Array:
    """Boolean (H, W): pixels that have a label (not 255) and data.

    Raises:
        ValueError: the shapes differ.
    """
    if valid is not None and valid.shape != truth.shape:
        raise ValueError(f"validity has shape {valid.shape}, the labels {truth.shape}")
    known: Array = truth != IGNORED
    return known if valid is None else known & valid
