"""What stored values and colours of labels mean, and how each layout codes them.

Within the engine change is 0 unchanged, 1 changed, 255 ignored; classes are 0 … K-1, 255 unlabelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cdengine.errors import LabelError, UsageError

Array = np.ndarray[Any, np.dtype[Any]]
Colour = tuple[int, int, int]

IGNORE = 255
MIDDLE = 128  # of a label with soft edges: lossy compression, or a figure's smoothing
_SHOWN = 8  # values or colours told in a message


@dataclass(frozen=True)
class ChangeCoding:
    """What the values of a change label mean.

    Attributes:
        unchanged, changed, ignored: values of each meaning; any other value is an error.
        soft: values from `MIDDLE` on are change, all lower ones are not; for labels saved with loss.
    """

    unchanged: tuple[int, ...]
    changed: tuple[int, ...]
    ignored: tuple[int, ...] = ()
    soft: bool = False

    @classmethod
    def parse(cls, text: str) -> ChangeCoding:
        """The coding that a user writes: "0/1", "0/255", "soft" or "unchanged=1,changed=2,ignored=0".

        Raises:
            UsageError: it is none of these, or a value has two meanings.
        """
        if text in CODINGS:
            return CODINGS[text]
        found: dict[str, list[int]] = {"unchanged": [], "changed": [], "ignored": []}
        for part in text.replace(";", ",").split(","):
            key, _, value = part.partition("=")
            if key.strip() not in found or not value.strip().isdigit() or int(value) > 65535:
                raise UsageError(
                    f"label coding {text!r} is not understood; give {', '.join(CODINGS)} "
                    "or, for example, unchanged=1,changed=2,ignored=0"
                )
            found[key.strip()].append(int(value))
        values = [value for part in found.values() for value in part]
        if len(set(values)) < len(values) or not found["changed"]:
            raise UsageError(f"label coding {text!r} gives a value two meanings, or none of them is changed")
        return cls(tuple(found["unchanged"]), tuple(found["changed"]), tuple(found["ignored"]))

    def apply(self, values: Array, where: str) -> Array:
        """uint8 (H, W) {0, 1, 255} of stored values; raises LabelError naming `where` and the values."""
        if self.soft:
            return (values >= MIDDLE).astype(np.uint8)
        meaning = np.full(values.shape, 2, np.uint8)
        for numbers, code in ((self.unchanged, 0), (self.changed, 1), (self.ignored, IGNORE)):
            for number in numbers:
                meaning[values == number] = code
        if (meaning == 2).any():
            known = f"unchanged {self.unchanged}, changed {self.changed}, ignored {self.ignored}".replace("()", "none")
            raise LabelError(
                f"{where}: values {shown(values)} in a change label whose coding is {known.replace(',)', ')')}; "
                "check that it is the change label, or state its coding"
            )
        return meaning


CODINGS = {
    "0/1": ChangeCoding((0,), (1,), (255,)),
    "0/255": ChangeCoding((0,), (255,)),
    "soft": ChangeCoding((), (), soft=True),
}


@dataclass(frozen=True)
class ClassCoding:
    """What indices and colours of a class label mean.

    Attributes:
        names: of the K classes.
        first: stored index of the first class; indices first … first+K-1 are the classes.
        unlabelled: stored indices without a class.
        palette: colour → class id, or 255 for unlabelled; empty where labels are indices only.
    """

    names: tuple[str, ...]
    first: int = 1
    unlabelled: tuple[int, ...] = (0, 255)
    palette: Mapping[Colour, int] = field(default_factory=dict)

    def named(self, names: tuple[str, ...]) -> ClassCoding:
        """The same classes in another order, each with its colour; other classes have no colours."""
        if set(names) != set(self.names):
            return ClassCoding(names)
        ids = {number: names.index(name) for number, name in enumerate(self.names)}
        return replace(self, names=names, palette={key: ids.get(kind, kind) for key, kind in self.palette.items()})

    @property
    def colours(self) -> Array | None:
        """(K + 1, 3) uint8: the colour of unlabelled pixels, then of each class; None without a palette."""
        found = {kind: colour for colour, kind in self.palette.items()}
        order = (IGNORE, *range(len(self.names)))
        return np.array([found[kind] for kind in order], np.uint8) if set(order) <= set(found) else None

    @property
    def last(self) -> int:
        """Stored index of the last class."""
        return self.first + len(self.names) - 1

    def of_indices(self, values: Array, where: str) -> Array:
        """uint8 (H, W) class ids of stored indices; raises LabelError naming `where` and the values."""
        ids = values.astype(np.int64) - self.first
        out = np.isin(values, self.unlabelled)
        ids[out] = IGNORE
        wrong = ~out & ((ids < 0) | (ids >= len(self.names)))
        if wrong.any():
            raise LabelError(
                f"{where}: values {shown(values[wrong])} are no class; classes are {self.first} to {self.last} and "
                f"unlabelled {', '.join(map(str, self.unlabelled))}; check the file, or the list of classes"
            )
        return ids.astype(np.uint8)

    def of_colours(self, values: Array, where: str) -> Array:
        """uint8 (H, W) class ids of colours (H, W, 3); raises LabelError naming `where` and the colours."""
        if not self.palette:
            raise LabelError(f"{where}: is colour-coded, but no palette is known; give a palette, or labels of indices")
        keyed = packed(values)
        keys = np.array(sorted(pack(colour) for colour in self.palette))
        ids = np.array([self.palette[unpack(int(key))] for key in keys], np.uint8)
        at = np.searchsorted(keys, keyed).clip(0, len(keys) - 1)
        wrong = keys[at] != keyed
        if wrong.any():
            colours, counts = np.unique(keyed[wrong], return_counts=True)
            order = np.argsort(-counts)[:3]
            told = ", ".join(f"{unpack(int(colours[i]))} on {counts[i]} px" for i in order)
            raise LabelError(
                f"{where}: {len(colours)} colour(s) are not in the palette ({told}); check the palette, "
                "or save the label without loss (PNG, not JPEG)"
            )
        return np.asarray(ids[at])


@dataclass(frozen=True)
class LabelFormat:
    """How a layout's label files are read.

    Attributes:
        change: coding of change labels; None: found out from the data set, "0/1" or "0/255".
        classes: coding of class labels; None: the data set is binary.
        channels: 0-based channels of change, classes before and classes after where one file holds them all.
    """

    change: ChangeCoding | None = None
    classes: ClassCoding | None = None
    channels: tuple[int, int, int] | None = None


SECOND_CLASSES = ("low vegetation", "ground", "tree", "water", "building", "playground")
# Yang et al. 2022, "Asymmetric Siamese Networks for Semantic Change Detection": the colours of the download
SECOND_PALETTE: dict[Colour, int] = {
    (255, 255, 255): IGNORE,
    (0, 128, 0): 0,
    (128, 128, 128): 1,
    (0, 255, 0): 2,
    (0, 0, 255): 3,
    (128, 0, 0): 4,
    (255, 0, 0): 5,
}
SENSEEARTH_CLASSES = ("water", "ground", "low vegetation", "tree", "building", "playground")
HIUCD_CLASSES = (
    "water", "grass", "building", "greenhouse", "road", "bridge", "other", "bare land", "woodland"
)  # fmt: skip
_SECOND = ClassCoding(SECOND_CLASSES, palette=SECOND_PALETTE)
FORMATS = {
    "second": LabelFormat(classes=_SECOND),
    # the contest's palette gives each class the colour that it has in SECOND; its indices have another order
    "senseearth": LabelFormat(classes=_SECOND.named(SENSEEARTH_CLASSES)),
    "hiucd": LabelFormat(ChangeCoding((1,), (2,), (0,)), ClassCoding(HIUCD_CLASSES), (2, 0, 1)),
}


def shown(values: Array) -> str:
    """Distinct values for a message; many are cut."""
    distinct = np.unique(values)
    text = ", ".join(str(value) for value in distinct[:_SHOWN].tolist())
    return text + (f", … {distinct[-1]} ({len(distinct)} in all)" if len(distinct) > _SHOWN else "")


def packed(colours: Array) -> Array:
    """Colours (…, 3) as whole numbers (…)."""
    parts = colours.astype(np.int64)
    return np.asarray(parts[..., 0] << 16 | parts[..., 1] << 8 | parts[..., 2])


def pack(colour: Colour) -> int:
    """A colour as a whole number."""
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def unpack(key: int) -> Colour:
    """The colour of `pack`."""
    return key >> 16, key >> 8 & 255, key & 255
