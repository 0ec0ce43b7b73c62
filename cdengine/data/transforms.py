"""Augmentation of pairs: what moves pixels is joint for both dates and the labels, what alters values is per date.

Everything works in stored units, on any number of bands, and takes its random numbers from the caller alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from cdengine.data.codings import IGNORE
from cdengine.data.pairs import Sample, finished
from cdengine.data.photometric import Photometric, Ranges
from cdengine.errors import ConfigError

DATES = ("before", "after")
LABELS = ("change", "before_classes", "after_classes")
WHOLE = 255  # of a validity that was resampled as an image: less means that an invalid pixel took part


@dataclass(frozen=True)
class Augmentation:
    """How strongly pairs are varied. The defaults suit nadir imagery of any sensor.

    Attributes:
        crop: side of the square that is cut, in pixels; smaller pairs are padded with pixels that are not valid.
        change_crops: probability that a crop is placed on a changed pixel, where there is one.
        scale: range of the factor by which a crop is enlarged.
        flips: mirror at both axes.
        rotations: turn by a multiple of 90°.
        turns: all: each axis is mirrored with probability 0.5, then a turn is drawn (the eight symmetries of the
            square); six: one of as it is, one mirror or one turn, each as likely as the others, as SenseEarth2020 does.
        exchange: probability that the dates change places, for networks and labels that treat them alike.
        shift: largest misregistration in pixels, along each axis, given to one date of half the pairs.
        photometric: what is done to values; None: nothing.
    """

    crop: int = 256
    change_crops: float = 0.5
    scale: tuple[float, float] = (0.8, 1.25)
    flips: bool = True
    rotations: bool = True
    turns: Literal["all", "six"] = "all"
    exchange: float = 0.5
    shift: float = 1.0
    photometric: Photometric | None = field(default_factory=Photometric)


class Augment:
    """Applies an `Augmentation`; a `PairTransform`."""

    def __init__(self, augmentation: Augmentation, ranges: Sequence[Ranges] | None = None) -> None:
        """Takes what to do.

        Args:
            augmentation: see there.
            ranges: of both dates' values per band, `DateStatistics.value_range`; None: 8-bit imagery.

        Raises:
            ConfigError: a number makes no sense.
        """
        low, high = augmentation.scale
        if augmentation.crop < 1:
            raise ConfigError(f"crop {augmentation.crop}: give the side of a square in pixels, such as 256")
        if not 0 < low <= high:
            raise ConfigError(f"scale {low:g}, {high:g}: give two factors above 0, the smaller first")
        self._do, self._ranges = augmentation, tuple(ranges) if ranges is not None else (None, None)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """A varied pair of crop x crop pixels; see `pairs.PairTransform`."""
        do = self._do
        sample = _wrapped(sample)
        sample = random_crop(sample, do.crop, do.scale, do.change_crops, rng)
        turn = one_turn if do.turns == "six" else random_turn
        sample = turn(sample, do.flips, do.rotations, rng)
        if do.photometric is not None:
            for date, ranges in zip(DATES, self._ranges, strict=True):
                sample[date] = do.photometric(sample[date], ranges, rng)
        sample = _unwrapped(sample)
        if do.shift > 0 and rng.random() < 0.5:
            date = DATES[int(rng.integers(2))]
            rows, cols = rng.uniform(-do.shift, do.shift, 2)
            sample[date], there = shifted(sample[date], sample[f"valid_{date}"], float(rows), float(cols))
            sample[f"valid_{date}"] = there
        if do.exchange > 0 and rng.random() < do.exchange:
            sample = exchanged(sample)
        for date in DATES:  # blurs and shifts leave traces where nothing is known
            sample[date] = sample[date].masked_fill_(~sample[f"valid_{date}"], 0)
        return finished(sample)


class CentreCrop:
    """Cuts (or pads to) the same square of every pair: for validation in batches. A `PairTransform`."""

    def __init__(self, crop: int) -> None:
        self._crop = crop

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The middle of the pair; no random number is used."""
        height, width = sample["valid_before"].shape
        place = ((height - self._crop) // 2, (width - self._crop) // 2, self._crop)
        return finished(_unwrapped(_cut(_wrapped(sample), *place)))


def random_crop(
    sample: Sample, crop: int, scale: tuple[float, float], change_crops: float, rng: np.random.Generator
) -> Sample:
    """Cuts a square, on change where asked for, and brings it to `crop` pixels a side."""
    side = max(1, round(crop / float(np.exp(rng.uniform(np.log(scale[0]), np.log(scale[1]))))))
    height, width = sample["valid_before"].shape[-2:]
    on_change = rng.random() < change_crops
    row, col = (int(rng.integers(max(1, size - side + 1))) for size in (height, width))
    if on_change:
        changed = torch.nonzero(sample["change"] == 1)
        if len(changed):
            # the changed pixel may lie anywhere in the crop: a fixed place would be learnt
            at = changed[int(rng.integers(len(changed)))].tolist()
            row, col = (int(rng.integers(max(0, p - side + 1), max(1, min(p, size - side) + 1)))
                        if size > side else 0 for p, size in zip(at, (height, width), strict=True))  # fmt: skip
    row, col = (-((side - size) // 2) if size < side else at for at, size in ((row, height), (col, width)))
    sample = _cut(sample, row, col, side)
    if side != crop:
        sample = _each(sample, _resized, crop)
    return sample


def random_turn(sample: Sample, flips: bool, rotations: bool, rng: np.random.Generator) -> Sample:
    """One of the eight symmetries of the square."""
    across, down, quarters = rng.integers(2), rng.integers(2), int(rng.integers(4))
    if flips and across:
        sample = _each(sample, F.horizontal_flip)
    if flips and down:
        sample = _each(sample, F.vertical_flip)
    if rotations and quarters:
        sample = _each(sample, _turned, quarters)
    return sample


def one_turn(sample: Sample, flips: bool, rotations: bool, rng: np.random.Generator) -> Sample:
    """One of six: as it is, mirrored at one axis, or turned by 90°, 180° or 270°; each as likely as the others.

    Source: the SenseEarth2020 change detection release; mirrors are never combined with turns.
    """
    kinds: list[tuple[Any, ...]] = [()]
    kinds += [(F.horizontal_flip,), (F.vertical_flip,)] if flips else []
    kinds += [(_turned, quarters) for quarters in (1, 2, 3)] if rotations else []
    chosen = kinds[int(rng.integers(len(kinds)))]
    return _each(sample, *chosen) if chosen else sample


def shifted(image: Tensor, valid: Tensor, rows: float, cols: float) -> tuple[Tensor, Tensor]:
    """Moves content down by `rows` and right by `cols` pixels, bilinearly.

    Args:
        image: (C, H, W), stored units.
        valid: (H, W) bool.
        rows: any fraction; its size must be below H.
        cols: likewise.

    Returns:
        The moved image in its own dtype, and its validity: False where a pixel outside or an invalid one took part.
    """
    values, there = image.float(), valid.float()[None]
    for axis, amount in ((-2, rows), (-1, cols)):
        values, there = _moved(values, axis, amount), _moved(there, axis, amount)
    if image.dtype == torch.uint8:
        values = values.round_()
    return values.to(image.dtype), there[0] > 1 - 1e-4


def exchanged(sample: Sample) -> Sample:
    """The pair in reverse; change stays what it is.

    Raises:
        ConfigError: the dates differ in bands, so a network cannot take one for the other.
    """
    if sample["before"].shape[0] != sample["after"].shape[0]:
        raise ConfigError("exchange of dates needs equal bands at both dates; set exchange to 0")
    swapped = {"before": "after", "valid_before": "valid_after", "before_classes": "after_classes"}
    both = swapped | {two: one for one, two in swapped.items()}
    return {both.get(role, role): value for role, value in sample.items()}


def _moved(values: Tensor, axis: int, amount: float) -> Tensor:
    """Linear interpolation along one axis; 0 comes in from outside."""
    size = values.shape[axis]
    whole = int(np.floor(amount))
    share = amount - whole
    out = torch.zeros_like(values)
    for step, weight in ((whole, 1 - share), (whole + 1, share)):
        length = size - abs(step)
        if weight > 0 and length > 0:
            source = values.narrow(axis, max(0, -step), length)
            out.narrow(axis, max(0, step), length).add_(source, alpha=weight)
    return out


def _cut(sample: Sample, row: int, col: int, side: int) -> Sample:
    """A square at any place; what lies outside is not valid."""
    height, width = sample["valid_before"].shape[-2:]
    if row >= 0 and col >= 0 and row + side <= height and col + side <= width:
        return _each(sample, F.crop, row, col, side, side)
    top, left = max(0, -row), max(0, -col)
    bottom, right = max(0, row + side - height), max(0, col + side - width)
    padded: dict[str, Any] = {
        role: F.pad(value, [left, top, right, bottom], fill=IGNORE if role in LABELS else 0)
        if isinstance(value, Tensor)
        else value
        for role, value in sample.items()
    }
    return _each(padded, F.crop, row + top, col + left, side, side)


def _resized(value: Tensor, side: int) -> Tensor:
    if value.dtype == torch.uint8 and len(value) == 1 and bool((value == WHOLE).all()):
        return value.new_full((1, side, side), WHOLE)  # valid everywhere: nothing to interpolate
    resized: Tensor = F.resize(value, [side, side], antialias=True)
    return resized


def _turned(value: Tensor, quarters: int) -> Tensor:
    turned: Tensor = tv_tensors.wrap(torch.rot90(value.as_subclass(Tensor), quarters, (-2, -1)), like=value)
    return turned


def _each(sample: Sample, action: Any, *arguments: Any, **options: Any) -> Sample:  # noqa: ANN401
    """A geometric kernel on every layer: images and validities smoothly, labels by the nearest."""
    return {
        role: action(value, *arguments, **options) if isinstance(value, Tensor) else value
        for role, value in sample.items()
    }


def _wrapped(sample: Sample) -> Sample:
    """Layers as tv_tensors, which tell torchvision how each is to be resampled."""
    found: Sample = {}
    for role, value in sample.items():
        if role in DATES:
            found[role] = tv_tensors.Image(value)
        elif role.startswith("valid_"):
            found[role] = tv_tensors.Image(value[None].to(torch.uint8) * WHOLE)
        elif role in LABELS:
            found[role] = tv_tensors.Mask(value)
        else:
            found[role] = value
    return found


def _unwrapped(sample: Sample) -> Sample:
    """Plain tensors again; contiguous, for collating."""
    found: Sample = {}
    for role, value in sample.items():
        if not isinstance(value, Tensor):
            found[role] = value
            continue
        plain = value.as_subclass(Tensor).contiguous()
        found[role] = plain[0] == WHOLE if role.startswith("valid_") else plain
    return found
