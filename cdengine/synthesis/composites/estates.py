"""Where buildings stand: along streets, in rows, round a yard, alone; with the roads, drives, lots and fences there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from cdengine.synthesis.composites.buildings import Building, Colour, Point, sample_building
from cdengine.synthesis.composites.shapes import corners


@dataclass(frozen=True)
class Stroke:
    """Something flat on the ground: a line of a width in pixels, or a polygon where the width is 0."""

    points: tuple[Point, ...]
    width: float
    colour: Colour


@dataclass
class Estate:
    """Buildings that came together, and what lies between.

    Attributes:
        buildings: in drawing order.
        strokes: roads, drives, yards, fences; none of it is a change to be found.
        trees: middle and radius of each, pixels.
        lot: outline of the ground that was cleared for it; empty for none.
    """

    buildings: list[Building] = field(default_factory=list)
    strokes: list[Stroke] = field(default_factory=list)
    trees: list[tuple[float, float, float]] = field(default_factory=list)
    lot: tuple[Point, ...] = ()


def sample_estate(rng: np.random.Generator, side: int, gsd: float) -> Estate:
    """An estate by lot, somewhere on a canvas of `side` pixels of `gsd` metres."""
    kinds = (_streets, _rows, _yard, _scattered)
    return kinds[int(rng.choice(4, p=[0.46, 0.2, 0.12, 0.22]))](rng, side, gsd)


def _grey(rng: np.random.Generator, low: float, high: float, warm: float = 8) -> Colour:
    level, tone = rng.uniform(low, high), rng.normal(0, warm)
    return level + tone, level + 0.3 * tone, level - tone


def _streets(rng: np.random.Generator, side: int, gsd: float) -> Estate:
    """Detached houses on both sides of one to three curved streets."""
    estate = Estate()
    heading = rng.uniform(0, 2 * math.pi)
    bend = 0.0 if rng.random() < 0.3 else rng.normal(0, 0.0035) * gsd / 0.5
    size = (rng.uniform(11, 23) / gsd, rng.uniform(9, 18) / gsd)
    road = rng.uniform(5, 10) / gsd
    gap = rng.uniform(1.5, 8) / gsd
    setback = road / 2 + rng.uniform(3, 10) / gsd + size[1] / 2
    depth = 2 * setback + size[1] + rng.uniform(6, 30) / gsd
    flat, tall = float(rng.choice([0.05, 0.9], p=[0.8, 0.2])), rng.uniform(2.6, 6) / gsd
    asphalt, concrete = _grey(rng, 70, 185), _grey(rng, 130, 245)
    middle = rng.uniform(0.15 * side, 0.85 * side, 2)
    turned, occupied = rng.random() < 0.5, rng.uniform(0.55, 1.0)
    one_roof = sample_building(rng, 0, 0, size, 0, tall, flat) if rng.random() < 0.55 else None
    for lane in range(int(rng.integers(1, 4))):
        offset = (lane - 0.5 * (lane % 2 == 0)) * depth if lane else 0.0
        start = (middle[0] - offset * math.sin(heading), middle[1] + offset * math.cos(heading))
        line = _curve(start, heading, bend, rng.uniform(0.35, 1.6) * side, size[0] + gap)
        estate.strokes.append(Stroke(tuple((x, y) for x, y, _ in line), road, asphalt))
        for x, y, along in line:
            for hand in (-1, 1):
                if rng.random() > occupied:
                    continue
                normal = (-hand * math.sin(along), hand * math.cos(along))
                back = setback * rng.uniform(0.92, 1.12)
                spot = (x + normal[0] * back, y + normal[1] * back)
                if not (-40 < spot[0] < side + 40 and -40 < spot[1] < side + 40):
                    continue
                factors = rng.uniform(0.8, 1.15, 2)
                own = (size[0] * factors[0], size[1] * factors[1])
                angle = along + rng.normal(0, 0.06) + (math.pi / 2 if turned else 0)
                house = sample_building(rng, *spot, own if not turned else own[::-1], angle, tall, flat)
                if one_roof is not None and rng.random() < 0.8:
                    house = _like(house, one_roof, rng)
                estate.buildings.append(house)
                _drive(rng, estate, (x, y), spot, size[0], concrete, gsd)
                if rng.random() < 0.5:
                    radius = rng.uniform(1.5, 4.5) / gsd
                    away = rng.uniform(-0.6, 0.6, 2) * (size[0] + gap)
                    estate.trees.append((spot[0] + away[0], spot[1] + away[1], radius))
        if rng.random() < 0.5:
            _fences(rng, estate, line, setback + size[1] * rng.uniform(0.7, 1.6), gsd)
    estate.strokes.sort(key=lambda stroke: stroke.width)  # drives and fences first, roads on top
    return estate


def _like(house: Building, model: Building, rng: np.random.Generator) -> Building:
    """With the roof of a neighbour, slightly another batch."""
    tone = float(rng.normal(1, 0.06))
    red, green, blue = model.roof
    return Building(
        house.wings, (red * tone, green * tone, blue * tone), model.wall, model.trim, 0.0, house.clutter, house.tint
    )


def _curve(middle: Point, heading: float, bend: float, length: float, step: float) -> list[tuple[float, float, float]]:
    """Points x, y and directions along a bent line around its middle."""
    points: list[tuple[float, float, float]] = []
    for hand in (-1, 1):
        x, y, angle = middle[0], middle[1], heading
        half = [(x, y, angle)]
        for _ in range(int(length / 2 / step)):
            angle += hand * bend * step
            x, y = x + hand * step * math.cos(angle), y + hand * step * math.sin(angle)
            half.append((x, y, angle))
        points = half[:0:-1] if hand < 0 else points + half
    return points


def _drive(
    rng: np.random.Generator, estate: Estate, road: Point, house: Point, size: float, colour: Colour, gsd: float
) -> None:
    if rng.random() < 0.25:
        return
    aside = rng.uniform(-0.35, 0.35) * size
    dx, dy = house[0] - road[0], house[1] - road[1]
    length = math.hypot(dx, dy) or 1.0
    shift = (-dy / length * aside, dx / length * aside)
    ends = ((road[0] + shift[0], road[1] + shift[1]), (house[0] + shift[0], house[1] + shift[1]))
    estate.strokes.append(Stroke(ends, rng.uniform(2.5, 6) / gsd, colour))


def _fences(
    rng: np.random.Generator, estate: Estate, line: list[tuple[float, float, float]], back: float, gsd: float
) -> None:
    colour = _grey(rng, 40, 160, 14)
    for hand in (-1, 1):
        rear = [(x - hand * back * math.sin(a), y + hand * back * math.cos(a)) for x, y, a in line]
        estate.strokes.append(Stroke(tuple(rear), 0.5 / gsd, colour))
        for (x, y, a), end in zip(line, rear, strict=True):
            near = (x - hand * back * 0.5 * math.sin(a), y + hand * back * 0.5 * math.cos(a))
            if rng.random() < 0.7:
                estate.strokes.append(Stroke((near, end), 0.5 / gsd, colour))


def _rows(rng: np.random.Generator, side: int, gsd: float) -> Estate:
    """Parallel slabs, halls or terraces: the same building again and again on paved or bare ground."""
    estate = Estate()
    kind = int(rng.integers(3))
    low, high, wide, tall = ((25, 65, 14, 24), (20, 75, 32, 9), (12, 45, 9, 7))[kind]
    size = (rng.uniform(low, high) / gsd, rng.uniform(0.7, 1.3) * wide / gsd)
    size = (min(size[0], 0.7 * side), min(size[1], 0.45 * side))
    height = tall * rng.uniform(0.4, 1.3) / gsd
    pitch = (size[0] + rng.uniform(4, 25) / gsd, size[1] + rng.uniform(4, 28) / gsd)
    count = (int(rng.integers(1, 5)), int(rng.integers(1, 8)))
    angle, middle = rng.uniform(0, 2 * math.pi), rng.uniform(0.2 * side, 0.8 * side, 2)
    model = sample_building(rng, 0, 0, size, 0, height, 0.75 if kind < 2 else 0.25)
    half = (pitch[0] * count[0] / 2, pitch[1] * count[1] / 2)
    if rng.random() < 0.7:
        estate.lot = tuple(corners(middle[0], middle[1], half[0] * 1.1, half[1] * 1.1, angle))
        if rng.random() < 0.5:
            estate.strokes.append(Stroke(estate.lot, 0.0, _grey(rng, 90, 235)))
    cos, sin = math.cos(angle), math.sin(angle)
    for i in range(count[0]):
        for j in range(count[1]):
            a, b = (i + 0.5) * pitch[0] - half[0], (j + 0.5) * pitch[1] - half[1]
            if rng.random() < 0.1:
                continue
            spot = (middle[0] + a * cos - b * sin, middle[1] + a * sin + b * cos)
            own = sample_building(rng, *spot, size, angle, height, float(model.wings[-1].roof == "flat"))
            estate.buildings.append(_like(own, model, rng) if rng.random() < 0.85 else own)
            if rng.random() < 0.5:
                edge = [spot[0] + (pitch[0] / 2) * cos, spot[1] + (pitch[0] / 2) * sin]
                estate.trees.append((edge[0], edge[1], rng.uniform(1.5, 4) / gsd))
    if rng.random() < 0.5:
        b = -half[1] * 1.15
        ends = [(middle[0] + a * cos - b * sin, middle[1] + a * sin + b * cos) for a in (-half[0] * 2, half[0] * 2)]
        estate.strokes.append(Stroke(tuple(ends), rng.uniform(5, 12) / gsd, _grey(rng, 70, 180)))
    return estate


def _yard(rng: np.random.Generator, side: int, gsd: float) -> Estate:
    """Buildings round a yard, as farms, schools and works have them."""
    estate = Estate()
    angle, middle = rng.uniform(0, 2 * math.pi), rng.uniform(0.2 * side, 0.8 * side, 2)
    half = np.minimum(rng.uniform(12, 45, 2) / gsd, 0.4 * side)
    deep, height = rng.uniform(6, 16) / gsd, rng.uniform(3, 10) / gsd
    deep = min(deep, float(half.min()) * 0.8)
    estate.lot = tuple(corners(middle[0], middle[1], half[0] * 1.25, half[1] * 1.25, angle))
    estate.strokes.append(
        Stroke(tuple(corners(middle[0], middle[1], half[0], half[1], angle)), 0.0, _grey(rng, 110, 240))
    )
    model = sample_building(rng, 0, 0, (half[0], deep), 0, height, 0.4)
    cos, sin = math.cos(angle), math.sin(angle)
    for a, b, length, turn in (
        (0.0, -half[1], 2 * half[0], 0.0),
        (half[0], 0.0, 2 * half[1], math.pi / 2),
        (0.0, half[1], 2 * half[0], 0.0),
        (-half[0], 0.0, 2 * half[1], math.pi / 2),
    ):
        if rng.random() < 0.25:
            continue
        spot = (middle[0] + a * cos - b * sin, middle[1] + a * sin + b * cos)
        own = sample_building(rng, *spot, (length * rng.uniform(0.5, 1), deep), angle + turn, height, 0.4)
        estate.buildings.append(_like(own, model, rng))
    return estate


def _scattered(rng: np.random.Generator, side: int, gsd: float) -> Estate:
    """A few buildings of any kind, most of them alone on a cleared spot with a drive."""
    estate = Estate()
    for _ in range(int(rng.integers(1, 7))):
        x, y = rng.uniform(0, side, 2)
        length = math.exp(rng.uniform(math.log(6), math.log(45)))
        size = (min(length / gsd, 0.6 * side), min(max(4, length * rng.uniform(0.35, 1)) / gsd, 0.5 * side))
        angle, height = rng.uniform(0, 2 * math.pi), (2.5 + 0.12 * length) * rng.uniform(0.7, 1.6) / gsd
        estate.buildings.append(sample_building(rng, x, y, size, angle, height, 0.3 + 0.4 * (length > 25)))
        if rng.random() < 0.6:
            apron = corners(x, y, size[0] * rng.uniform(0.5, 0.9), size[1] * rng.uniform(0.5, 1.1), angle)
            estate.strokes.append(Stroke(tuple(apron), 0.0, _grey(rng, 90, 240, 14)))
        if rng.random() < 0.4:
            end = (x + rng.uniform(-1, 1) * side, y + rng.uniform(-1, 1) * side)
            estate.strokes.append(Stroke(((x, y), end), rng.uniform(2.5, 8) / gsd, _grey(rng, 80, 235, 12)))
        for _ in range(int(rng.poisson(0.7))):
            away = rng.normal(0, 1, 2) * max(size)
            estate.trees.append((x + away[0], y + away[1], rng.uniform(1.5, 5) / gsd))
    return estate
