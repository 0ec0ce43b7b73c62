"""Roads and blocks: a region is split again and again by roads of falling width, then bent by a smooth map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cdengine.synthesis.scenes.geometry import Plot, Point
from cdengine.synthesis.scenes.style import SceneStyle

ROAD_WIDTHS = (14.0, 11.0, 9.0, 7.5, 6.8, 6.2, 5.8)


@dataclass(frozen=True)
class Road:
    """A straight road of the layout's plane; it bends with the map."""

    start: Point
    end: Point
    width: float
    urban: float


@dataclass(frozen=True)
class Block:
    """Ground between roads, and how urban it is."""

    plot: Plot
    urban: float


class Bend:
    """A turn and a smooth displacement: from the layout's plane to metres of the scene."""

    def __init__(self, style: SceneStyle, rng: np.random.Generator, centre: Point) -> None:
        self._centre, self._turn = centre, float(rng.uniform(0, 2 * math.pi))
        waves = []
        for length in (700.0, 420.0, 260.0):
            towards = rng.uniform(0, 2 * math.pi)
            k = 2 * math.pi / length
            size = style.warp * length * 0.045
            waves.append((k * math.cos(towards), k * math.sin(towards), rng.uniform(0, 2 * math.pi), size, towards))
        self._waves = [tuple(float(value) for value in wave) for wave in waves]

    def __call__(self, points: Sequence[Point]) -> list[Point]:
        """Maps points of the plane."""
        cos, sin = math.cos(self._turn), math.sin(self._turn)
        placed = []
        for u, v in points:
            du = dv = 0.0
            for ku, kv, phase, size, towards in self._waves:
                s = size * math.sin(ku * u + kv * v + phase)
                du -= s * math.sin(towards)
                dv += s * math.cos(towards)
            x, y = u + du, v + dv
            placed.append((self._centre[0] + cos * x - sin * y, self._centre[1] + sin * x + cos * y))
        return placed


class Density:
    """How urban each spot is, 0 to 1: the place's mean and a few long waves."""

    def __init__(self, style: SceneStyle, rng: np.random.Generator, extent: float) -> None:
        # The larger the view, the larger the pattern of towns and open country in it.
        scale = max(1.0, extent / 900)
        self._mean, self._spread = style.urban, min(0.6, style.spread * scale**0.4)
        self._waves = [
            (
                2 * math.pi / length * math.cos(to),
                2 * math.pi / length * math.sin(to),
                float(rng.uniform(0, 2 * math.pi)),
            )
            for length, to in (
                (scale * float(rng.uniform(500, 1500)), float(rng.uniform(0, 2 * math.pi))) for _ in range(3)
            )
        ]

    def __call__(self, point: Point) -> float:
        """Urban share at a point of the plane."""
        wave = sum(math.sin(a * point[0] + b * point[1] + c) for a, b, c in self._waves)
        return float(min(1.0, max(0.0, self._mean + self._spread * wave / 1.7)))


def target_area(urban: float) -> float:
    """Area of a block in square metres before it stops being split."""
    return float(np.interp(urban, [0.0, 0.25, 0.5, 0.8, 1.0], [60000, 26000, 13000, 9500, 7000]))


def divide(
    style: SceneStyle, rng: np.random.Generator, radius: float, density: Density
) -> tuple[list[Block], list[Road]]:
    """Blocks and roads within `radius` metres of the plane's origin.

    Args:
        style: the place.
        rng: what the lots are drawn from.
        radius: how far from the origin blocks are needed.
        density: how urban each spot is.

    Returns:
        Blocks (their sides know the widths of their roads) and roads, widest first.
    """
    half = max(radius * 1.4, 420.0) + float(rng.uniform(0, 120))
    offset = (float(rng.uniform(-60, 60)), float(rng.uniform(-60, 60)))
    square = Plot(
        tuple((offset[0] + half * i, offset[1] + half * j) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))),
        (8.0,) * 4,
    )
    blocks: list[Block] = []
    roads: list[Road] = []
    pending = [(square, 0)]
    while pending:
        plot, depth = pending.pop()
        if math.hypot(*plot.centre) - plot.radius > radius + 40:
            continue
        urban = density(plot.centre)
        target = target_area(urban) * style.block_scale * float(rng.uniform(0.7, 1.5))
        if depth >= 2 and plot.area < target:
            blocks.append(Block(plot, urban))
            continue
        pending.extend((part, depth + 1) for part in _split(plot, depth, urban, rng, roads))
    roads.sort(key=lambda road: -road.width)
    return blocks, roads


def _split(plot: Plot, depth: int, urban: float, rng: np.random.Generator, roads: list[Road]) -> list[Plot]:
    axis = plot.axis()
    low, high = plot.extent(axis)
    across_low, across_high = plot.extent(axis + math.pi / 2)
    if across_high - across_low > high - low:
        axis, low, high = axis + math.pi / 2, across_low, across_high
    angle = axis + float(rng.normal(0, 0.05 if urban > 0.4 else 0.13))
    low, high = plot.extent(angle)
    at = low + (high - low) * float(rng.uniform(0.36, 0.64))
    width = ROAD_WIDTHS[min(depth, len(ROAD_WIDTHS) - 1)] * float(rng.uniform(0.85, 1.15))
    if urban < 0.3:
        width *= 0.72 if depth < 5 else 0.5
    below, above = plot.cut(angle, at, width)
    parts = [part for part in (below, above) if part is not None]
    if len(parts) == 2:
        on_line = [c for c in parts[0].corners if abs(c[0] * math.cos(angle) + c[1] * math.sin(angle) - at) < 1e-6]
        if len(on_line) >= 2:
            roads.append(Road(on_line[0], on_line[-1], width, urban))
    return parts
