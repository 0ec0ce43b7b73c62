"""`dataset.json`: what a data set made by `prepare` says about itself, so that nothing is guessed from its files.

It is written last: a folder without it is not a whole data set.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cdengine.data.codings import CODINGS, FORMATS, ChangeCoding, ClassCoding, LabelFormat
from cdengine.errors import CorruptError

NAME = "dataset.json"
SCHEMA = 1


def read_manifest(root: Path | str) -> dict[str, Any] | None:
    """The manifest of a data set's folder; None where there is none.

    Raises:
        CorruptError: it is not JSON, or of a newer schema.
    """
    path = Path(root) / NAME
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptError(f"{path} is not valid JSON ({error}); prepare the data set again") from error
    if not isinstance(found, dict) or not isinstance(found.get("schema"), int):
        raise CorruptError(f"{path} is no manifest of a data set; move it elsewhere")
    if found["schema"] > SCHEMA:
        raise CorruptError(f"{path} has schema {found['schema']}, this cdengine reads up to {SCHEMA}: update cdengine")
    return found


def write_manifest(root: Path, facts: dict[str, Any]) -> None:
    """Writes the manifest; keys `change` ("0/1") and `classes` (names) are read back by `label_format`."""
    text = json.dumps({"schema": SCHEMA, **facts}, indent=2, ensure_ascii=False, allow_nan=False)
    (root / NAME).write_text(text + "\n", encoding="utf-8")


def label_format(
    root: Path | str, layout: str, *, classes: Sequence[str] = (), coding: ChangeCoding | None = None
) -> LabelFormat:
    """How the labels of a data set are read: by what the user says, else its manifest, else its layout.

    Args:
        root: the data set's folder, or its index file.
        layout: a name of `layouts.LAYOUTS`.
        classes: names in the order of indices 1, 2, …; () where the layout or the manifest tells them.
        coding: of change labels; None: the manifest's, the layout's, or to be found out.
    """
    known = FORMATS.get(layout, LabelFormat())
    folder = Path(root)
    facts = read_manifest(folder.parent if folder.is_file() else folder) or {}
    change = coding or CODINGS.get(str(facts.get("change"))) or known.change
    names = tuple(classes) or tuple(str(name) for name in facts.get("classes", ()))
    kinds = known.classes
    if names and (kinds is None or names != kinds.names):
        kinds = ClassCoding(names) if kinds is None else kinds.named(names)
    return replace(known, change=change, classes=kinds)
