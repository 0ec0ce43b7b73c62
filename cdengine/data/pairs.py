"""Pairs of images with labels as a torch data set, in stored units; normalisation happens later, on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from cdengine.data.agreement import implied_change
from cdengine.data.codings import IGNORE, LabelFormat
from cdengine.data.images import Bands, read_image
from cdengine.data.labels import find_coding, read_change, read_classes
from cdengine.data.layouts import PairFiles
from cdengine.data.pseudo import PseudoLabels
from cdengine.errors import BandsError, DatasetError, LabelError
from cdengine.events import Reporter

Array = np.ndarray[Any, np.dtype[Any]]

# before (C1, H, W), after (C2, H, W): uint8, or float32 for every other stored type; change (H, W) uint8 {0, 1, 255};
# valid (H, W) bool; before_classes, after_classes (H, W) int64, 255 ignored, semantic sets only; name: str
Sample = dict[str, Any]
STRIDE = 32  # batches are padded to multiples of it, for networks that halve their input five times


class Draw(NamedTuple):
    """One use of a pair: which, in which epoch, and at which place of the epoch; it seeds the augmentation."""

    pair: int
    epoch: int = 0
    turn: int = 0


class PairTransform(Protocol):
    """Changes a sample of `ChangePairs.read` at random, given the random numbers; returns it in the final form."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """A new sample; `sample` may be altered."""


class ChangePairs(Dataset[Sample]):
    """The pairs of one split. What `[i]` gives depends on seed, epoch, turn and index alone, never on workers.

    Attributes:
        files: of the pairs, in order.
        labels: how labels are read, with the coding that was found; hand it on to the other splits of the set.
        pseudo: classes where the labels leave them open; None: they stay open.
        bands: numbers of bands of the two dates.
    """

    def __init__(
        self,
        files: Sequence[PairFiles],
        *,
        labels: LabelFormat | None = None,
        bands_before: Bands = None,
        bands_after: Bands = None,
        transform: PairTransform | None = None,
        seed: int = 0,
        need_labels: bool = True,
        pseudo: PseudoLabels | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        """Looks at the first pair, and at labels where their coding is not known.

        Args:
            files: from `layouts.find_pairs`; not empty.
            labels: from `manifest.label_format`; None: binary, with a coding that is found out.
            bands_before: 1-based numbers or names; None: all apart from alpha.
            bands_after: likewise.
            transform: augmentation (`transforms.Augment`); None: the pair as it is.
            seed: of the augmentation.
            need_labels: unlabelled pairs are an error; else their change is 255 everywhere.
            pseudo: classes where the labels leave them open; change stays as it is.
            reporter: takes the progress of the look at labels.

        Raises:
            DatasetError: no pairs, or one without labels.
            InputError: subclasses, of the first pair and of labels.
        """
        if not files:
            raise DatasetError("the split has no pairs; check the split's name and the files in it")
        self.files = list(files)
        self._bands, self._transform, self._seed = (bands_before, bands_after), transform, seed
        self.pseudo = pseudo
        lone = next((pair for pair in self.files if not pair.labelled), None)
        if need_labels and lone is not None:
            raise DatasetError(f"{lone.before} has no label; add the label folder, or take a labelled split")
        labels = labels or LabelFormat()
        changes = [pair.change for pair in self.files if pair.change is not None]
        if labels.change is None and changes:
            channel = labels.channels[0] if labels.channels else None
            labels = replace(labels, change=find_coding(changes, reporter, channel))
        self.labels = labels
        self.bands: tuple[int, int] = (0, 0)
        first = self.read(0)
        self.bands = (len(first["before"]), len(first["after"]))

    def __len__(self) -> int:
        return len(self.files)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the land-cover classes; () for binary change."""
        return self.labels.classes.names if self.labels.classes else ()

    def __getitem__(self, item: int | Draw) -> Sample:
        draw = item if isinstance(item, Draw) else Draw(int(item), 0, int(item))
        sample = self.read(draw.pair)
        if self._transform is None:
            return finished(sample)
        rng = np.random.default_rng([self._seed, draw.epoch, draw.turn, draw.pair])
        return self._transform(sample, rng)

    def read(self, index: int) -> Sample:
        """A pair as stored: like a `Sample`, but with `valid_before` and `valid_after` (H, W) bool in place of `valid`.

        Raises:
            DatasetError: the files differ in size.
            BandsError: the band count is not that of the first pair.
            LabelError: the label's coding is wrong, or a pseudo label contradicts it.
        """
        pair = self.files[index]
        sample: Sample = {"name": pair.name}
        sizes: dict[Path, tuple[int, ...]] = {}
        for date, path, bands, count in (
            ("before", pair.before, self._bands[0], self.bands[0]),
            ("after", pair.after, self._bands[1], self.bands[1]),
        ):
            pixels, valid = read_image(path, bands)
            if count and len(pixels) != count:
                raise BandsError(
                    f"{path} has {len(pixels)} bands but {self.files[0].before.name} and the others have {count}; "
                    "choose bands that all images have"
                )
            sample[date], sample[f"valid_{date}"] = _tensor(pixels, valid), torch.from_numpy(valid)
            sizes[path] = valid.shape
        return sample | self._labels_of(pair, sizes)

    def read_labels(self, index: int) -> Sample:
        """The labels of a labelled pair alone, as `read` gives them: to look at all of them without the images.

        Raises:
            DatasetError, LabelError: as `read`.
        """
        return self._labels_of(self.files[index], {})

    def _labels_of(self, pair: PairFiles, sizes: dict[Path, tuple[int, ...]]) -> Sample:
        """All labels of a pair whose images have those sizes."""
        stored = self._stored_labels(pair)
        sizes |= {path: label.shape for _, path, label in stored}
        _check_sizes(sizes)
        sample = {role: torch.from_numpy(label) for role, _, label in stored}
        _complete(sample, self.labels, next(iter(sizes.values())))
        if self.pseudo is not None:
            self.pseudo.apply(sample, pair)
        return sample

    def _stored_labels(self, pair: PairFiles) -> list[tuple[str, Path, Array]]:
        found: list[tuple[str, Path, Array]] = []
        channels = self.labels.channels or (None, None, None)
        if pair.change is not None:
            assert self.labels.change is not None
            found.append(("change", pair.change, read_change(pair.change, self.labels.change, channels[0])))
        for role, path, channel in (
            ("before_classes", pair.before_classes, channels[1]),
            ("after_classes", pair.after_classes, channels[2]),
        ):
            if path is None:
                continue
            if self.labels.classes is None:
                raise LabelError(f"{path}: the set has class labels, but its classes are not named; list them")
            found.append((role, path, read_classes(path, self.labels.classes, channel)))
        return found


