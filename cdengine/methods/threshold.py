"""Automatic thresholds of a change statistic: Otsu (1979), and Kittler and Illingworth (1986), on histograms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from cdengine.errors import UsageError

Array = np.ndarray[Any, np.dtype[Any]]
ThresholdMethod = Literal["kittler-illingworth", "otsu"]

BINS = 1024
_TOP = 0.999  # the histogram ends here: a few wild values must not squeeze all others into one bin
_TIE = 1e-7  # criteria that differ by less differ by rounding


def automatic(statistic: Array, method: ThresholdMethod) -> float:
    """A threshold for a sample of a change statistic.

    The histogram reaches from 0 to the 99.9th percentile; what lies above counts in its last bin. Where the method
    finds one class only, the histogram's end is the threshold: of pure noise at most 0.1 % is then called change.

    Args:
        statistic: (n,), >= 0, finite, in any order.
        method: "kittler-illingworth" or "otsu".

    Returns:
        s* > 0. More than every value if all are equal (identical or constant images: nothing has changed).

    Raises:
        UsageError: unknown method.
    """
    if method not in _METHODS:
        raise UsageError(f"threshold method {method!r} is unknown: use one of {', '.join(_METHODS)}")
    if not statistic.size or not statistic.max() > statistic.min():
        return 2.0 * float(statistic.max()) + 1.0 if statistic.size else 1.0
    top = float(np.quantile(statistic, _TOP, method="higher"))
    if top <= statistic.min():  # less than 0.1 % differ from the rest, which is all alike
        top = float(statistic.max())
    # In float64, which the edges then have too: variances within a bin are lost in float32.
    counts, edges = np.histogram(np.minimum(statistic, top).astype(np.float64), BINS, (0.0, top))
    return min(_METHODS[method](counts, edges), top)


def otsu(counts: Array, edges: Array) -> float:
    """The border between bins that maximises the variance between the two classes.

    σ_B²(k) = (μ_T ω(k) − μ(k))² / (ω(k) (1 − ω(k))), Otsu 1979, eq. 18, with the bins' centres as grey levels. Where
    several borders are equally good (empty bins between the classes) their middle is taken.

    Args:
        counts: (n,) pixels in each bin.
        edges: (n + 1,) increasing.

    Returns:
        The threshold; infinite if fewer than two bins are occupied.
    """
    below, above, mean_below, mean_above, _, _ = _classes(counts, edges)
    split = (below > 0) & (above > 0)
    if not split.any():
        return float("inf")
    between = np.where(split, below * above * (mean_above - mean_below) ** 2, -1.0)
    return _middle(between >= between.max() * (1 - 1e-12), edges)


def kittler_illingworth(counts: Array, edges: Array) -> float:
    """The border of least classification error if both classes were normal.

    J(T) = 1 + 2 (P₁ ln σ₁ + P₂ ln σ₂) − 2 (P₁ ln P₁ + P₂ ln P₂), Kittler and Illingworth 1986, eq. 15. A class in
    one bin has the variance of a uniform distribution over that bin, w² / 12, so that J stays finite. Only inner
    minima count: at the ends of the histogram J falls although there is no second class (ibid., section 4). The
    lower end is none if most pixels lie in that one bin: then the unchanged ones are all alike.

    Args:
        counts: (n,) pixels in each bin.
        edges: (n + 1,) increasing.

    Returns:
        The threshold; infinite if J has no inner minimum, which says that the statistic has one mode.
    """
    below, above, _, _, variance_below, variance_above = _classes(counts, edges)
    split = (below > 0) & (above > 0)
    if not split.any():
        return float("inf")
    floor = np.diff(edges)[:-1] ** 2 / 12
    p1, p2 = np.where(split, below, 0.5), np.where(split, above, 0.5)
    error = 1 + p1 * np.log(variance_below + floor) + p2 * np.log(variance_above + floor)
    error -= 2 * (p1 * np.log(p1) + p2 * np.log(p2))
    error = np.where(split, error, np.inf)
    first, last = np.flatnonzero(split)[[0, -1]]
    lowest = error.min()
    at_end = error[[first, last]] <= lowest + _TIE
    if at_end.any() and not (at_end[0] and below[first] >= 0.5):
        return float("inf")
    return _middle(error <= lowest + _TIE, edges)


_METHODS: dict[str, Callable[[Array, Array], float]] = {"kittler-illingworth": kittler_illingworth, "otsu": otsu}


def _classes(counts: Array, edges: Array) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Shares, means and variances of both classes for each inner border."""
    shares = np.asarray(counts, np.float64) / max(float(np.sum(counts)), 1.0)
    centres = (edges[:-1] + edges[1:]) / 2
    halves = []
    for order in (slice(None), slice(None, None, -1)):
        share = np.cumsum(shares[order])[:-1]
        safe = np.maximum(share, 1e-300)
        mean = np.cumsum((shares * centres)[order])[:-1] / safe
        square = np.cumsum((shares * centres**2)[order])[:-1] / safe
        halves.append((share[order], mean[order], np.maximum(square - mean**2, 0)[order]))
    (below, mean_below, variance_below), (above, mean_above, variance_above) = halves
    return below, above, mean_below, mean_above, variance_below, variance_above


def _middle(best: Array, edges: Array) -> float:
    first = int(np.argmax(best))
    length = int(np.argmin(np.append(best[first:], False)))
    return float((edges[1 + first] + edges[first + length]) / 2)
