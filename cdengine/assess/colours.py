"""Colours that pictures, reports and styles share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Rgb = tuple[int, int, int]

# Probability of change: pale where nothing changed, then ever darker and warmer, so that it also reads in grey.
PROBABILITY_STOPS: tuple[tuple[float, Rgb], ...] = (
    (0.0, (247, 247, 242)),
    (0.25, (253, 222, 148)),
    (0.5, (245, 150, 72)),
    (0.75, (200, 58, 62)),
    (1.0, (92, 10, 62)),
)
UNCHANGED: Rgb = (235, 235, 235)
CHANGED: Rgb = (215, 48, 39)
OUTLINE: Rgb = (255, 222, 0)
OUTLINE_CASING: Rgb = (20, 20, 20)
NODATA_LIGHT: Rgb = (206, 208, 210)
NODATA_DARK: Rgb = (184, 187, 190)


def probability_colours(values: Array | Sequence[float]) -> Array:
    """Colours of probabilities.

    Args:
        values: any shape, 0 to 1; not-a-number gets the colour of 0.

    Returns:
        uint8, one axis of length 3 longer.
    """
    at = [stop for stop, _ in PROBABILITY_STOPS]
    clean = np.nan_to_num(np.asarray(values, np.float32), nan=0.0).clip(0, 1)
    channels = [np.interp(clean, at, [colour[i] for _, colour in PROBABILITY_STOPS]) for i in range(3)]
    colours: Array = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return colours


def hatch(height: int, width: int) -> Array:
    """(height, width, 3) uint8 diagonal stripes that stand for "no data"."""
    stripe = ((np.arange(height)[:, None] + np.arange(width)[None, :]) // 4) % 2 == 0
    picture: Array = np.where(stripe[..., None], NODATA_LIGHT, NODATA_DARK).astype(np.uint8)
    return picture


def css(colour: Rgb) -> str:
    """The colour for HTML."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
