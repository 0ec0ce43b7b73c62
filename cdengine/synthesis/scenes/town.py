"""Built blocks: detached houses, terraces, perimeter blocks, slabs, industry, shops with parking."""

from __future__ import annotations

import math

from cdengine.synthesis.scenes.classes import BARE, LOW, PAVED, TREE, WATER
from cdengine.synthesis.scenes.geometry import Plot, Point, rectangle
from cdengine.synthesis.scenes.houses import hall, house, move, raise_building, slab
from cdengine.synthesis.scenes.materials import VEHICLE_CHANCES, VEHICLES, Surface, shade
from cdengine.synthesis.scenes.plan import AFTER, BASE, BED, BEFORE, BOTH, LOT, MARK, WALK, Plan, Wing

QUARTER = math.pi / 2


def unit_of(plan: Plan, material: str, class_id: int, spread: float = 0.08) -> int:
    """A surface of its own tone."""
    tone = plan.between(1 - spread, 1 + spread)
    return plan.surface(Surface(material, class_id, tone, lot=float(plan.rng.random())))


def crown_unit(plan: Plan) -> int:
    """The surface of one tree or stand, of a few dozen that the place has."""
    if not plan.crowns:
        for i in range(28):
            kind = "needle" if (i + 0.5) / 28 < plan.style.conifers else "leaf"
            plan.crowns.append(unit_of(plan, kind, TREE, 0.18))
    return plan.crowns[int(plan.rng.integers(len(plan.crowns)))]


def frame(plot: Plot) -> tuple[float, Point, float, float]:
    """Main direction of a plot, the middle of its extent, length and depth."""
    axis = plot.axis()
    low, high = plot.extent(axis)
    near, far = plot.extent(axis + QUARTER)
    a, b = (low + high) / 2, (near + far) / 2
    centre = (a * math.cos(axis) - b * math.sin(axis), a * math.sin(axis) + b * math.cos(axis))
    return axis, centre, high - low, far - near


def fits(plot: Plot, ring: list[Point]) -> bool:
    """Whether all corners lie in the plot."""
    return all(plot.contains(corner) for corner in ring)


def slices(plot: Plot, angle: float, widths: tuple[float, float], plan: Plan) -> list[Plot]:
    """Cuts a plot across a direction into pieces of about equal width drawn from a range."""
    low, high = plot.extent(angle)
    count = max(1, round((high - low) / plan.between(*widths)))
    pieces = []
    rest: Plot | None = plot
    for i in range(1, count):
        if rest is None:
            break
        at = low + (high - low) * (i + plan.between(-0.08, 0.08)) / count
        piece, rest = rest.cut(angle, at)
        if piece is not None:
            pieces.append(piece)
    return pieces + ([rest] if rest is not None else [])


def detached(plan: Plan, plot: Plot, urban: float, dates: int) -> None:
    """Family houses on lots in two rows, gardens behind."""
    axis, _, _, depth = frame(plot)
    plan.area(BASE, plot.corners, unit_of(plan, "lawn", LOW), dates)
    rows = max(1, 2 * round(depth / plan.between(62, 84))) if depth > 36 else 1
    lot_width = plan.between(14, 25) * (1.15 - 0.35 * urban)
    row_plots = slices(plot, axis + QUARTER, (depth / rows, depth / rows), plan)
    paving = [unit_of(plan, str(plan.rng.choice(["concrete", "paving", "gravel", "worn"])), PAVED) for _ in range(3)]
    fence = unit_of(plan, "hedge", LOW) if plan.chance(0.55) else unit_of(plan, "wall", LOW)
    thickness = plan.between(0.25, 0.5) if plan.surfaces[fence].material == "wall" else plan.between(0.6, 1.2)
    fenced = plan.chance(0.7)
    size = (plan.between(9, 19), plan.between(8, 13))
    for number, row in enumerate(row_plots):
        side = -1 if number % 2 == 0 else 1
        for lot in slices(row, axis, (lot_width, lot_width * 1.2), plan):
            _lot(plan, lot, axis, side, size, paving[int(plan.rng.integers(3))], dates)
            if fenced:
                for start, end in lot.edges():
                    if plan.chance(0.8):
                        plan.line(BED, [start, end], thickness, fence, dates)


