"""Buildings: their shapes and roofs, and what may happen to one between the dates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from cdengine.synthesis.scenes.classes import BARE, BUILDING, LOW
from cdengine.synthesis.scenes.geometry import Point
from cdengine.synthesis.scenes.materials import HALL_ROOFS, ROOF_PALETTES, Colour, Surface, shade
from cdengine.synthesis.scenes.plan import AFTER, BED, BEFORE, BOTH, Plan, Wing


def move(at: Point, angle: float, along: float, across: float) -> Point:
    """`at` moved along a direction and to its left."""
    return (
        at[0] + along * math.cos(angle) - across * math.sin(angle),
        at[1] + along * math.sin(angle) + across * math.cos(angle),
    )


def roof_unit(plan: Plan, colours: Sequence[Colour] | None = None) -> int:
    """A roof's surface from the place's palettes, or from given colours."""
    if colours is None:
        palette = int(plan.rng.choice(len(ROOF_PALETTES), p=_weights(plan.style.roofs)))
        colours = ROOF_PALETTES[palette]
    colour = shade(colours[int(plan.rng.integers(len(colours)))], plan.between(0.85, 1.12))
    red, green, blue, nir = colour
    dull = plan.between(0.0, 0.25)
    grey = (red + green + blue) / 3
    colour = (red + (grey - red) * dull, green + (grey - green) * dull, blue + (grey - blue) * dull, nir)
    return plan.surface(Surface("roof", BUILDING, 1.0, (colour, shade(colour, plan.between(0.84, 0.95)))))


def _weights(weights: Sequence[float]) -> list[float]:
    total = sum(weights)
    return [weight / total for weight in weights]


def raise_building(plan: Plan, make: Callable[[], list[Wing]], dates: int, ring: Sequence[Point]) -> int:
    """Puts up a building, or lets the lot decide that it is new, gone or replaced.

    Args:
        plan: where it goes.
        make: makes its wings; called again for another building in its place.
        dates: when it may stand.
        ring: the ground that is worked on when it comes or goes.

    Returns:
        When it stands.
    """
    wings = make()
    if dates != BOTH:
        plan.building(wings, dates)
        return dates
    lot = plan.rng.random()
    rates = plan.rates
    if lot < rates.built:
        if plan.chance(0.6):
            kind, class_id = ("soil", BARE) if plan.chance(0.6) else ("meadow", LOW)
            plan.area(BED, ring, plan.surface(Surface(kind, class_id, plan.between(0.9, 1.1))), BEFORE)
        plan.building(wings, AFTER)
        return AFTER
    if lot < rates.built + rates.demolished:
        if plan.chance(0.75):
            kind = "rubble" if plan.chance(0.6) else "soil"
            plan.area(BED, ring, plan.surface(Surface(kind, BARE, plan.between(0.9, 1.1))), AFTER)
        plan.building(wings, BEFORE)
        return BEFORE
    if lot < rates.built + rates.demolished + rates.replaced:
        plan.building(wings, BEFORE, replaced=True)
        plan.building(_reroofed(plan, wings) if plan.chance(0.4) else make(), AFTER, replaced=True)
        return BOTH
    plan.building(wings, BOTH)
    return BOTH


def _reroofed(plan: Plan, wings: list[Wing]) -> list[Wing]:
    old = plan.surfaces[wings[0].unit].own
    for _ in range(8):
        unit = roof_unit(plan, tuple(colour for palette in ROOF_PALETTES for colour in palette))
        new = plan.surfaces[unit].own
        if old and new and sum(abs(a - b) for a, b in zip(old[0][:3], new[0][:3], strict=True)) > 60:
            break
    return [Wing(w.centre, w.angle, w.length, w.width, w.eave, w.roof, w.pitch, unit, w.ribs) for w in wings]


def house(plan: Plan, at: Point, angle: float, length: float, width: float) -> list[Wing]:
    """A family house: gable or hip, often with one or two wings across, now and then flat."""
    unit = roof_unit(plan)
    storeys = plan.between(3.0, 3.8) if plan.chance(0.55) else plan.between(5.2, 6.4)
    if plan.chance(plan.style.flat_roofs):
        wings = [plan.wing(at, angle, length, width, storeys + 0.5, "flat", unit)]
        if plan.chance(0.5):
            part = move(at, angle, plan.between(-0.2, 0.2) * length, plan.between(-0.4, 0.4) * width)
            wings.append(plan.wing(part, angle, length * 0.55, width * 0.7, storeys + 3.0, "flat", unit))
        return wings
    roof = "hip" if plan.chance(0.5) else "gable"
    pitch = plan.between(0.3, 0.75)
    wings = [plan.wing(at, angle, length, width, storeys, roof, unit, pitch)]
    for _ in range(int(plan.rng.integers(0, 3))):
        side = -1 if plan.chance(0.5) else 1
        across = plan.between(0.45, 0.7) * width
        part = move(at, angle, plan.between(-0.32, 0.32) * length, side * plan.between(0.25, 0.5) * width)
        wings.append(plan.wing(part, angle + math.pi / 2, across + width * 0.4, length * plan.between(0.3, 0.5),
                               storeys, roof, unit, pitch))  # fmt: skip
    if roof == "gable" and plan.chance(0.2) and plan.detail <= 0.5:  # panels lie on one of the two slopes
        wings += panels(plan, at, angle, length, width, storeys, pitch)
    return wings


def panels(plan: Plan, at: Point, angle: float, length: float, width: float, eave: float, pitch: float) -> list[Wing]:
    """Solar panels on one slope of a gable roof."""
    blue: Colour = (52, 60, 84, 0.06)
    unit = plan.surface(Surface("roof", BUILDING, 1.0, (blue, shade(blue, 0.9))))
    side = -1 if plan.chance(0.5) else 1
    centre = move(at, angle, plan.between(-0.15, 0.15) * length, side * width * 0.25)
    top = eave + width / 4 * pitch + 0.1
    return [plan.wing(centre, angle, length * plan.between(0.4, 0.75), width * 0.3, top, "panel", unit, side * pitch)]


def slab(plan: Plan, at: Point, angle: float, length: float, width: float, height: float) -> list[Wing]:
    """A flat-roofed block with lift houses and vents."""
    unit = roof_unit(plan, ROOF_PALETTES[int(plan.rng.choice([1, 2, 2, 3, 3]))])
    wings = [plan.wing(at, angle, length, width, height, "flat", unit)]
    return wings + equipment(plan, at, angle, length, width, height)


def equipment(plan: Plan, at: Point, angle: float, length: float, width: float, height: float) -> list[Wing]:
    """Boxes on a flat roof: stairs, air handling, skylights."""
    if plan.detail > 0.8:
        return []
    grey: Colour = (186, 186, 184, 0.35)
    units = [plan.surface(Surface("roof", BUILDING, tone, (grey, shade(grey, 0.9)))) for tone in (0.65, 1.0, 1.12)]
    count = int(min(14, plan.rng.poisson(length * width / 180 + 0.8)))
    boxes = []
    for _ in range(count):
        spot = move(at, angle, plan.between(-0.42, 0.42) * length, plan.between(-0.36, 0.36) * width)
        size = plan.between(0.9, 3.4)
        boxes.append(plan.wing(spot, angle, size, size * plan.between(0.5, 1.0), height + plan.between(0.5, 2.2),
                               "flat", units[int(plan.rng.integers(3))]))  # fmt: skip
    return boxes


def hall(plan: Plan, at: Point, angle: float, length: float, width: float) -> list[Wing]:
    """An industrial hall: low gable, flat or saw-tooth roof, ribs, skylights, and sometimes an annex."""
    unit = roof_unit(plan, HALL_ROOFS)
    height = plan.between(6, 12)
    roof = str(plan.rng.choice(["gable", "flat", "flat", "saw"]))
    ribs = plan.between(0.9, 2.5) if plan.chance(0.6) else 0.0
    wings = [plan.wing(at, angle, length, width, height, roof, unit, 0.12 if roof == "gable" else 0.35, ribs)]
    if roof == "flat":
        wings += equipment(plan, at, angle, length, width, height)
    elif roof == "gable" and plan.detail < 0.8 and plan.chance(0.6):
        bright: Colour = (224, 228, 226, 0.4)
        strip = plan.surface(Surface("roof", BUILDING, 1.0, (bright, shade(bright, 0.94))))
        for share in (-0.3, 0.0, 0.3):
            spot = move(at, angle, share * length, width * 0.25)
            wings.append(plan.wing(spot, angle + math.pi / 2, width * 0.32, 1.2, height + width * 0.25 * 0.12 + 0.1,
                                   "flat", strip))  # fmt: skip
    if plan.chance(0.5):
        side = -1 if plan.chance(0.5) else 1
        spot = move(at, angle, plan.between(-0.25, 0.25) * length, side * width * 0.5)
        wings.append(plan.wing(spot, angle, length * plan.between(0.2, 0.45), width * 0.35, height * 0.5, "flat",
                               roof_unit(plan, HALL_ROOFS)))  # fmt: skip
    return wings
