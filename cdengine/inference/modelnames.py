"""What the models of one run are called in tags and reports, and that none of them counts twice. Loads no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cdengine.errors import UsageError
from cdengine.methods.table import METHODS
from cdengine.models.container import read_card
from cdengine.models.shipped import SHIPPED, model_path
from cdengine.raster.checksum import digest

OF_A_RUN = "model.safetensors"  # every run folder calls its model so: the folder tells which one it is


def labels(models: Sequence[str]) -> list[str]:
    """What each model is called, by people.

    A model file goes by its card's name. Where another model has that name too, the end of the path follows in
    brackets: the run folder's name or the file's, and as many folders above as it takes.

    Args:
        models: methods, shipped models, files.

    Returns:
        One text for each, in order.

    Raises:
        ModelError: a file is no model; see `container.read_card`.
    """
    files = [name not in METHODS and name not in SHIPPED and os.path.isfile(name) for name in models]
    found = [_card_name(name) if file else name for name, file in zip(models, files, strict=True)]
    for label in {label for label in found if found.count(label) > 1}:
        alike = [at for at, file in enumerate(files) if file and found[at] == label]
        for at, place in zip(alike, _places([models[at] for at in alike]), strict=True):
            found[at] = f"{label} ({place})"
    return found


def refuse_twins(models: Sequence[str], option: str = "--model") -> None:
    """One network under two names would count twice in a mean or a vote.

    Args:
        models: names or files.
        option: that names them, for the message.

    Raises:
        UsageError: two are the same, by the bytes of their files.
    """
    seen: dict[str, str] = {}
    for name in models:
        path = model_path(name) if name in SHIPPED else Path(name)
        key = digest(path) if name not in METHODS and os.path.isfile(path) else name
        if key in seen:
            raise UsageError(f"{option}: {seen[key]} and {name} are the same network: name it once, or it counts twice")
        seen[key] = name


def _card_name(path: str) -> str:
    return " ".join(read_card(path).name.split()) or Path(path).name


def _places(paths: Sequence[str]) -> list[str]:
    """The shortest ends of paths, equally many parts of each, that differ from one another."""
    whole = [Path(os.path.abspath(path)) for path in paths]
    short = [path.parent if path.name == OF_A_RUN else path.with_suffix("") for path in whole]
    for form in (short, whole):
        for depth in range(1, max(len(path.parts) for path in form) + 1):
            ends = ["/".join(path.parts[-depth:]) for path in form]
            if len(set(ends)) == len(ends):
                return ends
    return [str(path) for path in whole]  # one file named twice
