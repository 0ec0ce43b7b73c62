"""From radiance to a picture: point spread, sampling with misregistration, haze, tone, noise, compression."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from PIL import Image

from cdengine.synthesis.scenes.materials import DISPLAY_GAMMA
from cdengine.synthesis.scenes.style import DateStyle

Array = np.ndarray[Any, np.dtype[Any]]
HAZE_COLOUR = (0.48, 0.55, 0.66, 0.22)


def kernel_reach(fine: int, blur: float) -> int:
    """Fine pixels that the point spread function needs beyond a pixel's centre."""
    return math.ceil(3 * _sigma(fine, blur)) + 2


def _sigma(fine: int, blur: float) -> float:
    return math.sqrt((blur * fine) ** 2 + fine**2 / 12)  # a Gaussian with the variance of optics plus detector


def sample(radiance: Array, fine: int, blur: float, first: tuple[float, float], size: tuple[int, int]) -> Array:
    """Samples a fine picture through a Gaussian point spread function.

    Args:
        radiance: (C, H, W) float32 fine pixels.
        fine: fine pixels per pixel.
        blur: sigma of the optics in pixels.
        first: fine coordinates (row, column) of the centre of the first pixel; any fraction.
        size: rows and columns to make.

    Returns:
        (C, rows, columns) float32.
    """
    return _along(_along(radiance, 1, fine, blur, first[0], size[0]), 2, fine, blur, first[1], size[1])


def _along(image: Array, axis: int, fine: int, blur: float, first: float, count: int) -> Array:
    base, reach = math.floor(first), kernel_reach(fine, blur) - 1
    taps = np.arange(-reach, reach + 2)
    weights = np.exp(-(((taps - (first - base)) / _sigma(fine, blur)) ** 2) / 2)
    weights /= weights.sum()
    out: Array | None = None
    for tap, weight in zip(taps, weights, strict=True):
        start = base + int(tap)
        index = [slice(None)] * 3
        index[axis] = slice(start, start + fine * (count - 1) + 1, fine)
        term = image[tuple(index)] * np.float32(weight)
        out = term if out is None else np.add(out, term, out=out)
    assert out is not None
    return out


def expose(radiance: Array, date: DateStyle, bands: tuple[int, ...], dtype: np.dtype[Any],
           rng: np.random.Generator) -> Array:  # fmt: skip
    """Air, gain, tone, noise and number format.

    Args:
        radiance: (C, H, W) float32, 1 for a white surface in full sun; changed in place.
        date: air and sensor.
        bands: which of red, green, blue, nir.
        dtype: uint8 for a display picture, uint16 for reflectance × 10000, float32 for reflectance.
        rng: for the noise.
    """
    for i, band in enumerate(bands):
        radiance[i] *= np.float32((1 - date.haze) * date.balance[band])
        radiance[i] += np.float32(date.haze * HAZE_COLOUR[band] * 0.5)
    if date.sharpen > 0:
        radiance += np.float32(date.sharpen) * (radiance - _soft(radiance))
    np.clip(radiance, 0, None, out=radiance)
    # Detector noise has a part that grows with the signal's root and one that does not.
    grain = rng.standard_normal(radiance.shape, dtype=np.float32)
    if dtype.kind == "f" or dtype.itemsize > 1:
        radiance += grain * (np.float32(date.noise / 255) * (0.1 + 0.5 * np.sqrt(radiance)))
        if dtype.kind == "f":
            reflectances: Array = np.clip(radiance, 0, 1.5).astype(dtype)
            return reflectances
        scaled: Array = np.clip(np.rint(radiance * 10000), 1, 65535).astype(dtype)
        return scaled
    counts = 255 * (np.float32(date.exposure) * radiance) ** np.float32(1 / date.gamma)
    counts = _saturate(counts, date.saturation, bands)
    counts += grain * np.float32(date.noise)
    # A soft shoulder keeps bright roofs from clipping hard.
    over = np.maximum(counts - 215, 0)
    counts += 40 * (1 - np.exp(-over / 40)) - over
    picture: Array = np.clip(np.rint(counts), 1, 255).astype(np.uint8)
    return _compressed(picture, date.jpeg) if date.jpeg else picture


def _soft(image: Array) -> Array:
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
    soft: Array = (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4
    return soft


def _saturate(counts: Array, saturation: float, bands: tuple[int, ...]) -> Array:
    visible = [i for i, band in enumerate(bands) if band < 3]
    if len(visible) < 3:
        return counts
    grey = counts[visible].mean(axis=0)
    for i in visible:
        counts[i] = grey + (counts[i] - grey) * np.float32(saturation)
    return counts


def _compressed(picture: Array, quality: int) -> Array:
    """What lossy compression leaves of each group of three bands, or of single ones."""
    groups = (
        [[0, 1, 2], *([i] for i in range(3, len(picture)))] if len(picture) >= 3 else [[i] for i in range(len(picture))]
    )
    out = np.empty_like(picture)
    for group in groups:
        pixels = np.moveaxis(picture[group], 0, -1)
        buffer = io.BytesIO()
        Image.fromarray(pixels.squeeze(-1) if len(group) == 1 else pixels).save(buffer, "JPEG", quality=quality)
        decoded = np.asarray(Image.open(buffer))
        out[group] = decoded[None] if len(group) == 1 else np.moveaxis(decoded, -1, 0)
    return out


__all__ = ["DISPLAY_GAMMA", "expose", "kernel_reach", "sample"]
