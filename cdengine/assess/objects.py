"""Agreement of whole changed objects: how many buildings were found, not how many pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from cdengine.assess.binary import BinaryConfusion, scored_pixels

Array = np.ndarray[Any, np.dtype[Any]]
IOU = 0.5
EIGHT = np.ones((3, 3), bool)  # pixels that touch by a corner belong together


def match_objects(prediction: Array, truth: Array, valid: Array | None = None) -> BinaryConfusion:
    """Counts objects (8-connected areas) of one image that agree.

    A predicted and a labelled object match if their intersection over union is at least 0.5. Matches are one to one,
    given away greedily by falling overlap (above 0.5 an object can have one partner only; at exactly 0.5 the object
    that comes first in row order wins). Pixels that are not scored belong to no object.

    Args:
        prediction: (H, W), bool or 0/1.
        truth: (H, W), bool or 0/1; 255 is not scored.
        valid: (H, W) bool; what lies under False is not scored.

    Returns:
        tp objects matched, fp predicted without partner, fn labelled without partner, tn 0.
    """
    scored = scored_pixels(truth, valid)
    found, found_count = ndimage.label(prediction.astype(bool) & scored, EIGHT)
    there, there_count = ndimage.label((truth == 1) & scored, EIGHT)
    shared = (found > 0) & (there > 0)
    pairs, overlaps = np.unique(found[shared].astype(np.int64) * (there_count + 1) + there[shared], return_counts=True)
    one, two = pairs // (there_count + 1), pairs % (there_count + 1)
    union = np.bincount(found.ravel())[one] + np.bincount(there.ravel())[two] - overlaps
    share = overlaps / union
    matches, used_one, used_two = 0, set[int](), set[int]()
    for index in np.argsort(-share, kind="stable"):
        if share[index] < IOU:
            break
        if int(one[index]) not in used_one and int(two[index]) not in used_two:
            used_one.add(int(one[index]))
            used_two.add(int(two[index]))
            matches += 1
    return BinaryConfusion(matches, found_count - matches, there_count - matches)


class ObjectScore:
    """Adds up objects over images.

    Attributes:
        confusion: of all images so far; `BinaryConfusion` states what holds where there are no objects.
    """

    def __init__(self) -> None:
        self.confusion = BinaryConfusion()

    def add(self, prediction: Array, truth: Array, valid: Array | None = None) -> BinaryConfusion:
        """Takes one image, as `match_objects`, and returns its own counts."""
        one = match_objects(prediction, truth, valid)
        self.confusion += one
        return one

    def figures(self) -> dict[str, float]:
        """`object_precision`, `object_recall`, `object_f1` over all objects."""
        return object_figures(self.confusion)


def object_figures(objects: BinaryConfusion) -> dict[str, float]:
    """The figures of counted objects by name."""
    return {
        "object_precision": objects.precision,
        "object_recall": objects.recall,
        "object_f1": objects.f1,
    }
