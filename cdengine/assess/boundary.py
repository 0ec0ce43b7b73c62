"""Agreement of outlines: how much of each boundary lies near the other one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from cdengine.assess.binary import scored_pixels

Array = np.ndarray[Any, np.dtype[Any]]
TOLERANCE = 3  # pixels


@dataclass(frozen=True)
class BoundaryCounts:
    """Boundary pixels; those of two images add up.

    Where neither has a boundary all figures are 1; otherwise 0/0 is 0.

    Attributes:
        found: of the prediction.
        found_near: those of them within the tolerance of a labelled boundary.
        there: of the labels.
        there_near: those of them within the tolerance of a predicted boundary.
    """

    found: int = 0
    found_near: int = 0
    there: int = 0
    there_near: int = 0

    def __add__(self, other: BoundaryCounts) -> BoundaryCounts:
        return BoundaryCounts(
            self.found + other.found,
            self.found_near + other.found_near,
            self.there + other.there,
            self.there_near + other.there_near,
        )

    @property
    def precision(self) -> float:
        """Share of the predicted boundary that is near a labelled one."""
        return self._share(self.found_near, self.found)

    @property
    def recall(self) -> float:
        """Share of the labelled boundary that is near a predicted one."""
        return self._share(self.there_near, self.there)

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0

    def figures(self) -> dict[str, float]:
        """`boundary_precision`, `boundary_recall`, `boundary_f1`."""
        return {
            "boundary_precision": self.precision,
            "boundary_recall": self.recall,
            "boundary_f1": self.f1,
        }

    def _share(self, part: int, whole: int) -> float:
        if whole:
            return part / whole
        return 1.0 if self.found + self.there == 0 else 0.0


def boundary_counts(
    prediction: Array, truth: Array, valid: Array | None = None, tolerance: int = TOLERANCE
) -> BoundaryCounts:
    """Compares the boundaries of one image (Csurka et al. 2013, "What is a good evaluation measure …").

    A boundary pixel is a changed one with an unchanged, scored pixel above, below, left or right of it: the image's
    edge and the edge of pixels that are not scored are no boundaries. Near is a Euclidean distance of at most
    `tolerance` pixels.

    Args:
        prediction: (H, W), bool or 0/1.
        truth: (H, W), bool or 0/1; 255 is not scored.
        valid: (H, W) bool; what lies under False is not scored.
        tolerance: pixels.
    """
    scored = scored_pixels(truth, valid)
    found = _boundary(prediction.astype(bool) & scored, scored)
    there = _boundary((truth == 1) & scored, scored)
    return BoundaryCounts(
        int(np.count_nonzero(found)),
        int(np.count_nonzero(found & _near(there, tolerance))),
        int(np.count_nonzero(there)),
        int(np.count_nonzero(there & _near(found, tolerance))),
    )


class BoundaryScore:
    """Adds up boundaries over images.

    Attributes:
        counts: of all images so far.
    """

    def __init__(self, tolerance: int = TOLERANCE) -> None:
        self.counts, self._tolerance = BoundaryCounts(), tolerance

    def add(self, prediction: Array, truth: Array, valid: Array | None = None) -> BoundaryCounts:
        """Takes one image, as `boundary_counts`, and returns its own counts."""
        one = boundary_counts(prediction, truth, valid, self._tolerance)
        self.counts += one
        return one

    def figures(self) -> dict[str, float]:
        """Pooled figures."""
        return self.counts.figures()


def _boundary(changed: Array, scored: Array) -> Array:
    outside = scored & ~changed
    beside = np.zeros_like(changed)
    beside[1:] |= outside[:-1]
    beside[:-1] |= outside[1:]
    beside[:, 1:] |= outside[:, :-1]
    beside[:, :-1] |= outside[:, 1:]
    edge: Array = changed & beside
    return edge


def _near(boundary: Array, tolerance: int) -> Array:
    """Pixels at most `tolerance` from a boundary pixel; a boolean dilation, so 1 byte a pixel on large images too."""
    if not boundary.any():
        return boundary
    steps = np.arange(-tolerance, tolerance + 1)
    disc = steps[:, None] ** 2 + steps[None, :] ** 2 <= tolerance**2
    near: Array = ndimage.binary_dilation(boundary, disc)
    return near
