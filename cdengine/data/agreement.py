"""Change that class labels of two dates imply, and where the dates contradict each other.

In SECOND and SenseEarth a pixel without a class is one that did not change, so both dates must leave the same pixels
without a class. Where only one date has a class nobody can say whether it changed: such a pixel is neither learnt nor
scored as change. The class that it has at one date is still learnt.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cdengine.data.codings import IGNORE

Array = np.ndarray[Any, np.dtype[Any]]


def implied_change(before: Array, after: Array) -> Array:
    """Change as the classes of both dates tell it.

    Args:
        before: (H, W) class ids, 255 where there is none.
        after: likewise.

    Returns:
        uint8 (H, W): 1 where both dates have a class, 0 where neither has, 255 where one alone has.
    """
    dates = (before != IGNORE).astype(np.uint8) + (after != IGNORE)
    change: Array = np.array([0, IGNORE, 1], np.uint8)[dates]
    return change


@dataclass
class Contradictions:
    """Pixels with a class at one date only, of a set of pairs.

    Attributes:
        found: label file of the first date → number of such pixels, for pairs that have any.
    """

    found: dict[Path, int] = field(default_factory=dict)

    def add(self, path: Path, change: Array) -> None:
        """Counts those of a pair; a pair that is read again counts once.

        Args:
            path: class label of its first date.
            change: of `implied_change`.
        """
        count = int(np.count_nonzero(change == IGNORE))
        if count:
            self.found[path] = count

    @property
    def pairs(self) -> int:
        """Number of pairs that have any."""
        return len(self.found)

    @property
    def pixels(self) -> int:
        """Number of pixels, over all pairs."""
        return sum(self.found.values())

    def warning(self) -> str:
        """One line for the user; there must be some."""
        first = next(iter(self.found))
        return (
            f"{self.pixels:,} pixel(s) of {self.pairs:,} pair(s), the first {first}, have a class at one date only, "
            "which contradicts itself (no class: unchanged); they are ignored as change"
        )
