"""All files of a job appear under their names together, whole, or not at all.

Writers work on hidden temporary names beside the targets; `commit` makes them durable and renames them. Until
then, and whatever fails, the files that were there before stay as they were.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType

from cdengine.errors import (
    DiskFullError,
    LockedError,
    OutputError,
    OutputExistsError,
    OutputFolderError,
    OutputIsInputError,
    UsageError,
)
from cdengine.events import Reporter
from cdengine.raster.lock import NAME_BYTES, OutputLock, hidden_name

SIDECARS = (".aux.xml", ".ovr", ".msk", ".msk.ovr")  # GDAL's: `name.tif` + suffix
SPARE = 1.2  # free space asked for, in estimates: file systems and overviews take their share
PATIENCE_S = 5.0  # how long a file held open on Windows (virus scanner, QGIS) is waited for


class Publication:
    """Context manager for every output of one job; checks all that can be checked before any work is done.

    Args:
        targets: name → final path ("change", "polygons", …).
        inputs: every file that is read: the rasters, members of a VRT, the AOI, the model.
        overwrite: whether outputs that exist may be replaced.
        job: a short token of the run; temporaries carry it.
        reporter: its cancel watchdog removes the temporaries.
        main: the output that is renamed last, as the sign that all is there.

    Raises (on enter):
        UsageError: two outputs with one name, or a path that is not a local file.
        OutputFolderError: a folder is missing, is a file, or cannot be written to.
        OutputIsInputError: an output is an input, by the same path, a link, or a hard link.
        OutputExistsError: an output exists and `overwrite` is False.
        LockedError: another run writes one of the outputs.
    """

    def __init__(
        self,
        targets: Mapping[str, Path],
        *,
        inputs: Sequence[Path],
        overwrite: bool,
        job: str,
        reporter: Reporter,
        main: str = "change",
    ) -> None:
        self.targets = {name: Path(path) for name, path in targets.items()}
        self._inputs, self._overwrite, self._main, self._reporter = inputs, overwrite, main, reporter
        self._job = re.sub(r"[^0-9A-Za-z]+", "-", job)[:24].strip("-") or secrets.token_hex(4)
        # a link as output means the file it leads to, as it would for any program that opens it for writing
        self._final = {name: Path(os.path.realpath(path)) for name, path in self.targets.items()}
        self._stack = ExitStack()
        self._moving = threading.Lock()  # held while names change: the watchdog waits for that to end
        self._locks: list[OutputLock] = []
        self._done = False

    def __enter__(self) -> Publication:
        self._check_names()
        for name, path in self._final.items():
            self._check_folder(self.targets[name], path)
            self._check_not_input(self.targets[name], path)
        for name, path in self._final.items():
            if path.exists() and not self._overwrite:
                raise OutputExistsError(f"{self.targets[name]} exists already; give --overwrite to replace it")
        with ExitStack() as stack:
            for path in self._final.values():
                lock = OutputLock(path)
                lock.acquire()
                stack.callback(lock.release)
                self._locks.append(lock)
            self._sweep()
            stack.callback(self._discard)
            stack.enter_context(self._reporter.cancellation.cleanup(self._discard))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def temporary(self, name: str) -> Path:
        """Where to write output `name`: hidden, beside its target, with the target's suffix for the drivers."""
        path = self._final[name]
        return path.with_name(hidden_name(path, f".{self._job}.part{path.suffix}"))

    def require_space(self, nbytes: int, name: str | None = None) -> None:
        """Refuses now what would fill the disk later.

        Args:
            nbytes: estimate of what will be written.
            name: the output whose disk is meant (the first one when None).

        Raises:
            DiskFullError: less than 1.2 times the estimate is free.
        """
        folder = self._final[name or next(iter(self._final))].parent
        free = shutil.disk_usage(folder).free
        if free < SPARE * nbytes:
            raise DiskFullError(
                f"{folder}: {free / 1e9:.2f} GB free, about {SPARE * nbytes / 1e9:.2f} GB needed: "
                "free some space or write to another disk"
            )

    def commit(self) -> dict[str, Path]:
        """Makes all outputs durable, then gives them their names, `main` last.

        Returns:
            name → path as it was asked for.

        Raises:
            OutputError: a temporary is missing (a writer was not finished).
            LockedError: a target is held open by another program; what was there before is still there.
        """
        moves = [move for name in self._order() for move in self._moves(name)]
        for source, _ in moves:
            _sync(source)
        self._reporter.check()  # the last moment to cancel; from here the renames are finished
        with self._moving:
            self._rename(moves)
            self._done = True
        for folder in {path.parent for path in self._final.values()}:
            _sync_folder(folder)
        return dict(self.targets)

    # ------------------------------------------------------------ preflight
    def _check_names(self) -> None:
        seen: dict[str, str] = {}
        for name, path in self._final.items():
            if str(self.targets[name]).startswith("/vsi") or "://" in str(self.targets[name]):
                raise UsageError(f"{self.targets[name]}: outputs are written to local files only")
            if len(path.name.encode()) > NAME_BYTES:
                raise UsageError(f"{self.targets[name]}: the file name is longer than {NAME_BYTES} bytes")
            key = os.path.normcase(path)
            if key in seen:
                raise UsageError(f"{self.targets[name]}: named for two outputs ({seen[key]} and {name}); give another")
            seen[key] = name

    @staticmethod
    def _check_folder(shown: Path, path: Path) -> None:
        folder = path.parent
        if not folder.exists():
            raise OutputFolderError(f"{shown}: the folder {folder} does not exist; create it first")
        if not folder.is_dir():
            raise OutputFolderError(f"{shown}: {folder} is not a folder")
        if path.is_dir():
            raise OutputFolderError(f"{shown} is a folder; name a file")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputFolderError(f"{shown}: may not write in {folder}; choose another folder")

    def _check_not_input(self, shown: Path, path: Path) -> None:
        if not path.exists():
            return
        for given in self._inputs:
            for real in _local_files(given):
                if os.path.samefile(path, real):
                    raise OutputIsInputError(f"{shown} is an input ({given}); choose another name for the output")

    def _sweep(self) -> None:
        """Removes what a dead run of the same target left; the lock is ours, so no living run owns it."""
        for path in self._final.values():
            ours = re.compile(re.escape(hidden_name(path, ".")) + r"[0-9A-Za-z-]+\.part(\.|\Z)")
            for entry in list(os.scandir(path.parent)):
                if ours.match(entry.name):
                    with suppress(OSError):  # still open on Windows, or gone: harmless
                        os.unlink(entry.path)

    # ------------------------------------------------------------ commit
    def _order(self) -> list[str]:
        return sorted(self._final, key=lambda name: name == self._main)  # stable: the others as they were given

    def _moves(self, name: str) -> Iterator[tuple[Path, Path]]:
        """Sidecars first, the file last, so that a reader of the new file finds them."""
        source, target = self.temporary(name), self._final[name]
        if not source.is_file():
            raise OutputError(f"{self.targets[name]}: was not written")
        for suffix in SIDECARS:
            sidecar = Path(f"{source}{suffix}")
            if not sidecar.exists():
                continue
            if len(f"{target.name}{suffix}".encode()) > NAME_BYTES:
                self._reporter.warning(f"{target.name}: too long a name for its {suffix} file, which is left out")
                sidecar.unlink()
                continue
            yield sidecar, Path(f"{target}{suffix}")
        style = source.with_suffix(".qml")
        if style.exists():
            yield style, target.with_suffix(".qml")
        yield source, target

    def _rename(self, moves: list[tuple[Path, Path]]) -> None:
        """All moves or none: what is replaced is kept under a second name until the last one succeeded.

        A user's own style (`.qml`) of a replaced file stays; GDAL's sidecars describe old pixels and go.
        """
        arriving = {target for _, target in moves}
        pairs = [
            (Path(f"{self.temporary(name)}{x}"), Path(f"{self._final[name]}{x}"))
            for name in self._final
            for x in SIDECARS
        ]
        stale = [(source, path) for source, path in pairs if path not in arriving and os.path.exists(path)]
        kept: dict[Path, Path] = {}
        for source, path in [*moves, *stale]:
            if path.exists():
                kept[path] = Path(f"{source}.old")  # a temporary like the others, should the process die here
                _keep(path, kept[path])
        finished: list[Path] = []
        try:
            for _, path in stale:
                _patiently(path.unlink, path)
                finished.append(path)
            for source, target in moves:
                _patiently(partial(os.replace, source, target), target)
                finished.append(target)
        except OSError as error:
            for path in finished:
                if path in kept and kept[path].exists():
                    os.replace(kept[path], path)
                elif path not in kept:
                    path.unlink(missing_ok=True)
            raise _rename_error(error) from error
        finally:
            for old in kept.values():
                old.unlink(missing_ok=True)

    def _discard(self) -> None:
        """Removes temporaries and locks; run at the end, and by the watchdog when the process must be ended."""
        with self._moving:
            if not self._done:
                for name in self._final:
                    source = self.temporary(name)
                    head = source.name.removesuffix(source.suffix)
                    for entry in list(os.scandir(source.parent)):
                        if entry.name.startswith(head):
                            with suppress(FileNotFoundError):
                                os.unlink(entry.path)
            for lock in self._locks:
                lock.release()


