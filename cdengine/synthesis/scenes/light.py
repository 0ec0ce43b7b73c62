"""Sunlight, skylight and shadows on painted planes: from surfaces to reflectance as a sensor above would see it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.ndimage

from cdengine.synthesis.scenes import noise
from cdengine.synthesis.scenes.canvas import Planes, View, local
from cdengine.synthesis.scenes.materials import CROPS, MATERIALS, crop_state, dated_colours, reflectance
from cdengine.synthesis.scenes.plan import Plan
from cdengine.synthesis.scenes.style import DateStyle, SceneStyle

Array = np.ndarray[Any, np.dtype[Any]]
# Share of skylight in the light on flat sunlit ground, by band (red, green, blue, nir): shadows are bluish.
SKY_SHARE = (0.17, 0.20, 0.27, 0.10)


def towards_sun(date: DateStyle) -> tuple[float, float, float]:
    """Unit vector to the sun: x right, y down, z up."""
    azimuth, elevation = math.radians(date.sun_azimuth), math.radians(date.sun_elevation)
    flat = math.cos(elevation)
    return flat * math.sin(azimuth), -flat * math.cos(azimuth), math.sin(elevation)


def horizon(height: Array, sun: tuple[float, float, float], step: float) -> Array:
    """Height up to which each pixel lies in the shadow of something else.

    The surface is swept along the sun's direction by doubling: after k rounds, casters within 2^k pixels are known,
    so a shadow of 100 pixels costs seven shifts.
    """
    flat = math.hypot(sun[0], sun[1])
    drop = sun[2] / max(flat, 1e-6) * step  # metres that a shadow falls per pixel of way
    across, down = sun[0] / flat, sun[1] / flat
    longest = float(height.max()) / drop
    cast: Array = _shifted(height, down, across) - np.float32(drop)
    way = 1
    while way < longest:
        np.maximum(cast, _shifted(cast, down * way, across * way) - np.float32(drop * way), out=cast)
        way *= 2
    return cast


def _shifted(plane: Array, down: float, across: float) -> Array:
    """The plane's value `down` rows and `across` columns further on; far below ground outside."""
    rows, cols = round(down), round(across)
    out = np.full_like(plane, -1e3)
    h, w = plane.shape
    if abs(rows) >= h or abs(cols) >= w:
        return out
    to = (slice(max(0, -rows), h - max(0, rows)), slice(max(0, -cols), w - max(0, cols)))
    source = (slice(max(0, rows), h - max(0, -rows)), slice(max(0, cols), w - max(0, -cols)))
    out[to] = plane[source]
    return out


def illuminate(plan: Plan, planes: Planes, view: View, date: DateStyle, number: int, bands: tuple[int, ...]) -> Array:
    """Radiance of each fine pixel relative to a white flat surface in full sun.

    Args:
        plan: the scene.
        planes: what was painted.
        view: where.
        date: light and season.
        number: 1 or 2; crops and textures that come and go differ between dates.
        bands: which of red, green, blue, nir.

    Returns:
        (len(bands), H, W) float32.
    """
    albedo = _albedo(plan, planes, view, date, number, bands)
    sun = towards_sun(date)
    lit = _direct(planes, sun) * (1 - _shadow(planes, sun, view.step, date))
    # Skylight is less between high things: what stands around, seen as a blurred surface, hides part of the sky.
    around = scipy.ndimage.uniform_filter(planes.top, max(3, round(6 / view.step)), mode="nearest")
    open_sky = 1 / (1 + 0.09 * np.maximum(around - planes.top, 0))
    for i, band in enumerate(bands):
        share = np.float32(min(0.5, SKY_SHARE[band] * date.sky))
        albedo[i] *= lit * (1 - share) + open_sky * share
    _lean(plan, planes, view, albedo, date, number, bands)
    return albedo


