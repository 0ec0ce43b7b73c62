"""Log-ratio of local means, for synthetic aperture radar."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdengine.events import Reporter
from cdengine.methods.moments import plausible
from cdengine.methods.neighbourhood import box_sum, box_weight
from cdengine.methods.sample import PixelSample, blocks, core_window, sample_size
from cdengine.methods.statistic import StatisticDetector, require_equal_bands
from cdengine.methods.threshold import ThresholdMethod, automatic
from cdengine.raster.pair import PixelSource

Array = np.ndarray[Any, np.dtype[Any]]

_EPSILON = 0.01  # of the mean brightness: keeps shadow and calm water, near 0 in both dates, from being all ratios
_MANY = 0.5  # dark or negative pixels that let suspect decibels


class LogRatio(StatisticDetector):
    """s = |log((m_after + ε) / (m_before + ε))|, m the mean of a window; over several bands the root mean square.

    Speckle multiplies, so that differences grow with brightness and ratios do not. The mean of a window is the
    maximum-likelihood estimate of the mean intensity under fully developed speckle. Works on amplitude and
    intensity alike (the logarithm of one is half that of the other); not on decibels, which are logarithms already.
    Values below 0 count as 0.

    Source: Bazi, Bruzzone and Melgani 2005; Rignot and van Zyl 1993.
    """

    name = "log-ratio"

    def __init__(self, window: int = 5, threshold_method: ThresholdMethod = "kittler-illingworth") -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise ValueError(f"window {window}: an odd number of pixels, 1 or more, is needed")
        self.margin = window // 2
        self._window = window
        self._method = threshold_method

    def _fit(self, source: PixelSource, reporter: Reporter) -> float:
        require_equal_bands(self.name, source)
        count = source.before.count
        sample = PixelSample(sample_size(4 * count))
        pixels = dark = 0
        with reporter.stage("statistics", source.window.pixels, "px") as stage:
            for block, core in blocks(source, stage, halo=self.margin):
                usable = plausible(block.valid, block.before, block.after)
                before, after = self._smooth(usable, block.before, block.after)
                sample.add(core_window(block.window, core), usable[core], before[:, core], after[:, core])
                pixels += int(usable[core].sum())
                dark += int((usable & (block.before <= 0).any(axis=0))[core].sum())
        if dark > _MANY * max(pixels, 1):
            reporter.warning(
                f"log-ratio: {dark / pixels:.0%} of the pixels of {source.before.uri} are 0 or negative; "
                "it needs amplitude or intensity (convert decibels with 10^(dB/10))"
            )
        before, after = sample.arrays() or [np.zeros((count, 0), np.float32)] * 2
        brightness = (before + after).sum(axis=1, dtype=np.float64) / max(2 * before.shape[1], 1)
        self._found = {"epsilon": np.maximum(_EPSILON * brightness, 1e-30).astype(np.float32)[:, None]}
        self._facts.update(threshold_method=self._method, sampled_pixels=before.shape[1], window=self._window)
        return automatic(self._ratio(before, after), self._method)

    def _statistic(self, before: Array, after: Array, valid: Array) -> Array:
        smooth = self._smooth(plausible(valid, before, after), before, after)
        shaped: Array = self._ratio(*(means.reshape(len(means), -1) for means in smooth)).reshape(valid.shape)
        return shaped

    def _smooth(self, valid: Array, *dates: Array) -> list[Array]:
        """(C, H, W) float32 for each date: means over the valid pixels of a window, negative values taken as 0."""
        weight = box_weight(valid, self._window)
        result = []
        for values in dates:
            means = np.empty(values.shape, np.float32)
            for index, band in enumerate(values):
                clean = np.maximum(np.where(valid, band, 0).astype(np.float32), 0)
                np.multiply(box_sum(clean, self._window), weight, out=means[index])
            result.append(means)
        return result

    def _ratio(self, before: Array, after: Array) -> Array:
        """(n,) float32 from smoothed (C, n)."""
        # Not the logarithm of the quotient: that may overflow.
        ratio: Array = np.log(after + self._found["epsilon"]) - np.log(before + self._found["epsilon"])
        statistic: Array = np.sqrt(np.einsum("cn,cn->n", ratio, ratio) / np.float32(len(ratio)))
        return statistic
