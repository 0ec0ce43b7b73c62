"""Makes the plugin's own environment: a virtual environment with the bundled engine, switched to when it works.

Each installation gets a folder of its own; the file `current` names the one in use and is replaced only after the new
one has answered. A cancelled or failed installation leaves the old one in use.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import sys
import time
from dataclasses import dataclass
from typing import Callable, Dict, Iterator, List, Sequence

from . import locate, pins
from .child import WINDOWS, Child, StartFailed
from .process import EngineCancelled, describe_exit

# Those that the pinned requirements have wheels for.
OLDEST, NEWEST = (3, 10), (3, 14)
# torch with CUDA libraries, unpacked, is 6.3 GB on Linux; pip needs room for one wheel beside it
ROOM_BYTES = 8 * 1024**3
LOCK = "install.lock"
_ASK = "import sys, ensurepip, venv; print('%d.%d' % sys.version_info[:2])"


class InstallFailed(Exception):
    """The environment could not be made; the text says which step failed and what to do."""


def base_python(environ: Dict[str, str], cancelled: Callable[[], bool] = lambda: False) -> List[str]:
    """Finds a Python that can make environments and is new enough, on PATH.

    Never `sys.executable`: inside QGIS on Windows and macOS that is QGIS itself, and starting it opens another window.

    Returns:
        The command's first words: one path, or `py -3.x` on Windows.

    Raises:
        InstallFailed: there is none.
    """
    # 3.12 and 3.11 are the ones that most people run it on.
    versions = sorted((f"3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)), key=_seldom)
    candidates = [["py", f"-{version}"] for version in versions] if WINDOWS else []
    candidates += [[f"python{version}"] for version in versions] + [["python3"], ["python"]]
    for words in candidates:
        program = shutil.which(words[0], path=environ.get("PATH"))
        if program is None:
            continue
        command = [program, *words[1:]]
        answer: List[str] = []
        try:
            _step([*command, "-c", _ASK], environ, answer.append, cancelled, "look for Python")
        except InstallFailed:
            continue  # a stub of the Windows store, one without venv: the next candidate
        if answer and _is_fit(answer[-1]):
            return command
    raise InstallFailed(
        f"No Python from {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]} with the module venv is on PATH. Install "
        "one (Debian and Ubuntu: apt install python3-venv; Windows and macOS: python.org), then try again."
    )


# The list is complete, so nothing is resolved: what is not on it is not installed. Wheels only: no package runs code.
_INSTALL = ("install", "--no-deps", "--only-binary", ":all:", "--progress-bar", "off")


@dataclass(frozen=True)
class Packages:
    """What goes into an environment.

    Attributes:
        wheel: the engine.
        steps: what it needs, pinned.
        cpu_index: package index of what has no hashes here (torch without CUDA); empty: the usual one.
        wheels: folder of wheels to install from without network; empty: not so.
        room: free bytes that must be there.
    """

    wheel: str
    steps: Sequence[pins.Step]
    cpu_index: str = ""
    wheels: str = ""
    room: int = ROOM_BYTES

    def calls(self, listed: str) -> Iterator[List[str]]:
        """Arguments of pip, call after call; `listed` is a file that each call's requirements are written to."""
        for step in self.steps:
            with open(listed, "w", encoding="utf-8") as file:
                file.write(step.requirements)
            yield [*_INSTALL, *self._where(step), "-r", listed]
        yield [*_INSTALL, "--no-index", self.wheel]
        yield ["check"]

    def _where(self, step: pins.Step) -> List[str]:
        words = ["--require-hashes"] if step.hashed else []
        if self.wheels:
            return [*words, "--no-index", "--find-links", self.wheels]
        # In place of the usual index, not beside it: an extra one could replace any other package too.
        return [*words, "--index-url", self.cpu_index] if self.cpu_index and not step.hashed else words


