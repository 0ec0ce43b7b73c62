"""Tells when pixel values cannot be of the kind a model was trained on: wrong units, wrong bands, another product."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdengine.models.card import DateInput

Array = np.ndarray[Any, np.dtype[Any]]

STEP = 8  # every 8th row and column is enough to see units
FAR = 6.0  # standard deviations that a band's median may lie from the training mean
NARROW = 0.01  # least ratio of a band's spread to the training spread: 0..1 floats for a model of 0..255 give 0.004


def range_fault(values: Array, valid: Array, date: DateInput) -> str | None:
    """Compares a batch with the training statistics.

    Args:
        values: (B, C, H, W) in stored units.
        valid: (B, H, W) bool.
        date: what the model expects.

    Returns:
        None where nothing can be told (no valid pixel, or a constant image); "" where the values look right; else one
        clause with both ranges, in stored units.
    """
    seen = values[..., ::STEP, ::STEP].swapaxes(0, 1)[:, valid[..., ::STEP, ::STEP]].astype(np.float64)
    if not seen.size or (seen.min(1) == seen.max(1)).all():
        return None
    low, median, high = np.percentile(seen, (2, 50, 98), axis=1)
    mean, std = np.array(date.mean) / date.scale, np.array(date.std) / date.scale
    # 2nd to 98th percentile of a normal distribution span 4.1 standard deviations.
    wrong = (np.abs(median - mean) > FAR * std) | ((high - low) < NARROW * 4.1 * std)
    # One flat band (snow, water) is no proof; bands of one image share their units.
    if not wrong.sum() * 2 > len(wrong):
        return ""
    return (
        f"values run from about {low.min():g} to {high.max():g}, "
        f"training data from about {(mean - 2 * std).min():g} to {(mean + 2 * std).max():g}"
    )
