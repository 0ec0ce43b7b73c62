"""From a method's statistic to a change probability that keeps the order of the pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def probability(statistic: Array, cut: float) -> Array:
    """The probability s / (s + s*): 0 at 0, exactly 0.5 at the cut, strictly increasing, 1 only in the limit.

    A cumulative distribution (the chi-square of IR-MAD, say) would be exactly 1 in float32 over half of a real
    scene and lose the order there; this ratio still tells 1000 s* from 1001 s*.

    Args:
        statistic: float32, >= 0 and finite.
        cut: s* > 0, the value at which a pixel counts as changed.

    Returns:
        float32 of the same shape, in [0, 1].
    """
    # One rounding for s* and everything else in float32 makes s == s* give s / 2s = 0.5 to the last bit.
    total: Array = statistic + np.float32(cut)
    np.divide(statistic, total, out=total)
    return total


def statistic_at(change_probability: float, cut: float) -> float:
    """The statistic that has this probability; the inverse of `probability` for 0 <= p < 1."""
    return cut * change_probability / (1.0 - change_probability)
