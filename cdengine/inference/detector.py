"""The one protocol that every finder of change follows: training-free method, network, ensemble, augmentation."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from cdengine.errors import ResourceError
from cdengine.events import Reporter
from cdengine.raster.pair import PixelSource

Array = np.ndarray[Any, np.dtype[Any]]


class BatchTooLarge(ResourceError):
    """A batch did not fit into memory; the runner goes on with a smaller one. Users never see it."""


class Detector(Protocol):
    """Finds change in batches of tiles, after an optional look at the whole pair.

    Attributes:
        name: what the user calls it.
        classes: land-cover class names, empty for binary change.
        margin: pixels at a tile's inner edges whose values depend on what lies outside; they are not used.
        threshold: change = probability >= threshold; `prepare` may set it.

    Optional attributes: `tile` (preferred tile size), `batch` (tiles per call when none was asked for), `concurrency`
    (calls of `predict` worth running at a time; default: as many as reading threads). Optional method:
    `enter_thread(threads)`, called first in each of the threads that share the calls of `predict`.
    """

    # properties, so that a plain attribute and a computed one both fit
    @property
    def name(self) -> str: ...  # noqa: D102 (described above)
    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def margin(self) -> int: ...  # noqa: D102
    @property
    def threshold(self) -> float: ...  # noqa: D102

    def prepare(self, source: PixelSource, reporter: Reporter) -> None:
        """Gathers statistics of the pair in one or more streaming passes; nothing to do for most networks."""

    def predict(self, before: Array, after: Array, valid: Array) -> Array:
        """Change (and class) probabilities of a batch of tiles.

        Args:
            before: (B, C1, H, W) in stored dtype.
            after: (B, C2, H, W) in stored dtype.
            valid: (B, H, W) bool; what lies under False is unspecified and must not leak into the rest.

        Returns:
            float32 (B, K, H, W), finite; K = 1 + 2 * len(classes): change, classes before, classes after.
        """

    def describe(self) -> dict[str, str | float]:
        """Facts for the output's tags and the result's stats (threshold found, iterations, device, …)."""


def channels(detector: Detector) -> int:
    """K: number of output channels of a detector."""
    return 1 + 2 * len(detector.classes)
