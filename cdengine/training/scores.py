"""Validation figures gathered on the device: histograms of probability by label, added up over processes at the end."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from cdengine.assess import semantic
from cdengine.assess.curves import BINS, Curves
from cdengine.models.logits import Logits
from cdengine.training.losses.sums import IGNORED

LEVELS = 256  # thresholds at which classes can be scored


@dataclass(frozen=True)
class Validation:
    """Figures of one look at the validation split.

    Attributes:
        figures: loss, precision, recall, f1, iou, oa, kappa at `threshold`; ap, ece; miou, sek, fscd, score where
            the network tells classes.
        threshold: with the best F1 on these pairs.
    """

    figures: dict[str, float]
    threshold: float


class Scores:
    """Adds up validation pairs.

    Attributes:
        change: int64 (2 * BINS), pixels by label and bin of probability.
        classes: int64 (LEVELS, K + 1, K) or None: pixels of both dates by level of probability, code of the label
            (0 unchanged, else class + 1) and predicted class.
    """

    def __init__(self, classes: int, device: torch.device) -> None:
        self._k = classes
        self.change = torch.zeros(2 * BINS, dtype=torch.int64, device=device)
        size = LEVELS * (classes + 1) * classes
        self.classes = torch.zeros(size, dtype=torch.int64, device=device) if classes else None
        self.loss = torch.zeros(2, dtype=exact_type(device), device=device)

    def add(self, output: Tensor | Logits, batch: dict[str, Tensor], loss: Tensor) -> None:
        """Takes one batch; `output` in float32 at the labels' size."""
        logits = output.change if isinstance(output, Logits) else output
        scored = batch["valid"] & (batch["change"] != IGNORED)
        probability = torch.sigmoid(logits[:, 0].float())
        bins = (probability[scored] * BINS).long().clamp_(0, BINS - 1)
        self.change += torch.bincount(bins + BINS * (batch["change"][scored] == 1), minlength=2 * BINS)
        self.loss += torch.stack([loss, torch.ones_like(loss)]).to(self.loss.dtype)
        if isinstance(output, Logits) and self.classes is not None:
            for logits, labels in ((output.before, batch["before_classes"]), (output.after, batch["after_classes"])):
                self._add_date(logits, labels, batch["change"], probability, scored)

    def _add_date(self, logits: Tensor, labels: Tensor, change: Tensor, probability: Tensor, scored: Tensor) -> None:
        assert self.classes is not None
        moved = change == 1
        use = scored & (~moved | (labels != IGNORED))
        code = torch.where(moved, labels.long() + 1, 0)[use]
        level = (probability[use] * LEVELS).long().clamp_(0, LEVELS - 1)
        index = (level * (self._k + 1) + code) * self._k + logits.argmax(1)[use]
        self.classes += torch.bincount(index, minlength=len(self.classes))

    def finish(self) -> Validation:
        """All figures, of all processes."""
        if distributed.is_available() and distributed.is_initialized():
            for sums in (self.change, self.loss, self.classes):
                if sums is not None:
                    distributed.all_reduce(sums)
        curves = Curves()
        curves.counts = self.change.view(2, BINS).cpu().numpy()
        threshold = curves.best_threshold().threshold
        if self.classes is not None:  # to a level at which classes can be scored as well
            threshold = round(threshold * LEVELS) / LEVELS
        loss, batches = self.loss.tolist()
        figures = {"loss": loss / max(1, batches), **curves.at(threshold).figures()}
        figures |= {"ap": curves.average_precision(), "ece": curves.calibration().ece}
        if self.classes is not None:
            found = semantic.figures(self._confusion(threshold))
            figures |= {name: found[name] for name in ("miou", "sek", "fscd", "score")}
        return Validation(figures, threshold)

    def _confusion(self, threshold: float) -> semantic.Array:
        """(K + 1, K + 1) of both dates: below the threshold all classes are "unchanged"."""
        assert self.classes is not None
        counts = self.classes.view(LEVELS, self._k + 1, self._k)
        first = round(threshold * LEVELS)
        unchanged = counts[:first].sum((0, 2))[:, None]
        matrix: semantic.Array = torch.cat([unchanged, counts[first:].sum(0)], 1).cpu().numpy()
        return matrix


def exact_type(device: torch.device) -> torch.dtype:
    """What sums are kept in: double precision, which Apple's GPUs are without."""
    return torch.float32 if device.type == "mps" else torch.float64