def install(
    managed: str,
    packages: Packages,
    environ: Dict[str, str],
    log: Callable[[str], None],
    stage: Callable[[str, float], None],
    cancelled: Callable[[], bool],
) -> str:
    """Makes a new environment with the engine in it and switches to it.

    Args:
        managed: folder that holds the environments.
        packages: what goes into it.
        environ: environment for the children.
        log: takes the installer's lines.
        stage: takes the step's name and how much is done, 0 to 1.
        cancelled: asked ten times a second.

    Returns:
        Path of the new interpreter.

    Raises:
        InstallFailed: a step failed; the environment in use before stays in use.
        EngineCancelled: `cancelled()` said so.
    """
    os.makedirs(managed, exist_ok=True)
    free = shutil.disk_usage(managed).free
    if free < packages.room:
        raise InstallFailed(
            f"{managed} has {free / 1e9:.1f} GB free and the engine may need {packages.room / 1e9:.0f} GB: "
            "make room there."
        )
    with _lock(os.path.join(managed, LOCK)):
        stage("Looking for Python", 0.0)
        base = base_python(environ, cancelled)
        log(f"Python: {' '.join(base)}")
        name = "env-" + time.strftime("%Y%m%d-%H%M%S")
        folder = os.path.join(managed, name)
        try:
            stage("Making the environment", 0.02)
            _step([*base, "-m", "venv", folder], environ, log, cancelled, "make the environment")
            python = locate.python_in(folder)
            stage("Downloading and installing the engine (torch is large; this takes minutes)", 0.06)
            for words in packages.calls(os.path.join(folder, "requirements.txt")):
                pip = [python, "-m", "pip", "--no-input", "--disable-pip-version-check", *words]
                _step(pip, environ, log, cancelled, "install the engine")
            stage("Trying the engine", 0.95)
            try:
                report = locate.probe(locate.Engine(python, "the new environment"), environ, None, cancelled)
            except locate.EngineMissing as error:
                raise InstallFailed(f"The engine was installed but does not work: {error}") from error
            log(f"Engine {report.version} answers.")
            _switch(managed, name)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        _sweep(managed, keep=name)
    stage("Done", 1.0)
    return python


def _seldom(version: str) -> bool:
    return version not in ("3.12", "3.11")


def _is_fit(answer: str) -> bool:
    try:
        major, minor = (int(part) for part in answer.strip().split("."))
    except ValueError:
        return False
    return OLDEST <= (major, minor) <= NEWEST


def _step(
    command: Sequence[str],
    environ: Dict[str, str],
    log: Callable[[str], None],
    cancelled: Callable[[], bool],
    what: str,
) -> None:
    try:
        child = Child(command, environ)
    except StartFailed as error:
        raise InstallFailed(f"Cannot {what}: {error}") from error
    with child:
        child.close_input()  # nobody answers questions
        while not (child.returncode is not None and child.drained):
            for line in child.lines(0.1):
                log(line)
            if cancelled():
                child.stop()
                raise EngineCancelled
        code, tail = child.returncode, [line for line in child.error_tail if line.strip()]
    if code != 0:
        for line in tail:
            log(line)
        reason = next((line for line in reversed(tail) if "ERROR" in line), tail[-1] if tail else "")
        if "DO NOT MATCH THE HASHES" in reason:
            reason = "A downloaded file is not the one that was tested (its hash differs); its name is in the log."
        raise InstallFailed(f"Cannot {what}: {describe_exit(code)}. {reason}".rstrip())


def _switch(managed: str, name: str) -> None:
    """From here on `name` is in use; a crash before or after leaves the one or the other, whole."""
    temporary = os.path.join(managed, f"{locate.POINTER}.{os.getpid()}")
    with open(temporary, "w", encoding="utf-8") as pointer:
        pointer.write(name)
    os.replace(temporary, os.path.join(managed, locate.POINTER))


def _sweep(managed: str, keep: str) -> None:
    for folder in glob.glob(os.path.join(managed, "env-*")):
        if os.path.basename(folder) != keep:
            shutil.rmtree(folder, ignore_errors=True)  # one in use by another QGIS on Windows stays till next time


@contextlib.contextmanager
def _lock(path: str) -> Iterator[None]:
    """One installation at a time, over all running QGIS."""
    with open(path, "a+", encoding="utf-8") as file:
        try:
            _hold(file.fileno())
        except OSError as error:
            raise InstallFailed("Another QGIS is installing the engine right now: wait for it to end.") from error
        yield  # the lock ends with the file, also when QGIS crashes


def _hold(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
