"""The pairs of a run: found, looked at once, and what was seen kept, so that a resumed run starts at once."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from cdengine.assess.colours import Rgb
from cdengine.data.codings import ChangeCoding
from cdengine.data.layouts import PairFiles, find_pairs
from cdengine.data.manifest import label_format
from cdengine.data.pairs import ChangePairs
from cdengine.data.pseudo import PseudoLabels
from cdengine.data.sampling import balanced_weights, change_shares
from cdengine.data.splits import TENTH, held_out
from cdengine.data.statistics import DateStatistics, date_statistics
from cdengine.data.transforms import Augment
from cdengine.errors import ConfigError, DatasetError, ResumeMismatchError
from cdengine.events import Reporter
from cdengine.inference.evaluatetruth import colours_of
from cdengine.models.card import DateInput
from cdengine.training.config import DataConfig, TrainConfig

Array = np.ndarray[Any, np.dtype[Any]]
HOLDOUT, EVERY_TENTH = "holdout", "tenth"
KEPT = {HOLDOUT: 5, EVERY_TENTH: TENTH}  # every how many of the training pairs validate, where no split does


@dataclass(frozen=True)
class TrainingData:
    """What `fit.train` learns from.

    Attributes:
        train: takes `pairs.Draw`s as indices and gives samples of equal size.
        validation: gives whole pairs.
        before, after: what the network will be told of each date's values.
        classes: land-cover names; () for plain change.
        changed_share: of the labelled training pixels.
        windows: draws that make up one pass.
        weights: (N,) probability of each training pair; None: each alike.
        facts: for the model's card.
        survey: to be kept for a resumed run.
        colours: of the classes, for pictures; (): the usual ones.
    """

    train: Dataset[dict[str, Any]]
    validation: Dataset[dict[str, Any]]
    before: DateInput
    after: DateInput
    classes: tuple[str, ...]
    changed_share: float
    windows: int
    weights: Array | None
    facts: dict[str, Any]
    survey: Survey | None = None
    colours: tuple[Rgb, ...] = ()


@dataclass(frozen=True)
class Survey:
    """What one look at all training pairs told.

    Attributes:
        before, after: statistics of each date.
        shares: of changed pixels, per pair.
        pairs: fingerprint of the list of pairs.
    """

    before: DateStatistics
    after: DateStatistics
    shares: tuple[float, ...]
    pairs: str


# (root, split, whether labels are classes) → pairs
Finder = Callable[[str, str, bool], list[PairFiles]]


def open_data(config: TrainConfig, kept: Path | None, reporter: Reporter) -> TrainingData:
    """Finds the labelled pairs of both splits and makes data sets of them.

    Args:
        config: of the run.
        kept: file that a survey of the same pairs is read from.
        reporter: progress of the look at all pairs.

    Raises:
        DatasetError, InputError: the data cannot be used.
        ResumeMismatchError: `kept` is about other pairs.
    """

    def find(root: str, split: str, _classes: bool) -> list[PairFiles]:
        return find_pairs(root, config.data.layout, split)

    return open_pairs(config, find, kept, reporter)


def open_pairs(config: TrainConfig, find: Finder, kept: Path | None, reporter: Reporter) -> TrainingData:
    """The same with pairs found in another way."""
    data = config.data
    coding = ChangeCoding.parse(data.coding) if data.coding else None
    labels = label_format(data.root, data.layout, classes=data.classes, coding=coding)
    train, validation = find_splits(data, find, labels.classes is not None)
    bands: dict[str, Any] = {"bands_before": data.bands_before or None, "bands_after": data.bands_after or None}
    pairs = ChangePairs(train, labels=labels, reporter=reporter, **bands)
    if data.pseudo_labels is not None:
        pairs = _with_pseudo(data.pseudo_labels, pairs, bands)
    survey = read_survey(kept, train) if kept is not None and kept.is_file() else look_at(pairs, data, reporter)
    augmentation = data.augmentation
    if pairs.bands[0] != pairs.bands[1] and augmentation.exchange > 0:
        reporter.info("the dates differ in bands, so they are not exchanged at random")
        augmentation = replace(augmentation, exchange=0.0)
    ranges = (survey.before.value_range, survey.after.value_range)
    augment = Augment(augmentation, ranges)
    shown = ChangePairs(train, labels=pairs.labels, transform=augment, seed=config.seed, pseudo=pairs.pseudo, **bands)
    pixels = survey.before.count
    shares = np.array(survey.shares)
    return TrainingData(
        train=shown,
        validation=ChangePairs(validation, labels=pairs.labels, **bands),
        before=survey.before.date_input(data.ground_sample_distance),
        after=survey.after.date_input(data.ground_sample_distance),
        classes=pairs.classes,
        changed_share=float(shares.mean()),
        windows=max(len(train), math.ceil(pixels / augmentation.crop**2)),
        weights=balanced_weights(shares, data.balance) if data.balance > 0 else None,
        facts=_facts(data, train, validation, shares),
        survey=survey,
        colours=tuple(colours_of(pairs.classes, pairs.labels.classes)),
    )


def find_splits(data: DataConfig, find: Finder, classes: bool) -> tuple[list[PairFiles], list[PairFiles]]:
    """Training and validation pairs.

    Raises:
        DatasetError: a split is empty or unlabelled, the two share pairs, or there are too few to hold any out.
    """
    train = find(data.root, data.train, classes)
    if data.validation in KEPT:
        if len(train) < 2:
            raise DatasetError(f"{data.root}: {len(train)} pair(s) leave none to hold out; name a validation split")
        by_name = data.validation == EVERY_TENTH  # a list file may have another order
        return held_out(sorted(train, key=_name) if by_name else train, KEPT[data.validation])
    validation = find(data.root, data.validation, classes)
    both = {pair.before for pair in train} & {pair.before for pair in validation}
    if both:
        raise DatasetError(
            f"{min(both)} is in data.train {data.train!r} and in data.validation {data.validation!r}: "
            f"figures would be too good; use other splits, or data.validation={HOLDOUT}"
        )
    return train, validation


def look_at(pairs: ChangePairs, data: DataConfig, reporter: Reporter) -> Survey:
    """Reads every training pair once; raises what is wrong with any of them before time is spent on training."""
    before, after = date_statistics(pairs.files, data.bands_before or None, data.bands_after or None, reporter)
    shares = change_shares(pairs.files, pairs.labels, reporter)
    if pairs.pseudo is not None:
        for number in reporter.each(range(len(pairs)), "pseudo labels", len(pairs), "pairs"):
            pairs.read_labels(number)
    return Survey(before, after, tuple(float(share) for share in shares), fingerprint(pairs.files))


def fingerprint(files: Sequence[PairFiles]) -> str:
    """Short sum of the names of pairs, in their order."""
    return hashlib.sha256("\n".join(pair.name for pair in files).encode()).hexdigest()[:16]


def survey_text(survey: Survey) -> str:
    """The survey as JSON."""
    return json.dumps(asdict(survey), default=str, ensure_ascii=False)


def read_survey(path: Path, files: Sequence[PairFiles]) -> Survey:
    """A survey that was kept.

    Raises:
        ResumeMismatchError: it is about other pairs.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["pairs"] != fingerprint(files):
        raise ResumeMismatchError(f"{path}: the training pairs are not those the run began with; start a new run")
    return Survey(_date(content["before"]), _date(content["after"]), tuple(content["shares"]), content["pairs"])


