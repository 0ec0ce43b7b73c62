"""Small convex polygons in the plane: cutting, insetting, extents. Plain Python, since they have four corners or so."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]


@dataclass(frozen=True)
class Plot:
    """A convex polygon; `sides[i]` is the width of the road along the side from corner i to the next (0 for none)."""

    corners: tuple[Point, ...]
    sides: tuple[float, ...]

    @property
    def area(self) -> float:
        """Area; positive for either orientation."""
        total = 0.0
        for (x0, y0), (x1, y1) in self.edges():
            total += x0 * y1 - x1 * y0
        return abs(total) / 2

    @property
    def centre(self) -> Point:
        """Mean of the corners."""
        n = len(self.corners)
        return sum(x for x, _ in self.corners) / n, sum(y for _, y in self.corners) / n

    @property
    def radius(self) -> float:
        """Largest distance of a corner from the centre."""
        return max(math.dist(self.centre, corner) for corner in self.corners)

    def edges(self) -> list[tuple[Point, Point]]:
        """Sides as pairs of corners."""
        return list(zip(self.corners, self.corners[1:] + self.corners[:1], strict=True))

    def axis(self) -> float:
        """Direction of the longest side in radians."""
        (x0, y0), (x1, y1) = max(self.edges(), key=lambda edge: math.dist(*edge))
        return math.atan2(y1 - y0, x1 - x0)

    def extent(self, angle: float) -> tuple[float, float]:
        """Least and greatest coordinate along a direction."""
        cos, sin = math.cos(angle), math.sin(angle)
        along = [x * cos + y * sin for x, y in self.corners]
        return min(along), max(along)

    def cut(self, angle: float, at: float, width: float = 0.0) -> tuple[Plot | None, Plot | None]:
        """Parts below and above `at` along a direction; the new side gets a road of `width`."""
        cos, sin = math.cos(angle), math.sin(angle)
        below: list[tuple[Point, float]] = []
        above: list[tuple[Point, float]] = []
        for (start, end), side in zip(self.edges(), self.sides, strict=True):
            s = start[0] * cos + start[1] * sin - at
            e = end[0] * cos + end[1] * sin - at
            (below if s <= 0 else above).append((start, side))
            if (s <= 0) != (e <= 0):
                t = s / (s - e)
                crossing = (start[0] + t * (end[0] - start[0]), start[1] + t * (end[1] - start[1]))
                leaving, entering = (below, above) if s <= 0 else (above, below)
                leaving.append((crossing, width))
                entering.append((crossing, side))
        return _plot(below), _plot(above)

    def inset(self, margin: float, roads: bool = True) -> Plot | None:
        """What is left after `margin` (and half of the road) is taken off along each side."""
        left: Plot | None = self
        cx, cy = self.centre
        for ((x0, y0), (x1, y1)), side in zip(self.edges(), self.sides, strict=True):
            angle = math.atan2(y1 - y0, x1 - x0) + math.pi / 2
            distance = x0 * math.cos(angle) + y0 * math.sin(angle)
            taken = margin + (side / 2 if roads else 0.0)
            inward = cx * math.cos(angle) + cy * math.sin(angle) > distance
            if left is None or taken <= 0:
                continue
            at = distance + taken if inward else distance - taken
            below, above = left.cut(angle, at, side)
            left = above if inward else below
        return left

    def contains(self, point: Point) -> bool:
        """Whether the point lies inside."""
        sign = 0.0
        for (x0, y0), (x1, y1) in self.edges():
            cross = (x1 - x0) * (point[1] - y0) - (y1 - y0) * (point[0] - x0)
            if sign * cross < 0:
                return False
            sign = cross or sign
        return True


def _plot(marked: list[tuple[Point, float]]) -> Plot | None:
    if len(marked) < 3:
        return None
    plot = Plot(tuple(corner for corner, _ in marked), tuple(side for _, side in marked))
    return plot if plot.area > 1.0 else None


def rectangle(centre: Point, angle: float, length: float, width: float) -> list[Point]:
    """Corners of a rectangle whose length runs along `angle`."""
    ax, ay = math.cos(angle) * length / 2, math.sin(angle) * length / 2
    bx, by = -math.sin(angle) * width / 2, math.cos(angle) * width / 2
    cx, cy = centre
    return [(cx + i * ax + j * bx, cy + i * ay + j * by) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]


def along(line: list[Point], step: float, offset: float = 0.0) -> list[tuple[Point, float]]:
    """Points each `step` along a polyline, moved sideways by `offset`, with the line's direction there."""
    found: list[tuple[Point, float]] = []
    rest = step / 2
    for (x0, y0), (x1, y1) in pairwise(line):
        length = math.dist((x0, y0), (x1, y1))
        if length == 0:
            continue
        dx, dy = (x1 - x0) / length, (y1 - y0) / length
        while rest < length:
            found.append(((x0 + dx * rest - dy * offset, y0 + dy * rest + dx * offset), math.atan2(dy, dx)))
            rest += step
        rest -= length
    return found
