"""One picture of a result: both dates, the probability, and the changes outlined on the second date."""

from __future__ import annotations

import math
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
from PIL import Image, ImageDraw, ImageFont
from pyproj import CRS as ProjCRS
from pyproj import Geod, Transformer

from cdengine.assess.colours import OUTLINE, OUTLINE_CASING, hatch, probability_colours
from cdengine.assess.framing import frame_of
from cdengine.assess.preview import Frame, read_layer, read_pair, stretched
from cdengine.assess.preview import Image as Photo
from cdengine.raster.grid import Grid, Window
from cdengine.raster.paths import display_uri
from cdengine.raster.quiet import opened
from cdengine.raster.source import Raster
from cdengine.vector.plainpath import plain_for_reading

Array = np.ndarray[Any, np.dtype[Any]]
PathLike = str | os.PathLike[str]
GAP, HEAD, LABEL, FOOT = 16, 64, 30, 76
INK, FAINT, PAPER = (28, 30, 34), (104, 108, 114), (255, 255, 255)
MAX_RINGS = 20000
CROWDED = 0.04  # share of the picture that outlines may take before they are drawn as thin as can be


def quicklook(
    before: Photo,
    after: Photo,
    change: PathLike,
    probability: PathLike | None,
    out_png: PathLike,
    *,
    polygons: PathLike | None = None,
    threshold: float | None = None,
    compared: Window | None = None,
    shift: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Writes a PNG of four labelled panels.

    Large rasters are read through their overviews. Where an input is large and has none, the part with most change is
    shown instead of the whole, and the title says so.

    Args:
        before: raster of the first date, on any grid: a path, or a raster of an opened pair.
        after: raster of the second date.
        change: raster with 1 for change and 255 for no data; its grid is that of the picture.
        probability: raster of change probability (float 0 to 1, or uint8 0 to 200), or None: the panel then shows the
            change raster.
        out_png: where to write.
        polygons: vector file whose outlines are drawn in place of the raster's.
        threshold: marked on the colour ramp.
        compared: the part of the change raster's grid where anything can have been compared: the picture shows no
            more than that and its surroundings. None: all of it.
        shift: (rows, cols) in pixels of that grid by which AFTER lies too far down and to the right; it is removed.
    """
    frame, shown = frame_of(before, after, change, compared)
    first, second = read_pair(before, after, frame, shift)
    pictures = stretched(first, second)
    changed = read_layer(change, frame, peak=True)
    mask = changed == 1
    chance = (
        read_layer(probability, frame) / _scale(probability) if probability is not None else mask.astype(np.float32)
    )
    unknown = ~np.isfinite(chance) | ~np.isfinite(changed)
    chance_picture = np.where(unknown[..., None], hatch(*mask.shape), probability_colours(chance)).astype(np.uint8)
    rings = _rings(polygons, frame) if polygons is not None else None
    outlined = Image.fromarray(pictures[1].copy())
    if rings is None:
        outlined = Image.fromarray(_outlined(pictures[1], mask))
    else:
        _draw_rings(outlined, rings)
    panels = [
        ("Before", Image.fromarray(pictures[0])),
        ("After", Image.fromarray(pictures[1])),
        ("Probability of change" if probability is not None else "Change", Image.fromarray(chance_picture)),
        ("Changes, outlined on After", outlined),
    ]
    unseen = bool((~first.valid).any() or (~second.valid).any() or unknown.any())
    notes = [] if pictures[2] else ["each date with its own contrast"]
    if shown:
        notes.insert(0, f"shown: {frame.window.width:,} x {frame.window.height:,} {shown}")
    sheet = _sheet(panels, frame, _title(before, after), notes, threshold, unseen)
    sheet.save(Path(out_png), "PNG", optimize=False, compress_level=6)


def file_title(path: PathLike, limit: int = 48) -> str:
    """A file's name without folders, secrets or control characters, shortened in its middle."""
    name = display_uri(path).rstrip("/").replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(letter if letter.isprintable() else "?" for letter in name)
    keep = (limit - 3) // 2
    return name if len(name) <= limit else f"{name[:keep]}...{name[-keep:]}"


def _title(before: Photo, after: Photo) -> str:
    paths = [image.name if isinstance(image, Raster) else display_uri(image) for image in (before, after)]
    names = [file_title(path) for path in paths]
    if names[0] == names[1]:  # t1/image.tif and t2/image.tif
        names = [f"{Path(path).parent.name}/{name}" for path, name in zip(paths, names, strict=True)]
    return f"{names[0]}  to  {names[1]}"


def _scale(probability: PathLike | None) -> float:
    if probability is None:
        return 1.0
    with opened(probability) as dataset:
        return 200.0 if dataset.dtypes[0] == "uint8" else 1.0


def _outlined(picture: Array, mask: Array) -> Array:
    """A light line around each changed area with a dark one outside it, so that it shows on any ground."""
    out: Array = picture.copy()
    edge = mask & ~scipy.ndimage.binary_erosion(mask, border_value=1)
    if edge.mean() > CROWDED:  # casings would hide the picture
        out[edge] = OUTLINE
        return out
    around = scipy.ndimage.binary_dilation(mask, iterations=1)
    casing = scipy.ndimage.binary_dilation(mask, iterations=2) & ~around
    core = scipy.ndimage.binary_erosion(mask, iterations=1, border_value=1)
    out[casing] = (out[casing] * 0.35 + np.asarray(OUTLINE_CASING) * 0.65).astype(np.uint8)
    out[around & ~core] = OUTLINE
    return out


def _rings(polygons: PathLike, frame: Frame) -> list[list[tuple[float, float]]] | None:
    """Rings in picture pixels; None where there are too many to draw, or none of them has a place."""
    import pyogrio

    with plain_for_reading(Path(polygons)) as plain:
        info = pyogrio.read_info(plain)
        if info["features"] < 0 or info["features"] > MAX_RINGS:
            return None
        frame_table = pyogrio.read_dataframe(plain, columns=[])
    if frame_table.crs is not None and frame.grid.crs is not None:
        frame_table = frame_table.to_crs(frame.grid.crs.to_wkt())
    inverse = ~frame.small_grid.transform
    rings = []
    for geometry in frame_table.geometry.explode().dropna():
        for ring in (geometry.exterior, *geometry.interiors):
            rings.append([inverse @ (x, y) for x, y in np.asarray(ring.coords)[:, :2]])
    return rings


def _draw_rings(picture: Image.Image, rings: list[list[tuple[float, float]]]) -> None:
    draw = ImageDraw.Draw(picture)
    for colour, width in ((OUTLINE_CASING, 4), (OUTLINE, 2)):
        for ring in rings:
            draw.line(ring, fill=colour, width=width, joint="curve")


def _sheet(
    panels: list[tuple[str, Image.Image]], frame: Frame, title: str, notes: list[str], threshold: float | None,
    unseen: bool
) -> Image.Image:  # fmt: skip
    width, height = frame.width, frame.height
    columns = 4 if width * 2.2 < height else 1 if width > 3.2 * height else 2
    column = max(width, 330)
    rows = math.ceil(4 / columns)
    total = (columns * column + (columns + 1) * GAP, HEAD + rows * (height + LABEL + 8) + FOOT)
    sheet = Image.new("RGB", (max(total[0], 560), total[1]), PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (GAP, 14), title, 21, INK, sheet.width - 2 * GAP)
    _write(draw, (GAP, 40), _subtitle(frame, notes), 14, FAINT, sheet.width - 2 * GAP)
    for number, (label, picture) in enumerate(panels):
        x = GAP + (number % columns) * (column + GAP)
        y = HEAD + (number // columns) * (height + LABEL + 8)
        _write(draw, (x, y + 6), label, 16, INK, column)
        sheet.paste(picture, (x, y + LABEL))
        draw.rectangle((x - 1, y + LABEL - 1, x + width, y + LABEL + height), outline=(150, 152, 156))
    _legend(draw, sheet, sheet.height - FOOT + 18, frame, threshold, unseen)
    return sheet


def _subtitle(frame: Frame, notes: list[str]) -> str:
    grid = frame.grid
    text = f"{grid.width:,} x {grid.height:,} pixels"
    if grid.crs is not None:
        text += f", {grid.crs.to_string() if grid.crs.to_epsg() else 'own CRS'}"
    return "; ".join([text, *notes])


def _legend(
    draw: ImageDraw.ImageDraw, sheet: Image.Image, top: int, frame: Frame, threshold: float | None, unseen: bool
) -> None:
    x = GAP
    x = _scale_bar(draw, x, top, frame) + 36
    ramp = np.linspace(0, 1, 180, dtype=np.float32)[None, :].repeat(14, axis=0)
    sheet.paste(Image.fromarray(probability_colours(ramp)), (x, top))
    draw.rectangle((x - 1, top - 1, x + 180, top + 14), outline=(150, 152, 156))
    for at, label in ((0, "0"), (180, "1")):
        _write(draw, (x + at - 4, top + 19), label, 13, FAINT)
    _write(draw, (x + 52, top + 19), "probability", 13, FAINT)
    if threshold is not None and 0 < threshold < 1:
        at = x + round(180 * threshold)
        draw.line((at, top - 6, at, top + 15), fill=INK, width=2)
        _write(draw, (x + 52, top + 36), f"threshold {threshold:.2g}", 13, FAINT)
    x += 216
    if x + 120 < sheet.width:
        draw.rectangle((x, top, x + 26, top + 14), outline=OUTLINE_CASING, width=4)
        draw.rectangle((x + 1, top + 1, x + 25, top + 13), outline=OUTLINE, width=2)
        _write(draw, (x + 34, top - 2), "changed", 13, FAINT)
        x += 118
    if unseen and x + 110 < sheet.width:
        sheet.paste(Image.fromarray(hatch(15, 27)), (x, top))
        draw.rectangle((x, top, x + 26, top + 14), outline=(150, 152, 156))
        _write(draw, (x + 34, top - 2), "no data", 13, FAINT)


def _scale_bar(draw: ImageDraw.ImageDraw, x: int, top: int, frame: Frame) -> int:
    metres = metres_per_pixel(frame.small_grid)
    unit = metres if metres is not None else frame.window.width / frame.width
    length = nice_length(unit * 200)
    pixels = round(length / unit)
    draw.rectangle((x, top + 2, x + pixels, top + 10), fill=INK)
    draw.rectangle((x + pixels // 2, top + 4, x + pixels - 2, top + 8), fill=PAPER)
    label = f"{length:,.0f} pixels"
    if metres is not None:
        label = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    _write(draw, (x, top + 19), label, 13, FAINT)
    return x + max(pixels, 90)


def nice_length(longest: float) -> float:
    """The greatest of 1, 2, 5 × 10^n that is not longer."""
    power = 10.0 ** math.floor(math.log10(longest))
    return max(step * power for step in (1, 2, 5) if step * power <= longest * (1 + 1e-9))


def metres_per_pixel(grid: Grid) -> float | None:
    """Ground width of a pixel in the middle of a grid, on the ellipsoid; None without a CRS."""
    if grid.crs is None:
        return None
    middle = [grid.transform @ (grid.width / 2 + d, grid.height / 2) for d in (-0.5, 0.5)]
    crs = ProjCRS.from_wkt(grid.crs.to_wkt())
    if crs.geodetic_crs is None:
        return None
    to_lonlat = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    (lon0, lat0), (lon1, lat1) = (to_lonlat.transform(x, y) for x, y in middle)
    if not all(map(math.isfinite, (lon0, lat0, lon1, lat1))):
        return None
    geod = crs.get_geod() or Geod(ellps="WGS84")
    distance = float(geod.inv(lon0, lat0, lon1, lat1)[2])
    return distance if distance > 0 else None


@lru_cache(maxsize=32)
def _font(size: int, ascii_only: bool) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, which has ASCII only; for other letters one that most systems have."""
    if not ascii_only:
        for name in ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "Helvetica.ttc"):
            try:
                return ImageFont.truetype(name, size - 1)
            except OSError:
                continue
    return ImageFont.load_default(size)


def _write(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, colour: tuple[int, int, int],
    room: int | None = None
) -> None:  # fmt: skip
    """Text of a size, cut with an ellipsis where room ends."""
    font = _font(size, text.isascii())
    while room is not None and len(text) > 4 and draw.textlength(text, font=font) > room:
        text = text[:-4].rstrip(".") + "..."
    draw.text(at, text, fill=colour, font=font)