def _local_files(given: Path) -> list[str]:
    """Files on disk behind a path that may be a `/vsi…` one (`/vsizip//data/a.zip/b.tif` → `/data/a.zip`)."""
    text = str(given)
    match = re.match(r"/vsi(?:zip|tar|gzip)/(.*)", text)
    if not match:
        return [text] if os.path.exists(text) else []
    found = []
    for start in (match[1].strip("{}"), "/" + match[1].strip("{}").lstrip("/")):  # pathlib folds the double slash
        part = Path(start)
        found += [str(piece) for piece in (part, *part.parents) if piece.is_file()]
    return found


def _keep(path: Path, second: Path) -> None:
    """A second name for a file's content; where links are unknown the file is copied if small, else not kept."""
    try:
        os.link(path, second)
    except OSError:
        if path.stat().st_size <= 64 << 20:
            shutil.copy2(path, second)


def _patiently(action: Callable[[], object], path: Path) -> None:
    """Runs a rename or removal; on Windows waits for a file that another program holds open for a moment."""
    until = time.monotonic() + (PATIENCE_S if sys.platform == "win32" else 0.0)
    while True:
        try:
            action()
            return
        except PermissionError as error:
            if time.monotonic() >= until:
                error.filename = str(path)
                raise
            time.sleep(0.1)


def _rename_error(error: OSError) -> OutputError:
    if isinstance(error, PermissionError):
        return LockedError(f"{error.filename}: held open by another program (QGIS?); close it there and run again")
    if error.errno == errno.ENOSPC:
        return DiskFullError(f"{error.filename}: no space left on the disk; free some and run again")
    return OutputError(f"{error.filename}: cannot be put in place ({os.strerror(error.errno or 0)})")


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFullError(f"{path.parent}: no space left on the disk; free some and run again") from error
            raise OutputError(f"{path.parent}: writing failed ({os.strerror(error.errno or 0)})") from error


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return  # folders cannot be opened there; NTFS journals renames
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that do not sync folders
            raise OutputError(f"{folder}: writing failed ({os.strerror(error.errno or 0)})") from error
    finally:
        os.close(descriptor)
