"""How one date's picture comes to look: season, sun, air, sensor, processing, compression."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from cdengine.synthesis.composites.shapes import smooth_noise

Array = np.ndarray[Any, np.dtype[Any]]
F = np.float32
RIM = 12  # pixels around a picture that misregistration may bring into it
# Red, green, blue of plants in proportion to their brightness: dry, lush, bare, deep green, straw, bluish.
PLANT_TINTS = (
    (1.15, 1.0, 0.7),
    (0.85, 1.1, 0.75),
    (1.0, 0.96, 0.92),
    (0.7, 0.85, 0.72),
    (1.3, 1.1, 0.8),
    (0.8, 0.95, 0.85),
)


def greenness(picture: Array) -> Array:
    """(H, W) share of green plants in a (H, W, 3) float32 picture of 0..255, by the excess of green."""
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    excess = (2 * green - red - blue) / (red + green + blue + F(20))
    share: Array = np.clip(excess * F(8) + F(0.05), 0, 1)
    return share


def season(picture: Array, rng: np.random.Generator) -> Array:
    """Plants turn lush, dry, dark, bare; in patches, since fields and woods do not turn alike."""
    side = picture.shape[0]
    share = greenness(picture) * F(rng.uniform(0.5, 1.0))
    if rng.random() < 0.6:
        share = share * np.clip(F(0.6) + F(0.5) * smooth_noise(rng, side, rng.uniform(25, 200)), 0, 1)
    light = picture.mean(2, keepdims=True)
    tint = np.asarray(PLANT_TINTS[int(rng.integers(len(PLANT_TINTS)))], F) * (F(1) + rng.normal(0, 0.08, 3).astype(F))
    turned: Array = picture + share[..., None] * (light * tint * F(rng.uniform(0.65, 1.35)) - picture)
    return turned


def relief(picture: Array, rng: np.random.Generator) -> Array:
    """Another sun: slopes of the brightness itself are lit or shaded, and dark parts made deeper or paler."""
    light = picture.mean(2)
    step = int(rng.integers(1, 4))
    axis, sign = int(rng.integers(2)), float(rng.choice([-1, 1]))
    small = np.roll(light, step, axis) - np.roll(light, -step, axis)
    lit = light + F(sign * rng.uniform(0.05, 0.35)) * small
    gain = np.clip((lit + F(8)) / (light + F(8)), F(0.5), F(1.7))
    lit_picture: Array = picture * gain[..., None]
    return lit_picture


def tree_shadows(picture: Array, rng: np.random.Generator) -> Array:
    """Dark green tufts cast a shadow to a side of this date's own."""
    light = picture.mean(2)
    mask = ((light < np.percentile(light, 45)) & (greenness(picture) > F(0.3))).astype(F)
    rows, cols = rng.integers(-7, 8, 2)
    cast = np.clip(np.roll(mask, (int(rows), int(cols)), (0, 1)) - mask, 0, 1)
    cast = (cast + np.roll(cast, 1, 0) + np.roll(cast, 1, 1)) / F(3)
    shaded: Array = picture * (F(1) - F(rng.uniform(0.2, 0.6)) * cast)[..., None]
    return shaded


def colour(picture: Array, rng: np.random.Generator, strength: float) -> Array:
    """Gains, gamma, contrast, saturation and haze of a date; `strength` 1 covers what archives hold."""
    s = strength
    gains = np.exp(rng.normal(0, 0.07 * s, 3) + rng.normal(-0.08 * s, 0.14 * s)).astype(F)
    picture = np.clip(picture * (gains / F(255)), 0, 1.6)
    picture = np.power(picture, F(np.exp(rng.normal(0, 0.25 * s))), dtype=F)
    light = picture.mean(2, keepdims=True)
    picture = light + (picture - light) * F(np.exp(rng.normal(-0.15, 0.28 * s)))
    middle = picture.mean()
    picture = middle + (picture - middle) * F(np.exp(rng.normal(-0.05, 0.18 * s)))
    if rng.random() < 0.4:
        haze = rng.beta(1.2, 5) * 0.6 * s
        veil = np.asarray([0.72, 0.78, 0.85], F) * F(rng.uniform(0.7, 1.1))
        picture = picture * F(1 - haze) + veil * F(haze)
    if rng.random() < 0.25:  # the lighting falls off across the frame, or a thin cloud's shadow lies on it
        picture = picture * (F(1) + F(0.12 * s) * smooth_noise(rng, picture.shape[0], rng.uniform(100, 300)))[..., None]
    counts: Array = picture * F(255)
    return counts


