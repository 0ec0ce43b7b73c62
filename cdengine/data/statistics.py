"""Mean, deviation and range of each band over a training list, streamed: one image at a time, valid pixels only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdengine.data.images import Bands, read_bands, read_image
from cdengine.data.layouts import PairFiles
from cdengine.errors import BandsError, NothingToEstimateError
from cdengine.events import Reporter
from cdengine.models.card import DateInput

Array = np.ndarray[Any, np.dtype[Any]]


class Moments:
    """Count, mean and squared deviations per band, merged pairwise so that no sum grows without bound.

    Source: Chan, Golub, LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
    """

    def __init__(self, bands: int) -> None:
        self.count = 0
        self.mean = np.zeros(bands)
        self.squares = np.zeros(bands)
        self.low = np.full(bands, np.inf)
        self.high = np.full(bands, -np.inf)

    def add(self, pixels: Array) -> None:
        """Takes pixels (C, n)."""
        if pixels.shape[1] == 0:
            return
        part = Moments(len(pixels))
        part.count = pixels.shape[1]
        for band, values in enumerate(pixels):  # a band at a time: double precision of one band is memory enough
            exact = values.astype(np.float64)
            part.mean[band] = exact.mean()
            exact -= part.mean[band]
            part.squares[band] = np.dot(exact, exact)
        part.low, part.high = pixels.min(axis=1).astype(np.float64), pixels.max(axis=1).astype(np.float64)
        self.merge(part)

    def merge(self, other: Moments) -> None:
        """Takes what another one gathered."""
        if other.count == 0:
            return
        total = self.count + other.count
        step = other.mean - self.mean
        self.squares = self.squares + other.squares + step**2 * (self.count * other.count / total)
        self.mean = self.mean + step * (other.count / total)
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        self.count = total

    @property
    def std(self) -> Array:
        """Standard deviation of the population, (C,)."""
        return np.asarray(np.sqrt(self.squares / max(1, self.count)))


@dataclass(frozen=True)
class DateStatistics:
    """One date's statistics in stored units.

    Attributes:
        bands: names.
        dtype: stored type of the first image.
        count: valid pixels.
        mean, std, low, high: per band.
    """

    bands: tuple[str, ...]
    dtype: np.dtype[Any]
    count: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def value_range(self) -> tuple[tuple[float, float], ...]:
        """Per band, between which values imagery lies: the type's for 8 bit, else mean ± 4 std within the data."""
        if self.dtype == np.uint8:
            return ((0.0, 255.0),) * len(self.bands)
        each = zip(self.mean, self.std, self.low, self.high, strict=True)
        return tuple((max(low, mean - 4 * std), min(high, mean + 4 * std)) for mean, std, low, high in each)

    def date_input(self, ground_sample_distance: float | None = None) -> DateInput:
        """What the model's card says about this date; 8-bit values are scaled to 0 … 1."""
        scale = 1 / 255 if self.dtype == np.uint8 else 1.0
        return DateInput(
            self.bands,
            tuple(value * scale for value in self.mean),
            tuple(value * scale for value in self.std),
            scale,
            ground_sample_distance,
        )


def date_statistics(
    files: Sequence[PairFiles],
    bands_before: Bands = None,
    bands_after: Bands = None,
    reporter: Reporter | None = None,
) -> tuple[DateStatistics, DateStatistics]:
    """Statistics of both dates over a training list.

    Args:
        files: the training pairs.
        bands_before: as `ChangePairs` takes them.
        bands_after: likewise.
        reporter: takes the progress.

    Raises:
        NothingToEstimateError: no valid pixel, or a band that is constant.
        BandsError: images differ in their number of bands.
    """
    reporter = reporter or Reporter()
    chosen = (bands_before, bands_after)
    moments: list[Moments | None] = [None, None]
    types: list[np.dtype[Any]] = [np.dtype(np.uint8)] * 2
    for pair in reporter.each(files, "statistics", len(files), "pairs"):
        for date, path in enumerate((pair.before, pair.after)):
            pixels, valid = read_image(path, chosen[date])
            known = moments[date]
            if known is None:
                known = moments[date] = Moments(len(pixels))
                types[date] = pixels.dtype
            if len(known.mean) != len(pixels):
                raise BandsError(f"{path} has {len(pixels)} bands, the others {len(known.mean)}; choose common bands")
            known.add(pixels.reshape(len(pixels), -1) if valid.all() else pixels[:, valid])
    first = files[0]
    return (
        _checked(moments[0], types[0], _names(first.before, bands_before), f"BEFORE ({first.before.parent})"),
        _checked(moments[1], types[1], _names(first.after, bands_after), f"AFTER ({first.after.parent})"),
    )


def _names(path: Any, bands: Bands) -> tuple[str, ...]:  # noqa: ANN401
    names = read_bands(path)
    if bands is None:
        return names
    numbered = [int(band) - 1 if str(band).isdigit() else -1 for band in bands]
    return tuple(str(b) if i < 0 or i >= len(names) else names[i] for b, i in zip(bands, numbered, strict=True))


def _checked(moments: Moments | None, dtype: np.dtype[Any], bands: tuple[str, ...], label: str) -> DateStatistics:
    if moments is None or moments.count == 0:
        raise NothingToEstimateError(f"{label}: no valid pixel in the whole split; check nodata, masks and alpha bands")
    for band, std in zip(bands, moments.std, strict=True):
        if not std > 0:
            raise NothingToEstimateError(f"{label}: band {band} is constant over the whole split; leave it out")
    numbers = (moments.mean, moments.std, moments.low, moments.high)
    mean, std, low, high = (tuple(float(value) for value in part) for part in numbers)
    return DateStatistics(bands, dtype, moments.count, mean, std, low, high)
