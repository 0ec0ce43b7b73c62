"""The first pass of the pixelwise methods: exact band statistics of both dates and a sample, from one reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cdengine.events import Reporter
from cdengine.methods.moments import Moments, plausible
from cdengine.methods.sample import PixelSample, blocks, sample_size
from cdengine.raster.pair import PixelSource

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Survey:
    """What one pass found.

    Attributes:
        pixels: usable pixels of the whole pair.
        before_mean, before_std, after_mean, after_std: (C,), exact over all usable pixels.
        before, after: (C, n), the sampled pixels in stored dtype.
    """

    pixels: int
    before_mean: Array
    before_std: Array
    after_mean: Array
    after_std: Array
    before: Array
    after: Array

    @property
    def statistics(self) -> dict[str, Array]:
        """Means and standard deviations by name."""
        names = ("before_mean", "before_std", "after_mean", "after_std")
        return {name: getattr(self, name) for name in names}

    @property
    def sampled(self) -> int:
        """Number of sampled pixels."""
        return int(self.before.shape[1])


def survey(source: PixelSource, reporter: Reporter) -> Survey:
    """Reads the pair once, in the stage "statistics"."""
    counts = source.before.count, source.after.count
    before, after = Moments(counts[0], covariance=False), Moments(counts[1], covariance=False)
    sample = PixelSample(sample_size(sum(counts)))
    with reporter.stage("statistics", source.window.pixels, "px") as stage:
        for block, _ in blocks(source, stage):
            usable = plausible(block.valid, block.before, block.after)
            before.add(block.before, usable)
            after.add(block.after, usable)
            sample.add(block.window, usable, block.before, block.after)
    columns = sample.arrays() or [np.empty((count, 0)) for count in counts]
    return Survey(before.count, before.mean, before.std(), after.mean, after.std(), columns[0], columns[1])
