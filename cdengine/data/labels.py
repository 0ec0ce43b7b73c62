"""Change and class labels from files: indices or colours in, one coding out, and a wrong coding is an error.

Change: 0 unchanged, 1 changed, 255 ignored. Classes: 0 … K-1, 255 unlabelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cdengine.data.codings import CODINGS, IGNORE, MIDDLE, ChangeCoding, ClassCoding, shown
from cdengine.data.images import Stored, read_stored
from cdengine.errors import LabelError
from cdengine.events import Reporter

Array = np.ndarray[Any, np.dtype[Any]]

SURVEYED = 1000  # labels looked at, spread over the set, to tell 0/1 from 0/255
LOSSY = (".jpg", ".jpeg")


def read_change(path: Path, coding: ChangeCoding, channel: int | None = None) -> Array:
    """A change label.

    Args:
        path: of one band, or of several that are equal.
        coding: what its values mean; files saved with loss (JPEG) are cut at half of 255 instead.
        channel: 0-based channel of a file with several labels.

    Returns:
        uint8 (H, W): 0 unchanged, 1 changed, 255 ignored (nodata of the file included).

    Raises:
        LabelError: values without a meaning, or colours.
    """
    values, valid = _one_band(read_stored(path), path, channel)
    if path.suffix.lower() in LOSSY and not coding.soft:
        _check_two_levels(values, path)
        coding = CODINGS["soft"]
    change = np.full(values.shape, IGNORE, np.uint8)
    change[valid] = coding.apply(values[valid], str(path))
    return change


def read_classes(path: Path, coding: ClassCoding, channel: int | None = None) -> Array:
    """A class label, by index or by colour, whichever the file holds.

    Returns:
        uint8 (H, W): class ids, 255 unlabelled.

    Raises:
        LabelError: an index or colour that is no class.
    """
    stored = read_stored(path)
    colours = _colours(stored, coding) if channel is None else None
    ids = np.full(stored.valid.shape, IGNORE, np.uint8)
    if colours is not None:
        ids[stored.valid] = coding.of_colours(colours[stored.valid], str(path))
    else:
        values, valid = _one_band(stored, path, channel, may_be_colours=True)
        ids[valid] = coding.of_indices(values[valid], str(path))
    return ids


def find_coding(paths: Sequence[Path], reporter: Reporter | None = None, channel: int | None = None) -> ChangeCoding:
    """Whether a data set's change labels are coded 0/1 (255 ignored) or 0/255, told from many of them together.

    One label with a 1 settles it. 255 alone means change, unless a 1 is found anywhere in the labels looked at: up to
    `SURVEYED`, spread evenly. Each label read later is held to the answer.

    Raises:
        LabelError: values other than 0, 1 and 255, naming the file.
    """
    reporter, high = reporter or Reporter(), False
    count = min(len(paths), SURVEYED)
    some = [paths[i * len(paths) // count] for i in range(count)]
    for path in reporter.each(some, "labels", count, "files"):
        values, valid = _one_band(read_stored(path), path, channel)
        if path.suffix.lower() in LOSSY:
            _check_two_levels(values, path)
            high = True
            continue
        values = values[valid]
        if not np.isin(values, (0, 1, 255)).all():
            raise LabelError(
                f"{path}: values {shown(values)} in a change label, where 0/1 or 0/255 is expected; "
                "check that it is the change label, or state its coding"
            )
        if (values == 1).any():
            return CODINGS["0/1"]
        high |= bool((values == 255).any())
    return CODINGS["0/255" if high else "0/1"]


def _one_band(stored: Stored, path: Path, channel: int | None, *, may_be_colours: bool = False) -> tuple[Array, Array]:
    """Whole numbers (H, W) of a label, and validity."""
    values, valid = stored.values, stored.valid
    if stored.palette is not None:
        used = {tuple(colour) for colour in stored.palette[np.unique(values)].tolist()}
        if used <= {(0, 0, 0), (255, 255, 255)} and not may_be_colours:
            return stored.palette[values[0]][..., 0], valid  # black and white, whatever their indices are
    if channel is not None:
        if channel >= len(values):
            raise LabelError(f"{path}: has {len(values)} channel(s), but its label is in channel {channel + 1}")
        values = values[channel : channel + 1]
    if len(values) > 1 and (values[1:] != values[:1]).any():
        what = "colours" if len(values) == 3 else f"{len(values)} differing bands"
        remedy = "give the palette of its classes, or convert it" if may_be_colours else "convert it"
        raise LabelError(f"{path}: holds {what}, but a label has one band of numbers; {remedy}")
    band = values[0]
    if band.dtype.kind == "f":
        band = np.where(valid, band, 0)
        if (band != np.floor(band)).any() or (abs(band) > 65535).any():
            raise LabelError(f"{path}: holds fractions, but a label is made of whole numbers; check that it is one")
        band = band.astype(np.int64)
    return band, valid


def _colours(stored: Stored, coding: ClassCoding) -> Array | None:
    """(H, W, 3) of a label that is coded by colour; None where it is one of indices."""
    if not coding.palette:
        return None
    if stored.palette is not None:
        # A colour table of the data set's own colours: then the order of its indices is anybody's.
        used = stored.palette[np.unique(stored.values)].tolist()
        known = all(tuple(colour) in coding.palette for colour in used)
        return stored.palette[stored.values[0]] if known else None
    if len(stored.values) != 3:
        return None
    equal = bool((stored.values[1:] == stored.values[:1]).all())
    if equal and stored.values.max(initial=0) <= coding.last:  # indices saved as grey RGB
        return None
    return np.moveaxis(stored.values, 0, -1)


def _check_two_levels(values: Array, path: Path) -> None:
    """A label saved with loss still has two heaps; anything else is a picture."""
    between = float(((values > MIDDLE // 2) & (values < 256 - MIDDLE // 2)).mean())
    highest = int(values.max(initial=0))
    if between > 0.1 or MIDDLE // 4 < highest < MIDDLE:
        raise LabelError(f"{path}: values {shown(values)} of a JPEG are not near 0 and 255; save the label as PNG")
