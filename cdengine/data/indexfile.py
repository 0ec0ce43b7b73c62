"""The `index` layout: a CSV or Parquet table with one pair a row."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cdengine.data.folders import listed
from cdengine.data.lists import find_list
from cdengine.errors import CorruptError, DatasetError, NotFoundInputError

NAMES = ("index.csv", "index.parquet")
# column → field of PairFiles; several names for what the contract calls "label…"
COLUMNS = {
    "name": "name",
    "before": "before",
    "after": "after",
    "label": "change",
    "change": "change",
    "label1": "before_classes",
    "before_classes": "before_classes",
    "label2": "after_classes",
    "after_classes": "after_classes",
    "reference": "reference",
}


def index_file(root: Path) -> Path:
    """The index of a data set: `root` itself where it is a file, else index.csv or index.parquet in it.

    Raises:
        NotFoundInputError: there is none.
    """
    if root.is_file():
        return root
    for name in NAMES:
        if (root / name).is_file():
            return root / name
    raise NotFoundInputError(f"{root} has neither {NAMES[0]} nor {NAMES[1]}; name the index file itself")


def splits(root: Path) -> list[str]:
    """The values of the `split` column, in order of appearance."""
    return list(dict.fromkeys(row["split"] for row in read_table(index_file(root)) if row.get("split")))


def list_of(root: Path, split: str) -> Path | None:
    """The list file that narrows an index, where `split` names one and is no value of the `split` column."""
    file = index_file(root)
    return None if split in splits(root) else find_list(file.parent, split)


def read_rows(root: Path, split: str | None) -> list[dict[str, Any]]:
    """Rows as arguments of `PairFiles`; paths relative to the index's folder are resolved.

    Args:
        root: the index file or its folder.
        split: only rows whose `split` is this; None: all.

    Raises:
        DatasetError: a column is missing, a row has no image, two have one name, or the split is unknown.
    """
    file = index_file(root)
    table = read_table(file)
    have = set(table[0]) if table else set()
    missing = [name for name in ("before", "after") if name not in have]
    if missing:
        raise DatasetError(f"{file}: no column {' and '.join(missing)}; it has {listed(sorted(have)) or 'none'}")
    if split is not None and split not in {row.get("split") for row in table}:
        there = listed(splits(root)) or "no split column"
        raise DatasetError(f"{file}: no row has split {split!r}; it has {there} (or take all)")
    rows: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(table, 1):
        if split is not None and row.get("split") != split:
            continue
        found = _row(row, file, number)
        if found["name"] in seen:
            raise DatasetError(f"{file}: rows {seen[found['name']]} and {number} are both named {found['name']}")
        seen[found["name"]] = number
        rows.append(found)
    return rows


def write_index(path: Path, rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Writes a CSV index."""
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _row(row: Mapping[str, str], file: Path, number: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for column, field in COLUMNS.items():
        value = (row.get(column) or "").strip()
        if value:
            found[field] = value if field == "name" else Path(os.path.normpath(file.parent / value))
    for field in ("before", "after"):
        if field not in found:
            raise DatasetError(f"{file}, row {number}: no {field} image; fill the cell")
    if ("before_classes" in found) != ("after_classes" in found):
        raise DatasetError(f"{file}, row {number}: class labels of one date only; give both or none")
    found.setdefault("name", found["before"].stem)
    return found


def read_table(file: Path) -> list[dict[str, str]]:
    """Rows of a CSV or Parquet table, column names in lower case, empty cells as "".

    Raises:
        NotFoundInputError: there is no such file.
        CorruptError: it is no such table.
    """
    if not file.is_file():
        raise NotFoundInputError(f"{file} does not exist; check the path")
    if file.suffix.lower() == ".parquet":
        return _parquet(file)
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            head = stream.readline()
            stream.seek(0)
            delimiter = ";" if head.count(";") > head.count(",") else "\t" if "\t" in head else ","
            rows = list(csv.DictReader(stream, delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorruptError(f"{file} cannot be read as a CSV table in UTF-8 ({error}); write it again") from error
    return [{(key or "").strip().lower(): value or "" for key, value in row.items() if key} for row in rows]


def _parquet(file: Path) -> list[dict[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(file).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        reason = " ".join(str(error).split())
        raise CorruptError(f"{file} cannot be read as Parquet ({reason}); write it again") from error
    return [{str(key).lower(): "" if value is None else str(value) for key, value in row.items()} for row in rows]
