"""The folder of a data set appears whole or not at all: it is made under a hidden name and renamed at the end."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from cdengine.data.manifest import NAME as MANIFEST
from cdengine.errors import (
    DiskFullError,
    OutputError,
    OutputExistsError,
    OutputFolderError,
    OutputIsInputError,
    UsageError,
)
from cdengine.events import Reporter
from cdengine.raster.diskerrors import writing
from cdengine.raster.lock import OutputLock, hidden_name

SPARE = 1.2  # free space asked for, in estimates


class DatasetFolder:
    """Context manager; write into `path`, then `commit`. Without `commit` nothing stays.

    Attributes:
        target: the folder's final place.
        path: where to write.
    """

    def __init__(self, target: Path, *, inputs: Sequence[Path], overwrite: bool, reporter: Reporter) -> None:
        """Takes what is wanted; nothing is touched before it is entered.

        Args:
            target: folder to make; its parent must exist.
            inputs: files and folders that are read.
            overwrite: whether a data set that `prepare` made there may be replaced.
            reporter: its cancel watchdog removes what was begun.
        """
        self.target = Path(os.path.realpath(target))
        self.path = self.target.with_name(hidden_name(self.target, f".{secrets.token_hex(4)}.part"))
        self._shown, self._inputs, self._overwrite, self._reporter = target, inputs, overwrite, reporter
        self._stack = ExitStack()

    def __enter__(self) -> DatasetFolder:
        """Checks and begins.

        Raises:
            OutputFolderError: the parent is missing or may not be written to.
            OutputExistsError: something is there that may not be replaced.
            OutputIsInputError: an input lies in it.
            LockedError: another run makes it.
        """
        self._check()
        with ExitStack() as stack:
            lock = OutputLock(self.target)
            lock.acquire()
            stack.callback(lock.release)
            self._sweep()
            stack.callback(self._discard)
            stack.enter_context(self._reporter.cancellation.cleanup(self._discard))
            with writing(self.path):
                self.path.mkdir()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def require_space(self, nbytes: int) -> None:
        """Refuses now what would fill the disk later.

        Raises:
            DiskFullError: too little is free.
        """
        free = shutil.disk_usage(self.target.parent).free
        if free < SPARE * nbytes:
            raise DiskFullError(
                f"{self.target.parent}: {free / 1e9:.2f} GB free, about {SPARE * nbytes / 1e9:.2f} GB needed: "
                "free some space or write to another disk"
            )

    def commit(self) -> None:
        """Gives the folder its name.

        Raises:
            OutputError: the manifest was not written, or the system refuses.
        """
        if not (self.path / MANIFEST).is_file():
            raise OutputError(f"{self._shown}: the data set was not finished")
        self._reporter.check()  # the last moment to cancel
        old = self.path.with_suffix(".old")
        with writing(self.path):
            with open(self.path / MANIFEST, "rb+") as stream:
                os.fsync(stream.fileno())
            if self.target.exists():
                os.replace(self.target, old)
            try:
                os.replace(self.path, self.target)
            except OSError:
                if old.exists():
                    os.replace(old, self.target)
                raise
        shutil.rmtree(old, ignore_errors=True)

    def _check(self) -> None:
        parent = self.target.parent
        if str(self._shown).startswith("/vsi") or "://" in str(self._shown):
            raise UsageError(f"{self._shown}: data sets are written to local folders only")
        if not parent.is_dir():
            raise OutputFolderError(f"{self._shown}: the folder {parent} does not exist; create it first")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise OutputFolderError(f"{self._shown}: may not write in {parent}; choose another folder")
        for given in self._inputs:
            real = Path(os.path.realpath(given))
            if real == self.target or self.target in real.parents:
                raise OutputIsInputError(f"{self._shown} holds an input ({given}); choose another folder")
        if not self.target.exists() or (self.target.is_dir() and not any(self.target.iterdir())):
            return
        if not self.target.is_dir():
            raise OutputExistsError(f"{self._shown} is a file; name a folder")
        if not (self.target / MANIFEST).is_file():
            raise OutputExistsError(f"{self._shown} holds files that prepare did not make; choose another folder")
        if not self._overwrite:
            raise OutputExistsError(f"{self._shown} exists already; give --overwrite to replace it")

    def _sweep(self) -> None:
        """Removes what a dead run left; the lock is ours, so no living one owns it."""
        ours = re.compile(re.escape(hidden_name(self.target, ".")) + r"[0-9a-f]{8}\.(part|old)\Z")
        for entry in list(self.target.parent.iterdir()):
            if ours.match(entry.name):
                shutil.rmtree(entry, ignore_errors=True)

    def _discard(self) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(self.path)
