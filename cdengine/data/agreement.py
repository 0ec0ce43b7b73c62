"""Change that class labels of two dates imply, and where the dates contradict each other or the change label.

In SECOND and SenseEarth a pixel without a class is one that did not change, so both dates must leave the same pixels
without a class. Where only one date has a class nobody can say whether it changed: such a pixel is neither learnt nor
scored as change, unless the data set has change labels too: those decide. The class that it has at one date is still
learnt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cdengine.data.codings import IGNORE
from cdengine.data.layouts import PairFiles

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
    """Pixels whose labels contradict each other, of a set of pairs; told, whatever becomes of them.

    Attributes:
        decided: class labels of the first date of the pairs that have a change label.
        found: class label of the first date → number of pixels with a class at one date only, for pairs with any.
        disagreeing: likewise, pixels that classes and change label tell unlike: classes at both dates where the label
            says unchanged, at neither where it says changed.
    """

    decided: frozenset[Path] = frozenset()
    found: dict[Path, int] = field(default_factory=dict)
    disagreeing: dict[Path, int] = field(default_factory=dict)

    @classmethod
    def among(cls, pairs: Iterable[PairFiles]) -> Contradictions:
        """None yet, of pairs that are still to be added."""
        return cls(frozenset(p.before_classes for p in pairs if p.before_classes is not None and p.change is not None))

    def add(self, path: Path, before: Array, after: Array, change: Array | None = None) -> None:
        """Counts those of a pair; a pair that is read again counts once.

        Where the change label says unchanged and most pixels have classes at both dates, as in Hi-UCD, no class does
        not mean unchanged: nothing contradicts itself there.

        Args:
            path: class label of its first date.
            before: (H, W) class ids, 255 where there is none.
            after: likewise.
            change: its change label, (H, W), 0, 1 or 255; None: it has none.
        """
        implied = implied_change(before, after)
        if change is not None:
            unchanged, changed = implied[change == 0], implied[change == 1]
            covered, blank = np.count_nonzero(unchanged == 1), np.count_nonzero(unchanged == 0)
            if covered > blank:
                return
            _keep(self.disagreeing, path, int(covered + np.count_nonzero(changed == 0)))
        _keep(self.found, path, int(np.count_nonzero(implied == IGNORE)))

    @property
    def pairs(self) -> int:
        """Number of pairs with a class at one date only somewhere."""
        return len(self.found)

    @property
    def pixels(self) -> int:
        """Number of such pixels, over all pairs."""
        return sum(self.found.values())

    @property
    def treatment(self) -> str:
        """What becomes of those pixels."""
        decided = len(self.decided & self.found.keys())
        if not decided:
            return "they are ignored as change"
        if decided == self.pairs:
            return "the change labels decide what changed there"
        return f"in {decided:,} pair(s) the change label decides what changed there, in the others they are ignored"

    def warning(self) -> str:
        """One line for the user on a class at one date only; there must be such pixels."""
        where = _where(self.found)
        return (
            f"{where}, have a class at one date only, which contradicts itself (no class: unchanged); {self.treatment}"
        )

    def warnings(self) -> list[str]:
        """A line for each kind of contradiction that there is."""
        lines = [self.warning()] if self.found else []
        if self.disagreeing:
            lines.append(
                f"{_where(self.disagreeing)}, are changed by the class labels and unchanged by the change label, or "
                "the other way round; the change labels decide what changed there"
            )
        return lines


def _keep(counts: dict[Path, int], path: Path, count: int) -> None:
    if count:
        counts[path] = count


def _where(counts: dict[Path, int]) -> str:
    return f"{sum(counts.values()):,} pixel(s) of {len(counts):,} pair(s), the first {next(iter(counts))}"
