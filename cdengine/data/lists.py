"""List files: one pair a line, by name, by file name, or by the paths of its files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from cdengine.data.folders import listed
from cdengine.errors import CorruptError, DatasetError, NotFoundInputError

LIST_FOLDERS = ("list", "dataset_list")


class Named(Protocol):
    """Anything with a pair's name."""

    @property
    def name(self) -> str: ...  # noqa: D102


T = TypeVar("T", bound=Named)


def find_list(root: Path, split: str) -> Path | None:
    """The list file that a split's name or path stands for; None where there is none.

    Raises:
        NotFoundInputError: `split` looks like a list file's path, but there is no such file.
    """
    for folder in LIST_FOLDERS:
        for name in (f"{split}.txt", split):
            if (root / folder / name).is_file():
                return root / folder / name
    for path in (Path(split), root / split):
        if path.is_file():
            return path
    if split.endswith(".txt") or os.sep in split:
        raise NotFoundInputError(f"list file {split} does not exist, here or in {root}; check the path")
    return None


def list_names(root: Path) -> list[str]:
    """Names of the lists that a data set brings, without suffix."""
    return sorted({path.stem for folder in LIST_FOLDERS for path in (root / folder).glob("*.txt")})


def read_list(path: Path | None) -> tuple[str, ...]:
    """The lines of a list file; empty ones and those that begin with # are left out.

    Raises:
        CorruptError: it is not text.
    """
    assert path is not None
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CorruptError(f"{path} is not a text file in UTF-8; write one name a line") from error
    return tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))


def pick(pool: Sequence[T], lines: Sequence[str], path: Path | None) -> list[T]:
    """The pairs that a list names, in its order.

    A line is a pair's name ("x", "train/x"), a file name ("x.png"), or file paths ("train/A/x.png train/B/x.png …").

    Raises:
        DatasetError: a line matches no pair, or is there twice, or the list is empty.
    """
    known = {pair.name: pair for pair in pool}
    last_parts: dict[str, list[T]] = {}
    for pair in pool:
        last_parts.setdefault(pair.name.rsplit("/", 1)[-1], []).append(pair)
    found: dict[str, T] = {}
    for number, line in enumerate(lines, 1):
        chosen = _match(line, known, last_parts)
        if chosen is None:
            raise DatasetError(f"{path}, entry {number}: no pair {line[:80]!r}; pairs are {listed(known)}")
        if chosen.name in found:
            raise DatasetError(f"{path}, entry {number}: pair {chosen.name} is listed twice; keep one")
        found[chosen.name] = chosen
    if not found:
        raise DatasetError(f"{path} is empty; list one pair a line")
    return list(found.values())


def _match(line: str, known: dict[str, T], last_parts: dict[str, list[T]]) -> T | None:
    for text in dict.fromkeys((line, line.replace(",", " ").split()[0])):
        plain = text.replace("\\", "/")
        for name in (plain, os.path.splitext(plain)[0]):
            if name in known:
                return known[name]
        # a path with the layout's folder in it ("A/x.png", "train/A/x.png") ends with the pair's last part
        alike = last_parts.get(os.path.splitext(plain)[0].rsplit("/", 1)[-1], [])
        fitting = [pair for pair in alike if all(part in plain.split("/") for part in pair.name.split("/")[:-1])]
        if "/" in plain and len(fitting) == 1:
            return fitting[0]
    return None