def _lot(plan: Plan, lot: Plot, axis: float, side: int, size: tuple[float, float], paving: int, dates: int) -> None:
    if not plan.sees(lot):
        return
    if plan.chance(0.6):
        plan.area(LOT, lot.corners, unit_of(plan, "lawn", LOW, 0.14), dates)
    if plan.chance(0.05):
        _garden(plan, lot, [], dates)
        return
    _, centre, length, depth = axis, lot.centre, *(_spread(lot, axis), _spread(lot, axis + QUARTER))
    long = min(size[0] * plan.between(0.85, 1.2), length - 3.0)
    wide = min(size[1] * plan.between(0.85, 1.2), depth * 0.5)
    if long < 6 or wide < 5:
        return
    setback = min(plan.between(4, 8), max(1.5, depth - wide - 4))
    across = side * (depth / 2 - setback - wide / 2)
    at = move(centre, axis, plan.between(-0.1, 0.1) * (length - long), across)
    turn = (
        axis + float(plan.rng.normal(0, 0.02)) + (QUARTER if wide < length - 3 < long * 1.6 and plan.chance(0.2) else 0)
    )
    ring = rectangle(at, turn, long + 2, wide + 2)
    if not fits(lot, ring):
        at = move(centre, axis, 0, 0)
        ring = rectangle(at, axis, long * 0.8 + 2, wide * 0.8 + 2)
        long, wide, turn = long * 0.8, wide * 0.8, axis
        if not fits(lot, ring):
            _garden(plan, lot, [], dates)
            return
    raise_building(plan, lambda: house(plan, at, turn, long, wide), dates, lot.corners if plan.chance(0.5) else ring)
    if plan.detail <= 1.2:
        _yard(plan, lot, at, axis, side, (long, wide), setback, paving, dates)
    _garden(plan, lot, ring, dates)


def _spread(plot: Plot, angle: float) -> float:
    low, high = plot.extent(angle)
    return high - low


def _yard(plan: Plan, lot: Plot, at: Point, axis: float, side: int, size: tuple[float, float], setback: float,
          paving: int, dates: int) -> None:  # fmt: skip
    """Driveway with a car, terrace, now and then a pool or a shed."""
    long, wide = size
    hand = -1 if plan.chance(0.5) else 1
    drive = move(at, axis, hand * (long / 2 - 2), side * (wide / 2 + setback / 2 + 0.5))
    plan.paved_box(LOT, drive, axis, plan.between(3, 5.5), setback + 2.5, paving, dates)
    for date in (BEFORE, AFTER):
        style = plan.style.before if date == BEFORE else plan.style.after
        if dates & date and plan.chance(style.traffic * 0.7):
            car(plan, move(drive, axis, plan.between(-0.4, 0.4), plan.between(-1, 1)), axis + QUARTER, date)
    if plan.chance(0.6):
        terrace = move(at, axis, plan.between(-0.25, 0.25) * long, -side * (wide / 2 + 1.8))
        plan.paved_box(LOT, terrace, axis, plan.between(3, 7), 3.8, paving, dates)
    behind = move(at, axis, plan.between(-0.4, 0.4) * long, -side * (wide / 2 + plan.between(7, 11)))
    if plan.chance(0.1) and fits(lot, rectangle(behind, axis, 12, 8)):
        plan.paved_box(BED, behind, axis, 10, 6, paving, dates)
        plan.paved_box(BED, behind, axis, 7.5, 3.6, unit_of(plan, "pool", WATER), dates)
    elif plan.chance(0.35) and fits(lot, rectangle(behind, axis, 5, 5)):
        raise_building(plan, lambda: shed(plan, behind, axis), dates, rectangle(behind, axis, 5, 5))


