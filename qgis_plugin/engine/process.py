"""Runs one engine command: starts it, hands its events on, cancels it, and says in words why it failed."""

from __future__ import annotations

import os
import signal
import time
from typing import Callable, Dict, List, Optional, Sequence

from . import events
from .child import WINDOWS, Child, StartFailed

POLL_S = 0.1
# A process whose work is reported done may hang while it unloads (a driver, say); its result stands.
EXIT_WAIT_S = 10.0
# After the engine has ended, something else may hold its pipes open (a grandchild): it does not hold us up.
PIPES_WAIT_S = 1.0
STRAY_LIMIT = 50


class EngineFailed(Exception):
    """The engine did not deliver; the text is for the user, `exit_code` and `slug` for callers."""

    def __init__(self, message: str, exit_code: Optional[int] = None, slug: str = "") -> None:
        super().__init__(message)
        self.exit_code, self.slug = exit_code, slug


class EngineCancelled(Exception):
    """The user cancelled; the engine and all it started are gone."""


def run(
    command: Sequence[str],
    environ: Dict[str, str],
    on_event: Callable[[events.Event], None],
    cancelled: Callable[[], bool],
    on_stray: Callable[[str], None] = lambda line: None,
) -> events.Result:
    """Runs an engine command to its end.

    Args:
        command: interpreter and arguments, `--progress json --cancel-on-stdin-close` among them.
        environ: the child's whole environment.
        on_event: called in this thread for every event but the final result or error.
        cancelled: asked ten times a second.
        on_stray: called for lines that are no events.

    Raises:
        EngineFailed: it could not start, failed, crashed, or ended without a result.
        EngineCancelled: `cancelled()` said so; within 2 s.
    """
    if cancelled():
        raise EngineCancelled
    try:
        # Not the current folder: `-m` would import a folder named cdengine from there on Python 3.10.
        child = Child(command, environ, cwd=os.path.dirname(command[0]) or None)
    except StartFailed as error:
        raise EngineFailed(str(error), slug="start") from error
    with child:
        return _Conversation(child, on_event, cancelled, on_stray).follow()


class _Conversation:
    """State of one run: what was said last, and since when the other side has been gone."""

    def __init__(
        self,
        child: Child,
        on_event: Callable[[events.Event], None],
        cancelled: Callable[[], bool],
        on_stray: Callable[[str], None],
    ) -> None:
        self._child, self._on_event, self._cancelled, self._on_stray = child, on_event, cancelled, on_stray
        self._final: Optional[events.Event] = None
        self._stray: List[str] = []

    def follow(self) -> events.Result:
        child = self._child
        done_at: Optional[float] = None
        ended_at: Optional[float] = None
        while True:
            lines = child.lines(POLL_S)
            for line in lines:
                self._take(line)
            if self._cancelled():
                child.stop()
                raise EngineCancelled
            now = time.monotonic()
            if self._final is not None and done_at is None:
                done_at = now
            if child.returncode is not None:
                ended_at = ended_at or now
                if child.drained or (not lines and now - ended_at > PIPES_WAIT_S):
                    break
            elif done_at is not None and now - done_at > EXIT_WAIT_S:
                break
        return self._outcome()

    def _take(self, line: str) -> None:
        if not line.strip():
            return
        try:
            event = events.parse(line)
        except events.NotAnEvent:
            self._stray.append(line[:500])
            if len(self._stray) <= STRAY_LIMIT:
                self._on_stray(line[:500])
            del self._stray[STRAY_LIMIT:-1]
            return
        if isinstance(event, events.Start) and event.protocol != events.PROTOCOL:
            raise EngineFailed(protocol_mismatch(event.protocol, event.version), slug="protocol")
        if isinstance(event, (events.Result, events.Error)):
            self._final = event
        elif event is not None:
            self._on_event(event)

    def _outcome(self) -> events.Result:
        code, final = self._child.returncode, self._final
        if isinstance(final, events.Error):
            raise EngineFailed(final.message, final.exit, final.code)
        if isinstance(final, events.Result):
            if code not in (0, None):
                ending = describe_exit(code)
                self._on_event(
                    events.Log("warning", f"The results are complete, but the engine then ended badly: {ending}.")
                )
            return final
        tail = [line for line in self._child.error_tail if line.strip()]
        told = last_words(tail)
        if code == 0:
            raise EngineFailed("The engine ended without a result." + told, code, "no-result")
        raise EngineFailed(f"The engine ended early: {describe_exit(code)}." + told, code, "crash")


def protocol_mismatch(protocol: int, version: str) -> str:
    """What to do when plugin and engine do not speak the same protocol."""
    older = protocol < events.PROTOCOL
    remedy = "update the engine (Install the engine, in the toolbox)" if older else "update the QGIS plugin"
    return f"The engine {version} speaks protocol {protocol} and this plugin protocol {events.PROTOCOL}: {remedy}."


def last_words(tail: Sequence[str]) -> str:
    """The line of standard error that tells most: the engine's own `error:` line, else the last one."""
    marked = [line for line in tail if line.startswith("error:")]
    if marked:
        return " " + marked[-1][len("error:") :].strip()
    return f" Its last words: {tail[-1]}" if tail else ""


_WINDOWS_CODES = {
    0xC0000005: "access violation (0xC0000005); try a smaller tile, or the CPU as device",
    0xC000001D: "illegal instruction (0xC000001D): this processor lacks an instruction that the engine needs",
    0xC0000135: "a DLL is missing (0xC0000135): install the Microsoft Visual C++ redistributable",
    0xC0000142: "a DLL failed to start (0xC0000142): install the Microsoft Visual C++ redistributable",
    0xC0000017: "out of memory (0xC0000017); try a smaller tile or batch",
    0xC00000FD: "stack overflow (0xC00000FD)",
    0xC0000409: "aborted by the C runtime (0xC0000409)",
    0xC000013A: "interrupted (0xC000013A)",
}
_SIGNALS = {
    "SIGKILL": "killed by the system, most likely because memory ran out; try a smaller tile or batch",
    "SIGSEGV": "crashed (segmentation fault); try a smaller tile, or the CPU as device",
    "SIGILL": "illegal instruction: this processor lacks an instruction that the engine needs",
    "SIGBUS": "crashed (bus error): a disk may be full, or a network file went away",
    "SIGABRT": "aborted itself",
    "SIGTERM": "stopped from outside (SIGTERM)",
    "SIGINT": "interrupted (SIGINT)",
}
_CODES = {
    2: "it refused its options (exit 2)",
    3: "it cannot use the input data (exit 3)",
    4: "it cannot use the model (exit 4)",
    5: "out of memory (exit 5); try a smaller tile or batch",
    6: "it cannot write the output (exit 6)",
    130: "stopped from outside (exit 130)",
}


def describe_exit(code: Optional[int], windows: bool = WINDOWS) -> str:
    """Exit status in words."""
    if code is None:
        return "it does not exit"
    if windows and code < 0:
        code &= 0xFFFFFFFF
    if windows and code >= 0xC0000000:
        return _WINDOWS_CODES.get(code, f"Windows status 0x{code:08X}")
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
        return _SIGNALS.get(name, f"signal {name}")
    return _CODES.get(code, f"exit {code}")
