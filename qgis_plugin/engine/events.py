"""The engine's event lines: one JSON object a line on its standard output, turned into small typed records."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Optional, Union

PROTOCOL = 1


@dataclass(frozen=True)
class Start:
    """First line of a run: who speaks, and on which device it computes."""

    protocol: int
    version: str
    device: str
    device_name: str


@dataclass(frozen=True)
class Progress:
    """How far the current stage is; `eta_s` is None while unknown."""

    stage: str
    done: float
    total: float
    unit: str
    eta_s: Optional[float]


@dataclass(frozen=True)
class Log:
    """A line for the user; `level` is info or warning."""

    level: str
    message: str


@dataclass(frozen=True)
class Metric:
    """A figure of training or evaluation; `kind` and `number` tell when: a step, an epoch, or neither."""

    name: str
    value: Optional[float]
    kind: str
    number: int


@dataclass(frozen=True)
class Result:
    """Last line of a good run."""

    outputs: Dict[str, str] = field(default_factory=dict)
    stats: Dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Error:
    """Last line of a failed run."""

    code: str
    message: str
    exit: int


Event = Union[Start, Progress, Log, Metric, Result, Error]


class NotAnEvent(ValueError):
    """The line is not an event of this protocol (a stray print, half a line)."""


def parse(line: str) -> Optional[Event]:
    """Reads one line.

    Returns:
        The event, or None for events this plugin has no use for (newer engines may send more kinds).

    Raises:
        NotAnEvent: not a JSON object with an `event` key, or a field is missing or of another kind.
    """
    try:
        data = json.loads(line)
    except ValueError as error:
        raise NotAnEvent(line) from error
    if not isinstance(data, dict) or not isinstance(data.get("event"), str):
        raise NotAnEvent(line)
    reader = _READERS.get(data["event"])
    if reader is None:
        return None
    try:
        return reader(data)
    except (KeyError, TypeError, ValueError) as error:
        raise NotAnEvent(line) from error


def _start(data: Dict[str, Any]) -> Start:
    return Start(
        int(data["protocol"]), str(data.get("version", "?")), str(data.get("device", "")), _text(data, "device_name")
    )


def _progress(data: Dict[str, Any]) -> Progress:
    eta = data.get("eta_s")
    return Progress(
        str(data["stage"]),
        float(data["done"]),
        float(data["total"]),
        _text(data, "unit"),
        None if eta is None else float(eta),
    )


def _log(data: Dict[str, Any]) -> Log:
    return Log(str(data.get("level", "info")), str(data["message"]))


def _metric(data: Dict[str, Any]) -> Metric:
    value = data.get("value")
    kind = next((kind for kind in ("epoch", "step") if data.get(kind) is not None), "")
    return Metric(str(data["name"]), None if value is None else float(value), kind, int(data[kind]) if kind else 0)


def _result(data: Dict[str, Any]) -> Result:
    outputs, stats = data.get("outputs") or {}, data.get("stats") or {}
    if not isinstance(outputs, dict) or not isinstance(stats, dict):
        raise ValueError("outputs and stats are objects")
    return Result({str(name): str(path) for name, path in outputs.items()}, stats)


def _error(data: Dict[str, Any]) -> Error:
    return Error(_text(data, "code"), str(data["message"]), int(data.get("exit", 1)))


def _text(data: Dict[str, Any], key: str) -> str:
    value = data.get(key)
    return "" if value is None else str(value)


_READERS: Dict[str, Callable[[Dict[str, Any]], Event]] = {
    "start": _start,
    "progress": _progress,
    "log": _log,
    "metric": _metric,
    "result": _result,
    "error": _error,
}
