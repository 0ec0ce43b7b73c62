"""Open blocks: fields, meadows, woods, parks, sport grounds, bare ground; ponds, rivers, fellings and plantings."""

from __future__ import annotations

import math

import numpy as np

from cdengine.synthesis.scenes.classes import BARE, FIELD, LOW, PAVED, SPORT, TREE, WATER
from cdengine.synthesis.scenes.geometry import Plot, Point, along, rectangle
from cdengine.synthesis.scenes.houses import move
from cdengine.synthesis.scenes.materials import Surface
from cdengine.synthesis.scenes.plan import AFTER, BASE, BED, BEFORE, BOTH, LOT, MARK, WATERS, Plan
from cdengine.synthesis.scenes.town import crown_unit, frame, parking, slices, unit_of

QUARTER = math.pi / 2


def blob(plan: Plan, centre: Point, radius: float, rough: float = 0.25) -> list[Point]:
    """A smooth closed shore around a centre."""
    angles = np.linspace(0, 2 * math.pi, 72, endpoint=False)
    radii = np.full_like(angles, radius)
    for order in range(2, 7):
        radii += radius * rough / order * plan.rng.normal() * np.cos(order * angles + plan.rng.uniform(0, 6.28))
    stretch = plan.between(0.65, 1.0)
    points = zip(radii * np.cos(angles), stretch * radii * np.sin(angles), strict=True)
    turn = plan.between(0, math.pi)
    return [move(centre, turn, float(a), float(b)) for a, b in points]


def fields(plan: Plan, plot: Plot, urban: float, dates: int) -> None:
    """Arable strips, each with its crop, rows and tractor lines; tracks or hedges between some."""
    axis = plot.axis()
    plan.area(BASE, plot.corners, unit_of(plan, "verge", LOW), dates)
    inner = plot.inset(plan.between(1, 3.5), roads=False) or plot
    across = axis if plan.chance(0.8) else axis + QUARTER
    for strip in slices(inner, across, (45, 160), plan):
        rows = across + QUARTER + plan.between(-0.02, 0.02)
        normal = plan.place([(0.0, 0.0), (-math.sin(rows), math.cos(rows))])
        step = plan.between(0.7, 1.4) * max(1.0, plan.detail * 1.6)
        frequency = ((normal[1][0] - normal[0][0]) / step, (normal[1][1] - normal[0][1]) / step)
        lot = float(plan.rng.random())
        crop = Surface("crop", FIELD, plan.between(0.92, 1.08), None, lot, frequency, plan.between(15, 28))
        cropped = strip.inset(plan.between(0.2, 1.2), roads=False) or strip
        plan.area(LOT, cropped.corners, plan.surface(crop), dates)
    if plan.chance(0.3):
        start, end = plot.edges()[int(plan.rng.integers(len(plot.corners)))]
        tree_row(plan, start, end, dates)


def tree_row(plan: Plan, start: Point, end: Point, dates: int) -> None:
    """A hedgerow of uneven trees."""
    unit = crown_unit(plan)
    for spot, _ in along([start, end], plan.between(4, 9)):
        if plan.chance(0.85):
            plan.tree(
                (spot[0] + plan.between(-1, 1), spot[1] + plan.between(-1, 1)), plan.between(1.5, 4.5), unit, dates
            )


def meadow(plan: Plan, plot: Plot, urban: float, dates: int) -> None:
    """Grassland with single trees and worn paths."""
    plan.area(BASE, plot.corners, unit_of(plan, "meadow", LOW, 0.12), dates)
    for spot in plan.scatter(plot, plan.between(18, 60)):
        plan.tree(spot, plan.between(1.2, 5), crown_unit(plan), dates)
    for _ in range(int(plan.rng.poisson(1.2))):
        path(plan, plot, unit_of(plan, "soil", BARE), plan.between(0.8, 2.2), dates)


