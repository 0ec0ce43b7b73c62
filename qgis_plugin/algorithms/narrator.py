"""The engine's events, told to Processing: one bar over all stages, names and time left, log lines, figures."""

from __future__ import annotations

import re
import time
from typing import Dict, List, Mapping, Optional, Tuple

from qgis.core import QgsProcessingFeedback

from ..engine import events

# The dialog writes every progress text to its log, so time left is said now and then, not at every event.
REMIND_S = 10.0
# A stage of a job within a chain of jobs: "student (4 of 5): epoch 3/50".
_STEP = re.compile(r"(?P<step>(?P<name>.+?) \(?(?P<number>[1-9]\d*) of (?P<count>\d+)\)?): (?P<stage>.+)$")


class Narrator:
    """Turns the events of one engine run into calls of a feedback.

    Args:
        feedback: Processing's.
        weights: share of the whole that each stage is expected to take; only their ratios count.
        titles: what the user reads in place of a stage's name.
        moments: the same for what figures are of (step, epoch).
        steps: weights of a job that is done within another one ("pseudo labels (3 of 5): pictures"), by its name;
            `weights` hold for those that are not named.
    """

    def __init__(
        self,
        feedback: QgsProcessingFeedback,
        weights: Mapping[str, float],
        titles: Optional[Mapping[str, str]] = None,
        moments: Optional[Mapping[str, str]] = None,
        steps: Optional[Mapping[str, Mapping[str, float]]] = None,
    ) -> None:
        self._feedback = feedback
        self._weights, self._steps = weights, dict(steps or {})
        self._titles, self._moments = dict(titles or {}), dict(moments or {})
        self._bar, self._step = Bar(weights), ""
        self._told = ""
        self._percent = 0.0
        self._entered_at = self._said_at = 0.0
        self._figures: List[events.Metric] = []

    def __call__(self, event: events.Event) -> None:
        """Passes one event on."""
        if not isinstance(event, events.Metric) or (self._figures and _moment(self._figures[0]) != _moment(event)):
            self.tell_figures()
        if isinstance(event, events.Metric):
            self._figures.append(event)
        elif isinstance(event, events.Progress):
            self._progress(event)
        elif isinstance(event, events.Log):
            if event.level == "warning":
                self._feedback.pushWarning(event.message)
            else:
                self._feedback.pushInfo(event.message)
        elif isinstance(event, events.Start):
            device = f"{event.device} ({event.device_name})" if event.device_name else event.device
            self._feedback.pushInfo(f"Engine {event.version}" + (f" on {device}" if device else ""))

    def tell_figures(self) -> None:
        """Writes the figures that came since the last line, those of one moment on one line."""
        if not self._figures:
            return
        kind, number = _moment(self._figures[0])
        told = ", ".join(f"{figure.name} {_number(figure.value)}" for figure in self._figures)
        moment = f"{self._moments.get(kind, kind.capitalize())} {number}"
        self._feedback.pushInfo(f"{moment}: {told}" if number else told)  # 0: of the whole
        self._figures.clear()

    def finish(self) -> None:
        """Fills the bar."""
        self.tell_figures()
        self._feedback.setProgress(100.0)

    def _progress(self, event: events.Progress) -> None:
        fraction = min(max(event.done / event.total, 0.0), 1.0) if event.total > 0 else 0.0
        now = time.monotonic()
        new = event.stage != self._told
        self._told = event.stage
        self._percent = max(self._percent, 100.0 * self._overall(event.stage, fraction))
        self._feedback.setProgress(self._percent)
        if new:
            self._entered_at = now
        if new or (now - self._said_at >= REMIND_S and fraction < 1.0):
            self._said_at = now
            self._feedback.setProgressText(self._text(event, fraction, now - self._entered_at))

    def _overall(self, stage: str, fraction: float) -> float:
        """Share of the whole, over all steps of a chain of jobs."""
        step = _STEP.match(stage)
        if step is None:
            return self._bar.reach(_family(stage), fraction)
        name, number, count = step["name"], int(step["number"]), max(int(step["count"]), 1)
        if step["step"] != self._step:
            self._step, self._bar = step["step"], Bar(self._steps.get(name, self._weights))
        return (number - 1 + self._bar.reach(_family(step["stage"]), fraction)) / count

    def _text(self, event: events.Progress, fraction: float, seconds: float) -> str:
        title = self._title(event.stage)
        if fraction <= 0.0 or fraction >= 1.0:
            # Also of stages that are one single step: "0 of 1 pictures" would tell nothing, the time does.
            return title if seconds < REMIND_S else f"{title}: {_duration(seconds)} so far"
        text = f"{title}: {100 * fraction:.0f} % of {_amount(event.total, event.unit)}"
        return text + (f", {_duration(event.eta_s)} left" if event.eta_s is not None else "")

    def _title(self, stage: str) -> str:
        step = _STEP.match(stage)
        if step is not None:  # the name of a member of a chain is the user's
            return f"{step['step']}: {self._title(step['stage'])}"
        return self._titles.get(stage, stage[:1].upper() + stage[1:].replace("-", " "))


class Bar:
    """How far a job is, over its stages.

    Args:
        weights: share of the whole that each stage is expected to take, in their order; only their ratios count.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights: Dict[str, float] = dict(weights)
        self._order: List[str] = list(weights)
        self._current: Optional[str] = None

    def reach(self, stage: str, fraction: float) -> float:
        """Share of the whole. A skipped stage counts as done once a later one has begun."""
        if stage != self._current:
            self._enter(stage)
        place = self._order.index(stage)
        done = sum(self._weights[name] for name in self._order[:place])
        return (done + self._weights[stage] * fraction) / sum(self._weights.values())

    def _enter(self, stage: str) -> None:
        """Makes room for a stage that was not foreseen: a small share, right after the stage before it."""
        if stage not in self._weights:
            place = 0 if self._current is None else self._order.index(self._current) + 1
            self._weights[stage] = 0.05 * sum(self._weights.values()) or 1.0
            self._order.insert(place, stage)
        self._current = stage


def _family(stage: str) -> str:
    """Stages that are one for the bar: "epoch 3/50" goes on where "epoch 2/50" was."""
    return re.sub(r" \d+/\d+$", "", stage)


def _moment(figure: events.Metric) -> Tuple[str, int]:
    return figure.kind, figure.number


def _number(value: Optional[float]) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _amount(number: float, unit: str) -> str:
    if unit == "px":
        return f"{number / 1e6:,.1f} Mpx"
    return f"{number:,.0f} {unit}".rstrip()


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
