"""Renders a pair of dates of a scene, and writes it as GeoTIFFs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS

from cdengine.events import Reporter
from cdengine.raster.grid import Window
from cdengine.synthesis.scenes.canvas import Planes, View, paint
from cdengine.synthesis.scenes.classes import BUILDING, CLASSES
from cdengine.synthesis.scenes.compose import compose
from cdengine.synthesis.scenes.light import illuminate
from cdengine.synthesis.scenes.plan import AFTER, BEFORE, Plan
from cdengine.synthesis.scenes.sensor import expose, kernel_reach, sample
from cdengine.synthesis.scenes.style import MAX_SHIFT_PX, NO_CHANGE, TYPICAL, ChangeRates, DateStyle, SceneStyle

Array = np.ndarray[Any, np.dtype[Any]]
BANDS = ("red", "green", "blue", "nir")
CHUNK = 1024  # pixels rendered at once; what stands outside casts its shadow into a chunk all the same
# How far shadows are followed beyond a chunk: far enough that no seam shows, less where there is none to show.
MAX_REACH_M = 60.0
EDGE_REACH_M = 26.0
# A place in the Upper Rhine plain, so that a demo opens on a plausible spot of the map.
DEFAULT_CRS = "EPSG:32632"
DEFAULT_ORIGIN = (455000.0, 5428000.0)


@dataclass(frozen=True)
class ScenePair:
    """Two dates of one scene with what is true about them.

    Attributes:
        before: (C, H, W) pixels of the first date.
        after: (C, H, W) pixels of the second date, misregistered as `style.after.shift` says.
        before_classes: (H, W) uint8 class ids (see `classes.CLASSES`) on the pixel grid of `before`.
        after_classes: (H, W) uint8 class ids, on the same grid, not shifted.
        change: (H, W) uint8, 1 where the classes differ or a building was replaced by another, else 0.
        replaced: (H, W) bool, the second of these two reasons.
        gsd: ground sample distance in metres.
        bands: names of the bands.
        style: what was drawn by lot.
        seed: what it was drawn from.
    """

    before: Array
    after: Array
    before_classes: Array
    after_classes: Array
    change: Array
    replaced: Array
    gsd: float
    bands: tuple[str, ...]
    style: SceneStyle
    seed: int

    def transitions(self) -> dict[tuple[int, int], int]:
        """Number of changed pixels by (class before, class after)."""
        code = self.before_classes.astype(np.int64) * len(CLASSES) + self.after_classes
        codes, counts = np.unique(code[self.change == 1], return_counts=True)
        return {divmod(int(c), len(CLASSES)): int(n) for c, n in zip(codes, counts, strict=True)}


def render_pair(
    seed: int,
    height: int,
    width: int,
    gsd: float = 0.5,
    bands: tuple[str, ...] = ("red", "green", "blue"),
    style: SceneStyle | None = None,
    dtype: Any = np.uint8,  # noqa: ANN401 (whatever numpy takes as one)
    changes: ChangeRates | None = TYPICAL,
    reporter: Reporter | None = None,
) -> ScenePair:
    """Renders a scene at two dates; the same arguments give the same pixels.

    Args:
        seed: what everything is drawn from.
        height: rows.
        width: columns.
        gsd: metres per pixel, 0.2 to 15; what cannot be seen at this size is left out.
        bands: any of red, green, blue, nir, in any order.
        style: the place and its dates; drawn by lot if None.
        dtype: uint8 (display picture), uint16 (reflectance × 10000) or float32 (reflectance).
        changes: chances of change; None for two dates without any.
        reporter: told about each chunk of pixels.

    Raises:
        ValueError: for a size, band or pixel type that cannot be rendered.
    """
    _check(height, width, gsd, bands, np.dtype(dtype))
    style = style or SceneStyle.sample(np.random.default_rng([seed, 0]))
    numbers = tuple(BANDS.index(band) for band in bands)
    rates = NO_CHANGE if changes is None else changes
    reach = EDGE_REACH_M if max(height, width) <= CHUNK else MAX_REACH_M
    plan = compose(seed, style, rates, (width * gsd, height * gsd), reach, gsd)
    shape = (len(bands), height, width)
    pair = ScenePair(
        before=np.empty(shape, dtype),
        after=np.empty(shape, dtype),
        before_classes=np.empty(shape[1:], np.uint8),
        after_classes=np.empty(shape[1:], np.uint8),
        change=np.empty(shape[1:], np.uint8),
        replaced=np.empty(shape[1:], bool),
        gsd=gsd,
        bands=bands,
        style=style,
        seed=seed,
    )
    reporter = reporter or Reporter()
    chunks = [part for strip in Window(0, 0, height, width).split(CHUNK) for part in _columns(strip)]
    for number, window in enumerate(reporter.each(chunks, "render", len(chunks), "chunks")):
        _render_chunk(pair, plan, window, numbers, np.random.default_rng([seed, 2, number]))
    return pair


def _columns(strip: Window) -> list[Window]:
    return [
        Window(strip.row, col, strip.height, min(CHUNK, strip.col_stop - col))
        for col in range(strip.col, strip.col_stop, CHUNK)
    ]


def _check(height: int, width: int, gsd: float, bands: tuple[str, ...], dtype: np.dtype[Any]) -> None:
    if height < 1 or width < 1:
        raise ValueError(f"a scene of {height} × {width} pixels cannot be rendered")
    if not 0.2 <= gsd <= 15:
        raise ValueError(f"gsd {gsd} m is outside 0.2 to 15 m")
    if not bands or any(band not in BANDS for band in bands):
        raise ValueError(f"bands {bands} are not among {', '.join(BANDS)}")
    if dtype not in (np.uint8, np.uint16, np.float32):
        raise ValueError(f"pixel type {dtype} is not uint8, uint16 or float32")


def oversampling(gsd: float) -> int:
    """Fine pixels per pixel: finer where pixels are large, since objects are then smaller than they."""
    return 2 if gsd <= 1.2 else 3 if gsd <= 4 else 4


def _render_chunk(
    pair: ScenePair, plan: Plan, window: Window, bands: tuple[int, ...], rng: np.random.Generator
) -> None:
    fine = oversampling(pair.gsd)
    step = pair.gsd / fine
    here = (slice(None), *window.slices)
    labels = []
    for number, date, picture in ((BEFORE, plan.style.before, pair.before), (AFTER, plan.style.after, pair.after)):
        margin = _margin(plan, date, step, fine)
        view = View(
            window.col * pair.gsd - margin[1] * step,
            window.row * pair.gsd - margin[0] * step,
            step,
            window.height * fine + margin[0] + margin[2],
            window.width * fine + margin[1] + margin[3],
        )
        planes = paint(plan, view, number, date.leaf)
        radiance = illuminate(plan, planes, view, date, number, bands)
        shift = date.shift  # content moves right and down by it, so pixels look left and up
        first = (
            margin[0] + (fine - 1) / 2 - shift[1] * fine,
            margin[1] + (fine - 1) / 2 - shift[0] * fine,
        )
        seen = sample(radiance, fine, date.blur, first, (window.height, window.width))
        picture[here] = expose(seen, date, bands, picture.dtype, rng)
        labels.append(_truth(planes, margin, fine, window))
    (before, gone), (after, come) = labels
    pair.before_classes[window.slices], pair.after_classes[window.slices] = before, after
    replaced = (gone | come) & (before == BUILDING) & (after == BUILDING)
    pair.replaced[window.slices] = replaced
    pair.change[window.slices] = (before != after) | replaced


def _margin(plan: Plan, date: DateStyle, step: float, fine: int) -> tuple[int, int, int, int]:
    """Fine pixels to paint beyond a chunk (top, left, bottom, right): towards the sun as far as shadows fall."""
    tallest = max([wing.eave + 3 for b in plan.buildings for wing in b.wings] + [22.0 if plan.woods else 8.0])
    reach = min(-plan.box[0], tallest / math.tan(math.radians(date.sun_elevation)))
    least = math.ceil(MAX_SHIFT_PX * fine) + kernel_reach(fine, date.blur) + math.ceil(3.0 / step)
    least += math.ceil(max(abs(date.lean[0]), abs(date.lean[1])) * tallest / step)
    east, south = math.sin(math.radians(date.sun_azimuth)), -math.cos(math.radians(date.sun_azimuth))
    sides = (-south, -east, south, east)
    margins = [least + math.ceil(max(0.0, side) * reach / step) for side in sides]
    return margins[0], margins[1], margins[2], margins[3]


def _truth(planes: Planes, margin: tuple[int, int, int, int], fine: int, window: Window) -> tuple[Array, Array]:
    """Most frequent class of each pixel, and whether half of it or more is a replaced building."""
    inner = (slice(margin[0], margin[0] + window.height * fine), slice(margin[1], margin[1] + window.width * fine))
    classes, replaced = planes.classes[inner], planes.replaced[inner]
    offsets = [(i, j) for i in range(fine) for j in range(fine)]
    votes = np.zeros((len(CLASSES), window.height, window.width), np.uint8)
    share = np.zeros((window.height, window.width), np.uint8)
    for i, j in offsets:
        share += replaced[i::fine, j::fine]
        labels = classes[i::fine, j::fine]
        for vote, land in zip(votes, CLASSES, strict=True):
            vote += labels == land.id
    return votes.argmax(axis=0).astype(np.uint8), share * 2 >= fine * fine


def write_pair(
    folder: str | Path,
    pair: ScenePair,
    crs: str = DEFAULT_CRS,
    origin: tuple[float, float] = DEFAULT_ORIGIN,
) -> dict[str, Path]:
    """Writes before, after, before_classes, after_classes and change_truth as GeoTIFFs.

    Args:
        folder: made if it is not there.
        pair: what to write.
        crs: any metric coordinate reference system.
        origin: x and y of the upper left corner.

    Returns:
        name → path.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    transform = Affine(pair.gsd, 0, origin[0], 0, -pair.gsd, origin[1])
    profile = {"driver": "GTiff", "crs": CRS.from_user_input(crs), "transform": transform, "tiled": True,
               "blockxsize": 256, "blockysize": 256, "compress": "deflate", "predictor": 2}  # fmt: skip
    paths = {}
    for name, pixels in (("before", pair.before), ("after", pair.after)):
        predictor = 3 if pixels.dtype.kind == "f" else 2
        paths[name] = folder / f"{name}.tif"
        _write(paths[name], pixels, {**profile, "predictor": predictor}, pair.bands)
    for name, labels in (
        ("before_classes", pair.before_classes),
        ("after_classes", pair.after_classes),
        ("change_truth", pair.change),
    ):
        paths[name] = folder / f"{name}.tif"
        _write(paths[name], labels[None], profile, (name.replace("_", " "),))
        _colour(paths[name], name)
    return paths


def _write(path: Path, pixels: Array, profile: dict[str, Any], names: tuple[str, ...]) -> None:
    count, height, width = pixels.shape
    with rasterio.open(path, "w", count=count, height=height, width=width, dtype=pixels.dtype, **profile) as file:
        file.write(pixels)
        file.descriptions = names
        colours = {"red": 3, "green": 4, "blue": 5}
        if count > 1:
            file.colorinterp = [rasterio.enums.ColorInterp(colours.get(name, 1)) for name in names]


def _colour(path: Path, name: str) -> None:
    with rasterio.open(path, "r+") as file:
        if name == "change_truth":
            file.write_colormap(1, {0: (235, 235, 235, 255), 1: (215, 48, 39, 255)})
        else:
            file.write_colormap(1, {c.id: (*c.colour, 255) for c in CLASSES})
            file.update_tags(1, **{f"CLASS_{c.id}": c.name for c in CLASSES})