def resampled(picture: Image.Image, rng: np.random.Generator, out: int, blurs: bool = True) -> Image.Image:
    """Crops the middle `out` pixels, misregistered by up to 2 px and a slight turn and stretch, blurred or sharpened.

    Args:
        picture: square RGB, larger than `out` by a rim of 8 pixels or more.
        rng: what is drawn from.
        out: side of the result.
        blurs: False leaves the sharpness alone.
    """
    side = picture.width
    shift = rng.uniform(-1, 1, 2) * 2.0 * rng.beta(1, 2)
    turn, stretch = rng.normal(0, 0.002), 1 + rng.normal(0, 0.003)
    low = (side - out) / 2
    middle = side / 2
    a, b = stretch * np.cos(turn), stretch * np.sin(turn)
    left = middle + shift[0] + a * (low - middle) + b * (low - middle)
    top = middle + shift[1] - b * (low - middle) + a * (low - middle)
    data = (float(a), float(b), float(left), float(-b), float(a), float(top))
    how = Image.Resampling.BICUBIC if rng.random() < 0.7 else Image.Resampling.BILINEAR
    moved = picture.transform((out, out), Image.Transform.AFFINE, data, how)
    if not blurs:
        return moved
    draw = rng.random()
    if draw < 0.45:
        coarse = round(out / rng.uniform(1.1, 2.0))
        small = moved.resize((coarse, coarse), Image.Resampling.BILINEAR)
        back = Image.Resampling.BICUBIC if rng.random() < 0.7 else Image.Resampling.BILINEAR
        return small.resize((out, out), back)
    if draw < 0.7:
        return _sharpened(moved, rng.uniform(0.2, 1.2))
    return moved


def _sharpened(picture: Image.Image, amount: float) -> Image.Image:
    soft = picture.resize((picture.width * 2 // 3,) * 2, Image.Resampling.BILINEAR)
    soft = soft.resize(picture.size, Image.Resampling.BICUBIC)
    return Image.blend(soft, picture, 1 + amount)


def noisy(picture: Array, rng: np.random.Generator) -> Array:
    """Adds sensor noise to uint8 pixels, alike in the channels in part."""
    sigma = rng.uniform(0, 5)
    grey = rng.standard_normal((*picture.shape[:2], 1), F) * F(sigma)
    own = rng.standard_normal(picture.shape, F) * F(sigma * 0.5)
    pixels: Array = np.clip(picture + grey + own + F(0.5), 0, 255).astype(np.uint8)
    return pixels


def compressed(picture: Array, rng: np.random.Generator) -> Array:
    """Through JPEG of quality 30 to 95."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=int(rng.integers(30, 96)))
    back: Array = np.asarray(Image.open(buffer))
    return back


def appear(picture: Array, rng: np.random.Generator, out: int, strength: float) -> Array:
    """Everything in the order in which it happens to light on its way to the archive.

    Args:
        picture: (S, S, 3) float32, 0..255, the place as painted for this date.
        rng: this date's own.
        out: side of the result.
        strength: factor on the change of colours.

    Returns:
        (out, out, 3) uint8.
    """
    if rng.random() < 0.65:
        picture = season(picture, rng)
    if rng.random() < 0.3:
        picture = tree_shadows(picture, rng)
    if rng.random() < 0.5:
        picture = relief(picture, rng)
    picture = colour(picture, rng, strength)
    pixels = np.clip(picture + F(0.5), 0, 255).astype(np.uint8)
    pixels = np.asarray(resampled(Image.fromarray(pixels), rng, out))
    if rng.random() < 0.6:
        pixels = noisy(pixels, rng)
    return compressed(pixels, rng) if rng.random() < 0.5 else pixels


def jittered(picture: Array, rng: np.random.Generator) -> Array:
    """A copy as another sensor would give it, on another day of the same season; nothing has changed.

    Args:
        picture: (S, S, 3) uint8.
        rng: what is drawn from.
    """
    side = picture.shape[0]
    padded = np.pad(picture, ((RIM, RIM), (RIM, RIM), (0, 0)), mode="reflect").astype(F)
    toned = np.clip(colour(padded, rng, 0.8) + F(0.5), 0, 255).astype(np.uint8)
    return compressed(noisy(np.asarray(resampled(Image.fromarray(toned), rng, side)), rng), rng)