def finished(sample: Sample) -> Sample:
    """The final form of a sample: one validity for both dates, ignored where it is False; classes as int64."""
    valid = sample.pop("valid_before") & sample.pop("valid_after")
    sample["valid"] = valid
    for role in ("change", "before_classes", "after_classes"):
        if role in sample:
            label: Tensor = sample[role].masked_fill(~valid, IGNORE)
            sample[role] = label if role == "change" else label.long()
    return sample


def collate(samples: Sequence[Sample]) -> Sample:
    """A batch; pairs of unlike sizes are padded at the right and bottom with pixels that are not valid.

    Returns:
        As a sample, with a leading B; H and W are multiples of `STRIDE`. `name` is a list.
    """
    height, width = (max(sample["valid"].shape[side] for sample in samples) for side in (0, 1))
    height, width = (-(-size // STRIDE) * STRIDE for size in (height, width))
    padded = []
    for sample in samples:
        rows, cols = height - sample["valid"].shape[0], width - sample["valid"].shape[1]
        if rows or cols:
            sample = {
                key: torch.nn.functional.pad(value, (0, cols, 0, rows), value=_outside(key))
                if isinstance(value, Tensor)
                else value
                for key, value in sample.items()
            }
        padded.append(sample)
    batch: Sample = default_collate(padded)
    return batch


def _outside(role: str) -> int:
    return IGNORE if role in ("change", "before_classes", "after_classes") else 0


def _tensor(pixels: Array, valid: Array) -> Tensor:
    """Stored bytes as bytes, everything else as float32 (exact for 16 bit); 0 where there is no data."""
    if pixels.dtype == np.uint8:
        stored = pixels if pixels.flags.writeable else pixels.copy()
    else:
        stored = pixels.astype(np.float32)
    if not valid.all():
        stored[:, ~valid] = 0
    return torch.from_numpy(stored)


def _complete(sample: Sample, labels: LabelFormat, size: tuple[int, ...]) -> None:
    """Labels that are not in the files: change from classes, and "ignored" where nothing is known."""
    nothing = torch.full(size, IGNORE, dtype=torch.uint8)
    if "change" not in sample:
        sample["change"] = nothing
        if "before_classes" in sample:  # SECOND: what did not change has no class
            dates = (sample[role].numpy() for role in ("before_classes", "after_classes"))
            sample["change"] = torch.from_numpy(implied_change(*dates))
    if labels.classes is not None:
        for role in ("before_classes", "after_classes"):
            sample.setdefault(role, nothing.clone())


def _check_sizes(sizes: dict[Path, tuple[int, ...]]) -> None:
    (first, size), *others = sizes.items()
    for path, other in others:
        if other != size:
            raise DatasetError(
                f"{path} is {other[1]} x {other[0]} pixels but {first} is {size[1]} x {size[0]}; "
                "bring them to one grid (align, or prepare), or leave the pair out by a list file"
            )
