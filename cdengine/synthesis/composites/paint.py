"""Puts things on a date's picture: ground, roads, shadows, buildings, cut-outs, trees, vehicles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from cdengine.synthesis.composites.buildings import FINE, Building, Easel
from cdengine.synthesis.composites.cutouts import Cutout, placed
from cdengine.synthesis.composites.estates import Stroke
from cdengine.synthesis.composites.light import Light
from cdengine.synthesis.composites.shapes import corners

Array = np.ndarray[Any, np.dtype[Any]]
F = np.float32


@dataclass(frozen=True)
class Paste:
    """A cut-out at its place: middle, length and direction in pixels and radians, height, and colour factors."""

    cutout: Cutout
    x: float
    y: float
    length: float
    angle: float
    height: float
    gains: tuple[float, float, float]
    mirrored: bool


@dataclass(frozen=True)
class Vehicle:
    """A car, a lorry, a boat or a container: no structure."""

    x: float
    y: float
    length: float
    width: float
    angle: float
    colour: tuple[int, int, int]


def _halved(image: Image.Image) -> Array:
    """At the canvas's own size."""
    small: Array = np.asarray(image.reduce(FINE), F)
    return small


def lay_ground(picture: Array, opacity: Array, ground: Array) -> None:
    """Blends other ground into a picture, in place."""
    picture += (ground - picture) * opacity[..., None]


def lay_strokes(picture: Array, strokes: Sequence[Stroke], noise: Array, grain: float) -> Array:
    """Draws roads, yards and fences; returns their opacity."""
    side = picture.shape[0]
    colours = Image.new("RGB", (side * FINE, side * FINE))
    cover = Image.new("L", colours.size, 0)
    draw, draw_cover = ImageDraw.Draw(colours), ImageDraw.Draw(cover)
    for stroke in strokes:
        fill = tuple(max(0, min(255, round(value))) for value in stroke.colour)
        points = [(x * FINE, y * FINE) for x, y in stroke.points]
        if stroke.width > 0:
            width = max(1, round(stroke.width * FINE))
            draw.line(points, fill=fill, width=width, joint="curve")
            draw_cover.line(points, fill=255, width=width, joint="curve")
        else:
            draw.polygon(points, fill=fill)
            draw_cover.polygon(points, fill=255)
    opacity = _halved(cover) / F(255)
    textured = _halved(colours) * (F(1) + F(grain) * noise)[..., None]
    picture *= (F(1) - opacity)[..., None]
    picture += textured
    return np.asarray(opacity)


def lay_buildings(picture: Array, label: Array, easel: Easel, noise: Array, grain: float) -> Array:
    """Shadows, then facades and roofs from an easel; the label gets 1 under roofs. Returns what was covered."""
    shade = _halved(easel.shadow) / F(255)
    factor = F(1) - shade[..., None] * (F(1) - np.asarray(easel.light.shade, F))
    picture *= factor
    opacity = _halved(easel.cover) / F(255)
    drawn = _halved(easel.colour) * (F(1) + F(grain) * noise)[..., None]
    picture *= (F(1) - opacity)[..., None]
    picture += drawn
    roof = _halved(easel.roof) >= 128
    label[opacity >= F(0.5)] = 0
    label[roof] = 1
    return np.asarray(opacity >= F(0.5))


def lay_pastes(picture: Array, label: Array, pastes: Sequence[Paste], light: Light) -> Array:
    """Cut-outs with their shadows; the label gets 1 under them. Returns what was covered."""
    covered = np.zeros(label.shape, bool)
    ready = [(paste, *placed(paste.cutout, paste.length, paste.angle, paste.mirrored)) for paste in pastes]
    if not light.overcast:
        shadow = np.zeros(label.shape, F)
        for paste, _, alpha in ready:
            dx, dy = (paste.height * value for value in light.reach)
            steps = max(1, math.ceil(math.hypot(dx, dy) / 2))
            for step in range(1, steps + 1):
                where = _window(paste.x + dx * step / steps, paste.y + dy * step / steps, alpha.shape, label.shape)
                if where is not None:
                    there, part = where
                    np.maximum(shadow[there], alpha[part], out=shadow[there])
        picture *= F(1) - shadow[..., None] * (F(1) - np.asarray(light.shade, F))
    for paste, colours, alpha in ready:
        lean = (light.lean[0] * paste.height, light.lean[1] * paste.height)
        where = _window(paste.x + lean[0], paste.y + lean[1], alpha.shape, label.shape)
        if where is None:
            continue
        there, part = where
        opacity = alpha[part][..., None]
        picture[there] += (colours[part] * np.asarray(paste.gains, F) - picture[there]) * opacity
        inside = alpha[part] >= F(0.5)
        label[there][inside] = 1
        covered[there] |= inside
    return covered


