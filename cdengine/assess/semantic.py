"""Scores of semantic change: what was there before, what is there after, and whether it changed.

One confusion matrix of K + 1 classes holds both dates of all images: index 0 is "unchanged", 1 … K the land-cover
classes of changed pixels; rows are labels, columns predictions. Unlabelled pixels (255) are not scored.
Formulas: SECOND benchmark and SenseEarth 2020 (Yang et al. 2020), F_scd from Ding et al. 2022 (Bi-SRNet).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cdengine.assess.binary import IGNORED, BinaryConfusion

Array = np.ndarray[Any, np.dtype[Any]]


def codes(change: Array, classes: Array) -> Array:
    """Joins a change map and one date's classes to the codes that are scored.

    Args:
        change: (H, W), 0 unchanged, 1 changed, 255 unknown.
        classes: (H, W), class 0 … K − 1; 255 unknown.

    Returns:
        uint8 (H, W): 0 unchanged, class + 1 where changed, 255 unknown (changed, of unknown class, included).
    """
    known = np.where(classes == IGNORED, IGNORED, classes.astype(np.int16) + 1)
    joined: Array = np.where(change == 1, known, np.where(change == 0, 0, IGNORED)).astype(np.uint8)
    return joined


def binary_of(confusion: Array) -> BinaryConfusion:
    """Changed against unchanged, from the matrix of both dates; every pixel is in it twice."""
    table = _checked(confusion)
    unchanged, everything = int(table[0, 0]), int(table.sum())
    false_alarms, misses = int(table[0, 1:].sum()), int(table[1:, 0].sum())
    return BinaryConfusion(everything - unchanged - false_alarms - misses, false_alarms, misses, unchanged)


def figures(confusion: Array) -> dict[str, float]:
    """All figures of a (K + 1, K + 1) matrix; rows labels, columns predictions, both dates stacked.

    With TN = Q00, FP = Σ_j>0 Q0j, FN = Σ_i>0 Qi0, TP the rest:

    * `miou`: mean of TN / (TN + FP + FN) and TP / (TP + FP + FN); 0/0 is 1 (nothing there or reported);
    * `sek`: separated kappa, κ(Q with Q00 = 0) · exp(IoU_changed − 1); κ is 0 where no pixel is left or one cell holds
      them all, as the benchmark's own code defines it;
    * `score`: 0.3 mIoU + 0.7 SeK;
    * `fscd`: harmonic mean of `scd_precision` = Σ_k>0 Qkk / pixels predicted changed and `scd_recall` =
      Σ_k>0 Qkk / pixels truly changed; 1 where neither labels nor prediction hold a change;
    * `kappa`: Cohen's, of the whole matrix (1 where labels and prediction hold one class only); `oa`: trace / sum.

    Raises:
        ValueError: not a square matrix of counts.
    """
    table = _checked(confusion).astype(np.float64)
    change = binary_of(confusion)
    untouched = change.tn / (change.tn + change.fp + change.fn) if change.tn + change.fp + change.fn else 1.0
    miou = (untouched + change.iou) / 2
    separated = table.copy()
    separated[0, 0] = 0
    sek = cohen_kappa(separated, alone=0.0) * float(np.exp(change.iou - 1))
    right = float(np.trace(table) - table[0, 0])
    both = float(2 * change.tp + change.fp + change.fn)
    nothing = 1.0 if both == 0 else 0.0
    total = float(table.sum())
    return {
        "miou": miou,
        "sek": sek,
        "fscd": 2 * right / both if both else 1.0,
        "score": 0.3 * miou + 0.7 * sek,
        "kappa": cohen_kappa(table, alone=1.0),
        "oa": float(np.trace(table)) / total if total else 1.0,
        "scd_precision": right / (change.tp + change.fp) if change.tp + change.fp else nothing,
        "scd_recall": right / (change.tp + change.fn) if change.tp + change.fn else nothing,
    }


def class_ious(confusion: Array) -> Array:
    """float64 (K + 1,): intersection over union of "unchanged" and of each class; 1 where a class is nowhere."""
    table = _checked(confusion).astype(np.float64)
    hits = np.diag(table)
    union = table.sum(axis=0) + table.sum(axis=1) - hits
    shares: Array = np.divide(hits, union, out=np.ones(len(table)), where=union > 0)
    return shares


def cohen_kappa(confusion: Array, alone: float) -> float:
    """(po − pe) / (1 − pe) of a square matrix.

    Args:
        confusion: counts.
        alone: the value where chance alone explains everything (no pixels, or all in one cell).
    """
    table = confusion.astype(np.float64)
    total = float(table.sum())
    chance = float((table.sum(axis=0) * table.sum(axis=1)).sum())  # pe · total²
    if total * total <= chance:
        return alone
    return (total * float(np.trace(table)) - chance) / (total * total - chance)


class SemanticScore:
    """Adds up images.

    Attributes:
        confusion: int64 (K + 1, K + 1), both dates stacked.
        labelled: int64 (K, K): pixels by class before (rows) and after in the labels.
        predicted: int64 (K, K): the same in the prediction, on the same labelled pixels.
        right: int64 (K, K): those of `labelled` with both dates predicted right.
    """

    def __init__(self, classes: int) -> None:
        """Starts empty.

        Args:
            classes: K.
        """
        self.classes = classes
        self.confusion: Array = np.zeros((classes + 1, classes + 1), np.int64)
        self.labelled: Array = np.zeros((classes, classes), np.int64)
        self.predicted, self.right = self.labelled.copy(), self.labelled.copy()

    def add(self, prediction: tuple[Array, Array], truth: tuple[Array, Array], valid: Array | None = None) -> Array:
        """Takes one image, both dates coded as by `codes`.

        Args:
            prediction: before and after, (H, W), 0 … K.
            truth: before and after, (H, W), 0 … K or 255.
            valid: (H, W) bool; what lies under False is not scored.

        Returns:
            int64 (K + 1, K + 1): this image's own matrix.

        Raises:
            ValueError: a scored code is beyond K.
        """
        own = np.zeros_like(self.confusion)
        for predicted, labelled in zip(prediction, truth, strict=True):
            scored = labelled != IGNORED
            if valid is not None:
                scored &= valid
            own += _count(labelled[scored], predicted[scored], self.classes + 1)
        self.confusion += own
        self._transitions(prediction, truth, valid)
        return own

    def figures(self) -> dict[str, float]:
        """Pooled figures, see `figures`."""
        return figures(self.confusion)

    def _transitions(self, prediction: tuple[Array, Array], truth: tuple[Array, Array], valid: Array | None) -> None:
        known = (truth[0] != IGNORED) & (truth[1] != IGNORED)
        if valid is not None:
            known &= valid
        there = known & (truth[0] > 0) & (truth[1] > 0)
        found = known & (prediction[0] > 0) & (prediction[1] > 0)
        hit = there & (prediction[0] == truth[0]) & (prediction[1] == truth[1])
        for table, (before, after), where in (
            (self.labelled, truth, there),
            (self.predicted, prediction, found),
            (self.right, truth, hit),
        ):
            table += _count(before[where] - 1, after[where] - 1, self.classes)


def _count(rows: Array, columns: Array, size: int) -> Array:
    highest = max(int(rows.max(initial=0)), int(columns.max(initial=0)))
    if highest >= size:
        raise ValueError(f"class {highest} is beyond the {size} classes of the matrix")
    counted = np.bincount(rows.astype(np.int64) * size + columns, minlength=size * size)
    return counted.reshape(size, size)


def _checked(confusion: Array) -> Array:
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1] or len(confusion) < 2:
        raise ValueError(f"a confusion matrix is square with two classes or more, not {confusion.shape}")
    return confusion
