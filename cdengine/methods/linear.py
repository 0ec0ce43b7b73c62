"""Statistics that are the length of linear variates of both dates' bands: what IR-MAD and SFA end up with."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from cdengine.events import Reporter
from cdengine.methods.reweight import Solver, Variates, WeightedMoments, iterate, standardised_sample, weighted_moments
from cdengine.methods.statistic import PointwiseDetector, standardised
from cdengine.methods.survey import Survey, survey
from cdengine.methods.threshold import ThresholdMethod, automatic
from cdengine.raster.pair import PixelSource

Array = np.ndarray[Any, np.dtype[Any]]

# Matrix products below this many multiplications run on one thread of OpenBLAS, whatever the machine: prediction is
# called from several threads already, and the same sum order gives the same pixels.
_PRODUCT = 1 << 18
_LEAST_PIXELS = 2  # times the number of bands of both dates: fewer pixels are explained perfectly by chance
_LISTED = 12  # correlations or eigenvalues in the tags


class VariateDetector(PointwiseDetector):
    """s = ‖variates‖, the variates found by iterative reweighting.

    In `_found`, variates are float32 A (z_before − z_after) + R z_after + offset with R = A + B; `first` (k, C1) is A,
    `second` is R, or B (k, C2), `offset` (k, 1). Dates that are alike have B ≈ −A. Written this way, identical dates
    differ by nothing, and nearly identical ones not by the rounding of two large products. With different band
    numbers A and B act on one date each.
    """

    indicator: str  # what the variates' indicator is called in the output's tags

    def __init__(self, threshold_method: ThresholdMethod = "kittler-illingworth") -> None:
        super().__init__()
        self._method = threshold_method

    @abstractmethod
    def _eigenproblem(self, bands: int, first: WeightedMoments) -> Solver:
        """How to get variates from weighted moments.

        Args:
            bands: number of BEFORE's bands, the first ones.
            first: the moments with equal weights.
        """

    def _least_cut(self, variates: int) -> float:
        """The smallest threshold that makes sense for this many variates."""
        return 0.0

    def _fit(self, source: PixelSource, reporter: Reporter) -> float:
        found = survey(source, reporter)
        bands = source.before.count, source.after.count
        variates, iterations = self._solve(found, bands, reporter)
        matrix = variates.matrix
        first, second = matrix[:, : bands[0]], matrix[:, bands[0] :]
        if bands[0] == bands[1]:
            second = first + second
        parts = (part.astype(np.float32) for part in (first, second, variates.offset[:, None]))
        self._found = found.statistics | dict(zip(("first", "second", "offset"), parts, strict=True))
        self._facts.update(
            threshold_method=self._method,
            sampled_pixels=found.sampled,
            iterations=iterations,
            **{self.indicator: _listed(variates.indicator)},
        )
        cut = automatic(self._in_chunks(found.before, found.after), self._method)
        return max(cut, self._least_cut(len(variates.offset)))

    def _solve(self, found: Survey, bands: tuple[int, int], reporter: Reporter) -> tuple[Variates, int]:
        least = _LEAST_PIXELS * sum(bands) + 2
        if found.sampled < least:
            reporter.warning(
                f"{self.name}: {found.sampled} valid pixels are too few for statistics of {sum(bands)} bands "
                f"(at least {least}): no change is found"
            )
            return Variates(np.zeros((0, sum(bands))), np.zeros(0), np.zeros(0)), 0
        chunks = standardised_sample(found)
        first = weighted_moments(chunks, reporter)
        return iterate(chunks, first, self._eigenproblem(bands[0], first), self.name, reporter)

    def _pixels(self, before: Array, after: Array) -> Array:
        found = self._found
        one = standardised(before, found["before_mean"], found["before_std"])
        two = standardised(after, found["after_mean"], found["after_std"])
        if len(one) == len(two):
            one -= two
        step = max(256, _PRODUCT // max(1, found["first"].size, found["second"].size))
        result = np.empty(one.shape[1], np.float32)
        # A wild value times a large coefficient may leave float32; NaN is what invalid pixels may hold.
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, result.size, step):
                part = slice(start, start + step)
                variates = found["first"] @ one[:, part]
                variates += found["second"] @ two[:, part]
                variates += found["offset"]
                np.einsum("kn,kn->n", variates, variates, out=result[part])
        np.minimum(result, np.finfo(np.float32).max, out=result)
        return np.sqrt(result, out=result)


def _listed(values: Array) -> str:
    """For a tag: the first dozen, which is all of a multispectral pair."""
    return " ".join([f"{value:.4f}" for value in values[:_LISTED]] + ["…"] * (len(values) > _LISTED))