def _window(
    x: float, y: float, size: tuple[int, ...], bounds: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Where a stamp around a point meets the canvas, and which part of the stamp that is."""
    top, left = round(y - size[0] / 2), round(x - size[1] / 2)
    r0, c0 = max(0, top), max(0, left)
    r1, c1 = min(bounds[0], top + size[0]), min(bounds[1], left + size[1])
    if r0 >= r1 or c0 >= c1:
        return None
    return (slice(r0, r1), slice(c0, c1)), (slice(r0 - top, r1 - top), slice(c0 - left, c1 - left))


def lay_trees(
    picture: Array, label: Array, trees: Sequence[tuple[float, float, float]], leaves: Array, light: Light, noise: Array
) -> None:
    """Crowns of the texture `leaves` with light and shadow of the date; a building under a crown is not seen."""
    side = picture.shape[0]
    cover = Image.new("L", (side, side), 0)
    shadow = Image.new("L", (side, side), 0)
    draw, draw_shadow = ImageDraw.Draw(cover), ImageDraw.Draw(shadow)
    for x, y, radius in trees:
        for k in range(5):
            turn = 2.4 * k + x
            part = radius * (0.62 + 0.1 * (k % 3))
            cx, cy = x + 0.45 * radius * math.cos(turn), y + 0.45 * radius * math.sin(turn)
            draw.ellipse((cx - part, cy - part, cx + part, cy + part), fill=255)
            dx, dy = (radius * 1.3 * value for value in light.reach)
            draw_shadow.ellipse((cx + dx - part, cy + dy - part, cx + dx + part, cy + dy + part), fill=255)
    opacity = np.asarray(cover, F) / F(255)
    soft = (opacity + np.roll(opacity, 1, 0) + np.roll(opacity, 1, 1) + np.roll(opacity, (1, 1), (0, 1))) / F(4)
    soft = np.where(soft < 1, soft * np.clip(F(0.8) + F(0.4) * noise, 0, 1), soft)
    if not light.overcast:
        picture *= F(1) - (np.asarray(shadow, F) / F(255))[..., None] * (F(1) - np.asarray(light.shade, F))
    rows, cols = round(3 * light.sun[1]), round(3 * light.sun[0])
    lit = (
        F(0.75)
        + F(0.3) * noise
        + F(0.2) * (np.roll(soft, (rows, cols), (0, 1)) - np.roll(soft, (-rows, -cols), (0, 1)))
    )
    picture += (leaves * np.clip(lit, F(0.3), F(1.3))[..., None] - picture) * soft[..., None]
    label[soft >= F(0.6)] = 0


def lay_vehicles(picture: Array, vehicles: Sequence[Vehicle], light: Light) -> None:
    """Vehicles with a short shadow."""
    side = picture.shape[0]
    colours = Image.new("RGB", (side * FINE, side * FINE))
    cover = Image.new("L", colours.size, 0)
    draw, draw_cover = ImageDraw.Draw(colours), ImageDraw.Draw(cover)
    for car in vehicles:
        dx, dy = (0.5 * car.width * value for value in light.reach)
        for shift, fill in (((dx, dy), (22, 24, 28)), ((0.0, 0.0), car.colour)):
            box = corners(car.x + shift[0], car.y + shift[1], car.length / 2, car.width / 2, car.angle)
            points = [(x * FINE, y * FINE) for x, y in box]
            draw.polygon(points, fill=fill)
            draw_cover.polygon(points, fill=255)
    opacity = _halved(cover) / F(255)
    picture *= (F(1) - opacity)[..., None]
    picture += _halved(colours)


def easel_of(buildings: Sequence[Building], side: int, light: Light) -> Easel:
    """All buildings of a date, drawn."""
    easel = Easel(side, light)
    for building in buildings:
        easel.building(building)
    return easel


def estate_ground(estate_points: Sequence[tuple[float, float, float]], side: int) -> Array:
    """(side, side) opacity of the ground within a distance (x, y, distance) of points: lots round houses."""
    image = Image.new("L", (side // 2, side // 2), 0)
    draw = ImageDraw.Draw(image)
    for x, y, reach in estate_points:
        draw.ellipse(((x - reach) / 2, (y - reach) / 2, (x + reach) / 2, (y + reach) / 2), fill=255)
    grown: Array = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR), F) / F(255)
    return grown
