"""The models that come with the package: name, file and checksum. Loads no torch."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from cdengine.errors import ModelHashError, UnknownModelError

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class ShippedModel:
    """One file of the package's data.

    Attributes:
        file: its name within `models/weights`.
        task: as on its card.
        sha256: of its bytes.
    """

    file: str
    task: str
    sha256: str


SHIPPED = {
    "rgb-vhr-v1": ShippedModel(
        "rgb-vhr-v1.safetensors", "binary", "ac61ae0b2d057950bfd725df11a67a764fcfe6d72571e290b6c086c507cd1f2d"
    ),
}


def shipped_path(name: str) -> Path:
    """The file of a shipped model, its checksum verified.

    Raises:
        UnknownModelError: no model of this name is shipped.
        ModelHashError: the file is missing or is not the one that was shipped.
    """
    if name not in SHIPPED:
        near = get_close_matches(name, SHIPPED, 1)
        raise UnknownModelError(f"no shipped model is called {name!r}" + (f": nearest is {near[0]!r}" if near else ""))
    model = SHIPPED[name]
    path = WEIGHTS / model.file
    if not path.is_file():
        raise ModelHashError(f"{path}: the shipped model {name} is missing: install cdengine again")
    if hashlib.sha256(path.read_bytes()).hexdigest() != model.sha256:
        raise ModelHashError(f"{path}: the shipped model {name} was altered: install cdengine again")
    return path


def model_path(name: str | os.PathLike[str]) -> Path:
    """The file that a user means: of the shipped model with this name, else the path itself.

    Raises:
        ModelHashError: see `shipped_path`.
    """
    return shipped_path(str(name)) if str(name) in SHIPPED else Path(name)
