"""What a long job tells its caller, and how the caller stops it.

Library functions take a `Reporter` and know nothing of terminals: they open stages, advance them, log,
and call `check()` between pieces of work. The command line chooses the sink (JSON lines, bar or none).
Field names and event types are those of the interface contract.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Protocol, TypeVar

from cdengine.errors import Cancelled

PROTOCOL = 1
HEARTBEAT_S = 0.5  # the contract asks for one progress event a second; half of that leaves room for a busy machine

Event = dict[str, Any]
T = TypeVar("T")


class Sink(Protocol):
    """Where events go."""

    def emit(self, event: Event) -> None:
        """Takes one event; called from several threads, one at a time."""


class NullSink:
    """Keeps quiet, but lets warnings through to stderr: a silent wrong result is worse than a line."""

    def emit(self, event: Event) -> None:
        """Prints warnings, drops the rest."""
        if event["event"] == "log" and event["level"] == "warning":
            print(f"warning: {event['message']}", file=sys.stderr, flush=True)


class CollectSink:
    """Keeps every event in a list, for tests and for callers in Python."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Appends the event."""
        self.events.append(event)


class JsonSink:
    """One JSON object a line."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def emit(self, event: Event) -> None:
        """Writes and flushes the line. When the reader has gone away the job goes on unheard."""
        if self._stream.closed:
            return
        # NaN is not JSON; a figure that is not a number becomes null.
        line = json.dumps(_finite(event), ensure_ascii=False, allow_nan=False)
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except BrokenPipeError:
            with suppress(BrokenPipeError):
                self._stream.close()


class BarSink:
    """A bar with ETA on a terminal (rich), log lines above it."""

    def __init__(self, stream: IO[str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("{task.description:>16}"),
            BarColumn(),
            TextColumn("{task.percentage:>5.1f} %"),
            TextColumn("{task.fields[amount]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._stage: str | None = None

    def emit(self, event: Event) -> None:
        """Draws a progress event, prints a log line, and clears the bar at the end."""
        kind = event["event"]
        if kind == "progress":
            self._draw(event)
        elif kind == "log":
            mark = "[yellow]warning:[/yellow] " if event["level"] == "warning" else ""
            from rich.markup import escape

            self._console.print(mark + escape(event["message"]))
        elif kind == "metric":
            at = f"epoch {event['epoch']}" if "epoch" in event else f"step {event.get('step')}"
            self._console.print(f"{at}: {event['name']} {event['value']:.4g}")
        elif kind in ("result", "error"):
            self._progress.stop()

    def _draw(self, event: Event) -> None:
        amount = _amount(event["done"], event["total"], event["unit"])
        if event["stage"] != self._stage:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._stage = event["stage"]
            self._task = self._progress.add_task(event["stage"], total=event["total"], amount=amount)
            self._progress.start()
        assert self._task is not None
        self._progress.update(self._task, completed=event["done"], total=event["total"], amount=amount)


class Cancellation:
    """The flag that stops a job, and what must be removed if the job cannot stop by itself in time."""

    def __init__(self) -> None:
        self._flag = threading.Event()
        self._lock = threading.Lock()
        self._cleanups: list[Callable[[], None]] = []
        self._ways: list[str] = []

    def cancel(self) -> None:
        """Asks the job to stop; safe in a signal handler."""
        self._flag.set()

    @property
    def cancelled(self) -> bool:
        """Whether a stop was asked for."""
        return self._flag.is_set()

    def check(self) -> None:
        """Raises Cancelled once a stop was asked for."""
        if self._flag.is_set():
            raise self.told()

    def told(self) -> Cancelled:
        """The error of a job that was stopped, with what goes on from there."""
        if self.resume is None:
            return Cancelled("cancelled; nothing was written under the output's name")
        return Cancelled(f"cancelled: go on with {self.resume}")

    @property
    def resume(self) -> str | None:
        """The option that goes on with the job once it has stopped, where one does."""
        return self._ways[0] if self._ways else None

    @contextmanager
    def resumable(self, option: str) -> Iterator[None]:
        """Within the block a stopped job goes on with `option`; that of the outermost block is told.

        Args:
            option: such as "--resume FOLDER".
        """
        self._ways.append(option)
        try:
            yield
        finally:
            self._ways.pop()

    @contextmanager
    def cleanup(self, action: Callable[[], None]) -> Iterator[None]:
        """Within the block, `action` is what the watchdog runs if the process has to be ended by force."""
        with self._lock:
            self._cleanups.append(action)
        try:
            yield
        finally:
            with self._lock:
                self._cleanups.remove(action)

    def run_cleanups(self) -> None:
        """Runs what is registered, newest first; a failing one does not keep the others from running."""
        with self._lock:
            actions = list(reversed(self._cleanups))
        for action in actions:
            try:
                action()
            except OSError:
                continue  # the process is about to end; the next run sweeps what is left


class Stage:
    """One named piece of a job with a known amount of work."""

    def __init__(self, reporter: Reporter, name: str, total: float, unit: str, done: float) -> None:
        self.name, self.total, self.unit, self.done = name, total, unit, done
        self._reporter, self._first, self._began = reporter, done, time.monotonic()

    def advance(self, amount: float = 1) -> None:
        """Adds finished work and stops the job if a cancel was asked for."""
        self.done += amount
        self._reporter.check()

    @property
    def eta_s(self) -> float | None:
        """Seconds left at the mean rate so far; None before anything was finished."""
        worked = self.done - self._first
        if worked <= 0:
            return None
        rate = worked / max(time.monotonic() - self._began, 1e-9)
        return max(0.0, (self.total - self.done) / rate)

    def event(self) -> Event:
        """The progress event of this moment."""
        eta = self.eta_s
        return {
            "event": "progress",
            "stage": self.name,
            "done": _plain(min(self.done, self.total)),
            "total": _plain(self.total),
            "unit": self.unit,
            "eta_s": None if eta is None else round(eta, 1),
        }


class Reporter:
    """Handed down through every long function: stages, log lines, metrics and the cancel check."""

    def __init__(self, sink: Sink | None = None, cancellation: Cancellation | None = None) -> None:
        self.cancellation = cancellation or Cancellation()
        self._sink: Sink = sink or NullSink()
        self._lock = threading.Lock()
        self._stages: list[Stage] = []
        self._ticking = threading.Lock()
        self._ticker: threading.Thread | None = None
        self._stop = threading.Event()

    def check(self) -> None:
        """Raises Cancelled if a stop was asked for."""
        self.cancellation.check()

    def emit(self, event: Event) -> None:
        """Sends one event to the sink."""
        with self._lock:
            self._sink.emit(event)

    def info(self, message: str) -> None:
        """A line worth reading once."""
        self.emit({"event": "log", "level": "info", "message": message})

    def warning(self, message: str) -> None:
        """A line that the user should act on or know of."""
        self.emit({"event": "log", "level": "warning", "message": message})

    def metric(self, name: str, value: float, *, step: int | None = None, epoch: int | None = None) -> None:
        """A figure of training or evaluation."""
        at = {"step": step} if epoch is None else {"epoch": epoch}
        self.emit({"event": "metric", **at, "name": name, "value": value})

    @contextmanager
    def stage(self, name: str, total: float, unit: str, done: float = 0) -> Iterator[Stage]:
        """Opens a stage; progress events flow until the block ends, at least one a second.

        Args:
            name: what the user reads ("detect", "polygons").
            total: the amount of work, in `unit`.
            unit: "px", "rows", "tiles", …
            done: work that an earlier run finished already (resume).
        """
        self.check()
        stage = Stage(self, name, total, unit, done)
        self.emit(stage.event())
        with self._ticking:
            self._stages.append(stage)
            if self._ticker is None:
                self._ticker = threading.Thread(target=self._tick, name="cdengine-heartbeat", daemon=True)
                self._ticker.start()
        try:
            yield stage
            self.emit(stage.event())
        finally:
            self._stages.remove(stage)

    def each(self, items: Iterable[T], name: str, total: float, unit: str) -> Iterator[T]:
        """Yields the items inside a stage of `total` items."""
        with self.stage(name, total, unit) as stage:
            for item in items:
                yield item
                stage.advance()

    def close(self) -> None:
        """Stops the heartbeat."""
        self._stop.set()

    def _tick(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            with self._ticking:
                current = self._stages[-1:]
                if not current:  # callers in Python do not close their reporter: no thread may stay behind
                    self._ticker = None
                    return
            if not self.cancellation.cancelled:
                self.emit(current[0].event())


def _plain(number: float) -> float | int:
    return int(number) if float(number).is_integer() else round(float(number), 3)


def _finite(value: object) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def _amount(done: float, total: float, unit: str) -> str:
    if unit == "px":
        return f"{done / 1e6:,.1f} / {total / 1e6:,.1f} Mpx"
    return f"{done:,.0f} / {total:,.0f} {unit}"
