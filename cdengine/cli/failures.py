"""Whatever ended a run as an error of the tree: what nobody foresaw is a bug, what the system refused is not."""

from __future__ import annotations

import errno
import os

from cdengine.errors import (
    Cancelled,
    CDEngineError,
    DiskFullError,
    InputError,
    OutputError,
    OutputFolderError,
    PermissionInputError,
    ResourceError,
    UsageError,
)

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
# What disks and network shares say when they fail; some of these Windows lacks.
FAILING = {getattr(errno, name) for name in ("EIO", "ENXIO", "ENODEV", "ESTALE", "ETIMEDOUT") if hasattr(errno, name)}
TOO_MANY_OPEN = {errno.EMFILE, errno.ENFILE}


def known(error: BaseException) -> CDEngineError:
    """The error to report for one that nothing else caught.

    Rooms turn the system's errors into their own where they know what they were doing. This is for those that slip
    through: the file tells what it was, as far as the system names it.
    """
    if isinstance(error, CDEngineError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Cancelled("cancelled; nothing was written under the output's name")
    if isinstance(error, MemoryError):
        return ResourceError("out of memory: use a smaller --tile or --batch-size, or fewer --workers")
    refused = _refused(error) if isinstance(error, OSError) else None
    return refused or CDEngineError(
        f"this is a bug in cdengine ({type(error).__name__}: {error}): run with --debug and report it"
    )


def _refused(error: OSError) -> CDEngineError | None:
    """What the system refused; None where its number says nothing that a user could mend."""
    number, name = error.errno, _name(error)
    if number in FULL:
        return DiskFullError(f"{name or 'the disk'}: no space left: free some and run again")
    if number == errno.ENAMETOOLONG:
        return UsageError(f"{name[:60]}…: this name is too long for the file system: give a shorter one")
    if number in TOO_MANY_OPEN:
        return ResourceError(
            f"{name or 'a file'}: too many files are open: raise the limit (`ulimit -n`) and run again"
        )
    if number == errno.ENOMEM:
        return ResourceError("out of memory: use a smaller --tile or --batch-size, or fewer --workers")
    there = bool(name) and os.path.exists(name)
    if number in FORBIDDEN:
        if there and not os.access(name, os.R_OK):
            return PermissionInputError(f"no permission to read {name}; ask its owner or copy it")
        return OutputFolderError(f"{name or 'the output'}: no permission to write; choose another folder")
    if number in FAILING:
        if there:
            return InputError(f"{name}: reading failed ({error.strerror}): check the disk or network share, or copy it")
        return OutputError(f"{name or 'the disk'}: {error.strerror}: check the disk or network share and run again")
    return None


def _name(error: OSError) -> str:
    name = error.filename
    return os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else ""
