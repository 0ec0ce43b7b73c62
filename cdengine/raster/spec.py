"""What an output raster is made of: pixel type, nodata, names, colours, tags; and those of the engine's outputs."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Colour = tuple[int, int, int, int]  # red, green, blue, alpha; 0 … 255

PROBABILITY_STEPS = 200  # a probability stored as uint8 is 0 … 200, so that 0.5 is a value
UNCHANGED: Colour = (220, 220, 220, 0)  # transparent: what did not change shows the image below
CHANGED: Colour = (215, 48, 39, 255)


def _named(colour: tuple[int, int, int], *names: str) -> dict[str, Colour]:
    return dict.fromkeys(names, (*colour, 255))


# Land cover as maps show it; lower case.
USUAL: dict[str, Colour] = {
    "unchanged": UNCHANGED,
    **_named((60, 116, 190), "water"),
    **_named((200, 60, 50), "building", "buildings"),
    **_named((90, 90, 96), "road", "roads"),
    **_named((170, 170, 176), "paved area", "paved", "ground", "impervious", "impervious surface"),
    **_named((150, 196, 110), "low vegetation", "grass", "grassland", "meadow"),
    **_named((40, 112, 56), "tree", "trees", "forest", "woodland"),
    **_named((226, 206, 120), "field", "cropland", "crop", "agriculture", "farmland"),
    **_named((176, 148, 110), "bare ground", "bare land", "bare soil", "barren"),
    **_named((224, 138, 70), "playground", "sport ground", "sports field"),
}


@dataclass(frozen=True)
class RasterSpec:
    """Everything about a raster but its pixels and its place.

    Attributes:
        dtype: NumPy name of the pixel type.
        nodata: value of pixels without data, NaN allowed; None: every value is data.
        descriptions: one name per band; their number is the band count.
        categories: class names of band 1 for values 0, 1, 2, … (empty: not a class raster).
        colours: value → RGBA of band 1.
        tags: dataset metadata.
        overview: how four pixels become one: their mean, or the most frequent value (ties: the larger value,
            so that change stays visible), both over valid pixels only; or the first of them.
        scale: stored value × scale + offset = meaning.
        offset: see `scale`.
        roles: what each band shows, GDAL's colour interpretations ("red", "undefined", …); empty: GDAL decides,
            which takes the fourth band of a uint8 image for alpha.
    """

    dtype: str
    nodata: float | None
    descriptions: tuple[str, ...]
    categories: tuple[str, ...] = ()
    colours: Mapping[int, Colour] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    overview: Literal["average", "mode", "nearest"] = "average"
    scale: float = 1.0
    offset: float = 0.0
    roles: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.descriptions)

    @property
    def predictor(self) -> int:
        """TIFF predictor: none for classes (runs of equal values), differences for the rest."""
        if self.overview == "mode":
            return 1
        return 3 if np.dtype(self.dtype).kind == "f" else 2

    @property
    def fill(self) -> float:
        """What pixels that were never written read as."""
        return 0.0 if self.nodata is None else self.nodata

    def empty(self, height: int, width: int) -> Array:
        """(count, height, width) of `fill`."""
        return np.full((self.count, height, width), self.fill, self.dtype)

    def is_fill(self, values: Array) -> Array:
        """bool, of the same shape: where values equal `fill` (NaN equals NaN)."""
        same: Array = np.isnan(values) if np.isnan(self.fill) else values == np.dtype(self.dtype).type(self.fill)
        return same


def change_spec(tags: Mapping[str, str]) -> RasterSpec:
    """uint8: 0 unchanged, 1 changed, 255 nodata."""
    return RasterSpec(
        "uint8",
        255,
        ("change",),
        categories=("unchanged", "changed"),
        colours={0: UNCHANGED, 1: CHANGED},
        tags=tags,
        overview="mode",
    )


def probability_spec(dtype: Literal["float32", "uint8"], tags: Mapping[str, str]) -> RasterSpec:
    """Change probability: float32 with NaN as nodata, or uint8 0 … 200 with scale 0.005 and 255 as nodata."""
    if dtype == "uint8":
        return RasterSpec("uint8", 255, ("change probability",), tags=tags, scale=1 / PROBABILITY_STEPS)
    return RasterSpec("float32", float("nan"), ("change probability",), tags=tags)


def classes_spec(
    names: Sequence[str], tags: Mapping[str, str], colours: Sequence[Colour] = (), description: str = "class"
) -> RasterSpec:
    """uint8 class ids of one date, 255 nodata.

    Args:
        names: class names, by id.
        tags: dataset metadata.
        colours: by id; those of `class_colours` when there are none.
        description: of the band, such as "class before".
    """
    palette = list(colours) or class_colours(names)
    return RasterSpec(
        "uint8",
        255,
        (description,),
        categories=tuple(names),
        colours=dict(enumerate(palette)),
        tags=tags,
        overview="mode",
    )


def transitions_spec(names: Sequence[str], tags: Mapping[str, str]) -> RasterSpec:
    """uint16: 0 unchanged, `1 + from × K + to`, 65535 nodata; categories read "forest → water"."""
    pairs = [f"{old} → {new}" for old in names for new in names]
    return RasterSpec(
        "uint16",
        65535,
        ("transition",),
        categories=("unchanged", *pairs),
        colours={0: UNCHANGED, **dict(enumerate(spread_colours(len(pairs)), 1))},
        tags=tags,
        overview="mode",
    )


def class_colours(names: Sequence[str]) -> list[Colour]:
    """An opaque colour for each class: that which maps give it where the name is a usual one, else a made-up one."""
    colours = spread_colours(len(names))
    for index, name in enumerate(names):
        usual = USUAL.get(name.strip().lower())
        if usual is not None and usual not in colours[:index]:
            colours[index] = usual
    return colours


def spread_colours(count: int) -> list[Colour]:
    """`count` opaque colours with neighbours far apart in hue (golden-angle steps) and three lightnesses."""
    colours = []
    for index in range(count):
        hue, light = (index * 0.618034) % 1.0, (0.55, 0.42, 0.68)[index % 3]
        red, green, blue = colorsys.hls_to_rgb(hue, light, 0.6)
        colours.append((round(red * 255), round(green * 255), round(blue * 255), 255))
    return colours
