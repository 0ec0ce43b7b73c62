"""Estimates by how many pixels AFTER still lies beside BEFORE once both are on one grid.

Many small places spread over the common ground are compared one by one; the answer is their robust median, and it
is given only if they agree. Works in pixels of the grid, so rasters without any CRS do as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cdengine.errors import NothingToEstimateError
from cdengine.events import Reporter
from cdengine.raster.grid import Window
from cdengine.raster.pair import PixelBlock
from cdengine.raster.phase import orientations, peak, refine, spectrum, surface

Array = np.ndarray[Any, np.dtype[Any]]

SIDE, SMALLEST = 256, 64  # of a place, in pixels
REACH = 40  # largest displacement that is looked for, in pixels
PLACES = 36  # enough for a median; more places cost time and change little
CANDIDATES = 12  # per side: places looked at to find so many with data
ENOUGH = 9  # with fewer, smaller places are tried: large ones may not fit between what is nodata
VALID = 0.7  # share of a place that must be data
NEAR = 2.0  # pixels from the common peak at which a place still agrees: relief and lean differ from place to place
AGREEING = 3  # places at least, and
SHARE = 0.34  # this share of those compared: three peaks of eight meet by chance in one of 1,200 unlike scenes
NEGLIGIBLE = 0.05  # pixels: resampling for less would blur more than it mends


class WindowSource(Protocol):
    """What registration reads from: a `Pair`."""

    window: Window

    def read(self, window: Window) -> PixelBlock:
        """Both dates in a window of the grid."""


@dataclass(frozen=True)
class Shift:
    """Residual displacement of AFTER.

    Attributes:
        rows: pixels of the grid by which AFTER's content lies too far down; what `Pair.with_shift` removes.
        cols: too far to the right.
        spread: robust standard deviation of a single place's displacement, pixels.
        places: number of places that agree.
        compared: number of places that had data and texture.
    """

    rows: float
    cols: float
    spread: float
    places: int
    compared: int

    @property
    def text(self) -> str:
        """One line for the log and the tags."""
        seen = f"{self.places} of {self.compared} places agree, spread {self.spread:.2f} px"
        if self.rows == 0 and self.cols == 0:
            return f"no residual shift beyond {NEGLIGIBLE} px ({seen})"
        return f"residual shift of AFTER: {self.rows:+.2f} rows, {self.cols:+.2f} columns ({seen})"


def estimate_shift(source: WindowSource, reporter: Reporter) -> Shift:
    """Compares up to 36 places of the common ground.

    Returns:
        The shift; exactly 0, 0 where both parts are below 0.05 pixels.

    Raises:
        NothingToEstimateError: too small, too little texture, or the places do not agree with each other.
    """
    patches = _patches(source, reporter)
    if len(patches) < AGREEING:
        raise NothingToEstimateError(
            f"only {len(patches)} places of {AGREEING} needed have data and texture on both dates: no shift can be told"
        )
    reach = min(REACH, patches[0][0].shape[0] // 3)
    surfaces = [surface(spectrum(before, after), reach) for before, after in patches]
    reporter.check()
    common = peak(np.mean(surfaces, axis=0))[:2]
    near = [patch for patch, values in zip(patches, surfaces, strict=True) if _distance(peak(values), common) <= NEAR]
    if len(near) < max(AGREEING, SHARE * len(patches)):
        raise NothingToEstimateError(
            f"only {len(near)} of {len(patches)} places agree on a shift: the dates look too different, or it is not "
            f"one shift, or larger than {reach} pixels"
        )
    found = np.array([_refined(before, after, common) for before, after in near])
    reporter.check()
    centre, spread = _robust(found)
    kept = found[np.hypot(*(found - centre).T) <= max(3 * spread, 0.5)]
    if len(kept) < AGREEING:
        raise NothingToEstimateError(f"only {len(kept)} of {len(patches)} places agree on a shift to a pixel")
    centre, spread = _robust(kept)
    if max(abs(centre)) < NEGLIGIBLE:
        centre = np.zeros(2)
    return Shift(float(centre[0]), float(centre[1]), spread, len(kept), len(patches))


def _patches(source: WindowSource, reporter: Reporter) -> list[tuple[Array, Array]]:
    """Orientations of both dates at places with data and texture, spread over the window."""
    best: list[tuple[Array, Array]] = []
    shorter = min(source.window.height, source.window.width)
    side = min(SIDE, max(SMALLEST, shorter // 2 // 16 * 16))
    with reporter.stage("register", PLACES, "places") as stage:
        while SMALLEST <= side <= shorter and len(best) < ENOUGH:
            stage.done = 0
            patches: list[tuple[Array, Array]] = []
            for window in _candidates(source.window, side):
                patch = _patch(source.read(window))
                reporter.check()
                if patch:
                    patches.append(patch)
                    stage.advance()
                if len(patches) == PLACES:
                    break
            best, side = max(best, patches, key=len), side // 2
    return best


def _patch(block: PixelBlock) -> tuple[Array, Array] | None:
    if block.valid.mean() < VALID:
        return None
    before, after = orientations(block.before, block.valid), orientations(block.after, block.valid)
    return (before, after) if before.any() and after.any() else None


def _candidates(window: Window, side: int) -> Iterator[Window]:
    """Square places half overlapping at most, in an order in which the first few already are far apart."""
    rows, cols = (_starts(length, side) for length in (window.height, window.width))
    places = [(row, col) for row in rows for col in cols]
    for index in np.random.default_rng(0).permutation(len(places)):
        row, col = places[index]
        yield Window(window.row + row, window.col + col, side, side)


def _starts(length: int, side: int) -> list[int]:
    count = min(CANDIDATES, 1 + (length - side) // (side // 2))
    return [round(k * (length - side) / max(count - 1, 1)) for k in range(count)]


def _refined(before: Array, after: Array, common: tuple[int, int]) -> tuple[float, float]:
    """Sub-pixel displacement of one place, from the parts that both dates show once moved by whole pixels."""
    (rows, cols), (height, width) = common, before.shape
    top, left = max(0, -rows), max(0, -cols)
    tall, wide = height - abs(rows), width - abs(cols)
    here = before[top : top + tall, left : left + wide]
    there = after[top + rows : top + rows + tall, left + cols : left + cols + wide]
    row, col = refine(spectrum(here, there), reach=NEAR + 0.5)
    return rows + row, cols + col


def _robust(found: Array) -> tuple[Array, float]:
    """Median of displacements (n, 2), and 1.4826 × the median absolute deviation, both axes together."""
    centre = np.median(found, axis=0)
    deviation = 1.4826 * np.median(np.abs(found - centre), axis=0)
    return centre, float(np.hypot(*deviation))


def _distance(one: tuple[Any, ...], other: tuple[int, int]) -> float:
    return float(max(abs(one[0] - other[0]), abs(one[1] - other[1])))
