"""Data sets as they lie on disk: which files make a pair, in every layout of the interface contract.

Under DIR/SPLIT/ where split folders exist, else DIR/ with list files, else everything with split "all".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from cdengine.data import indexfile
from cdengine.data.folders import Stems, check_complete, check_folder, first_folder, images, listed
from cdengine.data.lists import find_list, list_names, pick, read_list
from cdengine.errors import DatasetError, UsageError

ALL = "all"
CHANGE_FOLDERS = ("label", "Label", "bcd", "mask", "OUT")


@dataclass(frozen=True)
class PairFiles:
    """The files of one pair.

    Attributes:
        name: unique within what was asked for; predictions carry it ("x", or "train/x" where splits were joined).
        before: image of the first date.
        after: image of the second date.
        change: change label; None where there is none (an unlabelled split, or class labels that imply it).
        before_classes: class label of the first date.
        after_classes: class label of the second date.
        reference: `gold` only: the optical image of the second date, for training.
    """

    name: str
    before: Path
    after: Path
    change: Path | None = None
    before_classes: Path | None = None
    after_classes: Path | None = None
    reference: Path | None = None

    @property
    def labelled(self) -> bool:
        """Whether there is a change label, or class labels that imply it."""
        return self.change is not None or self.before_classes is not None


@dataclass(frozen=True)
class Folders:
    """Names that the folders of a layout may have; the first that exists counts.

    Attributes:
        before: of the first date; a folder that has it is a data set of this layout.
        after: of the second date.
        change: of change labels, optional.
        classes: of the class labels of both dates, optional, but both or none.
        reference: see `PairFiles`.
    """

    before: str
    after: str
    change: tuple[str, ...] = ()
    classes: tuple[str, str] | None = None
    reference: str | None = None


FOLDERS = {
    "pairs": Folders("A", "B", CHANGE_FOLDERS),
    # A change folder is no part of SECOND, but of sets in its form whose classes cover unchanged ground too.
    "second": Folders("im1", "im2", ("change", *CHANGE_FOLDERS), ("label1", "label2")),
    "senseearth": Folders("im1", "im2", (), ("label1", "label2")),
    "gold": Folders("A", "B", CHANGE_FOLDERS, reference="C"),
}


def find_pairs(root: Path | str, layout: str, split: str) -> list[PairFiles]:
    """The pairs of a split, sorted by name (in the list's order where there is a list).

    Args:
        root: the data set's folder; for `index` also the index file itself.
        layout: a name of `LAYOUTS`.
        split: a split folder, a list's name ("train" for list/train.txt), the path of a list file, or "all".

    Raises:
        UsageError: the layout is unknown.
        DatasetError: folders or counterparts are missing, or the split is unknown or empty.
        NotFoundInputError: `root` does not exist.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"layout {layout!r} is unknown; there are {', '.join(LAYOUTS)}")
    found = LAYOUTS[layout](Path(root), split)
    if not found:
        raise DatasetError(f"{root}: split {split!r} has no pairs; check --split and the files in it")
    return found


def splits(root: Path | str, layout: str) -> list[str]:
    """Names that `find_pairs` takes as split of this data set, "all" apart."""
    root = Path(root)
    if layout == "index":
        return indexfile.splits(root)
    check_folder(root)
    marker = _marker(layout)
    return list(dict.fromkeys([*(folder.name for folder in _split_folders(root, marker)), *list_names(root)]))


def _marker(layout: str) -> str:
    """The folder whose presence makes another one a data set of the layout."""
    return "image" if layout == "hiucd" else FOLDERS[layout].before


def _split_folders(root: Path, marker: str) -> list[Path]:
    return sorted(folder for folder in root.iterdir() if (folder / marker).is_dir())


