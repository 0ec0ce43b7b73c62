"""Pseudo labels: classes for ground that did not change, from the folder that `pseudo-label` made.

SECOND and SenseEarth name classes on changed ground only. An ensemble names the rest, and a network is then trained on
both; what changed is still told by the data set's own labels. Source: the SenseEarth2020 change detection release.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cdengine.data.codings import IGNORE, ClassCoding
from cdengine.data.folders import check_folder, images
from cdengine.data.labels import read_classes
from cdengine.data.layouts import PairFiles
from cdengine.errors import CorruptError, DatasetError, LabelError, NotFoundInputError

Array = np.ndarray[Any, np.dtype[Any]]

MANIFEST = "pseudo-labels.json"  # its key `classes` lists the names of the classes
FOLDERS = {"before_classes": "label1", "after_classes": "label2"}
AGAIN = "make them again with pseudo-label"


class PseudoLabels:
    """The pseudo labels of a training split: `label1/NAME` and `label2/NAME`, 0 unlabelled, 1 … K classes."""

    def __init__(self, folder: Path | str, classes: Sequence[str], files: Sequence[PairFiles]) -> None:
        """Finds the files of all pairs, without opening them.

        Args:
            folder: that `pseudo-label` made.
            classes: of the data set, in its order.
            files: the training pairs.

        Raises:
            NotFoundInputError: there is no such folder, or `pseudo-label` did not make or finish it.
            CorruptError: its manifest is damaged.
            DatasetError: other classes, or a pair without a pseudo label.
        """
        self._root = Path(folder)
        check_folder(self._root)
        _check_classes(self._root, tuple(classes))
        self._coding = ClassCoding(tuple(classes), unlabelled=(0,))
        self._files = {role: images(self._root / place) for role, place in FOLDERS.items()}
        for role, found in self._files.items():
            lone = [pair.name for pair in files if pair.name not in found]
            if lone:
                raise DatasetError(
                    f"{self._root / FOLDERS[role]} has no pseudo label of {lone[0]}.png, as of {len(lone)} of "
                    f"{len(files)} training pairs; {AGAIN} of the split in data.train"
                )

    def apply(self, sample: dict[str, Any], pair: PairFiles) -> None:
        """Fills in the classes that the labels of a pair leave open; `change` stays what it is.

        Args:
            sample: `change`, `before_classes`, `after_classes`: (H, W) tensors uint8, 255 ignored.
            pair: whose they are.

        Raises:
            LabelError: a value that is no class, or another class than the label's on changed ground.
            DatasetError: another size than the label's.
        """
        changed = sample["change"].numpy() == 1
        for role, own in (("before_classes", pair.before_classes), ("after_classes", pair.after_classes)):
            path, real = self._files[role][pair.name], sample[role].numpy()
            pseudo = self._read(path)
            if pseudo.shape != real.shape:
                raise DatasetError(
                    f"{path} is {pseudo.shape[1]} x {pseudo.shape[0]} pixels but the labels of {pair.name} are "
                    f"{real.shape[1]} x {real.shape[0]}; {AGAIN}"
                )
            labelled = real != IGNORE
            # where an image has no data pseudo labels name nothing, changed or not
            wrong = np.count_nonzero(changed & labelled & (pseudo != IGNORE) & (pseudo != real))
            if wrong:
                raise LabelError(
                    f"{path}: {wrong:,} changed pixel(s) have another class than {own}; "
                    f"the pseudo labels are of other labels: {AGAIN}"
                )
            sample[role] = torch.from_numpy(np.where(labelled, real, pseudo))

    def _read(self, path: Path) -> Array:
        try:
            return read_classes(path, self._coding)
        except LabelError as error:
            raise LabelError(f"{str(error).rsplit(';', 1)[0]}; {AGAIN}") from None


def _check_classes(root: Path, classes: tuple[str, ...]) -> None:
    """Indices mean what the manifest says; the data set must mean the same."""
    path = root / MANIFEST
    if not path.is_file():
        raise NotFoundInputError(f"{root} has no {MANIFEST}, so it is no finished folder of pseudo labels; {AGAIN}")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptError(f"{path} is not valid JSON ({error}); {AGAIN}") from error
    names = facts.get("classes") if isinstance(facts, dict) else None
    if not isinstance(names, list):
        raise CorruptError(f"{path} has no list `classes`; {AGAIN}")
    if tuple(map(str, names)) != classes:
        raise DatasetError(
            f"{path}: its classes are {', '.join(map(str, names))}, the data set's are {', '.join(classes)}; "
            f"{AGAIN} of this data set"
        )
