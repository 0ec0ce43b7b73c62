"""What is installed for the engine: the plugin's pinned requirements with their hashes, and the engine's own wheel."""

from __future__ import annotations

import glob
import hashlib
import os
from dataclasses import dataclass
from typing import List

from .child import WINDOWS

REQUIREMENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "requirements.txt")
SUMS = "SHA256SUMS"
# On Linux torch and torchvision of the build without CUDA are other files than those that the hashes are of, and what
# torch needs only for CUDA is left out.
TORCH = ("torch", "torchvision")
CUDA = ("nvidia-", "cuda-", "triton")


class Damaged(Exception):
    """A file of the plugin is missing or is not the one that was shipped; the text says which."""


@dataclass(frozen=True)
class Step:
    """One call of pip: a requirements file's text, and how its packages are checked."""

    requirements: str
    hashed: bool = True


def bundled_wheel(plugin: str) -> str:
    """The engine's wheel inside the plugin's folder, checked against the sum that was shipped with it.

    Raises:
        Damaged: this plugin was built without it, or the file has changed since.
    """
    wheels = sorted(glob.glob(os.path.join(plugin, "wheels", "cdengine-*.whl")))
    if not wheels:
        raise Damaged(
            "This copy of the plugin brings no engine (wheels/cdengine-*.whl is missing): "
            "take the release's zip, or name a Python that has cdengine in the setting Engine Python."
        )
    wheel = wheels[-1]
    try:
        with open(os.path.join(plugin, "wheels", SUMS), encoding="ascii") as sums, open(wheel, "rb") as content:
            good = (
                f"{hashlib.sha256(content.read()).hexdigest()}  {os.path.basename(wheel)}" in sums.read().splitlines()
            )
    except (OSError, UnicodeDecodeError) as error:
        raise Damaged(
            f"{os.path.join(plugin, 'wheels')} cannot be checked ({error}): install the plugin anew."
        ) from error
    if not good:
        raise Damaged(f"{wheel} is not the file that was shipped (its SHA-256 differs): install the plugin anew.")
    return wheel


def steps(cpu: bool, path: str = REQUIREMENTS) -> List[Step]:
    """What is installed, in order.

    Args:
        cpu: torch of the build without CUDA (Linux).
        path: the pinned requirements.

    Raises:
        Damaged: the file is not there.
    """
    try:
        with open(path, encoding="utf-8") as file:
            blocks = _blocks(file.read())
    except OSError as error:
        raise Damaged(f"{path} cannot be read ({error.strerror}): install the plugin anew.") from error
    if not cpu:
        return [Step("\n".join(blocks) + "\n")]
    torch = [block.splitlines()[0].rstrip(" \\") for block in blocks if _name(block) in TORCH]
    rest = [block for block in blocks if _name(block) not in TORCH and not _name(block).startswith(CUDA)]
    return [Step("\n".join(torch) + "\n", hashed=False), Step("\n".join(rest) + "\n")]


def has_cpu_build() -> bool:
    """Whether there is a separate build without CUDA here: on Windows and macOS the usual one is that."""
    return not WINDOWS and os.uname().sysname == "Linux"


def _blocks(text: str) -> List[str]:
    """One text a package: its pin and the hashes in the lines below it."""
    found: List[str] = []
    for line in text.splitlines():
        if line.startswith(" "):
            found[-1] += "\n" + line
        elif line.strip() and not line.startswith("#"):
            found.append(line)
    return found


def _name(block: str) -> str:
    return block.split("==", 1)[0].strip()
