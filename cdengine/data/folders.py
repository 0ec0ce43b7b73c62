"""Image files of a folder by stem, so that `A/x.jpg`, `B/x.tif` and `label/x.png` are one pair."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cdengine.errors import DatasetError, NotFoundInputError, PermissionInputError

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".jp2"))
SHOWN = 3  # names told in a message

Stems = dict[str, Path]


def check_folder(folder: Path) -> None:
    """Raises where a folder cannot be listed.

    Raises:
        NotFoundInputError: it is not there, or is no folder.
        PermissionInputError: it may not be read.
    """
    if not folder.is_dir():
        fact = "is a file, not a folder" if folder.exists() else "does not exist"
        raise NotFoundInputError(f"{folder} {fact}; check the path")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise PermissionInputError(f"{folder}: no permission to list it; ask its owner or copy it")


def first_folder(root: Path, names: Sequence[str]) -> Path | None:
    """The first of several names that is a folder in `root`; None where none is."""
    return next((root / name for name in names if (root / name).is_dir()), None)


def images(folder: Path) -> Stems:
    """Image files below a folder, sorted by name.

    Returns:
        Path below the folder without suffix ("x", "city/x") → file.

    Raises:
        DatasetError: two images have one stem (x.png beside x.tif).
    """
    check_folder(folder)
    found: Stems = {}
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            stem, suffix = os.path.splitext(name)
            if name.startswith(".") or suffix.lower() not in SUFFIXES:
                continue
            path = Path(place, name)
            key = path.relative_to(folder).with_name(stem).as_posix()
            if key in found:
                raise DatasetError(f"{path} and {found[key].name} have one name; keep one of them")
            found[key] = path
    return dict(sorted(found.items()))


def check_complete(reference: Mapping[str, Path], other: Mapping[str, Path], folders: tuple[Path, Path]) -> None:
    """Two folders must hold images of the same names.

    Raises:
        DatasetError: naming the first that lack a counterpart, and where it is missing.
    """
    for ours, theirs, here, there in (
        (reference, other, folders[0], folders[1]),
        (other, reference, folders[1], folders[0]),
    ):
        lone = [ours[name] for name in ours if name not in theirs]
        if lone:
            raise DatasetError(
                f"{listed(here.name + '/' + path.relative_to(here).as_posix() for path in lone)} "
                f"in {here.parent}: no image of that name in {there.name}/; add it, or list the rest in a list file"
            )


def listed(names: Iterable[str]) -> str:
    """Names for a message; long lists are cut."""
    all_names = list(names)
    rest = len(all_names) - SHOWN
    return ", ".join(all_names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
