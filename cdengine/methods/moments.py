"""Means and covariances in one pass over the pixels, in float64 and without cancellation.

Every raster row is summed by itself and rows are merged in order, so the result does not depend on strip heights.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

PLAUSIBLE = 1e30  # no sensor measures this much: a fill value that nobody declared as nodata
_GROUP = 1 << 18  # values converted to float64 at a time (2 MB: stays in the cache)


class Moments:
    """Running count, mean and co-moment matrix of vectors with `size` components.

    Rows are merged with the pairwise update of Chan, Golub and LeVeque (1979): with d the difference of the two
    means, M = M_a + M_b + d dᵀ n_a n_b / (n_a + n_b).
    """

    def __init__(self, size: int, *, covariance: bool = True) -> None:
        self.count = 0
        self.mean = np.zeros(size)
        self._scatter = np.zeros((size, size) if covariance else size)

    def add(self, values: Array, usable: Array) -> None:
        """Takes rows of pixels.

        Args:
            values: (C, h, w), any real dtype; whatever is not usable may be NaN or infinite.
            usable: (h, w) bool.
        """
        _, height, width = values.shape
        step = max(1, _GROUP // max(1, width * len(self.mean)))
        for top in range(0, height, step):
            self._add_rows(values[:, top : top + step], usable[top : top + step])

    def covariance(self) -> Array:
        """(C, C), divided by the count; zeros before anything was added. Only if it was asked for at the start."""
        assert self._scatter.ndim == 2, "made with covariance=False"
        return self._scatter / max(self.count, 1)

    def std(self) -> Array:
        """(C,), square roots of the variances."""
        scatter = self._scatter if self._scatter.ndim == 1 else np.diagonal(self._scatter)
        return np.asarray(np.sqrt(scatter / max(self.count, 1)))

    def _add_rows(self, values: Array, usable: Array) -> None:
        full = bool(usable.all())
        exact = (values if full else np.where(usable, values, 0)).astype(np.float64)
        counts = usable.sum(axis=1)
        means = exact.sum(axis=2) / np.maximum(counts, 1)  # (C, h)
        exact -= means[:, :, None]
        if not full:
            exact *= usable
        if self._scatter.ndim == 1:
            scatters = np.einsum("chw,chw->hc", exact, exact)
        else:
            rows = exact.transpose(1, 0, 2)
            scatters = rows @ rows.transpose(0, 2, 1)  # one (C, C) a row
        for index in np.flatnonzero(counts):
            self._merge(int(counts[index]), means[:, index], scatters[index])

    def _merge(self, count: int, mean: Array, scatter: Array) -> None:
        total = self.count + count
        shift = mean - self.mean
        self._scatter += scatter
        square = shift**2 if self._scatter.ndim == 1 else np.outer(shift, shift)
        self._scatter += square * (self.count * count / total)
        self.mean = self.mean + shift * (count / total)
        self.count = total


def plausible(valid: Array, *dates: Array) -> Array:
    """Valid pixels whose values may enter statistics.

    Args:
        valid: (h, w) bool.
        dates: arrays (C, h, w); only floating ones are looked at, whole numbers always are plausible.

    Returns:
        (h, w) bool: valid, and every band below `PLAUSIBLE` in magnitude.
    """
    usable = valid
    for values in dates:
        if values.dtype.kind == "f":
            for band in values:
                usable = usable & (np.abs(band) < PLAUSIBLE)
    return usable