def _by_folders(layout: str, collect: Callable[[Path], list[PairFiles]]) -> Callable[[Path, str], list[PairFiles]]:
    """A finder for layouts of folders; `collect` takes everything of one folder."""

    def find(root: Path, split: str) -> list[PairFiles]:
        check_folder(root)
        marker = _marker(layout)
        if split != ALL and (root / split / marker).is_dir():
            return collect(root / split)
        parts = _split_folders(root, marker)
        whole = (root / marker).is_dir()
        if not whole and not parts:
            there = listed(sorted(entry.name + "/" for entry in root.iterdir() if entry.is_dir())) or "no folders"
            raise DatasetError(
                f"{root} has no folder {marker}/, as layout {layout} asks for, but {there}; "
                "check --layout, or describe the set by an index file (layout index)"
            )
        if split != ALL:
            chosen = find_list(root, split)  # before anything large is listed
            if chosen is None:
                names = [*(part.name for part in parts), *list_names(root), ALL]
                raise DatasetError(f"{root} has no split {split!r}, as folder or as list file; it has {listed(names)}")
        pool = collect(root) if whole else [_within(part, pair) for part in parts for pair in collect(part)]
        return pool if split == ALL else pick(pool, read_list(chosen), chosen)

    return find


def _within(part: Path, pair: PairFiles) -> PairFiles:
    return replace(pair, name=f"{part.name}/{pair.name}")


def _collect(layout: str) -> Callable[[Path], list[PairFiles]]:
    folders = FOLDERS[layout]

    def collect(root: Path) -> list[PairFiles]:
        if not (root / folders.after).is_dir():
            raise DatasetError(f"{root} has a folder {folders.before}/ but no {folders.after}/; add the second date")
        before, after = images(root / folders.before), images(root / folders.after)
        check_complete(before, after, (root / folders.before, root / folders.after))
        roles: dict[str, Stems] = {"before": before, "after": after}
        places = {"change": first_folder(root, folders.change)}
        if folders.classes is not None:
            one, two = (first_folder(root, (name,)) for name in folders.classes)
            if (one is None) != (two is None):
                missing = folders.classes[one is not None]
                raise DatasetError(f"{root} has class labels of one date only; {missing}/ is missing")
            places |= {"before_classes": one, "after_classes": two}
        if folders.reference is not None:
            places["reference"] = first_folder(root, (folders.reference,))
        for role, place in places.items():
            if place is not None:
                roles[role] = images(place)
                check_complete(before, roles[role], (root / folders.before, place))
        return [PairFiles(name, **{role: files[name] for role, files in roles.items()}) for name in before]

    return collect


def _collect_hiucd(root: Path) -> list[PairFiles]:
    """Hi-UCD: image/YEAR/…, and mask/YEAR1_YEAR2/… whose three channels are both dates' classes and the change.

    Source: Tian et al. 2020, arXiv:2011.03247, and the release's folders.
    """
    years = {folder.name: folder for folder in sorted((root / "image").iterdir()) if folder.is_dir()}
    periods = (
        sorted(folder for folder in (root / "mask").iterdir() if folder.is_dir()) if (root / "mask").is_dir() else []
    )
    spans = [(period.name.split("_")[0], period.name.split("_")[-1], period) for period in periods]
    if not spans:  # an unlabelled split: neighbouring years
        names = list(years)
        spans = [(one, two, root) for one, two in pairwise(names)]
    found = []
    for one, two, period in spans:
        if one not in years or two not in years:
            raise DatasetError(f"{period} names years that {root / 'image'} lacks; it has {listed(years)}")
        before, after = images(years[one]), images(years[two])
        labels = images(period) if period != root else {}
        for name in sorted(labels or (before.keys() & after.keys())):
            if name not in before or name not in after:
                raise DatasetError(f"{labels[name]} has no image of that name in image/{one} and image/{two}; add it")
            label = labels.get(name)
            found.append(PairFiles(f"{one}_{two}/{name}", before[name], after[name], label, label, label))
    return found


def _find_index(root: Path, split: str) -> list[PairFiles]:
    chosen = None if split == ALL else indexfile.list_of(root, split)
    rows = indexfile.read_rows(root, None if split == ALL or chosen else split)
    pairs = [PairFiles(**row) for row in rows]
    return pairs if chosen is None else pick(pairs, read_list(chosen), chosen)


LAYOUTS: dict[str, Callable[[Path, str], list[PairFiles]]] = {
    **{layout: _by_folders(layout, _collect(layout)) for layout in FOLDERS},
    "hiucd": _by_folders("hiucd", _collect_hiucd),
    "index": _find_index,
}
