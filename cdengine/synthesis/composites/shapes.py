"""Smooth noise, and regions of a canvas with straight or ragged borders."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

Array = np.ndarray[Any, np.dtype[Any]]


def smooth_noise(rng: np.random.Generator, side: int, grain: float) -> Array:
    """(side, side) float32 noise of mean 0 and standard deviation about 1 whose lumps are `grain` pixels wide."""
    cells = max(3, math.ceil(side / grain) + 2)
    coarse = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
    shift = rng.uniform(0, 1, 2)
    span = side / grain
    box = (shift[0], shift[1], min(cells, shift[0] + span), min(cells, shift[1] + span))
    noise: Array = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC, box), np.float32)
    scaled: Array = noise * np.float32(1.3)
    return scaled


def rough_noise(rng: np.random.Generator, side: int, coarsest: float) -> Array:
    """Sum of smooth noise of halving grain, standard deviation about 1."""
    total = np.zeros((side, side), np.float32)
    weight, grain, power = 1.0, coarsest, 0.0
    while grain >= 2:
        total += np.float32(weight) * smooth_noise(rng, side, grain)
        power += weight * weight
        weight, grain = weight * 0.65, grain / 2.2
    total /= np.float32(math.sqrt(power))
    return total


def region(rng: np.random.Generator, side: int) -> Array:
    """(side, side) float32 opacity in 0..1 of a region by lot: a blob, a field, one side of a line, or a band."""
    kind = rng.choice(4, p=[0.35, 0.3, 0.2, 0.15])
    if kind == 0:
        noise = smooth_noise(rng, side, rng.uniform(40, 160)) + 0.25 * smooth_noise(rng, side, rng.uniform(6, 20))
        edge = rng.uniform(0.02, 0.3)
        blob: Array = np.clip((noise - rng.uniform(-0.2, 1.2)) / edge, 0, 1)
        return blob
    image = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(image)
    angle = rng.uniform(0, 2 * math.pi)
    centre = rng.uniform(0.1 * side, 0.9 * side, 2)
    if kind == 1:
        half = np.exp(rng.uniform(math.log(18), math.log(0.45 * side), 2))
    elif kind == 2:
        half = np.asarray([2.0 * side, side])
        centre = centre + side * np.asarray([-math.sin(angle), math.cos(angle)])
    else:
        half = np.asarray([2.0 * side, math.exp(rng.uniform(math.log(3), math.log(24)))])
    draw.polygon(corners(centre[0], centre[1], half[0], half[1], angle, rng.normal(0, 0.06, 4)), fill=255)
    mask: Array = np.asarray(image, np.float32) / np.float32(255)
    if rng.random() < 0.5:
        return mask
    soft = max(1.0, rng.uniform(1, 5))
    small = Image.fromarray(mask).resize((max(4, round(side / soft)),) * 2, Image.Resampling.BILINEAR)
    blurred: Array = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC), np.float32)
    return np.asarray(np.clip(blurred, 0, 1))


def corners(
    x: float, y: float, half_length: float, half_width: float, angle: float, skew: Array | None = None
) -> list[tuple[float, float]]:
    """Corners of a turned rectangle, each moved outward by its share of `skew`."""
    cos, sin = math.cos(angle), math.sin(angle)
    points = []
    for number, (along, across) in enumerate(((-1, -1), (1, -1), (1, 1), (-1, 1))):
        factor = 1.0 + (0.0 if skew is None else float(skew[number]))
        a, b = along * half_length * factor, across * half_width * factor
        points.append((x + a * cos - b * sin, y + a * sin + b * cos))
    return points
