"""What a run of `pseudo-label` counts: pixels of each pair, and their sums."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

TEXTS = ("name", "files")


@dataclass(frozen=True)
class Row:
    """Pixels of one pair.

    Attributes:
        name: of the pair.
        files: what identifies its files, see `pseudolabelfolder.state`.
        pixels: with data at both dates.
        given: with a real label.
        unchanged: voted on.
        contradicting: with a real label at one date only, so that nobody knows whether they changed.
        classes: K: labelled by the vote, by class.
        agreed: voted on alike, mean over pairs of members.
        abstained: of each member, pixels without a vote.
        followed: of each member, pixels that got the class it had voted for.
    """

    name: str
    files: str
    pixels: int
    given: int
    unchanged: int
    contradicting: int
    classes: list[int]
    agreed: float
    abstained: list[int]
    followed: list[int]

    @classmethod
    def of(cls, line: bytes, classes: int, members: int) -> Row | None:
        """The row of a line of JSON; None where it is damaged."""
        try:
            found = json.loads(line)
        except ValueError:
            return None
        if not isinstance(found, dict) or set(found) != {field.name for field in fields(cls)}:
            return None
        lengths = {"classes": classes, "abstained": members, "followed": members}
        for key, value in found.items():
            numbers = value if key in lengths else [] if key in TEXTS else [value]
            if not isinstance(numbers, list) or not all(type(number) in (int, float) for number in numbers):
                return None
            if key in lengths and len(numbers) != lengths[key]:
                return None
        return cls(**found) if all(isinstance(found[key], str) for key in TEXTS) else None


class Totals:
    """Sums over pairs.

    Attributes:
        names: of the classes.
        members: names of the models.
        pairs: how many were added.
        contradicting: pixels with a real label at one date only.
    """

    def __init__(self, names: Sequence[str], members: Sequence[str]) -> None:
        self.names, self.members, self.pairs, self.contradicting = tuple(names), tuple(members), 0, 0
        self._pixels = self._given = self._unchanged = 0
        self._agreed = 0.0
        self._classes = np.zeros(len(names), np.int64)
        self._abstained, self._followed = np.zeros((2, len(members)), np.int64)

    def add(self, row: Row) -> None:
        """Takes one pair."""
        self.pairs += 1
        self.contradicting += row.contradicting
        self._pixels += row.pixels
        self._given += row.given
        self._unchanged += row.unchanged
        self._agreed += row.agreed
        self._classes += row.classes
        self._abstained += row.abstained
        self._followed += row.followed

    @property
    def labelled_share(self) -> float:
        """Of all pixels: what has a class now, real or by vote."""
        return (self._given + int(self._classes.sum())) / max(1, self._pixels)

    @property
    def pseudo_share(self) -> float:
        """Of the pixels voted on: what got a class."""
        return int(self._classes.sum()) / max(1, self._unchanged)

    @property
    def agreement(self) -> float:
        """Of the pixels voted on: what two members say alike, mean over pairs of members; 1 for a single one."""
        return self._agreed / self._unchanged if self._unchanged else 1.0

    def figures(self) -> dict[str, Any]:
        """As JSON takes them; shares of the pixels voted on, unless the name says otherwise."""
        voted = max(1, self._unchanged)
        return {
            "pairs": self.pairs,
            "pixels": self._pixels,
            "contradicting_label_px": self.contradicting,
            "given_share_of_pixels": self._given / max(1, self._pixels),
            "labelled_share_of_pixels": self.labelled_share,
            "labelled_share_of_unchanged": self.pseudo_share,
            "class_share": {name: int(count) / voted for name, count in zip(self.names, self._classes, strict=True)},
            "agreement": self.agreement,
            "members": [
                {"name": name, "abstained_share": int(out) / voted, "followed_share": int(own) / voted}
                for name, out, own in zip(self.members, self._abstained, self._followed, strict=True)
            ],
        }
