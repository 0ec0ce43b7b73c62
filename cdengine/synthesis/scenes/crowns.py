"""Tree crowns: single ones of several sizes, and an endless closed canopy. Made once per pixel size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.ndimage

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Crown:
    """One crown on a square: height relative to the tree's (0 outside), slopes of its surface, tone, leafiness."""

    height: Array
    slope_x: Array
    slope_y: Array
    tone: Array
    lump: Array


@dataclass(frozen=True)
class CanopyTile:
    """A closed canopy that wraps around: as a crown, in metres.

    Attributes:
        root_row, root_col: offset to the root of each crown in pixels.
        sort: a small number that differs between crowns.
    """

    size: int
    height: Array
    slope_x: Array
    slope_y: Array
    tone: Array
    lump: Array
    root_row: Array
    root_col: Array
    sort: Array


def crown(step: float, radius: float, conifer: bool, variant: int) -> Crown:
    """A crown of about that radius in metres at `step` metres per pixel."""
    # Radii in steps of 12 %: crowns of one size class share their stamps.
    return _crown(round(step, 4), round(math.log(radius) / math.log(1.12)), conifer, variant)


@lru_cache(maxsize=512)
def _crown(step: float, size: int, conifer: bool, variant: int) -> Crown:
    rng = np.random.default_rng([size + 100, int(conifer), variant])
    return _grow(step, 1.12**size, conifer, rng)


def _grow(step: float, radius: float, conifer: bool, rng: np.random.Generator) -> Crown:
    half = max(1, math.ceil(radius * 1.25 / step))
    at = (np.arange(-half, half + 1) * step).astype(np.float32)
    x, y = np.meshgrid(at, at)
    angle = np.arctan2(y, x)
    reach = np.ones_like(x)
    for order in range(2, 8):
        reach += (
            (0.16 if not conifer else 0.07)
            / math.sqrt(order)
            * rng.normal()
            * np.cos(order * angle + rng.uniform(0, 6.28))
        )
    rho = np.hypot(x, y) / (radius * np.clip(reach, 0.6, 1.25))
    inside = rho < 1
    dome = np.sqrt(np.clip(1 - rho**2, 0, 1)) if not conifer else 1 - rho
    # Boughs: lumps about a third of the crown wide; leaves: what the pixel size still shows of finer ones.
    boughs = _lumps(rng, x.shape, radius * 0.22 / step)
    leaves = _lumps(rng, x.shape, max(0.6, 0.25 / step))
    height = np.where(inside, 0.25 + 0.75 * dome + 0.10 * boughs * dome, 0).clip(0, 1.1)
    relief = radius * (dome * 0.9 + 0.17 * boughs + 0.05 * leaves)
    slope_y, slope_x = np.gradient(relief.astype(np.float32), step)
    tone = 1 + 0.10 * boughs + 0.12 * leaves + 0.05 * rng.normal()
    lump = np.clip(0.5 + 0.3 * boughs + 0.3 * leaves, 0, 1)
    return Crown(
        height.astype(np.float32),
        np.clip(slope_x, -1.6, 1.6).astype(np.float32),
        np.clip(slope_y, -1.6, 1.6).astype(np.float32),
        tone.clip(0.5, 1.5).astype(np.float32),
        lump.astype(np.float32),
    )


def _lumps(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Array:
    field: Array = scipy.ndimage.gaussian_filter(rng.standard_normal(shape).astype(np.float32), max(0.5, sigma))
    return (field / max(float(field.std()), 1e-6)).clip(-2.5, 2.5)


@lru_cache(maxsize=8)
def canopy(step: float) -> CanopyTile:
    """A canopy of crowns of mixed sizes at `step` metres per pixel."""
    size = 1024 if step < 0.4 else 512 if step < 1.2 else 256
    rng = np.random.default_rng(11)
    planes: dict[str, Array] = {
        name: np.zeros((size, size), np.float32) for name in ("height", "slope_x", "slope_y", "tone", "lump")
    }
    planes["tone"][:] = 0.6
    roots = np.zeros((3, size, size), np.int16)
    spacing = 4.6 / step
    count = round(size / spacing)
    for i in range(count):
        for j in range(count):
            row = int((i + 0.5 + rng.normal(0, 0.3)) * size / count)
            col = int((j + 0.5 + rng.normal(0, 0.3)) * size / count)
            if rng.random() > 0.06:
                _stamp(planes, roots, row, col, step, rng)
    for plane in planes.values():
        plane.setflags(write=False)
    roots.setflags(write=False)
    return CanopyTile(size, root_row=roots[0], root_col=roots[1], sort=roots[2], **planes)


def _stamp(planes: dict[str, Array], roots: Array, row: int, col: int, step: float, rng: np.random.Generator) -> None:
    size = roots.shape[1]
    radius = float(np.clip(rng.lognormal(math.log(3.3), 0.28), 1.8, 6.0))
    made = crown(step, radius, False, int(rng.integers(4)))
    tall = float(rng.uniform(11, 19)) * (radius / 3.3) ** 0.4
    n = made.height.shape[0]
    rows, cols = (np.arange(n) + row - n // 2) % size, (np.arange(n) + col - n // 2) % size
    pick = np.ix_(rows, cols)
    height = made.height * tall
    there = height > planes["height"][pick]
    tint = 1 + 0.13 * rng.normal()
    new = {"height": height, "slope_x": made.slope_x, "slope_y": made.slope_y, "tone": made.tone * tint,
           "lump": made.lump}  # fmt: skip
    for name, values in new.items():
        planes[name][pick] = np.where(there, values, planes[name][pick])
    offset = n // 2 - np.arange(n)
    roots[0][pick] = np.where(there, offset[:, None], roots[0][pick])
    roots[1][pick] = np.where(there, offset[None, :], roots[1][pick])
    roots[2][pick] = np.where(there, int(rng.choice([0, 0, 1, 2, 4])), roots[2][pick])
