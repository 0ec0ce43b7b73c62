"""A picture of which patch went to which split, over a thumbnail of each scene."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rasterio.enums import Resampling
from rasterio.windows import Window as RasterioWindow

from cdengine.data.prepare.opened import OpenScene
from cdengine.events import Reporter
from cdengine.raster.bands import shown_bands
from cdengine.raster.grid import Window
from cdengine.raster.source import inspect

Array = np.ndarray[Any, np.dtype[Any]]
Rgb = tuple[int, int, int]

COLOURS: tuple[Rgb, ...] = (
    (33, 113, 181), (230, 126, 34), (39, 153, 90), (142, 68, 173), (192, 57, 43), (127, 127, 40)
)  # fmt: skip
LEFT_OUT: Rgb = (120, 120, 120)
CHANGED: Rgb = (255, 222, 0)
INK, FAINT, PAPER = (28, 30, 34), (104, 108, 114), (255, 255, 255)
LARGE, SMALL, MOST = 900, 420, 24  # sides of a panel where there is one and where there are more; panels
GAP, HEAD, LINE = 16, 26, 24
ROWS = 16  # of a thumbnail that are read at a time, so that a cancel is heard


@dataclass(frozen=True)
class Placed:
    """Where a patch lies and what became of it."""

    window: Window
    split: str
    kept: bool


class Count(Protocol):
    """What one split got; see `cut.SplitCount`."""

    patches: int

    @property
    def change_share(self) -> float: ...  # noqa: D102


def draw_splits(
    path: Path,
    opened: Sequence[OpenScene],
    placed: Mapping[str, Sequence[Placed]],
    counts: Mapping[str, Count],
    reporter: Reporter,
) -> None:
    """Writes the picture.

    Args:
        path: PNG.
        opened: the scenes; the first `MOST` are shown.
        placed: scene → its patches.
        counts: split → what it got.
        reporter: hears a cancel.
    """
    some = opened[:MOST]
    side = LARGE if len(some) == 1 else SMALL
    colours = {split: COLOURS[i % len(COLOURS)] for i, split in enumerate(counts)}
    panels = [
        (item.scene.name, _panel(item, placed.get(item.scene.name, ()), colours, side, reporter))
        for item in reporter.each(some, "picture", len(some), "scenes")
    ]
    columns = math.ceil(math.sqrt(len(panels)))
    width = max(520, columns * (side + GAP) + GAP)
    tops, top = [], GAP
    for first in range(0, len(panels), columns):
        tops.append(top)
        top += HEAD + max(panel.height for _, panel in panels[first : first + columns]) + GAP
    legend = [(colours[split], _told(split, counts[split], opened[0].single)) for split in counts]
    notes = (len(opened) > MOST) * 1
    sheet = Image.new("RGB", (width, top + LINE * (len(legend) + 2 + notes) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (name, panel) in enumerate(panels):
        x, y = GAP + (number % columns) * (side + GAP), tops[number // columns]
        draw.text((x, y), name, fill=INK, font=_font(16))
        sheet.paste(panel, (x, y + HEAD))
    for colour, text in legend:
        draw.rectangle((GAP, top + 2, GAP + 22, top + 16), fill=colour, outline=INK)
        draw.text((GAP + 34, top), text, fill=INK, font=_font(14))
        top += LINE
    draw.rectangle((GAP, top + 2, GAP + 22, top + 16), outline=LEFT_OUT)
    draw.text((GAP + 34, top), "left out: too little valid, or unchanged", fill=FAINT, font=_font(14))
    if not opened[0].single:
        draw.rectangle((GAP, top + LINE + 2, GAP + 22, top + LINE + 16), fill=CHANGED)
        draw.text((GAP + 34, top + LINE), "changed", fill=FAINT, font=_font(14))
    if notes:
        text = f"{len(opened) - MOST} more scenes are not shown"
        draw.text((GAP, top + 2 * LINE), text, fill=FAINT, font=_font(14))
    sheet.save(path, "PNG", compress_level=6)


def _told(split: str, count: Count, single: bool) -> str:
    return f"{split}: {count.patches:,} patches" + ("" if single else f", {count.change_share:.2%} changed")


def _panel(
    item: OpenScene, placed: Sequence[Placed], colours: Mapping[str, Rgb], side: int, reporter: Reporter
) -> Image.Image:
    window = item.window
    scale = min(side / max(window.height, window.width), 4.0)
    height, width = (max(1, round(length * scale)) for length in (window.height, window.width))
    picture = _thumbnail(item, height, width, reporter)
    picture = _with_label(picture, item, reporter)
    shown = Image.fromarray(picture).convert("RGBA")
    tint = Image.new("RGBA", shown.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(tint)
    for patch in sorted(placed, key=lambda patch: patch.kept):
        box = [
            (patch.window.col - window.col) * scale,
            (patch.window.row - window.row) * scale,
            (patch.window.col_stop - window.col) * scale - 1,
            (patch.window.row_stop - window.row) * scale - 1,
        ]
        colour = colours[patch.split] if patch.kept else LEFT_OUT
        draw.rectangle(box, fill=(*colour, 60 if patch.kept else 0), outline=(*colour, 255), width=2)
    return Image.alpha_composite(shown, tint).convert("RGB")


def _thumbnail(item: OpenScene, height: int, width: int, reporter: Reporter) -> Array:
    """(height, width, 3) uint8 of the first date, whose grid is the scene's."""
    info = next(iter(item.images.dates.values()))
    bands = [info.bands[i] for i in shown_bands(info.names, info.count)]
    window, values = item.window, np.zeros((len(bands), height, width), np.float32)
    valid = np.zeros((height, width), bool)
    with inspect(item.scene.before, "before", reporter=reporter).opened() as dataset:
        step = window.height / height
        for first in range(0, height, ROWS):
            reporter.check()
            rows = slice(first, min(first + ROWS, height))
            part = RasterioWindow(window.col, window.row + first * step, window.width, (rows.stop - first) * step)
            shape = (rows.stop - first, width)
            where = {"window": part, "resampling": Resampling.nearest}
            values[:, rows] = dataset.read(bands, out_shape=(len(bands), *shape), out_dtype="float32", **where)
            valid[rows] = dataset.read_masks(bands[0], out_shape=shape, **where) > 0
    valid &= np.isfinite(values).all(0)
    out = np.full((height, width, 3), 205, np.uint8)
    if valid.any():
        low, high = np.percentile(values[:, valid], [2, 98], axis=1)[..., None]
        stretched = np.clip((values[:, valid] - low) / np.maximum(high - low, 1e-12), 0, 1) * 255
        out[valid] = stretched.T if len(bands) == 3 else stretched.T.repeat(3, axis=1)
    return out


def _with_label(picture: Array, item: OpenScene, reporter: Reporter) -> Array:
    """Changed pixels marked; one pixel of the thumbnail is marked by any of those it stands for."""
    if item.single:
        return picture
    window, (height, width) = item.window, picture.shape[:2]
    if height >= window.height:  # enlarged, so small: each picture pixel shows one of the scene's
        rows, cols = (np.arange(n) * full // n for n, full in ((height, window.height), (width, window.width)))
        picture[(item.read_labels(window)["change"] == 1)[np.ix_(rows, cols)]] = CHANGED
        return picture
    marked = np.zeros((height, width), bool)
    for strip in window.split(512):
        reporter.check()
        rows, cols = np.nonzero(item.read_labels(strip)["change"] == 1)
        at = (rows + strip.row - window.row) * height // window.height, cols * width // window.width
        marked[at] = True
    picture[marked] = CHANGED
    return picture


def _font(size: int) -> Any:  # noqa: ANN401 (one of two Pillow types)
    return ImageFont.load_default(size)
