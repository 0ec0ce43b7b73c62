"""The single-date images that composites are made of: what is where, what its labels mean, and fills made from them."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from cdengine.errors import NotFoundInputError

Array = np.ndarray[Any, np.dtype[Any]]
UNKNOWN = 255  # of a label: nobody knows whether this pixel is a building
LONGEST = 1400  # larger photographs are halved until they fit: detail below a decimetre is of no use
# UC Merced tells the kind of a scene by the file's name; of these kinds none shows a building worth the name.
GREEN_KINDS = frozenset({"agricultural", "chaparral", "forest", "golfcourse", "neon"})
LAWN_KINDS = frozenset({"golfcourse", "baseballdiamond", "agricultural", "oam_fair_sample2"})
OPEN_KINDS = GREEN_KINDS | {"beach", "river", "runway", "freeway", "parkinglot", "harbor", "baseballdiamond"}


@dataclass(frozen=True)
class Source:
    """One image.

    Attributes:
        name: folder and stem.
        kind: what images of one sort share; mosaics are made of one kind.
        picture: (H, W, 3) uint8.
        label: (H, W) uint8: 0 no building, 1 building, `UNKNOWN`.
        gsd: metres per pixel, roughly.
    """

    name: str
    kind: str
    picture: Image.Image
    label: Image.Image
    gsd: float


@dataclass(frozen=True)
class Library:
    """Sources by use.

    Attributes:
        grounds: kind → images without buildings.
        towns: kind → images with buildings, labelled or not.
        labelled: images whose labels tell single buildings.
    """

    grounds: dict[str, list[Source]]
    towns: dict[str, list[Source]]
    labelled: list[Source]


def read_library(root: Path, held_out: bool = False, outlines: Path | None = None) -> Library:
    """Reads the free images.

    Args:
        root: the folder `single` of the shared imagery.
        held_out: the tenth that validation uses, in place of the rest; by place where the source tells places.
        outlines: a JSON file of building outlines drawn on images that came without labels: stem → {"buildings",
            "unknown"}, each a list of polygons [x, y, x, y, …] in pixels.

    Raises:
        NotFoundInputError: the folder holds none.
    """
    grounds: dict[str, list[Source]] = {}
    towns: dict[str, list[Source]] = {}
    labelled: list[Source] = []
    drawn = json.loads(outlines.read_text()) if outlines else {}
    for path in sorted(root.glob("*labelled/*/**/*.jpg")):
        folder = path.relative_to(root).parts[1]
        if "research_only" in path.parts or _held_out(folder, path.stem) != held_out:
            continue
        source = _read(path, folder, drawn.get(path.stem))
        known = np.asarray(source.label)
        if not (known != 0).any():
            grounds.setdefault(source.kind, []).append(source)
        else:
            towns.setdefault(source.kind, []).append(source)
            if (known == 1).any():
                labelled.append(source)
    if not grounds or not towns:
        raise NotFoundInputError(f"{root}: no single-date images there; give the folder that holds labelled/")
    return Library(grounds, towns, labelled)


def _held_out(folder: str, stem: str) -> bool:
    if folder == "dubai_hitl":
        return stem.startswith("t8")
    if folder == "oam_banepa":
        return "_386695_" in stem
    if folder == "oam_fair_sample2":  # three zooms of the same ground: all or none
        return False
    return zlib.crc32(stem.encode()) % 10 == 0


def _read(path: Path, folder: str, drawn: dict[str, list[list[float]]] | None) -> Source:
    picture = Image.open(path).convert("RGB")
    while max(picture.size) > LONGEST:
        picture = picture.reduce(2)
    kind, gsd = folder, 0.3
    mask = path.parent.parent / "masks" / f"{path.stem}.png"
    if drawn is not None:
        kind = re.sub(r"\d+$", "", path.stem) + " outlined"
        return Source(f"{folder}/{path.stem}", kind, picture, _outlined(picture.size, drawn), gsd)
    if folder == "ucmerced":
        kind = re.sub(r"\d+$", "", path.stem)
        value = 0 if kind in OPEN_KINDS else UNKNOWN
    elif folder == "neon_aop":
        kind, value, gsd = "neon", 0, 0.1
    elif folder in ("usgs_coast_planecam", "drone_brighton_beach"):
        value, gsd = 0 if folder == "usgs_coast_planecam" else UNKNOWN, 0.1
    else:
        value = UNKNOWN
    if folder.startswith("labelled") or mask.exists():
        codes = np.asarray(Image.open(mask).resize(picture.size, Image.Resampling.NEAREST))
        label = np.where(codes == 1, 1, 0).astype(np.uint8)
        if folder == "dubai_hitl":  # its buildings are whole plots, drawn loosely
            label = np.where((codes == 1) | (codes == 0), UNKNOWN, 0).astype(np.uint8)
            gsd = 0.7
        else:
            gsd = 0.13 if folder == "oam_banepa" else {"z19": 0.3, "z20": 0.15, "z21": 0.075}[path.stem[:3]]
        return Source(f"{folder}/{path.stem}", kind, picture, Image.fromarray(label), gsd)
    gsd = 0.13 if folder == "oam_banepa_predict" else gsd
    label = np.full((picture.height, picture.width), value, np.uint8)
    return Source(f"{folder}/{path.stem}", kind, picture, Image.fromarray(label), gsd)


def _outlined(size: tuple[int, int], drawn: dict[str, list[list[float]]]) -> Image.Image:
    label = Image.new("L", size, 0)
    draw = ImageDraw.Draw(label)
    for name, value in (("unknown", UNKNOWN), ("buildings", 1)):
        for ring in drawn[name]:
            draw.polygon(ring, fill=value)
    return label


def fill(
    sources: list[Source], rng: np.random.Generator, scale: float, side: int, turn: bool = True
) -> tuple[Array, Array]:
    """A square filled with images of one kind at a scale, side by side where one does not suffice.

    Args:
        sources: of one kind.
        rng: what is drawn from.
        scale: pixels of the square per pixel of the image.
        side: of the square.
        turn: also by angles that are no quarter turns.

    Returns:
        (side, side, 3) uint8 picture and (side, side) label.
    """
    wide = round(side * 1.25) if turn else side
    rows, labels, height = [], [], 0
    while height < wide:
        row, row_label, width, tall = [], [], 0, 0
        while width < wide:
            picture, label = _piece(sources[int(rng.integers(len(sources)))], rng, scale, wide)
            tall = min(tall or picture.shape[0], picture.shape[0])
            row.append(picture)
            row_label.append(label)
            width += picture.shape[1]
        rows.append(np.concatenate([part[:tall] for part in row], 1)[:, :wide])
        labels.append(np.concatenate([part[:tall] for part in row_label], 1)[:, :wide])
        height += tall
    picture, label = np.concatenate(rows)[:wide], np.concatenate(labels)[:wide]
    if not turn:
        return picture, label
    angle = float(rng.uniform(-20, 20))
    low = (wide - side) // 2
    box = (low, low, low + side, low + side)
    turned = Image.fromarray(picture).rotate(angle, Image.Resampling.BILINEAR).crop(box)
    turned_label = Image.fromarray(label).rotate(angle, Image.Resampling.NEAREST, fillcolor=UNKNOWN).crop(box)
    return np.asarray(turned), np.asarray(turned_label)


def _piece(source: Source, rng: np.random.Generator, scale: float, most: int) -> tuple[Array, Array]:
    """A part of an image, scaled, mirrored and turned by quarters."""
    width, height = source.picture.size
    need = min(max(width, height), int(most / scale) + 2)
    left = int(rng.integers(0, max(1, width - need + 1)))
    top = int(rng.integers(0, max(1, height - need + 1)))
    box = (left, top, min(width, left + need), min(height, top + need))
    size = (max(8, round((box[2] - box[0]) * scale)), max(8, round((box[3] - box[1]) * scale)))
    gap = 2.0 if scale < 0.5 else None
    picture = np.asarray(source.picture.resize(size, Image.Resampling.BILINEAR, box, gap))
    label = np.asarray(source.label.resize(size, Image.Resampling.NEAREST, box))
    quarter, mirrored = int(rng.integers(4)), rng.random() < 0.5
    picture, label = np.rot90(picture, quarter), np.rot90(label, quarter)
    return (picture[:, ::-1], label[:, ::-1]) if mirrored else (picture, label)
