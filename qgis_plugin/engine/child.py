"""One child process with both pipes always drained, and a stop that takes its whole family along within two seconds."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from typing import IO, Callable, Deque, Dict, List, Optional, Sequence

WINDOWS = sys.platform == "win32"
LINE_LIMIT = 1 << 20  # a longer line is no event; what is beyond is dropped instead of filling memory
TAIL_LINES = 200
# From the cancel on: end of its standard input, then SIGTERM, then SIGKILL. Together they stay below 2 s. An engine
# that hangs ends itself 1.3 s after its input ended, its temporary files removed: it must not be killed before.
GRACE_S = 1.5
TERMINATE_S = 0.1
KILL_S = 0.1


class StartFailed(OSError):
    """The program could not be started at all."""


class Child:
    """A running program. Use as a context manager: whatever leaves the block, no process is left behind.

    Args:
        command: program and arguments; never a shell.
        environ: the whole environment of the child.
        cwd: its working folder.

    Raises:
        StartFailed: the program is missing or may not be executed.
    """

    def __init__(self, command: Sequence[str], environ: Dict[str, str], cwd: Optional[str] = None) -> None:
        flags, session = 0, True
        if sys.platform == "win32":
            # No console window, and a group of its own, so that a Ctrl-C in QGIS's console does not reach it twice.
            flags, session = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW, False
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(  # nosec B603: a list, no shell
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environ,
                cwd=cwd,
                creationflags=flags,
                start_new_session=session,
            )
        except OSError as error:
            raise StartFailed(f"{command[0]} cannot be started: {error.strerror or error}") from error
        self._lines: queue.Queue[bytes] = queue.Queue(maxsize=4096)
        self._tail: Deque[str] = deque(maxlen=TAIL_LINES)
        self._closing = threading.Event()
        self._readers = [
            threading.Thread(target=self._read, args=(self._process.stdout, self._queue), daemon=True),
            threading.Thread(target=self._read, args=(self._process.stderr, self._keep), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(grace=0.5)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None and not any(reader.is_alive() for reader in self._readers):
                stream.close()

    @property
    def pid(self) -> int:
        """Its process id, which on POSIX is its group's too."""
        return self._process.pid

    @property
    def returncode(self) -> Optional[int]:
        """Exit status; None while it runs; negative signal number where a signal ended it (POSIX)."""
        return self._process.poll()

    @property
    def error_tail(self) -> List[str]:
        """The last lines it wrote to standard error."""
        return list(self._tail)

    def lines(self, timeout: float) -> List[str]:
        """Lines of standard output that came in; waits at most `timeout` seconds for the first."""
        found: List[bytes] = []
        with contextlib.suppress(queue.Empty):
            found.append(self._lines.get(timeout=timeout))
            while len(found) < 1000:
                found.append(self._lines.get_nowait())
        return [line.decode("utf-8", "replace").rstrip("\r\n") for line in found]

    @property
    def drained(self) -> bool:
        """Whether both pipes are at their end and every line was fetched."""
        return self._lines.empty() and not any(reader.is_alive() for reader in self._readers)

    def close_input(self) -> None:
        """Ends its standard input: the engine takes that as cancel."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(OSError):  # it may have gone already
                self._process.stdin.close()

    def stop(self, grace: float = GRACE_S) -> None:
        """Asks, then insists; returns when the process and its group are gone (within 2 s)."""
        self._closing.set()
        self.close_input()
        if not self._ended(grace):
            self._signal(terminate=True)
            self._ended(TERMINATE_S)
        # Also when the leader left by itself: a grandchild in its group would otherwise go on computing.
        if self._process.poll() is None or not self._pipes_closed(0.1):
            self._signal(terminate=False)
        self._ended(KILL_S)
        self._pipes_closed(0.1)

    def _ended(self, seconds: float) -> bool:
        try:
            self._process.wait(timeout=max(seconds, 0.01))
        except subprocess.TimeoutExpired:
            return False
        return True

    def _pipes_closed(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        for reader in self._readers:
            reader.join(max(0.0, end - time.monotonic()))
        return not any(reader.is_alive() for reader in self._readers)

    def _signal(self, terminate: bool) -> None:
        if sys.platform == "win32":
            if terminate:
                return  # there is no polite signal for a windowless process; the closed input was it
            # taskkill ends the tree; Popen.kill() the leader alone.
            killer = os.path.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "taskkill.exe")
            subprocess.run(  # nosec B603
                [killer, "/T", "/F", "/PID", str(self.pid)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                creationflags=subprocess.CREATE_NO_WINDOW,
                check=False,
            )
        else:
            with contextlib.suppress(
                ProcessLookupError, PermissionError
            ):  # macOS says "not permitted" of a zombie group
                os.killpg(self.pid, signal.SIGTERM if terminate else signal.SIGKILL)

    def _read(self, stream: IO[bytes], sink: Callable[[bytes], None]) -> None:
        """Reads to the end, line by line, without ever holding more than one bounded line."""
        pending = b""
        with contextlib.suppress(OSError, ValueError):  # closed under our feet at the very end
            while True:
                chunk = stream.read1(65536)  # type: ignore[attr-defined]
                if not chunk:
                    break
                *whole, pending = (pending + chunk).split(b"\n")
                for line in whole:
                    sink(line[:LINE_LIMIT])
                pending = pending[:LINE_LIMIT]
        if pending:
            sink(pending)

    def _queue(self, line: bytes) -> None:
        while not self._closing.is_set():
            try:
                self._lines.put(line, timeout=0.1)
                return
            except queue.Full:
                continue  # the reader of lines is behind; the child waits on its pipe meanwhile

    def _keep(self, line: bytes) -> None:
        self._tail.append(line[:2000].decode("utf-8", "replace").rstrip())
