"""Principal components of neighbourhoods and two clusters (PCA-k-means)."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdengine.events import Reporter
from cdengine.methods.moments import Moments, plausible
from cdengine.methods.neighbourhood import box_sum, box_weight, correlate, patches
from cdengine.methods.sample import PixelSample, blocks, core_window, sample_size
from cdengine.methods.statistic import StatisticDetector, require_equal_bands, standardised
from cdengine.methods.threshold import automatic
from cdengine.raster.grid import Window
from cdengine.raster.pair import PixelSource

Array = np.ndarray[Any, np.dtype[Any]]

_EXPLAINED = 0.9  # share of the variance that the kept components explain (Celik 2009, section II)
_MAX_ITERATIONS = 200


class PCAKMeans(StatisticDetector):
    """s = how far a pixel's neighbourhood lies towards the changed one of two clusters.

    Celik's feature of a pixel is its h × h neighbourhood in the difference image, projected on the eigenvectors of
    non-overlapping h × h blocks; k-means with k = 2 splits the features. Which of two centres is nearer depends on
    the side of a plane, and the position across that plane is one linear filter of the difference image:
    s = Σ fᵢⱼ Dᵢⱼ with f = E Eᵀ (m₁ − m₀), m₀ and m₁ the mean neighbourhoods of the clusters, and s* in the middle
    between them. So the decision is exactly Celik's, and grades beyond it keep the order of change.

    D is the magnitude of the change vector of standardised bands, which carries Celik's |X₂ − X₁| to many bands.

    Source: Celik 2009.
    """

    name = "pca-kmeans"

    def __init__(self, size: int = 5) -> None:
        super().__init__()
        if size < 3 or size % 2 == 0:
            raise ValueError(f"size {size}: an odd number of pixels, 3 or more, is needed for a centred neighbourhood")
        # Half a window for the filter, and as much again for holes: they are filled from their neighbours.
        self.margin = 2 * (size // 2)
        self._size = size

    def _fit(self, source: PixelSource, reporter: Reporter) -> float:
        require_equal_bands(self.name, source)
        before, after = Moments(source.before.count, covariance=False), Moments(source.after.count, covariance=False)
        tiling = Moments(self._size**2)
        sample = PixelSample(sample_size(8 * self._size**2))
        with reporter.stage("statistics", 2 * source.window.pixels, "px") as stage:
            for block, _ in blocks(source, stage):
                usable = plausible(block.valid, block.before, block.after)
                before.add(block.before, usable)
                after.add(block.after, usable)
            self._found = {"before_mean": before.mean, "before_std": before.std()}
            self._found |= {"after_mean": after.mean, "after_std": after.std()}
            for block, core in blocks(source, stage, halo=self.margin):
                usable = plausible(block.valid, block.before, block.after)
                difference = self._difference(block.before, block.after, usable)
                neighbours = patches(difference, self._size)[:, core]
                window = core_window(block.window, core)
                sample.add(window, usable[core], neighbours)
                rows, cols = _block_centres(window, self._size)
                tiling.add(neighbours[:, rows, cols], usable[core][rows, cols])
        columns = sample.arrays()
        vectors = columns[0].astype(np.float64) if columns else np.zeros((self._size**2, 0))
        return self._cluster(vectors, tiling, reporter)

    def _cluster(self, vectors: Array, tiling: Moments, reporter: Reporter) -> float:
        """k-means of the sampled neighbourhoods (h², n); sets the filter and returns s*."""
        enough = tiling.count > len(vectors)
        components = _components(tiling.covariance() if enough else _covariance(vectors))
        changed, iterations = _two_means(components.T @ vectors, vectors.sum(axis=0), reporter)
        self._facts.update(
            threshold_method="k-means",
            sampled_pixels=vectors.shape[1],
            components=components.shape[1],
            iterations=iterations,
        )
        if not changed.any():
            self._found["kernel"] = np.zeros((self._size, self._size))
            return 1.0
        unchanged_mean, changed_mean = vectors[:, ~changed].mean(axis=1), vectors[:, changed].mean(axis=1)
        kernel = components @ (components.T @ (changed_mean - unchanged_mean))
        kernel /= np.abs(kernel).sum()  # s in units of D
        self._found["kernel"] = kernel.reshape(self._size, self._size)
        return float(kernel @ (unchanged_mean + changed_mean) / 2)

    def _statistic(self, before: Array, after: Array, valid: Array) -> Array:
        usable = plausible(valid, before, after)
        statistic = correlate(self._difference(before, after, usable), self._found["kernel"])
        return np.maximum(statistic, 0, out=statistic)

    def _difference(self, before: Array, after: Array, valid: Array) -> Array:
        """D as float32 (H, W), holes filled with the mean of valid neighbours, so that no edge arises there."""
        square = np.zeros(valid.shape, np.float32)
        names = ("before_mean", "before_std", "after_mean", "after_std")
        before_mean, before_std, after_mean, after_std = (self._found[name] for name in names)
        for band in range(len(before)):
            one = slice(band, band + 1)
            change = standardised(after[one], after_mean[one], after_std[one])[0]
            change -= standardised(before[one], before_mean[one], before_std[one])[0]
            change *= change
            square += change
        if not valid.all():
            square[~valid] = 0
            magnitude = np.sqrt(square)
            around = box_sum(magnitude, self._size) * box_weight(valid, self._size)
            return np.where(valid, magnitude, around)
        return np.sqrt(square, out=square)


def _block_centres(window: Window, size: int) -> tuple[slice, slice]:
    """Where in the window the blocks have their centres that tile the grid from its first pixel."""
    first = size // 2
    return slice((first - window.row) % size, None, size), slice((first - window.col) % size, None, size)


def _covariance(vectors: Array) -> Array:
    return np.cov(vectors, bias=True) if vectors.shape[1] else np.zeros((len(vectors), len(vectors)))


def _components(covariance: Array) -> Array:
    """(h², k): the leading eigenvectors that explain the wanted share of the variance."""
    variances, directions = np.linalg.eigh(covariance)
    explained = np.cumsum(variances[::-1])
    count = int(np.searchsorted(explained, _EXPLAINED * explained[-1])) + 1
    return directions[:, ::-1][:, :count]


def _two_means(features: Array, brightness: Array, reporter: Reporter) -> tuple[Array, int]:
    """Two clusters by Lloyd's iterations.

    Starts from Otsu's split of the neighbourhoods' sums, which is the best pair of clusters in one dimension, so
    that no random start is needed.

    Args:
        features: (k, n).
        brightness: (n,), sums of the neighbourhoods; the cluster with the larger mean is the changed one.
        reporter: gets a stage of iterations.

    Returns:
        (n,) bool, and the number of iterations. All False if there is one cluster only.
    """
    changed = brightness >= automatic(brightness, "otsu")
    iteration = 0
    with reporter.stage("pca-kmeans iterations", _MAX_ITERATIONS, "iterations") as stage:
        for iteration in range(1, _MAX_ITERATIONS + 1):
            if changed.all() or not changed.any():
                return np.zeros(len(changed), bool), iteration
            centres = features[:, ~changed].mean(axis=1), features[:, changed].mean(axis=1)
            normal, middle = centres[1] - centres[0], (centres[1] + centres[0]) / 2
            previous, changed = changed, normal @ features > normal @ middle
            stage.advance()
            if np.array_equal(previous, changed):
                break
    return changed, iteration
