"""Change vector analysis: the length of the difference of the two dates' standardised bands."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdengine.events import Reporter
from cdengine.methods.statistic import PointwiseDetector, require_equal_bands, standardised
from cdengine.methods.survey import survey
from cdengine.methods.threshold import ThresholdMethod, automatic
from cdengine.raster.pair import PixelSource

Array = np.ndarray[Any, np.dtype[Any]]


class ChangeVectorAnalysis(PointwiseDetector):
    """s = ‖z_after − z_before‖, with z the bands of one date brought to mean 0 and variance 1 over the scene.

    Source: Malila 1980 (change vectors); Bruzzone and Fernández Prieto 2000 (automatic threshold of the magnitude).
    Standardising each date removes what gain and offset of sensor, sun and haze do to a whole scene.
    """

    name = "cva"

    def __init__(self, threshold_method: ThresholdMethod = "kittler-illingworth") -> None:
        super().__init__()
        self._method = threshold_method

    def _fit(self, source: PixelSource, reporter: Reporter) -> float:
        require_equal_bands(self.name, source)
        seen = survey(source, reporter)
        self._found = seen.statistics
        self._facts.update(threshold_method=self._method, sampled_pixels=seen.sampled)
        return automatic(self._in_chunks(seen.before, seen.after), self._method)

    def _pixels(self, before: Array, after: Array) -> Array:
        found = self._found
        change = standardised(after, found["after_mean"], found["after_std"])
        change -= standardised(before, found["before_mean"], found["before_std"])
        length: Array = np.einsum("cn,cn->n", change, change)
        return np.sqrt(length, out=length)
