"""Training from labels of single dates: two labelled images of anywhere make a pair whose labels tell what differs.

Source: Zheng, Ma, Zhang & Zhong 2021, "Change is Everywhere: Single-Temporal Supervised Object Change Detection in
Remote Sensing Imagery", ICCV, arXiv 2108.07002, equation 2: change is the exclusive or of the two masks.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from cdengine.data.folders import check_complete, check_folder, first_folder, images
from cdengine.data.layouts import PairFiles
from cdengine.data.pairs import Sample
from cdengine.errors import ConfigError, DatasetError
from cdengine.events import Reporter
from cdengine.models.changestar import pseudo_pairs
from cdengine.training.config import TrainConfig
from cdengine.training.datasets import TrainingData, open_pairs
from cdengine.training.supervised import SupervisedChange

IMAGES, LABELS = ("image", "images"), ("label", "labels", "mask", "masks")


class SingleTemporalChange(SupervisedChange):
    """Like `SupervisedChange`, but each image of a batch is paired with the next one of it.

    Samples come in random order, so pairs are random too, and no image is paired with itself.
    """

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """The loss of a batch of made pairs."""
        return super().training_step(paired(batch), index)


def paired(batch: dict[str, Any]) -> dict[str, Any]:
    """Pairs of a batch of single images, whose two "dates" are one image in different light.

    Args:
        batch: of `data.pairs`; `before_classes` holds the labels where there are classes, else `change` the mask.
    """
    labels = batch.get("before_classes", batch["change"])
    after, later, change = pseudo_pairs(batch["after"], labels)
    made = {**batch, "after": after, "change": change, "valid": batch["valid"] & batch["valid"].roll(-1, 0)}
    if "before_classes" in batch:
        made["after_classes"] = later
    return made


class MadePairs(Dataset[Sample]):
    """Each image with the next one of the split, for validation: the same pairs every time."""

    def __init__(self, singles: Dataset[Sample]) -> None:
        self._singles = singles

    def __len__(self) -> int:
        return len(self._singles)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Sample:
        one, other = self._singles[index], self._singles[(index + 1) % len(self)]
        height, width = (min(one["valid"].shape[side], other["valid"].shape[side]) for side in (0, 1))
        both = {
            name: torch.stack([one[name][..., :height, :width], other[name][..., :height, :width]])
            for name in one
            if name != "name"
        }
        made = {name: layers[0] for name, layers in paired(both).items()}
        return {**made, "name": f"{one['name']} + {other['name']}"}


def open_singles(config: TrainConfig, kept: Path | None, reporter: Reporter) -> TrainingData:
    """Labelled images under ROOT/SPLIT/image and ROOT/SPLIT/label, as `prepare single` leaves them.

    Labels are masks (0 and 1, or 0 and 255), or class ids where the data set or the recipe names classes.

    Raises:
        ConfigError: batches of one image make no pairs, or pseudo labels are given.
        DatasetError, InputError: the data cannot be used.
    """
    if config.data.batch_size < 2:
        raise ConfigError("data.batch_size: single-temporal training makes pairs within a batch: give 2 or more")
    if config.data.pseudo_labels is not None:
        raise ConfigError("data.pseudo_labels: single-temporal training has labels everywhere; leave it out")
    data = open_pairs(config, find_singles, kept, reporter)
    if len(data.validation) < 2:  # type: ignore[arg-type]
        raise DatasetError(f"{config.data.root}: one validation image makes no pair; give the split two or more")
    share = data.changed_share
    return replace(data, validation=MadePairs(data.validation), changed_share=2 * share * (1 - share))


def find_singles(root: str, split: str, classes: bool) -> list[PairFiles]:
    """Images of a split with their labels, each as a pair with itself.

    Raises:
        DatasetError: folders or counterparts are missing.
    """
    folder = Path(root) if split == "all" else Path(root) / split
    check_folder(folder)
    places = [first_folder(folder, names) for names in (IMAGES, LABELS)]
    if places[0] is None or places[1] is None:
        missing = IMAGES[0] if places[0] is None else LABELS[0]
        raise DatasetError(f"{folder} has no folder {missing}/; single-temporal training needs image/ and label/")
    shown, labels = images(places[0]), images(places[1])
    check_complete(shown, labels, (places[0], places[1]))
    if not shown:
        raise DatasetError(f"{places[0]}: split {split!r} has no images; check data.train and data.validation")
    return [
        PairFiles(name, path, path, None, labels[name], labels[name])
        if classes
        else PairFiles(name, path, path, labels[name])
        for name, path in shown.items()
    ]
