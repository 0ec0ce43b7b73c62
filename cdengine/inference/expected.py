"""Whether a pair is what a model was trained on: other bands are an error, other values or pixel sizes a warning."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from cdengine.errors import BandsError
from cdengine.events import Reporter
from cdengine.inference.value_range import range_fault
from cdengine.models.card import DateInput, ModelCard
from cdengine.raster.pair import PixelSource, SourceInfo

Array = np.ndarray[Any, np.dtype[Any]]

FAR_PIXELS = 4.0  # times larger or smaller than the training pixels; what a network knows are sizes in pixels


class ExpectedInputs:
    """Watches what a model is given. `look` may be called from several threads."""

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._unchecked = {"before": card.before, "after": card.after}
        self._uris: dict[str, str] = {}
        self._reporter = Reporter()
        self._lock = threading.Lock()

    def begin(self, source: PixelSource, reporter: Reporter) -> None:
        """Checks the bands of both dates, and warns of pixels much larger or smaller than the model knows.

        Raises:
            BandsError: a date has another number of bands than the model takes.
        """
        card = self._card
        _check_bands(source.before, card.before, card.name, "before")
        _check_bands(source.after, card.after, card.name, "after")
        for info, expected in ((source.before, card.before), (source.after, card.after)):
            known = expected.ground_sample_distance
            # NaN compares as False: where a size is unknown, there is nothing to tell
            if known is not None and max(info.pixel_m / known, known / info.pixel_m) >= FAR_PIXELS:
                reporter.warning(
                    f"{info.uri}: pixels of {info.pixel_m:.3g} m, but {card.name} was trained on pixels of about "
                    f"{known:g} m: it may find little or nonsense; irmad and cva work at any pixel size"
                )
                break  # the other date is on the same grid
        self._reporter = reporter
        self._uris = {"before": source.before.uri, "after": source.after.uri}

    def look(self, before: Array, after: Array, valid: Array) -> None:
        """Warns once per date, on the first batch that is not blank; arrays as in `Detector.predict`."""
        for date, values in (("before", before), ("after", after)):
            with self._lock:
                expected = self._unchecked.get(date)
                fault = None if expected is None else range_fault(values, valid, expected)
                if fault is not None:
                    self._unchecked.pop(date, None)
            if fault:
                self._reporter.warning(
                    f"{self._uris.get(date, date)}: {fault}: {self._card.name} may find nonsense; check bands and units"
                )


def _check_bands(info: SourceInfo, expected: DateInput, model: str, date: str) -> None:
    if info.count == expected.count:
        return
    given = ", ".join(
        f"{number}" + (f" {name}" if name else "") for number, name in zip(info.bands, info.names, strict=True)
    )
    raise BandsError(
        f"{info.uri}: has {info.count} selected bands ({given}), but {model} takes {expected.count} "
        f"({', '.join(expected.bands)}): choose them with --bands-{date}"
    )
