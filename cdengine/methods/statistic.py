"""What all training-free detectors share: a statistic s >= 0, its automatic threshold, and the probability.

A method says how it fits itself to a pair (`_fit`) and how it computes s (`_statistic`); everything that the
`Detector` protocol asks for is here.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from cdengine.errors import BandsError
from cdengine.events import Reporter
from cdengine.methods.calibration import probability
from cdengine.raster.pair import PixelSource

Array = np.ndarray[Any, np.dtype[Any]]

# Standardised values beyond this many standard deviations are cut off, so that squares and projections of wild
# values (1e38 in a band that nobody declared as nodata) stay finite in float32.
_WILD = 1e6
_CHUNK = 1 << 14  # pixels computed at a time: temporaries stay in the cache
_SMALL = ("u1", "i1", "u2", "i2", "f2", "f4")  # exact in float32


class StatisticDetector(ABC):
    """A training-free detector: fits to the pair in `prepare`, then gives s / (s + s*) in `predict`.

    Attributes are those of `inference.detector.Detector`. `predict` only reads, and may be called from many threads.
    What `_fit` finds lies in `_found`, arrays by name, so that an interrupted run can take it up again.
    """

    name: str
    margin: int = 0

    def __init__(self) -> None:
        self.classes: tuple[str, ...] = ()
        self.threshold = 0.5
        self._cut = 1.0
        self._facts: dict[str, str | float] = {}
        self._found: dict[str, Array] = {}

    def prepare(self, source: PixelSource, reporter: Reporter) -> None:
        """Fits the method to the pair and finds the threshold of its statistic."""
        self._facts = {}
        # As float32, in which predict works; a normal number, so that 0 / (0 + s*) is 0.
        self._cut = float(np.float32(max(self._fit(source, reporter), 1e-30)))
        self._facts["statistic_threshold"] = self._cut

    def predict(self, before: Array, after: Array, valid: Array) -> Array:
        """float32 (B, 1, H, W) in [0, 1]: s / (s + s*), and 0 where a pixel is not valid."""
        result = np.empty((len(valid), 1, *valid.shape[1:]), np.float32)
        for index in range(len(valid)):
            statistic = self._statistic(before[index], after[index], valid[index])
            result[index, 0] = np.where(valid[index], probability(statistic, self._cut), 0)
        return result

    def describe(self) -> dict[str, str | float]:
        """The threshold s*, how it was found, and what the fit says of itself."""
        return dict(self._facts)

    def state(self) -> dict[str, Array]:
        """All that `prepare` found, as arrays."""
        return {**self._found, "cut": np.array(self._cut), "facts": np.array(json.dumps(self._facts))}

    def restore(self, state: dict[str, Array]) -> None:
        """Takes up what `state` gave, in place of `prepare`."""
        self._found = {name: value for name, value in state.items() if name not in ("cut", "facts")}
        self._cut, self._facts = float(state["cut"]), json.loads(str(state["facts"]))

    @abstractmethod
    def _fit(self, source: PixelSource, reporter: Reporter) -> float:
        """Looks at the pair and returns s* > 0."""

    @abstractmethod
    def _statistic(self, before: Array, after: Array, valid: Array) -> Array:
        """The statistic, float32 (H, W), for bands (C, H, W); anything, NaN included, where not valid."""


class PointwiseDetector(StatisticDetector):
    """A statistic of the pixel's own bands: no margin, and pixels may come in any shape."""

    @abstractmethod
    def _pixels(self, before: Array, after: Array) -> Array:
        """The statistic, float32 (n,), for bands (C, n)."""

    def _statistic(self, before: Array, after: Array, valid: Array) -> Array:
        flat = self._in_chunks(before.reshape(len(before), -1), after.reshape(len(after), -1))
        shaped: Array = flat.reshape(valid.shape)
        return shaped

    def _in_chunks(self, before: Array, after: Array) -> Array:
        result = np.empty(before.shape[1], np.float32)
        for start in range(0, result.size, _CHUNK):
            chunk = slice(start, start + _CHUNK)
            result[chunk] = self._pixels(before[:, chunk], after[:, chunk])
        return result


def standardised(values: Array, mean: Array, std: Array) -> Array:
    """(values − mean) / std per band, 0 for a band without variance, cut off far outside.

    Args:
        values: (C, …), any real dtype.
        mean: (C,).
        std: (C,).

    Returns:
        float32, same shape; NaN where the value is.
    """
    shape = (len(values),) + (1,) * (values.ndim - 1)
    scale = np.divide(1.0, std, out=np.zeros(len(std)), where=std > 0)
    wide = np.float32 if values.dtype.str[1:] in _SMALL else np.float64
    # Overflow and NaN come from values that are not valid or are cut off below.
    with np.errstate(over="ignore", invalid="ignore"):
        result = values.astype(wide)
        result -= mean.astype(wide).reshape(shape)
        result *= np.minimum(scale, np.finfo(np.float32).max).astype(wide).reshape(shape)
        if values.dtype.kind == "f":
            np.clip(result, -_WILD, _WILD, out=result)
    return result.astype(np.float32, copy=False)


def require_equal_bands(name: str, source: PixelSource) -> None:
    """Both dates must have the same number of bands.

    Raises:
        BandsError: they have not.
    """
    if source.before.count != source.after.count:
        raise BandsError(
            f"{name} compares band with band, but {source.before.uri} has {source.before.count} and {source.after.uri} "
            f"has {source.after.count} bands: choose equally many with --bands-before and --bands-after, or use irmad"
        )
