"""Published semantic data sets as they are downloaded → one form: index-coded labels, checked pair by pair."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cdengine import __version__
from cdengine.data.codings import IGNORE
from cdengine.data.layouts import ALL, PairFiles, find_pairs, splits
from cdengine.data.manifest import label_format, write_manifest
from cdengine.data.pairs import ChangePairs
from cdengine.data.prepare.cut import SEMANTIC, PrepareResult, SplitCount
from cdengine.data.prepare.folder import DatasetFolder
from cdengine.errors import DatasetError, UsageError
from cdengine.events import Reporter
from cdengine.raster.diskerrors import writing

Array = np.ndarray[Any, np.dtype[Any]]

LAYOUTS = ("second", "senseearth", "hiucd")


@dataclass(frozen=True)
class _Job:
    root: Path
    split: str
    pairs: list[PairFiles]


def convert(
    layout: str,
    source: Path,
    output: Path,
    *,
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> PrepareResult:
    """Copies a data set into layout `second`: images as they are, classes as indices (0 unlabelled), change beside.

    Every file is decoded, so sizes, colours and counterparts are known to be right afterwards.

    Args:
        layout: of the download: "second", "senseearth" or "hiucd".
        source: its folder.
        output: folder to make.
        shares: parts of the split `train` (or of a set without splits), dealt out at random; None: splits stay.
        seed: of that.
        overwrite: replace a data set that `prepare` made.
        reporter: takes the progress.

    Raises:
        UsageError: the layout is none of these, or `shares` names a split that the set has.
        InputError: subclasses name the first file that is wrong.
    """
    reporter, began = reporter or Reporter(), time.monotonic()
    if layout not in LAYOUTS:
        raise UsageError(f"layout {layout!r} is not converted; there are {', '.join(LAYOUTS)}")
    parts = _parts(layout, source, shares, seed)
    labels = label_format(source, layout)
    assert labels.classes is not None
    with DatasetFolder(output, inputs=[source], overwrite=overwrite, reporter=reporter) as folder:
        folder.require_space(sum(_size(pair) for pairs in parts.values() for pair in pairs))
        counts = {split: SplitCount() for split in parts}
        with reporter.stage("convert", sum(map(len, parts.values())), "pairs") as stage:
            for split, pairs in parts.items():
                labelled = [pair for pair in pairs if pair.labelled]
                data = ChangePairs(labelled, labels=labels, reporter=reporter) if labelled else None
                for number, pair in enumerate(labelled):
                    assert data is not None
                    _write_labels(data.read(number), folder.path / split, _flat(pair.name), counts[split])
                    stage.advance()
                for pair in pairs:
                    _copy_images(pair, folder.path / split)
                    counts[split].patches += 1
                    stage.advance(not pair.labelled)
        facts = {
            "version": __version__,
            "source": layout,
            "change": "0/1",
            "classes": list(labels.classes.names),
            "seed": seed,
            "splits": {name: {"pairs": c.patches, "change_share": c.change_share} for name, c in counts.items()},
        }
        with writing(folder.path):
            write_manifest(folder.path, facts)
        folder.commit()
    seconds = round(time.monotonic() - began, 3)
    return PrepareResult(str(output), "second", counts, classes=labels.classes.names, seconds=seconds)


def _parts(layout: str, source: Path, shares: Mapping[str, float] | None, seed: int) -> dict[str, list[PairFiles]]:
    """Split → pairs, as they will be."""
    there = splits(source, layout)
    parts = {split: find_pairs(source, layout, split) for split in there} or {"train": find_pairs(source, layout, ALL)}
    if shares is None:
        return parts
    pool_name = "train" if "train" in parts else None
    if pool_name is None:
        raise DatasetError(f"{source} has no split train to deal out; it has {', '.join(parts)}; leave --splits out")
    pool = parts.pop(pool_name)
    clash = sorted(set(parts) & set(shares))
    if clash:
        raise UsageError(f"--splits: {source} has a split {clash[0]} of its own; name shares of train only")
    if len(pool) < len(shares):
        raise UsageError(f"--splits: {len(pool)} pair(s) for {len(shares)} splits")
    order = np.random.default_rng(seed).permutation(len(pool))
    borders = np.cumsum([0, *shares.values()]) * len(pool)
    dealt = {}
    for number, name in enumerate(shares):
        some = order[round(borders[number]) : round(borders[number + 1])]
        dealt[name] = [pool[i] for i in sorted(some.tolist())]
    return {**dealt, **parts}


def _write_labels(sample: dict[str, Any], root: Path, name: str, count: SplitCount) -> None:
    for role in ("before_classes", "after_classes", "change"):
        label: Array = sample[role].numpy()
        stored = label if role == "change" else np.where(label == IGNORE, 0, label + 1)
        path = root / SEMANTIC[role] / f"{name}.png"
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(stored.astype(np.uint8)).save(path, "PNG")
        if role == "change":
            count.pixels += int((label != IGNORE).sum())
            count.changed += int((label == 1).sum())


def _copy_images(pair: PairFiles, root: Path) -> None:
    for role, path in (("before", pair.before), ("after", pair.after)):
        target = root / SEMANTIC[role] / f"{_flat(pair.name)}{path.suffix.lower()}"
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def _flat(name: str) -> str:
    """A name without folders: "2017_2018/9/10" → "2017_2018-9-10"."""
    return name.replace("/", "-")


def _size(pair: PairFiles) -> int:
    files: Sequence[Path | None] = (pair.before, pair.after, pair.before_classes, pair.after_classes)
    return sum(path.stat().st_size for path in files if path is not None)
