"""One writer per output: a lock file beside the target that says who holds it and outlives no process."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from cdengine.errors import DiskFullError, LockedError, OutputError, OutputFolderError
from cdengine.raster.diskerrors import FULL

TORN_S = 10.0  # a lock without readable content is being written; older than this its writer died in between
NAME_BYTES = 255  # longest file name of the common file systems
RESERVED = 70  # of it, for the ending of a companion: job, suffix, sidecar suffixes


def hidden_name(target: Path, ending: str) -> str:
    """`.NAME` + ending for a companion of `target`; a long name is cut and completed by its hash."""
    name = target.name
    if len(name.encode()) > NAME_BYTES - RESERVED:
        digest = hashlib.sha256(name.encode()).hexdigest()[:12]
        name = name.encode()[: NAME_BYTES - RESERVED - 13].decode(errors="ignore") + "-" + digest
    return f".{name}{ending}"


class OutputLock:
    """The file `.NAME.lock` beside an output, held by one process.

    A lock of a process that is gone (same host, no such process, or its number given to a younger one) is
    taken over in place, guarded by an advisory file lock so that two claimants cannot both win.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(hidden_name(target, ".lock"))
        self._held = False

    def acquire(self) -> None:
        """Takes the lock or says who has it.

        Raises:
            LockedError: another run, on this or another machine, is writing the output.
            OutputFolderError: the folder cannot be written to.
            DiskFullError: there is no room for even this file.
        """
        while True:
            try:
                handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            except FileExistsError:
                if self._take_over():
                    return
                continue
            except OSError as error:
                raise OutputFolderError(
                    f"{self.target.parent}: cannot write here ({os.strerror(error.errno or errno.EACCES)}): "
                    "choose another folder or change its permissions"
                ) from error
            self._held = True
            try:
                with os.fdopen(handle, "w") as file:
                    file.write(_own_record())
            except OSError as error:
                self.release()
                folder, reason = self.target.parent, os.strerror(error.errno or errno.EIO)
                kind = DiskFullError if error.errno in FULL else OutputError
                raise kind(
                    f"{folder}: cannot write here ({reason}): free some space or write to another disk"
                ) from error
            return

    def release(self) -> None:
        """Removes the lock file if this object holds it; safe to call twice."""
        if self._held:
            self._held = False
            self.path.unlink(missing_ok=True)

    def _take_over(self) -> bool:
        """True once the lock is ours, False when it vanished and creating it should be tried again."""
        try:
            file = open(self.path, "r+")  # noqa: SIM115 (closed by the with statement below)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise LockedError(f"{self.target}: locked by {self.path}, which cannot be read") from error
        with file:
            if not _guard(file.fileno()):
                raise LockedError(f"{self.target}: another run is starting to write it; wait for that run to end")
            try:
                if not os.path.samestat(os.fstat(file.fileno()), os.stat(self.path)):
                    return False
            except FileNotFoundError:
                return False
            self._refuse_living(file.read(), os.fstat(file.fileno()).st_mtime)
            file.seek(0)
            file.write(_own_record())
            file.truncate()
            file.flush()
            self._held = True
            return True

    def _refuse_living(self, text: str, modified: float) -> None:
        try:
            record: dict[str, Any] = json.loads(text)
            pid, host, started = int(record["pid"]), str(record["host"]), record["started"]
        except (ValueError, KeyError, TypeError):
            if time.time() - modified < TORN_S:
                raise LockedError(f"{self.target}: another run is starting to write it") from None
            return
        if host != socket.gethostname():
            raise LockedError(
                f"{self.target}: process {pid} on {host} is writing it; if that run is dead, delete {self.path}"
            )
        if _alive(pid) and started == _started(pid):
            raise LockedError(
                f"{self.target}: another run (process {pid}) is writing it; wait for it or choose another output"
            )


def _own_record() -> str:
    pid = os.getpid()
    return json.dumps({"pid": pid, "host": socket.gethostname(), "started": _started(pid)}) + "\n"


def _guard(descriptor: int) -> bool:
    """An exclusive advisory lock on an open file, given up with its descriptor; False when somebody has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # file systems without such locks (some network shares) leave the unguarded check
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
    return True


def _alive(pid: int) -> bool:
    """Whether a process of this number exists on this machine."""
    if sys.platform == "win32":  # os.kill(pid, 0) would end the process there
        import ctypes

        kernel = ctypes.windll.kernel32
        process = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
        if not process:
            return False
        code = ctypes.c_ulong()
        kernel.GetExitCodeProcess(process, ctypes.byref(code))
        kernel.CloseHandle(process)
        return code.value == 259  # STILL_ACTIVE
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True


def _started(pid: int) -> str | None:
    """When the process started, in the system's own words; None where that cannot be known."""
    if sys.platform == "linux":
        with suppress(OSError, IndexError):
            # the command name (field 2) may hold spaces and brackets; field 22 counts after its last bracket
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    elif sys.platform == "darwin":
        with suppress(OSError):
            shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
            return shown.stdout.strip() or None
    return None
