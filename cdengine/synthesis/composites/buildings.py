"""Drawn buildings: what is drawn by lot about one, and how it looks in a date's light."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from cdengine.synthesis.composites.light import Light
from cdengine.synthesis.composites.shapes import corners

FINE = 2  # drawn at twice the size, so that edges are smooth
Point = tuple[float, float]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Wing:
    """One rectangle of a building, in pixels; `roof` is flat, gable, hip or shed, `rise` that of its ridge."""

    x: float
    y: float
    length: float
    width: float
    angle: float
    height: float
    roof: str
    rise: float


@dataclass(frozen=True)
class Building:
    """A building.

    Attributes:
        wings: the main one last, since it is drawn on top.
        roof: its colour.
        wall: colour of its facades.
        trim: factor on the colour of ridges and parapets.
        ribs: pixels between the ribs of a metal roof; 0: none.
        clutter: positions (along, across, half size, tone) of what stands on a flat roof, as shares of the main wing.
        tint: random small factors of the faces, so that no two slopes are quite alike.
    """

    wings: tuple[Wing, ...]
    roof: Colour
    wall: Colour
    trim: float
    ribs: float
    clutter: tuple[tuple[float, float, float, float], ...]
    tint: float


# Weight, and the range of red, green, blue of the roofs.
ROOFS: tuple[tuple[float, Colour, Colour], ...] = (
    (0.34, (70, 66, 62), (150, 142, 134)),  # shingle, slate, worn concrete
    (0.10, (34, 34, 38), (70, 70, 74)),  # bitumen
    (0.17, (120, 62, 44), (200, 112, 84)),  # tiles
    (0.12, (185, 185, 185), (250, 250, 250)),  # white membrane, zinc
    (0.10, (40, 80, 150), (90, 140, 235)),  # blue sheet metal
    (0.10, (140, 122, 98), (212, 196, 170)),  # sand, concrete
    (0.03, (60, 100, 80), (120, 170, 140)),  # green
    (0.04, (40, 40, 40), (230, 230, 230)),
)


def roof_colour(rng: np.random.Generator) -> Colour:
    """A colour by lot; its channels move together within their range, as materials do."""
    weights = np.asarray([entry[0] for entry in ROOFS])
    _, low, high = ROOFS[int(rng.choice(len(ROOFS), p=weights / weights.sum()))]
    common = rng.uniform()
    own = np.clip(common + rng.normal(0, 0.08, 3), 0, 1)
    red, green, blue = (float(a + (b - a) * t) for a, b, t in zip(low, high, own, strict=True))
    return red, green, blue


def sample_building(
    rng: np.random.Generator, x: float, y: float, size: tuple[float, float], angle: float, height: float, flat: float
) -> Building:
    """A building by lot.

    Args:
        rng: what is drawn from.
        x: its middle, in pixels from the left.
        y: likewise from the top.
        size: length and width in pixels.
        angle: of its length, in radians.
        height: of its eaves, in pixels.
        flat: chance of a flat roof.
    """
    length, width = size
    roof = "flat" if rng.random() < flat else str(rng.choice(["gable", "hip", "shed"], p=[0.45, 0.5, 0.05]))
    rise = 0.0 if roof == "flat" else width / 2 * rng.uniform(0.25, 0.75)
    wings = [Wing(x, y, length, width, angle, height, roof, rise)]
    for _ in range(int(rng.choice(3, p=[0.4, 0.4, 0.2])) if min(size) > 9 else 0):
        wings.insert(0, _side_wing(rng, wings[-1]))
    boxes = int(rng.poisson(3)) if roof == "flat" and min(size) > 14 else int(rng.random() < 0.3)
    clutter = [
        (rng.uniform(-0.8, 0.8), rng.uniform(-0.7, 0.7), rng.uniform(0.8, max(1.2, min(5.0, 0.12 * width))), tone)
        for tone in rng.uniform(0.6, 1.5, boxes)
    ]
    return Building(
        wings=tuple(wings),
        roof=roof_colour(rng),
        wall=tuple(float(v) for v in np.clip(rng.uniform(60, 215) + rng.normal(0, 12, 3), 20, 240)),  # type: ignore[arg-type]
        trim=float(rng.uniform(0.75, 1.3)),
        ribs=float(rng.uniform(4, 12)) if rng.random() < 0.2 and min(size) > 16 else 0.0,
        clutter=tuple(clutter),
        tint=float(rng.normal(0, 0.05)),
    )


def _side_wing(rng: np.random.Generator, main: Wing) -> Wing:
    """A lower wing across the main one, so that plans are L, T and crooked, as of suburban houses."""
    along = rng.uniform(-0.42, 0.42) * main.length
    length, width = main.width * rng.uniform(0.7, 1.25), main.length * rng.uniform(0.22, 0.5)
    across = rng.choice([-1, 1]) * main.width * rng.uniform(0.15, 0.5)
    cos, sin = math.cos(main.angle), math.sin(main.angle)
    rise = 0.0 if main.roof == "flat" else min(main.rise * 0.9, width / 2 * rng.uniform(0.3, 0.7))
    return Wing(
        main.x + along * cos - across * sin,
        main.y + along * sin + across * cos,
        length,
        width,
        main.angle + math.pi / 2,
        main.height * rng.uniform(0.85, 1.0),
        main.roof,
        rise,
    )


class Easel:
    """What buildings of one date are drawn on: colours, what is covered, what is roof, what lies in shadow."""

    def __init__(self, side: int, light: Light) -> None:
        size = (side * FINE, side * FINE)
        self.side, self.light = side, light
        self.colour = Image.new("RGB", size)
        self.cover = Image.new("L", size, 0)
        self.roof = Image.new("L", size, 0)
        self.shadow = Image.new("L", size, 0)
        self._draw = ImageDraw.Draw(self.colour)
        self._cover = ImageDraw.Draw(self.cover)
        self._roof = ImageDraw.Draw(self.roof)
        self._shadow = ImageDraw.Draw(self.shadow)

    def building(self, building: Building) -> None:
        """Draws shadow, facades and roof."""
        for wing in building.wings:
            self._cast(wing)
        for wing in building.wings:
            self._facades(wing, building)
        for wing in building.wings:
            self._top(wing, building)
        self._furnish(building)

    def _at(self, point: Point, height: float) -> Point:
        lean = self.light.lean
        return (point[0] + lean[0] * height) * FINE, (point[1] + lean[1] * height) * FINE

    def _cast(self, wing: Wing) -> None:
        if self.light.overcast:
            return
        dx, dy = self.light.reach
        base = corners(wing.x, wing.y, wing.length / 2, wing.width / 2, wing.angle)
        tall = wing.height + 0.5 * wing.rise
        far = [(x + dx * tall, y + dy * tall) for x, y in base]
        for i in range(4):
            quad = [base[i - 1], base[i], far[i], far[i - 1]]
            self._shadow.polygon([(x * FINE, y * FINE) for x, y in quad], fill=255)
        self._shadow.polygon([(x * FINE, y * FINE) for x, y in far], fill=255)

    def _facades(self, wing: Wing, building: Building) -> None:
        base = corners(wing.x, wing.y, wing.length / 2, wing.width / 2, wing.angle)
        for i in range(4):
            a, b = base[i - 1], base[i]
            normal = (b[1] - a[1], a[0] - b[0])
            if normal[0] * self.light.lean[0] + normal[1] * self.light.lean[1] >= 0:
                continue  # turned away from the camera
            size = math.hypot(*normal) or 1.0
            facing = (normal[0] * self.light.sun[0] + normal[1] * self.light.sun[1]) / size
            lit = (self.light.ambient + (0 if self.light.overcast else max(0.0, facing))) / (
                self.light.ambient + self.light.sun[2]
            )
            quad = [self._at(a, 0), self._at(b, 0), self._at(b, wing.height), self._at(a, wing.height)]
            self._draw.polygon(quad, fill=_shaded(building.wall, min(1.2, lit)))
            self._cover.polygon(quad, fill=255)

    def _top(self, wing: Wing, building: Building) -> None:
        for number, (points, slope) in enumerate(_faces(wing)):
            lit = self.light.brightness(*slope) * (1 + building.tint * (-1) ** number)
            polygon = [self._at((x, y), z) for x, y, z in points]
            self._draw.polygon(polygon, fill=_shaded(building.roof, min(1.5, max(0.35, lit))))
            self._cover.polygon(polygon, fill=255)
            self._roof.polygon(polygon, fill=255)
            if wing.roof == "flat":
                self._draw.line([*polygon, polygon[0]], fill=_shaded(building.roof, building.trim), width=2)
            elif len(points) == 4 and wing.width > 8:
                ridge = [polygon[2], polygon[3]]
                self._draw.line(ridge, fill=_shaded(building.roof, lit * (0.5 + building.trim / 2)), width=1)

    def _furnish(self, building: Building) -> None:
        main = building.wings[-1]
        cos, sin = math.cos(main.angle), math.sin(main.angle)
        if building.ribs > 0:
            ends = np.arange(-main.length / 2 + building.ribs, main.length / 2, building.ribs)
            for along in ends:
                line = [
                    self._at((main.x + along * cos - b * sin, main.y + along * sin + b * cos), main.height)
                    for b in (-main.width / 2, main.width / 2)
                ]
                self._draw.line(line, fill=_shaded(building.roof, 0.9), width=1)
        for along, across, half, tone in building.clutter:
            a, b = along * main.length / 2, across * main.width / 2
            spot = (main.x + a * cos - b * sin, main.y + a * sin + b * cos)
            box = corners(*spot, half, half * 0.8, main.angle)
            dx, dy = self.light.reach
            if not self.light.overcast:
                cast = [self._at((x + dx * half * 0.7, y + dy * half * 0.7), main.height) for x, y in box]
                self._draw.polygon(cast, fill=_shaded(building.roof, 0.55))
            self._draw.polygon([self._at(p, main.height) for p in box], fill=_shaded(building.roof, tone))


def _faces(wing: Wing) -> list[tuple[list[tuple[float, float, float]], tuple[float, float]]]:
    """Faces of a roof: corners (x, y, height), and how it falls per pixel towards right and down."""
    half, wide, low, high = wing.length / 2, wing.width / 2, wing.height, wing.height + wing.rise
    cos, sin = math.cos(wing.angle), math.sin(wing.angle)

    def at(a: float, b: float, z: float) -> tuple[float, float, float]:
        return wing.x + a * cos - b * sin, wing.y + a * sin + b * cos, z

    def turned(a: float, b: float) -> tuple[float, float]:
        return a * cos - b * sin, a * sin + b * cos

    if wing.roof == "flat":
        flat = [at(-half, -wide, low), at(half, -wide, low), at(half, wide, low), at(-half, wide, low)]
        return [(flat, (0.0, 0.0))]
    if wing.roof == "shed":
        slope = wing.rise / wing.width
        shed = [at(-half, -wide, low), at(half, -wide, low), at(half, wide, high), at(-half, wide, high)]
        return [(shed, turned(0, -slope))]
    pitch = wing.rise / wide
    end = half if wing.roof == "gable" else max(0.0, half - wide)
    faces = [
        ([at(-half, -wide, low), at(half, -wide, low), at(end, 0, high), at(-end, 0, high)], turned(0, -pitch)),
        ([at(half, wide, low), at(-half, wide, low), at(-end, 0, high), at(end, 0, high)], turned(0, pitch)),
    ]
    if wing.roof == "hip":
        steep = wing.rise / max(1e-6, half - end)
        faces.append(([at(half, -wide, low), at(half, wide, low), at(end, 0, high)], turned(steep, 0)))
        faces.append(([at(-half, wide, low), at(-half, -wide, low), at(-end, 0, high)], turned(-steep, 0)))
    return faces


def _shaded(colour: Colour, factor: float) -> tuple[int, int, int]:
    red, green, blue = (max(0, min(255, round(value * factor))) for value in colour)
    return red, green, blue
