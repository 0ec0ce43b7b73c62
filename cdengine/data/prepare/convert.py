"""Published semantic data sets as they are downloaded → one form: index-coded labels, checked pair by pair.

Where the classes have colours the labels carry them as a colour table, so that they show as the download's do; on
demand they are written as plain colours instead.
"""

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
from cdengine.data.agreement import Contradictions
from cdengine.data.codings import IGNORE
from cdengine.data.layouts import ALL, PairFiles, find_pairs, splits
from cdengine.data.lists import LIST_FOLDERS
from cdengine.data.manifest import label_format, write_manifest
from cdengine.data.pairs import ChangePairs
from cdengine.data.prepare.cut import SEMANTIC, PrepareResult, SplitCount
from cdengine.data.prepare.folder import DatasetFolder
from cdengine.data.splits import TENTH, held_out
from cdengine.errors import DatasetError, UsageError
from cdengine.events import Reporter
from cdengine.raster.diskerrors import writing

Array = np.ndarray[Any, np.dtype[Any]]

LAYOUTS = ("second", "senseearth", "hiucd")
COLOURED = ("second", "senseearth")  # whose classes have colours; they come without a validation split, too


def convert(
    layout: str,
    source: Path,
    output: Path,
    *,
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
    rgb_labels: bool = False,
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
        rgb_labels: write class labels as colours, as SECOND is downloaded, instead of indices with a colour table.
        overwrite: replace a data set that `prepare` made.
        reporter: takes the progress.

    Raises:
        UsageError: the layout is none of these or has no colours, or `shares` names a split that the set has.
        InputError: subclasses name the first file that is wrong.
    """
    reporter, began = reporter or Reporter(), time.monotonic()
    if layout not in LAYOUTS:
        raise UsageError(f"layout {layout!r} is not converted; there are {', '.join(LAYOUTS)}")
    if rgb_labels and layout not in COLOURED:
        raise UsageError(f"--rgb-labels: classes of {layout} have no colours here; leave it out")
    parts = _parts(layout, source, shares, seed)
    _refuse_same_names(parts)
    labels = label_format(source, layout)
    assert labels.classes is not None
    colours = _Colours(labels.classes.colours, rgb_labels)
    contradictions = Contradictions.among(pair for pairs in parts.values() for pair in pairs)
    with DatasetFolder(output, inputs=[source], overwrite=overwrite, reporter=reporter) as folder:
        folder.require_space(sum(_size(pair) for pairs in parts.values() for pair in pairs))
        counts = {split: SplitCount() for split in parts}
        with reporter.stage("convert", sum(map(len, parts.values())), "pairs") as stage:
            for split, pairs in parts.items():
                labelled = [pair for pair in pairs if pair.labelled]
                data = ChangePairs(labelled, labels=labels, reporter=reporter) if labelled else None
                for number, pair in enumerate(labelled):
                    assert data is not None
                    sample = data.read(number)
                    if pair.before_classes is not None and pair.after_classes is not None:
                        dates = sample["before_classes"].numpy(), sample["after_classes"].numpy()
                        change = None if pair.change is None else sample["change"].numpy()
                        contradictions.add(pair.before_classes, *dates, change)
                    _write_labels(sample, folder.path / split, _flat(pair.name), counts[split], colours)
                    stage.advance()
                for pair in pairs:
                    _copy_images(pair, folder.path / split)
                    counts[split].patches += 1
                    stage.advance(not pair.labelled)
        if shares is None and layout in COLOURED:
            _write_tenth(folder.path, parts)
        facts = {
            "version": __version__,
            "source": layout,
            "change": "0/1",
            "classes": list(labels.classes.names),
            "seed": seed,
            "splits": {name: {"pairs": c.patches, "change_share": c.change_share} for name, c in counts.items()},
        }
        if layout in COLOURED:
            facts["contradicting"] = {"pairs": contradictions.pairs, "pixels": contradictions.pixels}
            against = contradictions.disagreeing
            facts["disagreeing"] = {"pairs": len(against), "pixels": sum(against.values())}
        with writing(folder.path):
            write_manifest(folder.path, facts)
        folder.commit()
    for line in contradictions.warnings():
        reporter.warning(line)
    return PrepareResult(
        str(output),
        "second",
        counts,
        classes=labels.classes.names,
        contradicting_pairs=contradictions.pairs,
        contradicting_pixels=contradictions.pixels,
        treatment=contradictions.treatment,
        seconds=round(time.monotonic() - began, 3),
    )


def _parts(layout: str, source: Path, shares: Mapping[str, float] | None, seed: int) -> dict[str, list[PairFiles]]:
    """Split → pairs, as they will be."""
    there = splits(source, layout)
    there = [split for split in there if (source / split).is_dir()] or there  # else a list's pairs come twice
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


def _refuse_same_names(parts: Mapping[str, Sequence[PairFiles]]) -> None:
    """Folders go from the names, and what two pairs would be called the same the later one would win."""
    for pairs in parts.values():
        seen: dict[str, PairFiles] = {}
        for pair in pairs:
            other = seen.setdefault(_flat(pair.name), pair)
            if other is not pair:
                raise DatasetError(f"{pair.before} and {other.before} would get one name: rename one of them")


@dataclass(frozen=True)
class _Colours:
    """How class labels are written.

    Attributes:
        table: (K + 1, 3) uint8, of stored indices; None: there are none.
        plain: colours in place of indices.
    """

    table: Array | None
    plain: bool

    def picture(self, stored: Array) -> Image.Image:
        """A label (H, W) uint8, 0 unlabelled, 1 … K classes."""
        if self.table is None:
            return Image.fromarray(stored)
        if self.plain:
            return Image.fromarray(self.table[stored])
        picture = Image.fromarray(stored)
        picture.putpalette(self.table.tobytes())
        return picture


def _write_labels(sample: dict[str, Any], root: Path, name: str, count: SplitCount, colours: _Colours) -> None:
    for role in ("before_classes", "after_classes", "change"):
        label: Array = sample[role].numpy()
        if role == "change":
            picture = Image.fromarray(label)
        else:
            picture = colours.picture(np.where(label == IGNORE, 0, label + 1).astype(np.uint8))
        path = root / SEMANTIC[role] / f"{name}.png"
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, "PNG")
        if role == "change":
            count.pixels += int((label != IGNORE).sum())
            count.changed += int((label == 1).sum())


def _write_tenth(root: Path, parts: Mapping[str, Sequence[PairFiles]]) -> None:
    """Lists of the pairs that `data.validation: tenth` validates on and of those that it leaves for training."""
    names = sorted(_flat(pair.name) for pair in parts.get("train", ()) if pair.labelled)
    if len(names) < 2:
        return
    folder = root / LIST_FOLDERS[0]
    rest, held = held_out(names, TENTH)
    with writing(folder):
        folder.mkdir()
        for name, some in (("train-rest", rest), ("train-tenth", held)):
            (folder / f"{name}.txt").write_text("".join(f"train/{line}\n" for line in some), encoding="utf-8")


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
