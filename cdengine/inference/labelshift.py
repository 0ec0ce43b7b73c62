"""How common each class is on unchanged ground, where no label tells it, and how much to trust a model's classes there.

Semantic change labels cover what changed. A model learns from them that buildings are common and water hardly exists;
on unchanged ground it is the other way round, and it takes the rare class for its likeliest neighbour.

Source: Lipton, Wang and Smola, "Detecting and correcting for label shift with black box predictors" (ICML 2018),
section 4: weights w(y) = q(y) / p(y) that solve C w = mu, with C the joint distribution of predictions and true classes
where labels are, and mu the predictions where they are not. Here predictions are probabilities, w is solved for by
non-negative least squares, and the posterior takes `STRENGTH` of the correction, in the spirit of Azizzadenesheli, Liu,
Yang and Anandkumar, "Regularized learning for domain adaptation under label shifts" (ICLR 2019), section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

Array = np.ndarray[Any, np.dtype[Any]]

STRENGTH = 0.5  # power of the weights: the geometric mean of no correction and a whole one
MOST = 10.0  # bounds of a weight, and of its inverse: estimates of rare classes are rough
LEAST_PIXELS = 100  # labelled pixels of a class; with fewer nothing can be estimated
EXACTLY = 10.0  # how much more than the rest the weights' mean of 1 counts in the least squares


class LabelShift:
    """Counts the predictions of one model, pair by pair.

    Attributes:
        labelled: int64 (K,) pixels with a real label.
        unchanged: pixels without one.
    """

    def __init__(self, classes: int) -> None:
        self.labelled, self.unchanged = np.zeros(classes, np.int64), 0
        self._joint = np.zeros((classes, classes))  # predicted, true: sums of probabilities
        self._mean = np.zeros(classes)

    def add(self, probabilities: Array, given: Array, unchanged: Array) -> None:
        """Takes the predictions for one date of one pair.

        Args:
            probabilities: float (K, H, W).
            given: uint8 (H, W): real labels, class + 1; 0 where there is none.
            unchanged: bool (H, W): what is voted on.
        """
        for kind in np.unique(given[given > 0]) - 1:
            there = given == kind + 1
            self.labelled[kind] += np.count_nonzero(there)
            self._joint[:, kind] += probabilities[:, there].sum(axis=1, dtype=np.float64)
        self.unchanged += int(np.count_nonzero(unchanged))
        self._mean += probabilities[:, unchanged].sum(axis=1, dtype=np.float64)

    @property
    def known(self) -> bool:
        """Whether there was anything to estimate from."""
        return bool((self.labelled >= LEAST_PIXELS).any()) and self.unchanged > 0

    @property
    def labelled_share(self) -> Array:
        """How common each class is among real labels, (K,)."""
        return self.labelled / max(1, int(self.labelled.sum()))

    def ratios(self) -> Array:
        """By how much each class is more common on unchanged ground than among labels, (K,).

        From 1 / `MOST` to `MOST`. A class with fewer than `LEAST_PIXELS` labelled pixels has the least of the others'
        ratios, so that it gains on none of them.
        """
        ratios = np.ones(len(self.labelled))
        enough = self.labelled >= LEAST_PIXELS
        if not self.known:
            return ratios
        share = self.labelled_share
        total = max(1, int(self.labelled.sum()))
        # what is left for the classes in question, once the others are as common as they were
        predicted = self._mean / self.unchanged - self._joint[:, ~enough].sum(axis=1) / total
        rows = np.vstack([self._joint[:, enough] / total, EXACTLY * share[enough]])
        found, _ = nnls(rows, np.append(predicted, EXACTLY * share[enough].sum()))
        ratios[enough] = np.clip(found, 1 / MOST, MOST)
        ratios[~enough] = ratios[enough].min()
        return ratios

    def weights(self) -> Array:
        """Factors for the model's probabilities, float32 (K,); see `corrected`."""
        return (self.ratios() ** STRENGTH).astype(np.float32)


@dataclass(frozen=True)
class ClassShift:
    """What `LabelShift` found for one model, by class name.

    Attributes:
        model: its name.
        labelled: share of the class among real labels.
        unchanged: its share of unchanged ground, estimated.
        weights: factors for the model's probabilities.
    """

    model: str
    labelled: dict[str, float]
    unchanged: dict[str, float]
    weights: dict[str, float]

    @classmethod
    def of(cls, model: str, classes: Sequence[str], counts: LabelShift) -> ClassShift:
        """From the counts of all pairs."""
        among = counts.labelled_share
        ground = among * counts.ratios()
        columns = (among, ground / ground.sum(), counts.weights())
        return cls(
            model, *({name: round(float(x), 6) for name, x in zip(classes, one, strict=True)} for one in columns)
        )

    @classmethod
    def read(cls, row: dict[str, Any], classes: Sequence[str]) -> ClassShift:
        """As `figures` gave it.

        Raises:
            ValueError: it is not that, or has other classes.
        """
        columns = [row.get(key) for key in ("labelled", "unchanged", "weights")]
        for column in columns:
            if not isinstance(column, dict) or list(column) != list(classes):
                raise ValueError(f"no shares of {', '.join(classes)}")
        numbers = ({name: float(value) for name, value in column.items()} for column in columns if column)
        return cls(str(row.get("model")), *numbers)

    def figures(self) -> dict[str, Any]:
        """As JSON takes them."""
        return asdict(self)

    @property
    def factors(self) -> Array:
        """The weights in the order of the classes, float32 (K,)."""
        return np.array(list(self.weights.values()), np.float32)


def corrected(probabilities: Array, weights: Array) -> Array:
    """Probabilities as they would be, were the classes as common as the weights say; of the same sum.

    Args:
        probabilities: float32 (K, H, W).
        weights: float32 (K,).

    Returns:
        float32 (K, H, W).
    """
    weighted = probabilities * weights[:, None, None]
    total = weighted.sum(axis=0)
    weighted *= np.divide(probabilities.sum(axis=0), total, out=np.zeros_like(total), where=total > 0)
    return np.asarray(weighted, np.float32)
