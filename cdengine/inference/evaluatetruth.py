"""Labels of a data set as they are scored: change, and for semantic sets what both dates hold where it changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cdengine.assess.colours import UNCHANGED, Rgb
from cdengine.assess.semantic import codes
from cdengine.data.agreement import Contradictions, implied_change
from cdengine.data.codings import IGNORE, ClassCoding, LabelFormat
from cdengine.data.labels import find_coding, read_change, read_classes
from cdengine.data.layouts import PairFiles
from cdengine.errors import LabelError
from cdengine.events import Reporter
from cdengine.raster.spec import class_colours

Array = np.ndarray[Any, np.dtype[Any]]


def colours_of(names: Sequence[str], coding: ClassCoding | None) -> list[Rgb]:
    """A colour for each class: those of the data set's own palette, else the usual ones."""
    found: list[Rgb] = [(red, green, blue) for red, green, blue, _ in class_colours(names)]
    own = coding.palette if coding is not None and coding.names == tuple(names) else {}
    for colour, number in own.items():
        if number < len(found):
            found[number] = colour
    return found


def label_colours(names: Sequence[str], coding: ClassCoding | None) -> list[Rgb]:
    """Colours of a label image by its indices: 0, which is no class, then each class."""
    palette = coding.palette if coding is not None else {}
    blank = next((colour for colour, number in palette.items() if number == IGNORE), UNCHANGED)
    return [blank, *colours_of(names, coding)]


@dataclass(frozen=True)
class Truth:
    """The labels of one pair.

    Attributes:
        change: uint8 (H, W), 0 unchanged, 1 changed, 255 not scored.
        codes: of a semantic set, before and after, as `assess.semantic.codes` gives them.
    """

    change: Array
    codes: tuple[Array, Array] | None = None


class Labels:
    """Reads the labels of one data set in one coding.

    Attributes:
        format: how, with the coding of change that was found.
        classes: names of the land-cover classes that are scored, empty for binary sets.
        contradictions: pixels met so far whose labels contradict each other.
    """

    def __init__(self, pairs: Sequence[PairFiles], form: LabelFormat, reporter: Reporter) -> None:
        """Finds out how change is coded (0/1 or 0/255), looking at the labels of the whole set.

        Args:
            pairs: all of the split.
            form: what is known, see `data.manifest.label_format`.
            reporter: for progress.
        """
        self._channels = form.channels or (None, None, None)
        changes = [pair.change for pair in pairs if pair.change is not None]
        if form.change is None and changes:
            form = replace(form, change=find_coding(changes, reporter, self._channels[0]))
        self.format, self.contradictions = form, Contradictions.among(pairs)
        semantic = form.classes is not None and any(pair.before_classes is not None for pair in pairs)
        self.classes = form.classes.names if semantic and form.classes is not None else ()

    def read(self, pair: PairFiles) -> Truth:
        """The labels of a labelled pair.

        Without a change label, changed is what has a class at both dates, unchanged what has none. Pixels with a class
        at one date only contradict themselves: they are counted, and scored only as a change label decides.

        Raises:
            LabelError: values without a meaning, class names that are not known, or labels of different sizes.
        """
        change, dates = None, None
        if pair.change is not None and self.format.change is not None:
            change = read_change(pair.change, self.format.change, self._channels[0])
        if pair.before_classes is not None and pair.after_classes is not None and (change is None or self.classes):
            coding = self.format.classes
            if coding is None:
                raise LabelError(f"{pair.before_classes}: the layout names no classes; give them with --classes")
            dates = tuple(
                read_classes(path, coding, channel)
                for path, channel in zip((pair.before_classes, pair.after_classes), self._channels[1:], strict=True)
            )
            if dates[0].shape == dates[1].shape == (dates[0] if change is None else change).shape:
                self.contradictions.add(pair.before_classes, dates[0], dates[1], change)
                change = implied_change(dates[0], dates[1]) if change is None else change
        if change is None or (dates is not None and any(date.shape != change.shape for date in dates)):
            raise LabelError(f"{pair.before_classes}: the labels of {pair.name} differ in size; use one grid for all")
        return Truth(change, None if dates is None else (codes(change, dates[0]), codes(change, dates[1])))
