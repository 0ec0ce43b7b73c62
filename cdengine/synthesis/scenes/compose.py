"""From a seed and a style to a plan: streets, the use of each block at both dates, water."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from cdengine.synthesis.scenes.classes import BARE, LOW, PAVED, ROAD, WATER
from cdengine.synthesis.scenes.country import OPEN, open_change, pond
from cdengine.synthesis.scenes.geometry import Plot, Point, along
from cdengine.synthesis.scenes.layout import Bend, Block, Density, Road, divide
from cdengine.synthesis.scenes.materials import Surface
from cdengine.synthesis.scenes.plan import (
    AFTER,
    BASE,
    BEFORE,
    BOTH,
    BRIDGE,
    MARK,
    ROADWAY,
    WALK,
    WATERS,
    Plan,
)
from cdengine.synthesis.scenes.style import ChangeRates, SceneStyle
from cdengine.synthesis.scenes.town import BUILT, car, crown_unit, unit_of

# Chances of each use at four levels of density; between them, interpolated.
LEVELS = (0.0, 0.33, 0.62, 1.0)
USES: dict[str, tuple[float, float, float, float]] = {
    "fields": (0.52, 0.20, 0.00, 0.00),
    "forest": (0.24, 0.12, 0.03, 0.00),
    "meadow": (0.14, 0.12, 0.03, 0.02),
    "orchard": (0.05, 0.04, 0.00, 0.00),
    "bare": (0.01, 0.05, 0.04, 0.03),
    "sport": (0.00, 0.05, 0.06, 0.03),
    "park": (0.00, 0.04, 0.08, 0.09),
    "detached": (0.03, 0.28, 0.42, 0.06),
    "terraces": (0.00, 0.04, 0.12, 0.08),
    "slabs": (0.00, 0.02, 0.10, 0.20),
    "industry": (0.01, 0.10, 0.10, 0.09),
    "shops": (0.00, 0.03, 0.06, 0.10),
    "perimeter": (0.00, 0.00, 0.04, 0.32),
}


def compose(
    seed: int, style: SceneStyle, rates: ChangeRates, size: tuple[float, float], margin: float, detail: float
) -> Plan:
    """Plans a scene.

    Args:
        seed: what all lots are drawn from.
        style: the place.
        rates: chances of change.
        size: width and height in metres.
        margin: metres around it whose objects matter for shadows and leaning roofs.
        detail: metres of the smallest thing that can be seen; smaller ones are left out.
    """
    rng = np.random.default_rng([seed, 1])
    centre = (size[0] / 2, size[1] / 2)
    bend = Bend(style, rng, centre)
    density = Density(style, rng, max(size))
    radius = math.hypot(*size) / 2 + margin
    blocks, roads = divide(style, rng, radius, density)
    box = (-margin, -margin, size[0] + margin, size[1] + margin)
    plan = Plan(style, rates, rng, bend, box, detail)
    unit_of(plan, "verge", LOW)  # number 0: what lies where nothing else was planned
    for block in blocks:
        if plan.visible(plan.place(block.plot.corners), 15):
            _block(plan, block)
    _streets(plan, roads)
    _water(plan, radius)
    _uproot(plan)
    plan.areas.sort(key=lambda area: area.layer)
    return plan


def _block(plan: Plan, block: Block) -> None:
    inner = block.plot.inset(2.2 if plan.style.sidewalks and block.urban > 0.35 else 0.8)
    if inner is None:
        return
    uses = list(USES)
    weights = np.asarray([np.interp(block.urban, LEVELS, USES[use]) for use in uses])
    use = str(plan.rng.choice(uses, p=weights / weights.sum()))
    if use in OPEN and use not in ("park", "sport") and plan.chance(plan.rates.developed):
        OPEN[use](plan, inner, block.urban, BEFORE)
        built = [name for name in BUILT if name != "perimeter"]
        weights = np.asarray([np.interp(max(0.4, block.urban), LEVELS, USES[name]) for name in built])
        use = str(plan.rng.choice(built, p=weights / weights.sum()))
        _develop(plan, inner, use, max(0.4, block.urban))
        return
    (BUILT.get(use) or OPEN[use])(plan, inner, block.urban, BOTH)
    if use in ("fields", "meadow", "forest", "park", "orchard") and plan.chance(plan.style.ponds * inner.area / 1e5):
        pond(plan, inner)
    elif use in ("fields", "meadow", "bare"):
        open_change(plan, inner)


def _develop(plan: Plan, plot: Plot, use: str, urban: float) -> None:
    """The new state of an open block: new streets where it is large, the same kind of buildings in all parts."""
    pending = [plot]
    while pending:
        part = pending.pop()
        if part.area < plan.between(9000, 16000):
            BUILT[use](plan, part, urban, AFTER)
            continue
        axis = part.axis()
        low, high = part.extent(axis)
        across = part.extent(axis + math.pi / 2)
        if across[1] - across[0] > high - low:
            axis, low, high = axis + math.pi / 2, *across
        at = (low + high) / 2
        width = 6.5
        halves = [half for half in part.cut(axis, at, width) if half is not None]
        for half in halves:
            rest = half.inset(0.0)
            if rest is not None:
                pending.append(Plot(rest.corners, (0.0,) * len(rest.corners)))
        ends = [c for c in halves[0].corners if abs(c[0] * math.cos(axis) + c[1] * math.sin(axis) - at) < 1e-6]
        if len(halves) == 2 and len(ends) >= 2:
            plan.line(ROADWAY, [ends[0], ends[-1]], width, unit_of(plan, "asphalt", ROAD), AFTER)


def _streets(plan: Plan, roads: list[Road]) -> None:
    surfaces = [unit_of(plan, kind, ROAD, 0.1) for kind in ("asphalt", "asphalt", "worn")]
    track = unit_of(plan, "gravel", ROAD)
    walk = unit_of(plan, "concrete" if plan.chance(0.5) else "paving", PAVED)
    verge = unit_of(plan, "verge", LOW)
    paint = unit_of(plan, "paint", ROAD)
    for road in roads:
        if not plan.visible(plan.place([road.start, road.end]), math.dist(road.start, road.end) * 0.2 + 20):
            continue
        line = [road.start, road.end]
        if road.urban > 0.35 and plan.style.sidewalks:
            plan.line(WALK, line, road.width + 3.6, walk)
        else:
            plan.line(BASE, line, road.width + 5, verge)
        rural = road.width < 4.5 and road.urban < 0.3
        surface = track if rural else surfaces[int(plan.rng.integers(3))]
        plan.line(ROADWAY, line, road.width, surface)
        _wear(plan, road, plan.surfaces[surface])
        if road.width > 8 and plan.detail <= 0.8:
            _markings(plan, road, paint)
        _roadside(plan, road)


def _wear(plan: Plan, road: Road, surface: Surface) -> None:
    """Where wheels run, roads are darker or paler than between; here and there a patch was mended."""
    if plan.detail > 0.8:
        return
    line = [road.start, road.end]
    worn = plan.surface(replace(surface, tone=surface.tone * plan.between(0.93, 1.06)))
    mended = plan.surface(replace(surface, tone=surface.tone * plan.between(0.82, 0.93)))
    lanes = (-1, 1) if road.width > 4.5 else (0,)
    for side in lanes:
        track = [spot for spot, _ in along(line, 12, side * road.width * 0.24)]
        if len(track) > 1:
            plan.line(ROADWAY, track, road.width * 0.2, worn)
        for spot, angle in along(line, plan.between(25, 90), side * road.width * plan.between(0.1, 0.35)):
            if plan.chance(0.4):
                plan.paved_box(ROADWAY, spot, angle, plan.between(1.5, 9), plan.between(0.8, 2.2), mended, BOTH)


def _markings(plan: Plan, road: Road, paint: int) -> None:
    dashed = plan.chance(0.7)
    angle = math.atan2(road.end[1] - road.start[1], road.end[0] - road.start[0])
    step = (3 * math.cos(angle), 3 * math.sin(angle))
    if dashed:
        for (x, y), _ in along([road.start, road.end], 9.0):
            plan.line(MARK, [(x, y), (x + step[0], y + step[1])], 0.16, paint)
    else:
        plan.line(MARK, [road.start, road.end], 0.16, paint)
    if road.width > 11:
        for side in (-1, 1):
            edge = [spot for spot, _ in along([road.start, road.end], 20, side * (road.width / 2 - 0.6))]
            if len(edge) > 1:
                plan.line(MARK, edge, 0.16, paint)


def _roadside(plan: Plan, road: Road) -> None:
    line = [road.start, road.end]
    if road.width > 5:
        for date in (BEFORE, AFTER):
            style = plan.style.before if date == BEFORE else plan.style.after
            for side in (-1, 1):
                for spot, angle in along(line, plan.between(14, 40), side * road.width * 0.24):
                    if plan.chance(style.traffic * 0.6):
                        shift = plan.between(-6, 6)
                        at = (spot[0] + shift * math.cos(angle), spot[1] + shift * math.sin(angle))
                        car(plan, at, angle, date)
    if road.urban > 0.3 and plan.chance(min(0.8, plan.style.trees * 0.4)):
        unit = crown_unit(plan)
        size = plan.between(1.4, 3.6)
        for side in (-1, 1):
            for spot, _ in along(line, plan.between(8, 15), side * (road.width / 2 + 1.6)):
                if plan.chance(0.8):
                    plan.tree(spot, size * plan.between(0.7, 1.2), unit)


def _water(plan: Plan, radius: float) -> None:
    if plan.style.river:
        _river(plan, radius, unit_of(plan, "water", WATER))


def _river(plan: Plan, radius: float, water: int) -> None:
    width, offset = plan.between(9, 60), plan.between(-0.4, 0.4) * radius
    swing, length = plan.between(10, 70), plan.between(250, 700)
    centre: list[Point] = []
    steps = int(2.6 * radius / 12)
    for i in range(steps):
        x = -1.3 * radius + i * 12
        centre.append((x, offset + swing * math.sin(2 * math.pi * x / length) + 0.25 * swing * math.sin(x / 37)))
    sand = unit_of(plan, "sand" if plan.chance(0.4) else "soil", BARE)
    plan.line(WATERS, centre, width * 1.1 + 6, unit_of(plan, "meadow", LOW))
    plan.line(WATERS, centre, width * 1.04 + 1.5, sand)
    plan.line(WATERS, centre, width, water)
    roads = [area for area in plan.areas if area.layer == ROADWAY and area.width > 6]
    plan.areas.extend(type(road)(BRIDGE, road.ring, road.unit, road.dates, road.width) for road in roads)
    _clear(plan, [spot for spot, _ in along(centre, 5)], width * 0.55 + 3)
    for side in (-1, 1):
        for spot, _ in along(centre, 7, side * (width * 0.55 + 4)):
            if plan.chance(0.5):
                plan.tree(spot, plan.between(1.5, 4.5), crown_unit(plan))


def _uproot(plan: Plan) -> None:
    """No tree roots in a building; where a new one stands, trees had to go."""
    if not plan.trees:
        return
    roots = np.asarray([(tree.x, tree.y) for tree in plan.trees])
    dates = np.asarray([tree.dates for tree in plan.trees])
    for building in plan.buildings:
        for wing in building.wings:
            away = roots - wing.centre
            cos, sin = math.cos(wing.angle), math.sin(wing.angle)
            along, across = away @ (cos, sin), away @ (-sin, cos)
            inside = (np.abs(along) < wing.length / 2 + 0.5) & (np.abs(across) < wing.width / 2 + 0.5)
            if inside.any():
                dates[inside] &= BEFORE if building.dates == AFTER else 0
    plan.trees = [replace(tree, dates=int(d)) for tree, d in zip(plan.trees, dates, strict=True) if d]


def _clear(plan: Plan, spots: list[Point], radius: float) -> None:
    """Takes away what cannot stand in water."""
    wet = np.asarray(plan.place(spots))

    def dry(x: float, y: float, reach: float) -> bool:
        return bool(np.hypot(wet[:, 0] - x, wet[:, 1] - y).min() > radius + reach)

    plan.buildings = [b for b in plan.buildings if all(dry(*w.centre, w.length / 2) for w in b.wings)]
    plan.trees = [tree for tree in plan.trees if dry(tree.x, tree.y, 0.0)]
    plan.vehicles = [vehicle for vehicle in plan.vehicles if dry(*vehicle.centre, 0.0)]