def _direct(planes: Planes, sun: tuple[float, float, float]) -> Array:
    facing = sun[2] - planes.slope_x * np.float32(sun[0]) - planes.slope_y * np.float32(sun[1])
    facing /= np.sqrt(1 + planes.slope_x**2 + planes.slope_y**2)
    # Leaves scatter light: crowns are lit softly, less on and more off the sun's side.
    soft = np.where(planes.cover > 0, np.float32(0.30), np.float32(0))
    direct: Array = np.clip((facing + soft) / (max(sun[2], 0.3) + soft), 0, 1.7)
    return direct


def _shadow(planes: Planes, sun: tuple[float, float, float], step: float, date: DateStyle) -> Array:
    edge = np.float32(1 / max(0.35, step))
    built: Array = np.clip((horizon(planes.solid, sun, step) - planes.top) * edge, 0, 1)
    if not (planes.cover > 0).any():
        return built
    trees = np.where(planes.cover > 0, planes.top, 0)
    leafy = np.clip((horizon(trees, sun, step) - planes.top - np.float32(0.3)) * edge, 0, 1)
    np.maximum(built, leafy * np.float32(0.35 + 0.6 * date.leaf), out=built)
    return built


def _albedo(plan: Plan, planes: Planes, view: View, date: DateStyle, number: int, bands: tuple[int, ...]) -> Array:
    """Colours with texture, trees mixed over the ground."""
    tables = _tables(plan, plan.style, date, number, bands)
    h, w = view.height, view.width
    row, col = view.origin
    # Two thirds of the texture stay at both dates (they are the ground itself), one third is of the day.
    fine = 0.8 * noise.cut("fine", row, col, h, w) + 0.6 * noise.cut("fine", row + 331 * number, col + 500, h, w)
    middle = 0.85 * noise.cut("middle", row, col, h, w)
    middle += 0.55 * noise.cut("middle", row + 613, col + 277 * number, h, w)
    coarse = 0.85 * noise.cut("coarse", row + 101, col + 57, h, w)
    coarse += 0.55 * noise.cut("coarse", row + 400 * number, col + 211, h, w)
    ground = _textured(planes.ground, tables, fine, middle, coarse)
    _rows(plan, planes.ground, view, date, number, ground)
    tree = np.flatnonzero(planes.cover.ravel())
    if tree.size:
        flat = ground.reshape(len(bands), -1)
        parts = (plane.ravel()[tree] for plane in (planes.crown, fine, middle, coarse))
        unit, f, m, c = parts
        crowns = _textured(unit, tables, f, m, c)
        cover = planes.cover.ravel()[tree]
        flat[:, tree] += (crowns - flat[:, tree]) * cover
    ground *= planes.tone
    return ground


def _tables(
    plan: Plan, place: SceneStyle, date: DateStyle, number: int, bands: tuple[int, ...]
) -> tuple[Array, Array, Array]:
    """Per surface: light colour (C, N), dark colour (C, N), amplitudes of texture (3, N)."""
    pairs = [dated_colours(surface, place, date, number) for surface in plan.surfaces]
    light = reflectance(np.asarray([pair[0] for pair in pairs], np.float32), bands)
    dark = reflectance(np.asarray([pair[1] for pair in pairs], np.float32), bands)
    rough = [MATERIALS[surface.material] for surface in plan.surfaces]
    amplitudes = np.asarray([(m.fine, m.middle, m.coarse) for m in rough], np.float32).T
    return light, dark, np.ascontiguousarray(amplitudes)


def _textured(unit: Array, tables: tuple[Array, Array, Array], fine: Array, middle: Array, coarse: Array) -> Array:
    light, dark, amplitudes = tables
    patch = np.clip(0.5 + 0.28 * coarse + 0.16 * middle, 0, 1)
    relief = 1 + amplitudes[0][unit] * fine
    relief += amplitudes[1][unit] * middle
    relief += amplitudes[2][unit] * coarse
    np.clip(relief, 0.3, 1.9, out=relief)
    out = np.empty((light.shape[0], *unit.shape), np.float32)
    for band in range(light.shape[0]):
        low = dark[band][unit]
        out[band] = (low + (light[band][unit] - low) * patch) * relief
    return out


