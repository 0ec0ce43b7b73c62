"""Paints a plan for one date into planes: surface, height, slope and tree cover of each fine pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from cdengine.synthesis.scenes.classes import BUILDING, TREE, WATER
from cdengine.synthesis.scenes.crowns import CanopyTile, canopy, crown
from cdengine.synthesis.scenes.plan import BOTH, Area, Building, Plan, Tree, Vehicle, Wing

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class View:
    """Fine pixels to paint: metres of the first pixel's corner, metres per pixel, rows and columns."""

    x: float
    y: float
    step: float
    height: int
    width: int

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the first pixel on the endless fine grid (textures hang on it)."""
        return round(self.y / self.step), round(self.x / self.step)

    def box(self, x: float, y: float, reach: float) -> tuple[slice, slice] | None:
        """Rows and columns within `reach` metres of a point; None where the view ends before."""
        col, row, r = (x - self.x) / self.step, (y - self.y) / self.step, reach / self.step
        top, bottom = max(0, math.floor(row - r)), min(self.height, math.ceil(row + r) + 1)
        left, right = max(0, math.floor(col - r)), min(self.width, math.ceil(col + r) + 1)
        return (slice(top, bottom), slice(left, right)) if top < bottom and left < right else None


@dataclass
class Planes:
    """What one date looks like before light falls on it; all (H, W).

    Attributes:
        ground: int32 surface of ground and buildings.
        crown: int32 surface of the tree above, valid where cover > 0.
        cover: float32 opacity of the tree, 0 to 1.
        solid: float32 height of buildings and vehicles in metres.
        top: float32 height of whatever is highest.
        slope_x, slope_y: float32 slopes of the top surface.
        tone: float32 factor on brightness (ribs of roofs, crowns).
        classes: uint8 land cover, vehicles left out.
        replaced: bool, where a building is one of a replaced pair.
    """

    ground: Array
    crown: Array
    cover: Array
    solid: Array
    top: Array
    slope_x: Array
    slope_y: Array
    tone: Array
    classes: Array
    replaced: Array


def paint(plan: Plan, view: View, date: int, leaf: float) -> Planes:
    """Paints all objects of one date.

    Args:
        plan: the scene.
        view: the fine pixels.
        date: plan.BEFORE or plan.AFTER.
        leaf: foliage of deciduous trees.
    """
    shape = (view.height, view.width)
    planes = Planes(
        ground=_flat(plan, view, date),
        crown=np.zeros(shape, np.int32),
        cover=np.zeros(shape, np.float32),
        solid=np.zeros(shape, np.float32),
        top=np.zeros(shape, np.float32),
        slope_x=np.zeros(shape, np.float32),
        slope_y=np.zeros(shape, np.float32),
        tone=np.ones(shape, np.float32),
        classes=np.zeros(shape, np.uint8),
        replaced=np.zeros(shape, bool),
    )
    for building in plan.buildings:
        if building.dates & date:
            for wing in building.wings:
                _wing(planes, view, wing, building)
    planes.top[:] = planes.solid
    class_of = np.asarray([surface.class_id for surface in plan.surfaces], np.uint8)
    planes.classes[:] = class_of[planes.ground]
    _woods(plan, planes, view, date, leaf)
    for tree in plan.trees:
        if tree.dates & date:
            _tree(plan, planes, view, tree, leaf)
    planes.classes[planes.cover > 0] = TREE
    for vehicle in plan.vehicles:
        if vehicle.dates & date:
            _vehicle(planes, view, vehicle)
    return planes


def _flat(plan: Plan, view: View, date: int) -> Array:
    image = Image.new("I", (view.width, view.height), 0)
    draw = ImageDraw.Draw(image)
    for area in plan.areas:
        if area.dates & date:
            points = _pixels(area, view)
            if area.width > 0:
                # A line thinner than a fine pixel is drawn one pixel wide; its paint is worn anyway.
                draw.line(points, fill=area.unit, width=max(1, round(area.width / view.step)), joint="curve")
            else:
                draw.polygon(points, fill=area.unit)
    painted: Array = np.array(image, np.int32)
    return painted


def _pixels(area: Area, view: View) -> list[tuple[int, int]]:
    """Corners in whole fine pixels, rounded on the endless grid: the same whatever the view."""
    row, col = view.origin
    return [(math.floor(x / view.step) - col, math.floor(y / view.step) - row) for x, y in area.ring]


def local(view: View, window: tuple[slice, slice], x: float, y: float, angle: float) -> tuple[Array, Array]:
    """Coordinates of a window's pixels in metres along and across a direction, from a point."""
    (rows, cols), (row, col) = window, view.origin
    # Counted on the endless grid, so that an object gets the same pixels in every view.
    dx = ((np.arange(cols.start + col, cols.stop + col) + 0.5) * view.step - x).astype(np.float32)
    dy = ((np.arange(rows.start + row, rows.stop + row) + 0.5) * view.step - y).astype(np.float32)
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return dx * cos + (dy * sin)[:, None], (dy * cos)[:, None] - dx * sin