def _with_pseudo(folder: str, pairs: ChangePairs, bands: dict[str, Any]) -> ChangePairs:
    """The same training pairs with pseudo labels."""
    if not pairs.classes:
        raise ConfigError("data.pseudo_labels: the data set has no class labels to add to; leave it out")
    pseudo = PseudoLabels(folder, pairs.classes, pairs.files)
    return ChangePairs(pairs.files, labels=pairs.labels, pseudo=pseudo, **bands)


def _name(pair: PairFiles) -> str:
    return pair.name


def _date(content: dict[str, Any]) -> DateStatistics:
    tuples = {key: tuple(value) for key, value in content.items() if isinstance(value, list)}
    return DateStatistics(**{**content, **tuples, "dtype": np.dtype(content["dtype"])})


def _facts(data: DataConfig, train: list[PairFiles], validation: list[PairFiles], shares: Array) -> dict[str, Any]:
    return {
        "data": Path(data.root).resolve().name,
        "layout": data.layout,
        "train": data.train,
        "validation": data.validation,
        **({} if data.pseudo_labels is None else {"pseudo_labels": Path(data.pseudo_labels).resolve().name}),
        "train_pairs": len(train),
        "validation_pairs": len(validation),
        "changed_percent": round(100 * float(shares.mean()), 3),
    }