def shed(plan: Plan, at: Point, angle: float) -> list[Wing]:
    """A garden shed or garage."""
    unit = unit_of(plan, "roof", 1, 0.35)
    return [plan.wing(at, angle, plan.between(2.5, 6), plan.between(2.2, 3.6), 2.5, "flat", unit)]


def _garden(plan: Plan, lot: Plot, keep: list[Point], dates: int) -> None:
    spacing = 15 / max(0.2, plan.style.trees) ** 0.5
    for spot in plan.scatter(lot, spacing):
        if keep and min(math.dist(spot, corner) for corner in keep) < 3:
            continue
        plan.tree(spot, plan.between(0.8, 4.2), crown_unit(plan), dates)
    if plan.detail <= 1:
        for spot in plan.scatter(lot, 13):
            plan.tree(spot, plan.between(0.4, 1.0), crown_unit(plan), dates)


def car(plan: Plan, at: Point, angle: float, date: int) -> None:
    """A parked or moving car of one date."""
    if plan.detail > 1.5:
        return
    if not plan.paints:
        plan.paints.extend(plan.surface(Surface("vehicle", PAVED, 1.0, (c, shade(c, 0.92)))) for c in VEHICLES)
    unit = plan.paints[int(plan.rng.choice(len(VEHICLES), p=VEHICLE_CHANCES))]
    plan.vehicle(at, angle, unit, date, (plan.between(4.0, 4.9), plan.between(1.75, 1.95), 1.45))


def lorry(plan: Plan, at: Point, angle: float, date: int) -> None:
    """A lorry or trailer of one date."""
    unit = plan.surface(Surface("vehicle", PAVED, plan.between(0.8, 1.12)))
    plan.vehicle(at, angle, unit, date, (plan.between(8, 14), 2.5, 3.4))


def terraces(plan: Plan, plot: Plot, urban: float, dates: int) -> None:
    """Rows of joined houses with narrow gardens."""
    axis, _, _, depth = frame(plot)
    plan.area(BASE, plot.corners, unit_of(plan, "lawn", LOW), dates)
    rows = max(1, round(depth / plan.between(24, 34)))
    shared = [house(plan, (0.0, 0.0), 0.0, 8, 8)[0] for _ in range(3)]
    eave, pitch, deep = plan.between(5, 7.5), plan.between(0.4, 0.75), plan.between(8.5, 11)
    for row in slices(plot, axis + QUARTER, (depth / rows, depth / rows), plan):
        for run in (part for part in slices(row, axis, (32, 60), plan) if plan.sees(part)):
            long = _spread(run, axis) - 7
            ring = rectangle(run.centre, axis, long, deep)
            if long < 12 or not fits(run, ring):
                _garden(plan, run, [], dates)
                continue
            houses = max(2, round(long / 6.5))

            def row_of(run: Plot = run, long: float = long, houses: int = houses) -> list[Wing]:
                step = long / houses
                spots = [move(run.centre, axis, (i + 0.5) * step - long / 2, 0) for i in range(houses)]
                units = [shared[int(plan.rng.choice(3, p=(0.7, 0.2, 0.1)))].unit for _ in spots]
                return [
                    plan.wing(spot, axis, step + 0.4, deep, eave, "gable", unit, pitch)
                    for spot, unit in zip(spots, units, strict=True)
                ]

            raise_building(plan, row_of, dates, ring)
            path = move(run.centre, axis, 0, deep / 2 + 3)
            plan.paved_box(LOT, path, axis, long, 2.2, unit_of(plan, "paving", PAVED), dates)
            _garden(plan, run, ring, dates)