def _roof(wing: Wing, a: Array, b: Array, step: float) -> tuple[Array, Array, Array]:
    """Height of a roof over its footprint, and its slopes along and across the wing."""
    zero = np.zeros_like(a)
    eave, pitch = wing.eave, wing.pitch
    if wing.roof == "gable":
        return eave + (wing.width / 2 - np.abs(b)) * pitch, zero, -np.sign(b) * pitch
    if wing.roof == "hip":
        to_end, to_side = wing.length / 2 - np.abs(a), wing.width / 2 - np.abs(b)
        end = to_end < to_side
        slope_a = np.where(end, -np.sign(a) * pitch, 0)
        return eave + np.minimum(to_end, to_side) * pitch, slope_a, np.where(end, 0, -np.sign(b) * pitch)
    if wing.roof in ("shed", "panel"):
        return eave - b * pitch, zero, zero - pitch
    if wing.roof == "saw":
        period = max(6.0, 4 * step)
        tooth = (a / period) % 1.0
        return eave + tooth * period * pitch * 0.5, zero + pitch * 0.5, zero
    return zero + eave, zero, zero


def _wing(planes: Planes, view: View, wing: Wing, building: Building) -> None:
    window = view.box(*wing.centre, math.hypot(wing.length, wing.width) / 2)
    if window is None:
        return
    a, b = local(view, window, *wing.centre, wing.angle)
    inside = (np.abs(a) <= wing.length / 2) & (np.abs(b) <= wing.width / 2)
    z, slope_a, slope_b = _roof(wing, a, b, view.step)
    inside &= z > planes.solid[window]
    if not inside.any():
        return
    cos, sin = math.cos(wing.angle), math.sin(wing.angle)
    np.copyto(planes.solid[window], z, where=inside)
    np.copyto(planes.slope_x[window], slope_a * cos - slope_b * sin, where=inside)
    np.copyto(planes.slope_y[window], slope_a * sin + slope_b * cos, where=inside)
    planes.ground[window][inside] = wing.unit
    tone = np.ones_like(a)
    if wing.ribs > 2.5 * view.step:
        tone += 0.05 * np.sign(np.sin(2 * math.pi / wing.ribs * a))
    if wing.roof == "flat":  # a parapet, lighter than the roof it surrounds
        edge = np.minimum(wing.length / 2 - np.abs(a), wing.width / 2 - np.abs(b))
        tone[edge < 0.4] = 1.12
    elif view.step < 0.4:  # ridges and hips catch light, courses of tiles give a faint grain
        tone += 0.03 * np.sin(2 * math.pi / 0.9 * b)
    np.copyto(planes.tone[window], tone, where=inside)
    if building.replaced:
        planes.replaced[window] |= inside


