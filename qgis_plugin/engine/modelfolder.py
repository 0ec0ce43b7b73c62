"""The user's own models: files of one folder, listed by the names on their cards; read without the engine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List

SUFFIX = ".safetensors"
SUFFIXES = (SUFFIX, ".onnx")
METHODS = ("cva", "irmad", "pca-kmeans", "sfa", "log-ratio")
DEFAULT = "default"
KEY = "cdengine"  # of the card in the file's metadata
# As the engine: a header beyond this is no model of ours.
MAX_HEADER_BYTES = 1_000_000


class NoCard(Exception):
    """The file is not a model file of the engine; the text says why."""


@dataclass(frozen=True)
class OwnModel:
    """A model of the folder.

    Attributes:
        label: what the user picks: the card's name where that is unmistakable, else the file's.
        path: of the file.
        about: what it is, in a few words.
    """

    label: str
    path: str
    about: str


def models(folder: str, taken: Iterable[str] = ()) -> List[OwnModel]:
    """The models of a folder, sorted by label; files that are none are left out.

    Args:
        folder: need not exist.
        taken: names that mean something else (shipped models).
    """
    reserved = {DEFAULT, *METHODS, *taken}
    found = []
    for path in _files(folder):
        with contextlib.suppress(NoCard):
            found.append((path, *_described(path)))
    names = [name for _, name, _ in found]
    unmistakable = {name for name in names if names.count(name) == 1 and name not in reserved}
    listed = [
        OwnModel(name if name in unmistakable else os.path.basename(path), path, about) for path, name, about in found
    ]
    return sorted(listed, key=lambda model: model.label.lower())


def resolve(named: str, folder: str, taken: Iterable[str] = ()) -> str:
    """What the engine is told: the path of a model of the folder, or of any file; other names stay as they are."""
    taken = list(taken)
    if named in (DEFAULT, *METHODS, *taken):
        return named
    for model in models(folder, taken):
        if named in (model.label, os.path.basename(model.path)):
            return model.path
    # The engine runs in another folder than QGIS.
    return os.path.abspath(named) if os.path.exists(named) else named


def add(path: str, folder: str, replace: bool) -> OwnModel:
    """Copies a model file into the folder, under its card's name.

    Args:
        path: of the file.
        folder: is made where it is missing.
        replace: an earlier file of that name; else both are kept, and told apart by their file names.

    Raises:
        NoCard: it is no model file.
        OSError: it cannot be copied.
    """
    name = str(read_card(path).get("name") or "") or os.path.splitext(os.path.basename(path))[0]
    plain = "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in name).strip(". ") or "model"
    os.makedirs(folder, exist_ok=True)
    target, number = os.path.join(folder, plain + SUFFIX), 1
    while os.path.exists(target) and not replace:
        number += 1
        target = os.path.join(folder, f"{plain} {number}{SUFFIX}")
    temporary = f"{target}.{os.getpid()}.part"
    try:
        shutil.copyfile(path, temporary)
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)
    return next(model for model in models(folder) if model.path == target)


def read_card(path: str) -> Dict[str, Any]:
    """The card in the header of a model file.

    Raises:
        NoCard: not a safetensors file, or one without a card.
    """
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= MAX_HEADER_BYTES:
                raise NoCard(f"{path} is not a model file")
            header = json.loads(file.read(length).decode("utf-8"))
            card = json.loads(header["__metadata__"][KEY])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise NoCard(f"{path} holds no model card ({error})") from error
    if not isinstance(card, dict):
        raise NoCard(f"{path} holds no model card")
    return card


def _files(folder: str) -> List[str]:
    try:
        names = sorted(os.listdir(folder)) if folder else []
    except OSError:
        return []
    return [
        os.path.join(folder, name)
        for name in names
        if name.lower().endswith(SUFFIXES) and os.path.isfile(os.path.join(folder, name))
    ]


def _described(path: str) -> List[str]:
    """Name and a few words; an ONNX file keeps its card where only the engine can read it."""
    if not path.lower().endswith(SUFFIX):
        return [os.path.basename(path), path]
    card = read_card(path)
    name = card.get("name")
    about = [str(card.get("architecture", "")), str(card.get("task", "")), _bands(card), path]
    return [str(name) if name else os.path.basename(path), ", ".join(part for part in about if part)]


def _bands(card: Dict[str, Any]) -> str:
    inputs = card.get("inputs")
    before = inputs.get("before") if isinstance(inputs, dict) else None
    bands = before.get("bands") if isinstance(before, dict) else None
    return "bands " + " ".join(str(band) for band in bands) if isinstance(bands, list) and bands else ""
