"""The plan of a scene: what stands where, on which date. Vectors in metres, x to the right and y down."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from cdengine.synthesis.scenes.geometry import Plot, Point, rectangle
from cdengine.synthesis.scenes.materials import Surface
from cdengine.synthesis.scenes.style import ChangeRates, SceneStyle

BEFORE, AFTER, BOTH = 1, 2, 3
# Painter's order of what lies flat on the ground.
BASE, LOT, BED, WALK, ROADWAY, MARK, WATERS, BRIDGE = range(8)


@dataclass(frozen=True)
class Area:
    """A flat polygon, or a line of `width` metres if that is not 0."""

    layer: int
    ring: list[Point]
    unit: int
    dates: int
    width: float = 0.0


@dataclass(frozen=True)
class Wing:
    """A rectangular part of a building.

    Attributes:
        centre, angle, length, width: its footprint; the ridge runs along `angle`.
        eave: height of its walls in metres.
        roof: "flat", "gable", "hip", "shed" or "saw".
        pitch: slope of the roof (tangent).
        unit: its roof's surface.
        ribs: distance of roof ribs in metres, 0 for none.
    """

    centre: Point
    angle: float
    length: float
    width: float
    eave: float
    roof: str
    pitch: float
    unit: int
    ribs: float = 0.0


@dataclass(frozen=True)
class Building:
    """Wings that share a wall colour; `replaced` marks both states of a building that another one follows."""

    wings: tuple[Wing, ...]
    wall: int
    dates: int
    replaced: bool = False


@dataclass(frozen=True)
class Tree:
    """A single crown."""

    x: float
    y: float
    radius: float
    height: float
    unit: int
    dates: int


@dataclass(frozen=True)
class Vehicle:
    """A car or a lorry; never a change."""

    centre: Point
    angle: float
    length: float
    width: float
    height: float
    unit: int
    dates: int


@dataclass
class Plan:
    """Collects the objects of a scene.

    Attributes:
        place: map from the plane of the layout to metres of the scene, on lists of points.
        box: (x0, y0, x1, y1) that matters; objects elsewhere are not kept.
    """

    style: SceneStyle
    rates: ChangeRates
    rng: np.random.Generator
    place: Callable[[Sequence[Point]], list[Point]]
    box: tuple[float, float, float, float]
    detail: float
    surfaces: list[Surface] = field(default_factory=list)
    areas: list[Area] = field(default_factory=list)
    buildings: list[Building] = field(default_factory=list)
    woods: list[Area] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    vehicles: list[Vehicle] = field(default_factory=list)
    crowns: list[int] = field(default_factory=list)
    paints: list[int] = field(default_factory=list)

    def surface(self, surface: Surface) -> int:
        """Registers a surface; its number is what the canvas paints."""
        self.surfaces.append(surface)
        return len(self.surfaces) - 1

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return bool(self.rng.random() < probability)

    def between(self, low: float, high: float) -> float:
        """A uniform number."""
        return float(low + (high - low) * self.rng.random())

    def sees(self, plot: Plot) -> bool:
        """Whether a plot of the layout's plane is near what matters."""
        return self.visible(self.place(plot.corners), 12)

    def visible(self, points: Sequence[Point], reach: float = 0.0) -> bool:
        """Whether the box of some points of the scene, grown by `reach`, meets what matters."""
        x0, y0, x1, y1 = self.box
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        return max(xs) + reach > x0 and min(xs) - reach < x1 and max(ys) + reach > y0 and min(ys) - reach < y1

    def area(self, layer: int, ring: Sequence[Point], unit: int, dates: int = BOTH) -> None:
        """A polygon given in the layout's plane."""
        placed = self.place(dense(list(ring), closed=True))
        if self.visible(placed):
            self.areas.append(Area(layer, placed, unit, dates))

    def line(self, layer: int, points: Sequence[Point], width: float, unit: int, dates: int = BOTH) -> None:
        """A line given in the layout's plane; too thin ones are left out."""
        if width < 0.2 * self.detail:
            return
        placed = self.place(dense(list(points), closed=False))
        if self.visible(placed, width):
            self.areas.append(Area(layer, placed, unit, dates, width))

    def wood(self, ring: Sequence[Point], unit: int, dates: int = BOTH) -> None:
        """A closed stand of trees."""
        placed = self.place(dense(list(ring), closed=True))
        if self.visible(placed, 10):
            self.woods.append(Area(BASE, placed, unit, dates))

    def wing(self, centre: Point, angle: float, length: float, width: float, eave: float, roof: str, unit: int,
             pitch: float = 0.5, ribs: float = 0.0) -> Wing:  # fmt: skip
        """A wing given in the layout's plane: placed stiffly, turned with the streets."""
        step = 1.0
        here, ahead = self.place([centre, (centre[0] + step * math.cos(angle), centre[1] + step * math.sin(angle))])
        turned = math.atan2(ahead[1] - here[1], ahead[0] - here[0])
        return Wing(here, turned, length, width, eave, roof, pitch, unit, ribs)

    def building(self, wings: Sequence[Wing], dates: int, replaced: bool = False) -> None:
        """A building of wings that are placed already."""
        if not self.visible([wing.centre for wing in wings], 40):
            return
        tone = self.between(0.75, 1.1)
        wall = self.surface(Surface("wall", 1, tone))
        self.buildings.append(Building(tuple(wings), wall, dates, replaced))

    def tree(self, at: Point, radius: float, unit: int, dates: int = BOTH) -> None:
        """A crown given in the layout's plane; rarely, one that is felled."""
        if radius < 0.4 * self.detail:
            return
        (x, y) = self.place([at])[0]
        if dates == BOTH and self.chance(self.rates.felled_tree):
            dates = BEFORE
        if self.visible([(x, y)], 12):
            self.trees.append(Tree(x, y, radius, radius * self.between(1.3, 2.2), unit, dates))

    def vehicle(self, centre: Point, angle: float, unit: int, dates: int, size: tuple[float, float, float]) -> None:
        """A vehicle given in the layout's plane."""
        if self.detail > 1.5:
            return
        placed = self.wing(centre, angle, 1, 1, 1, "flat", unit)
        if self.visible([placed.centre], 5):
            self.vehicles.append(Vehicle(placed.centre, placed.angle, size[0], size[1], size[2], unit, dates))

    def paved_box(self, layer: int, centre: Point, angle: float, length: float, width: float, unit: int,
                  dates: int) -> None:  # fmt: skip
        """A flat rectangle given in the layout's plane."""
        self.area(layer, rectangle(centre, angle, length, width), unit, dates)

    def scatter(self, plot: Plot, spacing: float) -> list[Point]:
        """Points by lot in a plot, about one per square of `spacing`."""
        xs, ys = [p[0] for p in plot.corners], [p[1] for p in plot.corners]
        count = int(self.rng.poisson((max(xs) - min(xs)) * (max(ys) - min(ys)) / spacing**2))
        tried = zip(self.rng.uniform(min(xs), max(xs), count), self.rng.uniform(min(ys), max(ys), count), strict=True)
        return [(float(x), float(y)) for x, y in tried if plot.contains((float(x), float(y)))]


def dense(points: list[Point], closed: bool, step: float = 20.0) -> list[Point]:
    """The same polyline with corners at least each `step`, so that it can bend."""
    ends = points[1:] + points[:1] if closed else points[1:]
    out: list[Point] = []
    for (x0, y0), (x1, y1) in zip(points, ends, strict=False):
        pieces = max(1, math.ceil(math.dist((x0, y0), (x1, y1)) / step))
        out.extend((x0 + (x1 - x0) * i / pieces, y0 + (y1 - y0) * i / pieces) for i in range(pieces))
    return out if closed else [*out, points[-1]]
