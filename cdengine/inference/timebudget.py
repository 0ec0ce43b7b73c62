"""`--time-budget`: as many tiles with test-time augmentation as fit into the time left, the others without it.

`TimeBudgeted` stands between the runner and `Augmented`; `Pace` does its sums and sees no clock. Each tile is either
the full mean over all views or the plain prediction, whole: nothing is ever added up across that choice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdengine.events import Reporter
from cdengine.inference.augment import Augmented
from cdengine.raster.pair import PixelSource

Array = np.ndarray[Any, np.dtype[Any]]

RECENT = 0.3  # weight of the newest measurement in a rate: others on the machine come and go
SETTLED = 4  # calls of each thread from which on idle time is taken at its full measure
TOLERANCE = 0.02  # of the budget: an end so little behind it is no news
WRITTEN_PX_S = 20e6  # of each output; measured at 30 Mpx/s and more with nothing else running (`bench`)
ENDING_S = 1.0  # to check the inputs once more, close and rename files
PICTURE_S = 2.0  # for a quick look or a report


def reserve_s(pixels: int, outputs: Mapping[str, object], budget: float, *, cog: bool = False) -> float:
    """Seconds to set aside for writing, half of the budget at most.

    Args:
        pixels: of the rasters.
        outputs: names of the files that come out; see `inference.job.targets`.
        budget: seconds.
        cog: rasters are written twice.
    """
    pictures = len(outputs.keys() & {"quicklook", "report"})
    files = (len(outputs) - pictures) * (2 if cog else 1)
    return min(ENDING_S + PICTURE_S * pictures + files * pixels / WRITTEN_PX_S, budget / 2)


@dataclass(eq=False)
class Call:
    """One call of `predict` under way.

    Attributes:
        tiles: how many it has.
        began: when it came in.
        augmented: None until that is decided.
    """

    tiles: int
    began: float
    augmented: bool | None = None


class Pace:
    """How fast tiles go with and without augmentation, and whether the next ones can have it.

    All times are seconds of one clock, handed in by the caller. Rates are those of one thread; idle time of the
    threads (reading, blending, a row's end) is spread over the tiles and added to both.

    Attributes:
        threads: calls that run at a time.
        remaining: tiles for which nothing is decided yet; `skip` takes off those without a pixel to compute.
        plain: seconds of a thread for a tile without augmentation; None until measured.
        augmented: likewise with it; taken as `views` times `plain` until measured.
    """

    def __init__(self, views: int, deadline: float) -> None:
        """Starts without any measurement; `deadline`: when the last tile should be done."""
        self.threads, self.remaining = 1, 0
        self.plain: float | None = None
        self.augmented: float | None = None
        self._views, self.deadline = views, deadline
        self._under_way: list[Call] = []
        self._first: float | None = None
        self._busy = 0.0
        self._decided = 0
        self._calls = 0
        self._credit = 0.0

    def start(self, tiles: int, now: float) -> Call:
        """A call came in."""
        self._first = now if self._first is None else self._first
        call = Call(tiles, now)
        self._under_way.append(call)
        return call

    def measured(self, seconds: float, tiles: int, *, augmented: bool) -> None:
        """Notes how long a prediction of `tiles` tiles took."""
        name, each = ("augmented" if augmented else "plain"), seconds / tiles
        earlier = getattr(self, name)
        setattr(self, name, each if earlier is None else earlier + RECENT * (each - earlier))

    def decide(self, call: Call, now: float) -> bool:
        """Whether this call's tiles get augmentation; needs a measured `plain`.

        What can be afforded is spread evenly over the tiles to come, so that the time that reading and blending
        really take shows while it can still be answered, and no part of the raster is better off.
        """
        allowed = self.allowed(now)
        share = min(1.0, max(0.0, allowed / max(self.remaining, call.tiles)))
        self._credit = min(self._credit + share * call.tiles, 2.0 * call.tiles)
        call.augmented = allowed >= call.tiles and self._credit >= call.tiles - 1e-9
        self._credit -= call.tiles if call.augmented else 0
        self.remaining = max(0, self.remaining - call.tiles)
        self._decided += call.tiles
        self._calls += 1
        return call.augmented

    def finish(self, call: Call, now: float) -> None:
        """The call is done."""
        self._under_way.remove(call)
        self._busy += now - call.began

    def fail(self, call: Call, now: float) -> None:
        """The call came to nothing; its tiles come again."""
        self.finish(call, now)
        if call.augmented is not None:
            self.remaining += call.tiles
            self._decided -= call.tiles
            self._calls -= 1
            self._credit += call.tiles if call.augmented else 0

    def skip(self, tiles: int) -> None:
        """Some of the tiles announced need no computing."""
        self.remaining = max(0, self.remaining - tiles)

    def allowed(self, now: float) -> float:
        """Tiles that can have augmentation if all others go without; negative where time is short even so."""
        plain, augmented = self.rates(now)
        spare = self.deadline - self.end(now)
        if augmented <= plain:
            return float(self.remaining) if spare >= 0 else -1.0
        return spare / (augmented - plain)

    def end(self, now: float) -> float:
        """When the last tile is done if none to come has augmentation."""
        return now + self._left_under_way(now) + self.remaining * self.rates(now)[0]

    def rates(self, now: float) -> tuple[float, float]:
        """Seconds for a tile without and with augmentation, by the clock on the wall."""
        assert self.plain is not None
        idle = self._idle(now)
        return self.plain / self.threads + idle, self._with_views() / self.threads + idle

    def _with_views(self) -> float:
        assert self.plain is not None
        return self._views * self.plain if self.augmented is None else self.augmented

    def _idle(self, now: float) -> float:
        """Seconds a tile in which nothing was predicted; small numbers of tiles say little of it."""
        if self._first is None or not self._decided:
            return 0.0
        worked = self._busy + sum(now - call.began for call in self._under_way)
        idle = max(0.0, now - self._first - worked / self.threads)
        each = self._decided / self._calls
        return idle / max(self._decided, SETTLED * self.threads * each)

    def _left_under_way(self, now: float) -> float:
        """Seconds until what is being predicted is done, shared among the threads."""
        assert self.plain is not None
        cost = {True: self._with_views(), False: self.plain}
        left = (
            max(0.0, cost[call.augmented] * call.tiles - (now - call.began))
            for call in self._under_way
            if call.augmented is not None
        )
        return sum(left) / self.threads


class TimeBudgeted:
    """Test-time augmentation as far as the time goes; to the runner a detector like any other.

    The first calls also predict plainly, twice (the first prediction of a thread is slow), to know what a tile costs.
    Those predictions only count where the tiles then go without augmentation.

    Attributes:
        name, classes, margin, tile, batch, concurrency: of the detector inside.
    """

    def __init__(
        self,
        augmented: Augmented,
        budget: float,
        reporter: Reporter,
        *,
        began: float,
        reserve: float = 0.0,
        earlier: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wraps a prepared detector.

        Args:
            augmented: with the views.
            budget: seconds for the whole run.
            reporter: is told what the tiles get, and when the budget cannot be met.
            began: when the run began, by `clock`.
            reserve: seconds needed once the last tile is done.
            earlier: `counts()` of the interrupted run that is resumed.
            clock: seconds from any start.
        """
        self._augmented, self._plain = augmented, augmented.detector
        self._budget, self._began, self._reserve, self._clock = budget, began, reserve, clock
        self._reporter = reporter
        self._pace = Pace(augmented.views, began + budget - reserve)
        earlier = earlier or {}
        self._tiles, self._with = int(earlier.get("tiles", 0)), int(earlier.get("tta_tiles", 0))
        self._warned = self._told = False
        self._lock = threading.Lock()  # of all that is above; never held while something is predicted
        self.name, self.classes, self.margin = augmented.name, augmented.classes, augmented.margin
        for name in ("tile", "batch", "concurrency"):
            if hasattr(augmented, name):
                setattr(self, name, getattr(augmented, name))

    @property
    def threshold(self) -> float:
        """The detector's own."""
        return self._augmented.threshold

    def prepare(self, source: PixelSource, reporter: Reporter) -> None:
        """Prepares the detector."""
        self._augmented.prepare(source, reporter)

    def enter_thread(self, threads: int) -> None:
        """Tells the detector, if it wants to know."""
        self._augmented.enter_thread(threads)

    def expect(self, tiles: int, threads: int) -> None:
        """Called before the first tile: how many come at most, and how many calls run at a time."""
        with self._lock:
            self._pace.remaining, self._pace.threads = tiles, threads

    def skip(self, tiles: int) -> None:
        """Some of the tiles announced hold no pixel to compute."""
        with self._lock:
            self._pace.skip(tiles)

    def predict(self, before: Array, after: Array, valid: Array) -> Array:
        """The mean over the views, or the plain prediction, for all tiles; shapes as in `Detector.predict`."""
        with self._lock:
            call = self._pace.start(len(valid), self._clock())
            unmeasured = self._pace.plain is None
        try:
            plain = self._probe(before, after, valid) if unmeasured else None
            with self._lock:
                augmented = self._pace.decide(call, self._clock())
                self._warn_if_late()
            values = self._timed(augmented, before, after, valid) if augmented or plain is None else plain
        except BaseException:
            with self._lock:
                self._pace.fail(call, self._clock())
            raise
        with self._lock:
            self._pace.finish(call, self._clock())
            self._tiles += call.tiles
            self._with += call.tiles if augmented else 0
            self._tell_rates()
        return values

    def counts(self) -> dict[str, int]:
        """Tiles predicted so far, by interrupted runs too, and those of them with augmentation."""
        with self._lock:
            return {"tiles": self._tiles, "tta_tiles": self._with}

    def describe(self) -> dict[str, str | float]:
        """The detector's facts, the augmentation, the budget in seconds, and what it was enough for."""
        return {**self._augmented.describe(), "time_budget_s": self._budget, **self.counts()}

    def tell(self) -> None:
        """Logs how many tiles had augmentation."""
        self._reporter.info(
            f"test-time augmentation ({self._augmented.mode}): {self._with:,} of {self._tiles:,} tiles within "
            f"--time-budget {self._budget:g}"
        )

    def _probe(self, before: Array, after: Array, valid: Array) -> Array:
        self._plain.predict(before, after, valid)
        return self._timed(False, before, after, valid)

    def _timed(self, augmented: bool, before: Array, after: Array, valid: Array) -> Array:
        began = self._clock()
        values = (self._augmented if augmented else self._plain).predict(before, after, valid)
        with self._lock:
            self._pace.measured(self._clock() - began, len(valid), augmented=augmented)
        return values

    def _warn_if_late(self) -> None:
        """Once, as soon as the budget cannot be met whatever is left out."""
        end = self._pace.end(self._clock()) + self._reserve - self._began
        if self._warned or end <= self._budget * (1 + TOLERANCE):
            return
        self._warned = True
        self._reporter.warning(
            f"--time-budget {self._budget:g}: cannot be kept; without any further test-time augmentation the run takes "
            f"about {end:.0f} s in all; going on"
        )

    def _tell_rates(self) -> None:
        """Once, when both rates are known."""
        if self._told or self._pace.augmented is None:
            return
        self._told = True
        now = self._clock()
        plain, augmented = self._pace.rates(now)
        more = min(max(int(self._pace.allowed(now)), 0), self._pace.remaining)
        self._reporter.info(
            f"test-time augmentation: {augmented:.3g} s a tile, {plain:.3g} s without; about {more:,} of the "
            f"{self._pace.remaining:,} tiles to come can have it"
        )