def _woods(plan: Plan, planes: Planes, view: View, date: int, leaf: float) -> None:
    stands = [wood for wood in plan.woods if wood.dates & date]
    if not stands:
        return
    reach = math.ceil(9 / view.step)
    tile = canopy(view.step)
    image = Image.new("I", (view.width + 2 * reach, view.height + 2 * reach), 0)
    draw = ImageDraw.Draw(image)
    for stand in stands:
        points = [(x + reach, y + reach) for x, y in _pixels(stand, view)]
        draw.polygon(points, fill=stand.unit)
    stand_of = np.asarray(image, np.int32)
    rows = (np.arange(view.height) + view.origin[0]) % tile.size
    cols = (np.arange(view.width) + view.origin[1]) % tile.size
    pick = np.ix_(rows, cols)
    # A crown belongs to the stand in which it roots, so that edges of woods are made of whole crowns.
    root_row = np.arange(view.height)[:, None] + tile.root_row[pick] + reach
    root_col = np.arange(view.width)[None, :] + tile.root_col[pick] + reach
    unit = stand_of[root_row, root_col]
    # Neighbours in a stand differ: each crown takes one of a few surfaces next to the stand's own.
    if plan.crowns:
        first, kinds = plan.crowns[0], len(plan.crowns)
        other = tile.sort[pick] + unit - first
        unit = np.where(unit > 0, first + other % kinds, 0)
    there = (unit > 0) & (tile.height[pick] > 0) & (planes.classes != WATER) & (planes.classes != BUILDING)
    _plant(plan, planes, there, unit, tile, pick, leaf)


def _plant(
    plan: Plan, planes: Planes, there: Array, unit: Array, tile: CanopyTile, pick: tuple[Array, ...], leaf: float
) -> None:
    evergreen = np.asarray([surface.material == "needle" for surface in plan.surfaces])[unit]
    height = tile.height[pick]
    # Bare crowns let the ground shine through, least in the middle.
    opacity = np.where(evergreen, 1.0, leaf + (1 - leaf) * (0.25 + 0.45 * tile.lump[pick])).astype(np.float32)
    np.copyto(planes.crown, unit, where=there)
    np.copyto(planes.cover, opacity, where=there)
    np.copyto(planes.top, height, where=there)
    np.copyto(planes.slope_x, tile.slope_x[pick], where=there)
    np.copyto(planes.slope_y, tile.slope_y[pick], where=there)
    np.copyto(planes.tone, tile.tone[pick], where=there)


def _tree(plan: Plan, planes: Planes, view: View, tree: Tree, leaf: float) -> None:
    evergreen = plan.surfaces[tree.unit].material == "needle"
    stamp = crown(view.step, tree.radius, evergreen, int(tree.x * 7 + tree.y * 13) % 4)
    n = stamp.height.shape[0]
    row = round(tree.y / view.step - n / 2) - view.origin[0]
    col = round(tree.x / view.step - n / 2) - view.origin[1]
    top, left = max(0, row), max(0, col)
    bottom, right = min(view.height, row + n), min(view.width, col + n)
    if top >= bottom or left >= right:
        return
    window = (slice(top, bottom), slice(left, right))
    part = (slice(top - row, bottom - row), slice(left - col, right - col))
    height = stamp.height[part] * np.float32(tree.height)
    there = (height > planes.top[window]) & (planes.classes[window] != WATER)
    opacity = stamp.lump[part]
    cover = np.ones_like(opacity) if evergreen else leaf + (1 - leaf) * (0.2 + 0.5 * opacity)
    np.copyto(planes.top[window], height, where=there)
    np.copyto(planes.slope_x[window], stamp.slope_x[part], where=there)
    np.copyto(planes.slope_y[window], stamp.slope_y[part], where=there)
    np.copyto(planes.tone[window], stamp.tone[part], where=there)
    np.copyto(planes.cover[window], cover.astype(np.float32), where=there)
    planes.crown[window][there] = tree.unit


def _vehicle(planes: Planes, view: View, vehicle: Vehicle) -> None:
    window = view.box(*vehicle.centre, vehicle.length / 2)
    if window is None:
        return
    a, b = local(view, window, *vehicle.centre, vehicle.angle)
    inside = (np.abs(a) <= vehicle.length / 2) & (np.abs(b) <= vehicle.width / 2)
    if not inside.any() or (planes.top[window][inside] > 0.5).any():
        return  # it stands under a tree or a roof
    planes.ground[window][inside] = vehicle.unit
    body = inside & (np.abs(b) < vehicle.width / 2 - 0.1)
    cabin = body & (np.abs(a + 0.25) < vehicle.length * 0.33)
    glass = cabin & (np.abs(a + 0.25) > vehicle.length * 0.24)
    planes.solid[window][inside] = vehicle.height * 0.62
    planes.solid[window][cabin] = vehicle.height
    if vehicle.height < 2:
        planes.tone[window][glass] = 0.5
    planes.top[window][inside] = planes.solid[window][inside]


__all__ = ["BOTH", "Planes", "View", "local", "paint"]
