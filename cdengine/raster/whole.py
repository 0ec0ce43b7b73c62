"""Small files written whole: killed at any moment, the old one is there or the new one, never half of one."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from cdengine.errors import DiskFullError, OutputError
from cdengine.raster.diskerrors import FULL

Guard = Callable[[Callable[[], None]], AbstractContextManager[None]]
AGAIN = "run again, with --resume where the command has it"


def write_whole(path: Path, payload: bytes, guard: Guard | None = None) -> None:
    """Temporary name in the same folder, fsync, rename.

    Args:
        path: of the file.
        payload: its content.
        guard: `Cancellation.cleanup`; what it is given takes the temporary file away if the process is ended by force.

    Raises:
        DiskFullError, OutputError: it cannot be written; an older file stays as it was.
    """
    temporary = path.with_name(f".{path.name}.part")

    def discard() -> None:
        temporary.unlink(missing_ok=True)

    try:
        with guard(discard) if guard else nullcontext():
            with temporary.open("wb") as file:
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        discard()
        raise failure(path, error) from error


def move_whole(temporary: Path, path: Path) -> None:
    """Gives a finished file its name, once its bytes are on the disk.

    Raises:
        DiskFullError, OutputError: the system refuses.
    """
    try:
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise failure(path, error) from error


def append_line(path: Path, line: str) -> None:
    """Adds a line to a file; when this returns, it survives a crash. A crash before may leave a part of it.

    Raises:
        DiskFullError, OutputError: it cannot be written.
    """
    try:
        with path.open("ab") as file:
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise failure(path, error) from error


def failure(path: Path, error: OSError) -> OutputError:
    """A full disk and a vanished or forbidden folder have different remedies."""
    if error.errno in FULL:
        return DiskFullError(f"{path}: no space left: free some and {AGAIN}")
    return OutputError(f"{path}: cannot be written ({error.strerror}): check the disk and {AGAIN}")


def _sync_folder(folder: Path) -> None:
    """Makes the rename last; systems that cannot open a folder (Windows) do without."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
