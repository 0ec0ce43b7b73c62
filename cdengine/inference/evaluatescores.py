"""Figures of one run over a data set: every image on its own, and all pixels together (pooled)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdengine.assess.binary import BinaryConfusion, BinaryScore
from cdengine.assess.boundary import BoundaryScore
from cdengine.assess.curves import Curves
from cdengine.assess.objects import ObjectScore, object_figures
from cdengine.assess.semantic import SemanticScore, class_ious, figures
from cdengine.inference.evaluatetruth import Truth

Array = np.ndarray[Any, np.dtype[Any]]
COUNTS = ("tp", "fp", "fn", "tn")


@dataclass(frozen=True)
class Predicted:
    """What is measured against the labels of one pair.

    Attributes:
        change: bool (H, W).
        valid: bool (H, W): where something was predicted; the rest is not scored.
        probability: float32 (H, W), where there are probabilities.
        codes: of a semantic prediction, before and after: 0 unchanged, class + 1 where changed.
    """

    change: Array
    valid: Array
    probability: Array | None = None
    codes: tuple[Array, Array] | None = None


class RunScores:
    """Adds up the pairs of one run.

    Attributes:
        name: of the model or the folder of predictions.
        images: one row of figures for every labelled pair.
        curves: of the probabilities; empty where there are none.
        semantic: of both dates' classes; None for binary sets or predictions.
        unpredicted: labelled pixels without a prediction; they are not scored.
        facts: of the run, for the protocol: threshold, device, checksum.
    """

    def __init__(self, name: str, classes: int) -> None:
        """Starts empty.

        Args:
            name: see above.
            classes: K of a semantic data set; 0: only change is scored.
        """
        self.name, self.images = name, list[dict[str, Any]]()
        self.curves, self.semantic = Curves(), SemanticScore(classes) if classes else None
        self.unpredicted = 0
        self.facts: dict[str, Any] = {}
        self._change, self._objects, self._boundary = BinaryScore(), ObjectScore(), BoundaryScore()
        self._probabilities = self._classes = False

    def add(self, name: str, predicted: Predicted, truth: Truth) -> dict[str, Any]:
        """Scores one pair and returns its row."""
        change, valid = predicted.change, predicted.valid
        own = self._change.add(change, truth.change, valid)
        row: dict[str, Any] = {"name": name, **own.figures()}
        self.unpredicted += int(np.count_nonzero((truth.change <= 1) & ~valid))
        if predicted.probability is not None:
            curves = Curves()
            curves.add(predicted.probability, truth.change, valid)
            self.curves += curves
            self._probabilities = True
            row |= {"ap": curves.average_precision(), "ece": curves.calibration().ece}
        row |= object_figures(self._objects.add(change, truth.change, valid))
        row |= self._boundary.add(change, truth.change, valid).figures()
        if self.semantic is not None and predicted.codes is not None and truth.codes is not None:
            self._classes = True
            row |= named(figures(self.semantic.add(predicted.codes, truth.codes, valid)))
        row |= {count: getattr(own, count) for count in COUNTS}
        self.images.append(row)
        return row

    @property
    def confusion(self) -> BinaryConfusion:
        """Of all pixels together."""
        return self._change.confusion

    def pooled(self) -> dict[str, float]:
        """Figures of all pixels (objects, boundaries) together; empty before the first labelled pair."""
        if not self.images:
            return {}
        found = self._change.figures()
        if self._probabilities:
            found |= {"ap": self.curves.average_precision(), "ece": self.curves.calibration().ece}
        found |= self._objects.figures() | self._boundary.figures()
        if self.semantic is not None and self._classes:
            found |= named(self.semantic.figures())
        return found | {count: getattr(self.confusion, count) for count in COUNTS}

    def details(self, classes: Sequence[str]) -> dict[str, Any]:
        """Calibration curve, and for semantic runs matrix, class IoUs and transitions; as JSON takes them."""
        found: dict[str, Any] = {}
        if self._probabilities:
            curve = self.curves.calibration()
            columns = zip(curve.predicted, curve.observed, curve.pixels, strict=True)
            found["calibration"] = [
                {"predicted": float(one), "observed": float(two), "pixels": int(count)} for one, two, count in columns
            ]
        if self.semantic is not None and self._classes:
            ious = class_ious(self.semantic.confusion)
            found["class_iou"] = dict(zip(("unchanged", *classes), map(float, ious), strict=True))
            found["confusion"] = self.semantic.confusion.tolist()
            found["transitions"] = {
                "classes": list(classes),
                **{kind: getattr(self.semantic, kind).tolist() for kind in ("labelled", "predicted", "right")},
            }
        return found


def named(semantic: Mapping[str, float]) -> dict[str, float]:
    """Figures of `assess.semantic` beside those of change: `kappa` and `oa` are change's, so these are prefixed."""
    return {f"semantic_{name}" if name in ("kappa", "oa") else name: value for name, value in semantic.items()}


def mean_of_images(images: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean of every figure over the images; average precision over those in which something changed."""
    found: dict[str, float] = {}
    for name in images[0] if images else ():
        if name in ("name", *COUNTS):
            continue
        values = [row[name] for row in images if name in row and (name != "ap" or row["tp"] + row["fn"])]
        found[name] = float(np.mean(values)) if values else 0.0
    return found


def over_runs(rows: Sequence[Mapping[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and sample standard deviation (n − 1; 0 for one run) of every figure that all runs have."""
    shared = [name for name in rows[0] if name != "name" and all(name in row for row in rows)] if rows else []
    table = {name: np.array([row[name] for row in rows], np.float64) for name in shared}
    mean = {name: float(values.mean()) for name, values in table.items()}
    spread = {name: float(values.std(ddof=1)) if len(values) > 1 else 0.0 for name, values in table.items()}
    return mean, spread