def _rows(plan: Plan, ground: Array, view: View, date: DateStyle, number: int, colour: Array) -> None:
    """Rows and tractor lines of fields."""
    striped = np.asarray([surface.lines > 0 for surface in plan.surfaces])
    if not striped.any():
        return
    pixels = np.flatnonzero(striped[ground.ravel()])
    if not pixels.size:
        return
    unit = ground.ravel()[pixels]
    y = ((pixels // view.width) * np.float32(view.step) + np.float32(view.y)).astype(np.float32)
    x = ((pixels % view.width) * np.float32(view.step) + np.float32(view.x)).astype(np.float32)
    fields = plan.surfaces
    frequency = np.asarray([surface.rows for surface in fields], np.float32)
    strength = np.asarray([CROPS[crop_state(s, date, number)][2] if s.lines else 0 for s in fields], np.float32)
    spacing = np.asarray([max(surface.lines, 1.0) for surface in fields], np.float32)
    phase = x * frequency[unit, 0] + y * frequency[unit, 1]
    factor = 1 + strength[unit] * np.sin(2 * np.float32(math.pi) * phase)
    per_metre = np.hypot(frequency[:, 0], frequency[:, 1]).clip(1e-3)
    way = (phase / per_metre[unit]) % spacing[unit]
    track = (way < 0.5) | ((way > 1.9) & (way < 2.4))
    factor[track] *= 0.9
    flat = colour.reshape(colour.shape[0], -1)
    flat[:, pixels] *= factor


def _lean(
    plan: Plan, planes: Planes, view: View, lit: Array, date: DateStyle, number: int, bands: tuple[int, ...]
) -> None:
    """Moves roofs away from the nadir and shows the walls that this uncovers."""
    lx, ly = date.lean
    if math.hypot(lx, ly) * 5 < view.step * 0.5:
        return
    sun = towards_sun(date)
    present = [b for b in plan.buildings if b.dates & number]
    for building in sorted(present, key=lambda b: b.wings[0].eave):
        tall = building.wings[0].eave
        steps = round(math.hypot(lx, ly) * tall / view.step)
        reach = max(math.dist(w.centre, building.wings[0].centre) + w.length / 2 + w.width / 2 for w in building.wings)
        window = view.box(*building.wings[0].centre, reach)
        if window is None or steps < 1:
            continue
        inside = np.zeros(planes.ground[window].shape, bool)
        for wing in building.wings:
            a, b = local(view, window, *wing.centre, wing.angle)
            inside |= (np.abs(a) <= wing.length / 2) & (np.abs(b) <= wing.width / 2)
        inside &= planes.cover[window] == 0
        wall = reflectance(np.asarray(dated_colours(plan.surfaces[building.wall], plan.style, date, number)), bands)
        bright = 0.35 + 0.5 * max(0.0, -(lx * sun[0] + ly * sun[1]) / math.hypot(lx, ly))
        roof = lit[:, window[0], window[1]].copy()
        for k in range(1, steps + 1):
            shift = (round(ly * tall * k / steps / view.step), round(lx * tall * k / steps / view.step))
            _paste(lit, window, shift, inside, roof if k == steps else (wall[:, 1] * bright)[:, None, None])


def _paste(image: Array, window: tuple[slice, slice], shift: tuple[int, int], mask: Array, values: Array) -> None:
    (rows, cols), (h, w) = window, image.shape[1:]
    top, left = rows.start + shift[0], cols.start + shift[1]
    cut_top, cut_left = max(0, -top), max(0, -left)
    cut_bottom = mask.shape[0] - max(0, top + mask.shape[0] - h)
    cut_right = mask.shape[1] - max(0, left + mask.shape[1] - w)
    if cut_top >= cut_bottom or cut_left >= cut_right:
        return
    part = (slice(cut_top, cut_bottom), slice(cut_left, cut_right))
    target = image[:, top + cut_top : top + cut_bottom, left + cut_left : left + cut_right]
    full = np.broadcast_to(values, (image.shape[0], *mask.shape))[:, part[0], part[1]]
    np.copyto(target, full, where=mask[part][None])