def path(plan: Plan, plot: Plot, unit: int, width: float, dates: int) -> None:
    """A curved way from one side to another."""
    edges = plot.edges()
    first, second = plan.rng.choice(len(edges), 2, replace=False)
    ends = [((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, b in (edges[int(first)], edges[int(second)])]
    sway = plan.between(-0.3, 0.3) * math.dist(*ends)
    angle = math.atan2(ends[1][1] - ends[0][1], ends[1][0] - ends[0][0])
    points = []
    for i in range(17):
        t = i / 16
        on = (ends[0][0] + (ends[1][0] - ends[0][0]) * t, ends[0][1] + (ends[1][1] - ends[0][1]) * t)
        points.append(move(on, angle, 0, sway * math.sin(math.pi * t) + 0.2 * sway * math.sin(7 * t)))
    plan.line(LOT, points, width, unit, dates)


def forest(plan: Plan, plot: Plot, urban: float, dates: int) -> None:
    """A stand of trees; part of it may be felled between the dates."""
    plan.area(BASE, plot.corners, unit_of(plan, "meadow", LOW, 0.12), dates)
    stand = plot.inset(plan.between(2, 9), roads=False)
    if stand is None:
        return
    axis = stand.axis() + plan.between(-0.5, 0.5)
    pieces = slices(stand, axis, (60, 140), plan)
    felled = dates == BOTH and plan.chance(plan.rates.felled)
    chosen = int(plan.rng.integers(len(pieces)))
    for number, piece in enumerate(pieces):
        gone = felled and (number == chosen or plan.chance(0.25))
        if not gone:
            plan.wood(piece.corners, crown_unit(plan), dates)
            continue
        low, high = piece.extent(axis + QUARTER)
        cut, kept = piece.cut(axis + QUARTER, low + (high - low) * plan.between(0.4, 1.05))
        if kept is not None:
            plan.wood(kept.corners, crown_unit(plan), dates)
        if cut is not None:
            plan.wood(cut.corners, crown_unit(plan), BEFORE)
            plan.area(LOT, cut.corners, unit_of(plan, "cut", BARE), AFTER)


def park(plan: Plan, plot: Plot, urban: float, dates: int) -> None:
    """Lawns, curved paths, groups of trees, now and then a pond."""
    plan.area(BASE, plot.corners, unit_of(plan, "lawn", LOW), dates)
    for _ in range(int(plan.rng.integers(1, 4))):
        path(plan, plot, unit_of(plan, "gravel", BARE), plan.between(1.6, 3), dates)
    for spot in plan.scatter(plot, plan.between(9, 16)):
        plan.tree(spot, plan.between(1.8, 5.5), crown_unit(plan), dates)
    if plan.chance(0.3):
        radius = min(30.0, plot.radius * 0.25)
        plan.area(WATERS, blob(plan, plot.centre, radius), unit_of(plan, "water", WATER), dates)


def sport(plan: Plan, plot: Plot, urban: float, dates: int) -> None:
    """A pitch with its lines, perhaps a track around it, courts beside it."""
    plan.area(BASE, plot.corners, unit_of(plan, "lawn", LOW), dates)
    axis, _, length, depth = frame(plot)
    at = plot.centre
    long = min(100.0, length * 0.55)
    wide = min(long * 0.64, depth * 0.55)
    if wide < 18:
        meadow(plan, plot, urban, dates)
        return
    white = unit_of(plan, "paint", SPORT)
    if plan.chance(0.4) and depth > wide * 1.5:
        for grow, unit in ((20, unit_of(plan, "tartan", SPORT)), (3, unit_of(plan, "turf", SPORT))):
            plan.area(LOT, _oval(at, axis, long + 18 + grow, wide + grow), unit, dates)
    ground = "turf" if plan.chance(0.75) else str(plan.rng.choice(["clay", "sand"]))
    stripes = 8 if ground == "turf" else 1
    tones = (0.97, 1.04)
    for i in range(stripes):
        unit = plan.surface(Surface(ground, SPORT, tones[i % 2]))
        spot = move(at, axis, ((i + 0.5) / stripes - 0.5) * long, 0)
        plan.paved_box(BED, spot, axis, long / stripes + 0.1, wide, unit, dates)
    box = rectangle(at, axis, long - 4, wide - 4)
    middle = [move(at, axis, 0, -wide / 2 + 2), move(at, axis, 0, wide / 2 - 2)]
    circle = [move(at, axis, wide * 0.14 * math.cos(i / 4), wide * 0.14 * math.sin(i / 4)) for i in range(26)]
    goals = [rectangle(move(at, axis, side * (long / 2 - 2 - long * 0.07), 0), axis, long * 0.14, wide * 0.55)
             for side in (-1, 1)]  # fmt: skip
    for line in ([*box, box[0]], middle, circle, *([*goal, goal[0]] for goal in goals)):
        plan.line(MARK, line, 0.2, white, dates)
    court = unit_of(plan, str(plan.rng.choice(["clay", "court"])), SPORT)
    for i in range(int(plan.rng.integers(0, 4))):
        spot = move(at, axis, (i - 1.2) * 19, depth / 2 - 22)
        outline = rectangle(spot, axis + QUARTER, 24, 11)
        if wide / 2 + 14 < depth / 2 - 22 and all(plot.contains(p) for p in rectangle(spot, axis, 17, 34)):
            plan.paved_box(BED, spot, axis, 17, 34, court, dates)
            plan.line(MARK, [*outline, outline[0]], 0.16, white, dates)
    for start, end in plot.edges():
        if plan.chance(0.5):
            tree_row(plan, start, end, dates)


def _oval(at: Point, angle: float, length: float, width: float) -> list[Point]:
    straight = max(0.0, length - width) / 2
    ring = []
    for i in range(48):
        t = 2 * math.pi * i / 48
        hand = straight if math.cos(t) >= 0 else -straight
        ring.append(move(at, angle, hand + width / 2 * math.cos(t), width / 2 * math.sin(t)))
    return ring


def bare(plan: Plan, plot: Plot, urban: float, dates: int) -> None:
    """A construction site or dump: open soil, tracks, some machines."""
    plan.area(BASE, plot.corners, unit_of(plan, "soil", BARE), dates)
    for _ in range(int(plan.rng.integers(1, 4))):
        path(plan, plot, unit_of(plan, "gravel", BARE), plan.between(2.5, 5), dates)
    for spot in plan.scatter(plot, 28):
        ring = blob(plan, spot, plan.between(3, 11), 0.5)
        plan.area(LOT, ring, unit_of(plan, str(plan.rng.choice(["rubble", "meadow", "sand"])), BARE), dates)


def orchard(plan: Plan, plot: Plot, urban: float, dates: int) -> None:
    """Trees in rows on grass."""
    plan.area(BASE, plot.corners, unit_of(plan, "meadow", LOW), dates)
    axis, centre, length, depth = frame(plot)
    unit, radius = crown_unit(plan), plan.between(1.3, 2.4)
    step, gap = radius * 2.3, radius * plan.between(2.6, 4)
    inner = plot.inset(4, roads=False) or plot
    if plan.detail > 2:
        plan.wood(inner.corners, unit, dates)
        return
    for i in range(int(length / step)):
        for j in range(int(depth / gap)):
            spot = move(centre, axis, (i + 0.5) * step - length / 2, (j + 0.5) * gap - depth / 2)
            if inner.contains(spot) and plan.chance(0.93):
                plan.tree(spot, radius * plan.between(0.75, 1.15), unit, dates)


def pond(plan: Plan, plot: Plot) -> None:
    """Still water with a reedy shore, at both dates."""
    room = min((plot.extent(angle)[1] - plot.extent(angle)[0]) / 2 for angle in (0.0, QUARTER)) * 0.75
    radius = min(plan.between(8, 60), room)
    ring = blob(plan, plot.centre, radius, 0.3)
    shore = [move(plot.centre, 0, 1.1 * (x - plot.centre[0]), 1.1 * (y - plot.centre[1])) for x, y in ring]
    plan.area(WATERS, shore, unit_of(plan, "meadow", LOW), BOTH)
    plan.area(WATERS, ring, unit_of(plan, "water", WATER), BOTH)


def open_change(plan: Plan, plot: Plot) -> None:
    """What may befall open ground: a pond, a plantation, a parking area."""
    rates = plan.rates
    inner = plot.inset(6, roads=False)
    if inner is None:
        return
    centre = inner.centre
    if plan.chance(rates.flooded):
        radius = min(plan.between(10, 45), inner.radius * 0.5)
        dates = AFTER if plan.chance(0.8) else BEFORE
        plan.area(WATERS, blob(plan, centre, radius, 0.4), unit_of(plan, "water", WATER), dates)
    elif plan.chance(rates.planted):
        plan.wood(blob(plan, centre, min(40.0, inner.radius * 0.5)), crown_unit(plan), AFTER)
    elif plan.chance(rates.paved):
        axis, _, length, _ = frame(inner)
        long = min(length * 0.6, plan.between(25, 70))
        parking(plan, centre, axis, long, plan.between(12, 20), AFTER)


OPEN = {
    "fields": fields,
    "meadow": meadow,
    "forest": forest,
    "park": park,
    "sport": sport,
    "bare": bare,
    "orchard": orchard,
}
__all__ = ["OPEN", "PAVED", "TREE", "blob", "open_change"]