def perimeter(plan: Plan, plot: Plot, urban: float, dates: int) -> None:
    """Closed city blocks: houses along the street, a court inside."""
    plan.area(BASE, plot.corners, unit_of(plan, "paving", PAVED), dates)
    depth, height = plan.between(10, 14), plan.between(9, 20)
    court = plot.inset(depth + 2, roads=False)
    inner = plot.inset(depth / 2, roads=False)
    if court is None or inner is None or court.area < 250:
        slabs(plan, plot, urban, dates)
        return
    if plan.chance(0.6):
        plan.area(LOT, court.corners, unit_of(plan, "lawn", LOW), dates)
    roof = "gable" if plan.chance(0.65) else "flat"
    for start, end in inner.edges():
        length = math.dist(start, end)
        angle = math.atan2(end[1] - start[1], end[0] - start[0])
        houses = max(1, round((length + depth) / plan.between(16, 30)))
        step = (length + depth) / houses
        for i in range(houses):
            at = move(start, angle, (i + 0.5) * step - depth / 2, 0)
            tall = height + plan.between(-2.5, 2.5)

            def part(at: Point = at, angle: float = angle, tall: float = tall, step: float = step) -> list[Wing]:
                if roof == "flat":
                    return slab(plan, at, angle, step + 0.6, depth, tall)
                own = house(plan, (0.0, 0.0), 0.0, 8, 8)[0].unit
                return [plan.wing(at, angle, step + 0.6, depth, tall, roof, own, 0.5)]

            if plan.chance(0.94):
                raise_building(plan, part, dates, rectangle(at, angle, step, depth))
    for spot in plan.scatter(court, 14 / max(0.3, plan.style.trees) ** 0.5):
        plan.tree(spot, plan.between(1.5, 4), crown_unit(plan), dates)


def slabs(plan: Plan, plot: Plot, urban: float, dates: int) -> None:
    """Free-standing blocks of flats, straight or L- and U-shaped, on lawns with parking strips."""
    plan.area(BASE, plot.corners, unit_of(plan, "lawn", LOW), dates)
    axis = plot.axis()
    deep, height = plan.between(11, 15), plan.between(9, 30)
    for row in slices(plot, axis + QUARTER, (34, 52), plan):
        for cell in (part for part in slices(row, axis, (45, 80), plan) if plan.sees(part)):
            long = min(_spread(cell, axis) - 10, plan.between(26, 64))
            turn = axis + (QUARTER if plan.chance(0.15) else 0)
            ring = rectangle(cell.centre, turn, long, deep)
            if long < 16 or not fits(cell, ring):
                _garden(plan, cell, [], dates)
                continue

            def block(cell: Plot = cell, at: Point = cell.centre, turn: float = turn, long: float = long) -> list[Wing]:
                wings = slab(plan, at, turn, long, deep, height)
                for hand in (-1, 1):
                    spot = move(at, turn, hand * (long - deep) / 2, deep * 0.8)
                    if plan.chance(0.35) and fits(cell, rectangle(spot, turn, deep, deep * 1.7)):
                        wings.insert(1, plan.wing(spot, turn, deep, deep * 1.6, height, "flat", wings[0].unit))
                return wings

            raise_building(plan, block, dates, ring)
            strip = move(cell.centre, axis, 0, -deep / 2 - 7)
            if fits(plot, rectangle(strip, axis, long, 6)):
                parking(plan, strip, axis, long, 5.5, dates)
            _garden(plan, cell, ring, dates)


