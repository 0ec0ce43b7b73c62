"""What the network makes of some validation pairs: before, after, label, probability, and where they differ.

Of a network that tells classes a second row shows what both dates hold where something changed: as labelled, as found.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cdengine.assess.colours import Rgb, probability_colours
from cdengine.assess.errorpictures import class_map
from cdengine.assess.semantic import codes
from cdengine.raster.bands import shown_bands

Array = np.ndarray[Any, np.dtype[Any]]
HIT, MISS, FALSE_ALARM = (46, 140, 87), (33, 102, 220), (222, 60, 48)
HEADS = ("before", "after", "label", "probability")
CLASS_HEADS = ("classes before: label", "classes after: label", "classes before: network", "classes after: network")
LEGEND = (("hit", HIT), ("miss", MISS), ("false alarm", FALSE_ALARM))
SIDE = 256  # pixels of a panel
GAP, TOP, LEFT = 4, 22, 4
INK = (40, 40, 40)
KEY_ROWS = 11  # classes that the legend has room for


@dataclass(frozen=True)
class Shown:
    """A validation pair and its answer.

    Attributes:
        name: of the pair.
        before, after: (C, H, W), stored values.
        change: (H, W), 0, 1 or 255.
        probability: (H, W), 0 to 1.
        classes: labels and the network's likeliest, each uint8 (2, H, W) of both dates: ids, 255 none; None: of change
            alone.
    """

    name: str
    before: Array
    after: Array
    change: Array
    probability: Array
    classes: tuple[Array, Array] | None = None


def picture(
    pairs: Sequence[Shown],
    threshold: float,
    bands: tuple[Sequence[str], Sequence[str]],
    legend: Mapping[str, Rgb] | None = None,
) -> bytes:
    """One PNG with a row a pair, two where there are classes.

    Args:
        pairs: at least one.
        threshold: probability from which a pixel counts as changed.
        bands: names of the bands of both dates, to find red, green and blue.
        legend: class → colour, in the order of the ids, where pairs have classes.
    """
    below = TOP + SIDE + GAP if legend else 0
    height = TOP + len(pairs) * (SIDE + GAP + below)
    canvas = Image.new("RGB", (LEFT + (len(HEADS) + 1) * (SIDE + GAP), height), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    for column, head in enumerate(HEADS):
        draw.text((LEFT + column * (SIDE + GAP), 3), head, fill=INK, font=font)
    at_x = float(LEFT + len(HEADS) * (SIDE + GAP))
    for word, tint in LEGEND:
        draw.text((at_x, 3), word, fill=tint, font=font)
        at_x += draw.textlength(word + "   ", font=font)
    for row, pair in enumerate(pairs):
        panels = (
            colour(pair.before, bands[0]),
            colour(pair.after, bands[1]),
            _label(pair.change),
            probability_colours(pair.probability),
            errors(pair.change, pair.probability >= threshold, colour(pair.after, bands[1])),
        )
        for column, panel in enumerate(panels):
            at = (LEFT + column * (SIDE + GAP), TOP + row * (SIDE + GAP + below))
            canvas.paste(_fitted(panel), at)
        if legend:
            _class_row(canvas, TOP + row * (SIDE + GAP + below) + SIDE + GAP, pair, threshold, legend)
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def class_panels(pair: Shown, threshold: float, colours: Sequence[Rgb]) -> list[Array]:
    """(H, W, 3) uint8 of labels before and after and of the network's classes before and after, where it changed.

    Pale is unchanged; hatched is changed into a class that the labels do not tell, or not labelled at all.
    """
    if pair.classes is None:
        return []
    found = (pair.probability >= threshold).astype(np.uint8)
    labels, network = pair.classes
    dates = [(pair.change, labels[0]), (pair.change, labels[1]), (found, network[0]), (found, network[1])]
    return [class_map(codes(change, classes), colours) for change, classes in dates]


def _class_row(canvas: Image.Image, top: int, pair: Shown, threshold: float, legend: Mapping[str, Rgb]) -> None:
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    panels = class_panels(pair, threshold, list(legend.values()))
    for column, (head, panel) in enumerate(zip(CLASS_HEADS, panels, strict=False)):
        left = LEFT + column * (SIDE + GAP)
        draw.text((left, top + 3), head, fill=INK, font=font)
        canvas.paste(_fitted(panel, Image.Resampling.NEAREST), (left, top + TOP))
    left = LEFT + len(CLASS_HEADS) * (SIDE + GAP)
    for number, (name, tint) in enumerate(list(legend.items())[:KEY_ROWS]):
        at = top + TOP + number * 21
        draw.rectangle((left, at, left + 14, at + 14), fill=tint, outline=INK)
        draw.text((left + 22, at), name, fill=INK, font=font)
    if len(legend) > KEY_ROWS:
        draw.text((left + 22, top + TOP + KEY_ROWS * 21), f"and {len(legend) - KEY_ROWS} more", fill=INK, font=font)


def colour(values: Array, bands: Sequence[str]) -> Array:
    """(H, W, 3) uint8: red, green and blue as far as the bands' names tell them, or one band as grey."""
    places = shown_bands(bands, len(values))
    chosen = list(places if len(places) == 3 else places * 3)
    if values.dtype == np.uint8:
        shown: Array = np.moveaxis(values[chosen], 0, -1)
        return shown
    layers = []
    for layer in values[chosen].astype(np.float32):
        known = np.isfinite(layer)
        low, high = np.percentile(layer[known], (2, 98)) if known.any() else (0.0, 1.0)
        layers.append(np.clip((np.where(known, layer, low) - low) / max(high - low, 1e-9), 0, 1) * 255)
    return np.stack(layers, -1).astype(np.uint8)


def errors(change: Array, found: Array, under: Array) -> Array:
    """(H, W, 3) uint8: hits, misses and false alarms in colour over a faded grey picture."""
    grey = under.mean(-1, keepdims=True) * 0.35 + 160
    panel: Array = np.repeat(grey, 3, -1).astype(np.uint8)
    for where, tint in (
        ((change == 1) & found, HIT),
        ((change == 1) & ~found, MISS),
        ((change == 0) & found, FALSE_ALARM),
    ):
        panel[where] = tint
    return panel


def _label(change: Array) -> Array:
    levels = np.where(change == 1, 0, np.where(change == 0, 245, 190)).astype(np.uint8)
    return np.repeat(levels[..., None], 3, -1)


def _fitted(panel: Array, smaller: Image.Resampling = Image.Resampling.BILINEAR) -> Image.Image:
    """The panel within SIDE x SIDE, its shape kept; `smaller` is how a large one is made to fit."""
    image = Image.fromarray(panel)
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale >= 1 else smaller)
