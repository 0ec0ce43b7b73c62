"""How good probabilities are, whatever the threshold: average precision, best threshold, calibration.

Probabilities are counted in 65,536 equal bins by label, so memory does not grow with the data set. Values in one bin
are ties. That is exact for 8-bit probabilities (k/200, k/255), whose levels have bins of their own; for floats average
precision differs from that of a full sort by some 1e-5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cdengine.assess.binary import BinaryConfusion, scored_pixels

Array = np.ndarray[Any, np.dtype[Any]]
BINS = 1 << 16
CALIBRATION_BINS = 16  # a power of two, so that its edges are edges of the fine bins


@dataclass(frozen=True)
class BestThreshold:
    """The threshold with the highest F1, and what it gives on the data it was found on."""

    threshold: float
    confusion: BinaryConfusion


@dataclass(frozen=True)
class Calibration:
    """How often a probability is right, bin by bin (reliability diagram).

    Attributes:
        predicted: (CALIBRATION_BINS,) mean probability of a bin's pixels; its middle where there are none.
        observed: (CALIBRATION_BINS,) share of them that changed; 0 where there are none.
        pixels: (CALIBRATION_BINS,) how many.
        ece: expected calibration error, Σ pixels/all · |predicted − observed| (Naeini et al. 2015); 0 of no pixels.
    """

    predicted: Array
    observed: Array
    pixels: Array
    ece: float


class Curves:
    """Histograms of probabilities of unchanged and of changed pixels; images add up.

    Attributes:
        counts: (2, BINS) int64: pixels by label (0 unchanged, 1 changed) and bin.
    """

    def __init__(self) -> None:
        self.counts: Array = np.zeros((2, BINS), np.int64)

    def add(self, probability: Array, truth: Array, valid: Array | None = None) -> None:
        """Takes one image.

        Args:
            probability: (H, W) floats, 0 to 1.
            truth: (H, W), bool or 0/1; 255 is not scored.
            valid: (H, W) bool; what lies under False is not scored.

        Raises:
            ValueError: a scored probability is not a number from 0 to 1.
        """
        scored = scored_pixels(truth, valid)
        values, changed = probability[scored].astype(np.float32), truth[scored] == 1
        if values.size and not (values.min() >= 0 and values.max() <= 1):  # False for NaN too
            raise ValueError("probabilities must be numbers from 0 to 1")
        # exact for float32: a product with a power of two only moves the exponent
        bins = np.minimum((values * BINS).astype(np.int64), BINS - 1)
        self.counts += np.bincount(bins + BINS * changed, minlength=2 * BINS).reshape(2, BINS)

    def __iadd__(self, other: Curves) -> Curves:
        self.counts += other.counts
        return self

    def figures(self) -> dict[str, float]:
        """`ap`, `best_threshold`, `best_f1` (on these data: for validation data only), `ece`."""
        best = self.best_threshold()
        return {
            "ap": self.average_precision(),
            "best_threshold": best.threshold,
            "best_f1": best.confusion.f1,
            "ece": self.calibration().ece,
        }

    def at(self, threshold: float) -> BinaryConfusion:
        """Counts for change = probability ≥ threshold; exact for thresholds k / 65,536."""
        first = int(np.ceil(threshold * BINS))
        fp, tp = (int(value) for value in self.counts[:, first:].sum(axis=1))
        unchanged, changed = (int(value) for value in self.counts.sum(axis=1))
        return BinaryConfusion(tp, fp, changed - tp, unchanged - fp)

    def average_precision(self) -> float:
        """Σ (R_n − R_{n−1}) P_n over falling thresholds, ties taken together, without interpolation.

        0 where no pixel changed (there is nothing to rank), as scikit-learn and torchmetrics define it.
        """
        fp, tp = np.cumsum(self.counts[:, ::-1], axis=1)
        changed = int(tp[-1])
        if changed == 0:
            return 0.0
        precision = np.divide(tp, tp + fp, out=np.zeros(BINS), where=tp + fp > 0)
        return float((self.counts[1, ::-1] * precision).sum() / changed)

    def best_threshold(self) -> BestThreshold:
        """The threshold that maximises F1; of several equal ones that nearest to 0.5 (0.5 where no pixel changed)."""
        tp = np.cumsum(self.counts[1, ::-1])[::-1]
        found = tp + np.cumsum(self.counts[0, ::-1])[::-1]
        changed = int(tp[0])
        if changed == 0:
            return BestThreshold(0.5, self.at(0.5))
        f1 = 2 * tp / (found + changed)
        equal = np.flatnonzero(f1 == f1.max())
        threshold = int(equal[np.argmin(np.abs(equal - BINS // 2))]) / BINS
        return BestThreshold(threshold, self.at(threshold))

    def precision_recall(self, points: int = 201) -> tuple[Array, Array, Array]:
        """Thresholds (evenly spaced, 0 to 1), and precision and recall at each; float64 (points,)."""
        thresholds = np.linspace(0, 1, points)
        confusions = [self.at(float(value)) for value in thresholds]
        precision = np.array([item.precision for item in confusions])
        return thresholds, precision, np.array([item.recall for item in confusions])

    def calibration(self) -> Calibration:
        """Sixteen bins of equal width; a pixel counts with the middle of its fine bin (off by at most 8e-6)."""
        both = self.counts.sum(axis=0)
        weighted = both * ((np.arange(BINS) + 0.5) / BINS)
        pixels = both.reshape(CALIBRATION_BINS, -1).sum(axis=1)
        changed = self.counts[1].reshape(CALIBRATION_BINS, -1).sum(axis=1)
        sums = weighted.reshape(CALIBRATION_BINS, -1).sum(axis=1)
        middle = (np.arange(CALIBRATION_BINS) + 0.5) / CALIBRATION_BINS
        predicted = np.divide(sums, pixels, out=middle, where=pixels > 0)
        observed = np.divide(changed, pixels, out=np.zeros(CALIBRATION_BINS), where=pixels > 0)
        every = max(int(pixels.sum()), 1)
        return Calibration(predicted, observed, pixels, float((pixels * np.abs(predicted - observed)).sum() / every))