def industry(plan: Plan, plot: Plot, urban: float, dates: int) -> None:
    """Halls on paved yards with lorries and stores."""
    yard = str(plan.rng.choice(["worn", "concrete", "asphalt", "gravel"]))
    plan.area(BASE, plot.corners, unit_of(plan, yard, BARE if yard == "gravel" else PAVED), dates)
    axis = plot.axis()
    for row in slices(plot, axis + QUARTER, (45, 75), plan):
        for cell in (part for part in slices(row, axis, (50, 100), plan) if plan.sees(part)):
            long = (_spread(cell, axis) - 8) * plan.between(0.6, 0.95)
            wide = (_spread(cell, axis + QUARTER) - 8) * plan.between(0.5, 0.85)
            at = move(cell.centre, axis, plan.between(-3, 3), plan.between(-3, 3))
            ring = rectangle(at, axis, long + 2, wide + 2)
            if min(long, wide) < 10 or not fits(plot, ring):
                _garden(plan, cell, [], dates)
                continue

            def make(at: Point = at, long: float = long, wide: float = wide) -> list[Wing]:
                return hall(plan, at, axis, long, wide)

            raise_building(plan, make, dates, ring)
            for date in (BEFORE, AFTER):
                for _ in range(int(plan.rng.poisson(2.5)) if dates & date else 0):
                    spot = move(
                        at, axis, plan.between(-0.5, 0.5) * long, (wide / 2 + 4) * (-1 if plan.chance(0.5) else 1)
                    )
                    lorry(plan, spot, axis + QUARTER + plan.between(-0.05, 0.05), date)


def shops(plan: Plan, plot: Plot, urban: float, dates: int) -> None:
    """One big store beside its parking."""
    plan.area(BASE, plot.corners, unit_of(plan, "verge", LOW), dates)
    axis, centre, length, depth = frame(plot)
    inner = plot.inset(4, roads=False)
    if inner is None:
        return
    plan.area(LOT, inner.corners, unit_of(plan, "asphalt", PAVED), dates)
    long, wide = length * plan.between(0.45, 0.75), depth * plan.between(0.3, 0.42)
    at = move(centre, axis, plan.between(-0.08, 0.08) * length, depth * 0.22)
    ring = rectangle(at, axis, long, wide)
    while not fits(inner, ring) and min(long, wide) > 14:
        long, wide = long * 0.92, wide * 0.96
        at = move(at, axis, 0, -0.02 * depth)
        ring = rectangle(at, axis, long, wide)
    if fits(inner, ring):
        raise_building(plan, lambda: hall(plan, at, axis, long, wide), dates, ring)
    across = -depth * 0.06
    while across > -depth / 2 + 8:
        spot = move(centre, axis, 0, across)
        row = length * 0.8
        while row > 15 and not fits(inner, rectangle(spot, axis, row, 5)):
            row -= 8
        if row > 15:
            parking(plan, spot, axis, row, 5.0, dates, bed=False)
            if plan.chance(plan.style.trees * 0.5):
                for i in range(int(row / 14)):
                    plan.tree(move(spot, axis, i * 14 - row / 2, 2.8), plan.between(1, 2.4), crown_unit(plan), dates)
        across -= 8.5 if plan.chance(0.5) else 16


def parking(plan: Plan, at: Point, angle: float, length: float, depth: float, dates: int, bed: bool = True) -> None:
    """A row of parking places, marked, with cars that come and go."""
    if bed:
        plan.paved_box(WALK, at, angle, length, depth + 5, unit_of(plan, "asphalt", PAVED), dates)
    paint = unit_of(plan, "paint", PAVED)
    places = int(length / 2.5)
    for i in range(places + 1):
        spot = move(at, angle, i * 2.5 - places * 1.25, 0)
        ends = [move(spot, angle, 0, -depth / 2), move(spot, angle, 0, depth / 2)]
        plan.line(MARK, ends, 0.14, paint, dates)
        if i == places:
            continue
        for date in (BEFORE, AFTER):
            style = plan.style.before if date == BEFORE else plan.style.after
            if dates & date and plan.chance(style.traffic):
                spot_in = move(spot, angle, 1.25, plan.between(-0.3, 0.3))
                car(plan, spot_in, angle + QUARTER + plan.between(-0.04, 0.04), date)


BUILT = {
    "detached": detached,
    "terraces": terraces,
    "perimeter": perimeter,
    "slabs": slabs,
    "industry": industry,
    "shops": shops,
}
__all__ = ["BOTH", "BUILT", "car", "crown_unit", "frame", "parking", "slices", "unit_of"]
