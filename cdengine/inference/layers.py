"""What is kept of a detector's channels, and in which form: probability (float32 or 0–200) and class ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

NODATA = 255  # of every uint8 layer
SCALE = 200  # a probability stored as uint8 is 0 … 200


@dataclass(frozen=True)
class LayerFormat:
    """Layers of a finished band.

    Attributes:
        classes: number of land-cover classes, 0 for binary change.
        threshold: change = probability >= threshold, in float32.
        probability_dtype: "float32" (NaN where nothing was computed) or "uint8" (255 there).
    """

    classes: int
    threshold: float
    probability_dtype: str = "float32"

    def empty(self, height: int, width: int) -> dict[str, Array]:
        """Layers (height, width) of nodata."""
        blank: dict[str, Array] = {"probability": np.full((height, width), NODATA, np.uint8)}
        if self.probability_dtype == "float32":
            blank["probability"] = np.full((height, width), np.nan, np.float32)
        if self.classes:
            blank["before_classes"] = np.full((height, width), NODATA, np.uint8)
            blank["after_classes"] = np.full((height, width), NODATA, np.uint8)
        return blank

    def put(self, band: dict[str, Array], start: int, values: Array, wanted: Array) -> None:
        """Enters a block of blended channels.

        Args:
            band: from `empty`.
            start: its first column.
            values: float32 (K, h, w).
            wanted: bool (h, w), where the result counts.
        """
        cols = slice(start, start + values.shape[2])
        probability = values[0] if self.probability_dtype == "float32" else self.quantise(values[0])
        np.copyto(band["probability"][:, cols], probability, where=wanted)
        if self.classes:
            before = values[1 : 1 + self.classes].argmax(axis=0).astype(np.uint8)
            after = values[1 + self.classes :].argmax(axis=0).astype(np.uint8)
            np.copyto(band["before_classes"][:, cols], before, where=wanted)
            np.copyto(band["after_classes"][:, cols], after, where=wanted)

    def quantise(self, probability: Array) -> Array:
        """uint8 0 … 200, rounded, but never across the threshold: change stays what it was."""
        # float32 and bytes only: this runs for every pixel, beside a network that wants all cores
        step = self._step
        rounded = np.rint(probability * np.float32(SCALE)).astype(np.uint8)
        changed = probability >= np.float32(self.threshold)
        least = changed.astype(np.uint8) * np.uint8(step)
        most = np.where(changed, np.uint8(SCALE), np.uint8(max(step - 1, 0)))
        steps: Array = np.minimum(np.maximum(rounded, least), most)
        return steps

    @property
    def _step(self) -> int:
        """The first of the 200 steps that counts as change."""
        return int(np.ceil(np.float64(np.float32(self.threshold)) * SCALE))

    def valid(self, probability: Array) -> Array:
        """bool: where a stored probability was computed."""
        valid: Array = ~np.isnan(probability) if probability.dtype == np.float32 else probability != NODATA
        return valid

    def changed(self, probability: Array) -> Array:
        """bool: where a stored probability reaches the threshold (False where nothing was computed)."""
        changed: Array
        if probability.dtype == np.float32:
            with np.errstate(invalid="ignore"):
                changed = probability >= np.float32(self.threshold)
        else:
            changed = (probability >= self._step) & (probability != NODATA)
        return changed
