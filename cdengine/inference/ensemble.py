"""Several detectors as one: the mean of their probabilities. Knows nothing of what its members are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdengine.errors import ModelTaskError
from cdengine.events import Reporter
from cdengine.inference.detector import Detector
from cdengine.raster.pair import PixelSource

Array = np.ndarray[Any, np.dtype[Any]]


class Ensemble:
    """The unweighted mean of detectors that tell the same classes; training-free methods may be among them.

    Attributes:
        name: the members' names joined by "+".
        names: of the members, as they are told.
        classes: of every member.
        margin: the largest of the members'.
        tile: the largest that a member prefers; not there where none prefers any.
    """

    tile: int

    def __init__(self, members: Sequence[Detector], names: Sequence[str] = ()) -> None:
        """Takes at least one member.

        Args:
            members: the detectors.
            names: what to call them where their own names do not tell them apart; () for their own names.

        Raises:
            ModelTaskError: members tell different classes.
        """
        first = members[0]
        self.names = tuple(names) or tuple(member.name for member in members)
        for name, member in zip(self.names, members, strict=True):
            if member.classes != first.classes:
                raise ModelTaskError(
                    f"an ensemble needs members of the same classes: {self.names[0]} tells {_said(first)}, "
                    f"{name} tells {_said(member)}"
                )
        self._members = tuple(members)
        self.name = "+".join(self.names)
        self.classes = first.classes
        self.margin = max(member.margin for member in members)
        self._adopt(max, "tile")
        self._adopt(min, "batch", "concurrency")

    def _adopt(self, chosen: Callable[[list[int]], int], *names: str) -> None:
        """One of what members say; not set where none says anything, so that the runner's default holds."""
        for name in names:
            values = [int(getattr(member, name)) for member in self._members if hasattr(member, name)]
            if values:
                setattr(self, name, chosen(values))

    @property
    def threshold(self) -> float:
        """Mean of the members' thresholds."""
        return float(np.mean([member.threshold for member in self._members]))

    def prepare(self, source: PixelSource, reporter: Reporter) -> None:
        """Prepares every member in turn."""
        for member in self._members:
            member.prepare(source, reporter)
        self._adopt(min, "batch", "concurrency")  # a network knows its batch only now

    def enter_thread(self, threads: int) -> None:
        """Tells every member that wants to know."""
        for member in self._members:
            if hasattr(member, "enter_thread"):
                member.enter_thread(threads)

    def predict(self, before: Array, after: Array, valid: Array) -> Array:
        """Mean of the members' probabilities; shapes as in `Detector.predict`."""
        total = self._members[0].predict(before, after, valid).astype(np.float64)
        for member in self._members[1:]:
            total += member.predict(before, after, valid)
        return (total / len(self._members)).astype(np.float32)

    def describe(self) -> dict[str, str | float]:
        """Every member's facts behind the member's name, and how many there are."""
        facts: dict[str, str | float] = {"members": float(len(self._members))}
        for number, (name, member) in enumerate(zip(self.names, self._members, strict=True), 1):
            facts[f"member_{number}"] = name
            facts |= {f"member_{number}_{key}": value for key, value in member.describe().items()}
        return facts


def _said(detector: Detector) -> str:
    return ", ".join(detector.classes) if detector.classes else "change only"
