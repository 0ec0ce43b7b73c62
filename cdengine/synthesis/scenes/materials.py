"""What surfaces are made of: colours of both ends of their natural variation, texture, and what season does to them.

Colours are how a surface looks in full sun in a display picture (sRGB, 0 to 255) with its near-infrared reflectance
(0 to 1) as fourth value. Values were set by eye and from the general shape of published spectral libraries
(vegetation bright beyond 700 nm, water dark, soils rising slowly).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cdengine.synthesis.scenes.style import DateStyle, SceneStyle

Array = np.ndarray[Any, np.dtype[Any]]
Colour = tuple[float, float, float, float]
DISPLAY_GAMMA = 2.2


@dataclass(frozen=True)
class Material:
    """Two colours that patches vary between, and amplitudes of fine, middle and coarse relative texture."""

    light: Colour
    dark: Colour
    fine: float
    middle: float
    coarse: float
    season: str = ""


MATERIALS: dict[str, Material] = {
    "lawn": Material((120, 127, 84, 0.50), (90, 101, 64, 0.44), 0.13, 0.07, 0.04, "grass"),
    "meadow": Material((124, 126, 82, 0.46), (98, 104, 65, 0.40), 0.20, 0.12, 0.07, "grass"),
    "verge": Material((132, 128, 88, 0.42), (100, 102, 68, 0.38), 0.16, 0.10, 0.05, "grass"),
    "hedge": Material((72, 84, 48, 0.44), (48, 60, 34, 0.38), 0.18, 0.12, 0.04, "grass"),
    "crop": Material((104, 128, 66, 0.52), (78, 104, 50, 0.48), 0.08, 0.04, 0.05),
    "soil": Material((158, 138, 112, 0.30), (126, 108, 86, 0.25), 0.12, 0.09, 0.06, "soil"),
    "rubble": Material((176, 164, 148, 0.30), (134, 122, 106, 0.25), 0.24, 0.15, 0.08, "soil"),
    "cut": Material((140, 124, 96, 0.30), (104, 96, 68, 0.30), 0.22, 0.16, 0.08, "soil"),
    "sand": Material((206, 194, 164, 0.38), (184, 168, 138, 0.34), 0.05, 0.06, 0.05, "soil"),
    "asphalt": Material((122, 121, 120, 0.14), (108, 108, 108, 0.12), 0.045, 0.025, 0.025),
    "worn": Material((158, 155, 149, 0.18), (140, 137, 132, 0.15), 0.05, 0.03, 0.03),
    "concrete": Material((196, 191, 181, 0.30), (176, 172, 164, 0.27), 0.05, 0.03, 0.025),
    "paving": Material((178, 170, 160, 0.26), (156, 150, 142, 0.22), 0.09, 0.04, 0.03),
    "gravel": Material((190, 180, 164, 0.30), (164, 154, 138, 0.26), 0.14, 0.06, 0.04, "soil"),
    "paint": Material((222, 220, 212, 0.40), (190, 188, 182, 0.33), 0.04, 0.10, 0.02),
    "water": Material((54, 74, 74, 0.030), (44, 62, 64, 0.020), 0.05, 0.03, 0.03),
    "pool": Material((120, 188, 200, 0.05), (94, 168, 186, 0.04), 0.04, 0.03, 0.01),
    "turf": Material((102, 126, 76, 0.52), (88, 112, 64, 0.48), 0.05, 0.05, 0.05, "turf"),
    "tartan": Material((172, 96, 76, 0.32), (154, 84, 68, 0.29), 0.04, 0.04, 0.04),
    "clay": Material((184, 116, 78, 0.34), (168, 102, 68, 0.31), 0.05, 0.05, 0.04),
    "court": Material((86, 122, 110, 0.24), (74, 108, 100, 0.21), 0.04, 0.04, 0.03),
    "roof": Material((150, 150, 150, 0.30), (130, 130, 130, 0.26), 0.06, 0.035, 0.02),
    "leaf": Material((84, 98, 50, 0.50), (56, 72, 38, 0.42), 0.20, 0.10, 0.05, "leaf"),
    "needle": Material((62, 76, 48, 0.36), (42, 56, 38, 0.30), 0.20, 0.10, 0.04, "needle"),
    "wall": Material((190, 180, 165, 0.30), (160, 150, 138, 0.26), 0.05, 0.08, 0.02),
    "vehicle": Material((200, 200, 200, 0.30), (185, 185, 185, 0.28), 0.02, 0.02, 0.0),
}
ROOF_PALETTES: tuple[tuple[Colour, ...], ...] = (
    ((168, 106, 82, 0.38), (150, 92, 72, 0.35), (182, 124, 98, 0.40), (140, 96, 80, 0.33), (160, 118, 96, 0.36)),
    ((104, 100, 98, 0.17), (90, 88, 90, 0.15), (116, 106, 96, 0.19), (96, 92, 86, 0.16), (112, 112, 114, 0.18)),
    ((158, 154, 148, 0.25), (142, 138, 134, 0.23), (170, 164, 154, 0.28), (150, 142, 128, 0.26), (134, 136, 138, 0.2)),
    ((222, 220, 214, 0.50), (208, 206, 200, 0.45), (196, 198, 200, 0.42), (214, 204, 188, 0.42), (232, 232, 230, 0.55)),
)
HALL_ROOFS: tuple[Colour, ...] = (
    (214, 214, 212, 0.48),
    (196, 200, 202, 0.42),
    (172, 176, 178, 0.36),
    (150, 152, 152, 0.28),
    (124, 150, 176, 0.30),
    (142, 168, 152, 0.32),
    (168, 108, 92, 0.32),
    (228, 226, 220, 0.52),
    (120, 120, 122, 0.20),
)
VEHICLE_CHANCES = (0.27, 0.2, 0.19, 0.14, 0.07, 0.05, 0.04, 0.04)
VEHICLES: tuple[Colour, ...] = (
    (226, 226, 226, 0.45),
    (190, 192, 194, 0.38),
    (58, 60, 64, 0.08),
    (96, 98, 102, 0.14),
    (44, 60, 96, 0.16),
    (150, 44, 40, 0.30),
    (206, 204, 198, 0.42),
    (120, 112, 100, 0.2),
)
DRY_GRASS: tuple[Colour, Colour] = ((176, 160, 116, 0.34), (146, 132, 94, 0.30))
AUTUMN_LEAF: tuple[Colour, ...] = ((168, 116, 52, 0.42), (150, 84, 44, 0.38), (176, 146, 68, 0.44), (120, 100, 52, 0.4))
BARE_TWIGS: tuple[Colour, Colour] = ((122, 112, 98, 0.26), (94, 86, 76, 0.22))
# States of a field, from ploughed to stubble: colours and the strength of its rows.
CROPS: tuple[tuple[Colour, Colour, float], ...] = (
    ((152, 130, 104, 0.29), (124, 104, 84, 0.25), 0.07),
    ((134, 132, 88, 0.38), (112, 112, 74, 0.34), 0.07),
    ((92, 116, 62, 0.54), (74, 100, 52, 0.49), 0.05),
    ((118, 132, 72, 0.50), (96, 114, 58, 0.46), 0.04),
    ((196, 176, 120, 0.40), (174, 154, 104, 0.36), 0.05),
    ((186, 170, 132, 0.34), (164, 148, 114, 0.31), 0.09),
    ((182, 176, 84, 0.55), (160, 156, 78, 0.52), 0.03),
)
CROP_CHANCES = (0.22, 0.14, 0.22, 0.16, 0.12, 0.11, 0.03)


@dataclass(frozen=True)
class Surface:
    """One object's surface: a material with its own tone, and rows for fields.

    Attributes:
        material: key of MATERIALS.
        class_id: land-cover class.
        tone: factor on brightness.
        own: colours that replace the material's (light, dark), or None.
        lot: a number in 0..1 by lot, the same at both dates; season and crop state use it.
        rows: (x, y) frequency of rows in cycles per metre, (0, 0) for none.
        lines: distance of tractor lines in metres, 0 for none.
    """

    material: str
    class_id: int
    tone: float = 1.0
    own: tuple[Colour, Colour] | None = None
    lot: float = 0.5
    rows: tuple[float, float] = (0.0, 0.0)
    lines: float = 0.0


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """`first` with `share` of `second`."""
    a, b, c, d = (p + (q - p) * share for p, q in zip(first, second, strict=True))
    return a, b, c, d


def shade(colour: Colour, factor: float) -> Colour:
    """The colour made brighter or darker (display values; the near infrared by the same light)."""
    red, green, blue, nir = colour
    return red * factor, green * factor, blue * factor, nir * factor**DISPLAY_GAMMA


def reflectance(colours: Array, bands: tuple[int, ...]) -> Array:
    """Linear reflectance of colours.

    Args:
        colours: (N, 4) red, green, blue (0 to 255) and nir (0 to 1).
        bands: which of the four.

    Returns:
        (len(bands), N) float32.
    """
    linear = np.empty(colours.shape, np.float32)
    linear[:, :3] = (np.clip(colours[:, :3], 0, 255) / 255.0) ** DISPLAY_GAMMA
    linear[:, 3] = np.clip(colours[:, 3], 0, 1)
    return np.ascontiguousarray(linear[:, list(bands)].T)


def dated_colours(surface: Surface, place: SceneStyle, date: DateStyle, date_index: int) -> tuple[Colour, Colour]:
    """Light and dark colour of a surface on a date: what season, moisture and crop make of it."""
    material = MATERIALS[surface.material]
    light, dark = surface.own or (material.light, material.dark)
    if surface.material == "crop":
        light, dark = _crop(surface, date, date_index)
    elif material.season == "grass":
        vigour = min(1.0, max(0.0, date.green + (surface.lot - 0.5) * 0.5))
        light = mix(DRY_GRASS[0], light, min(1.0, vigour * 0.9))
        dark = mix(DRY_GRASS[1], dark, min(1.0, vigour * 1.2))
    elif material.season == "turf":
        light, dark = mix(DRY_GRASS[0], light, 0.5 + 0.5 * date.green), mix(DRY_GRASS[1], dark, 0.6 + 0.4 * date.green)
    elif material.season == "soil":
        red: Colour = (176, 122, 86, 0.30)
        light, dark = mix(light, red, place.soil * 0.42), mix(dark, shade(red, 0.8), place.soil * 0.42)
        light, dark = shade(light, 1 - 0.12 * date.wet), shade(dark, 1 - 0.2 * date.wet)
    elif material.season == "leaf":
        light, dark = _leaves(light, dark, surface.lot, date)
    elif surface.material == "water":
        # Clear and dark, green with algae, or brown with silt: each water has its own, and it varies by date.
        silt: Colour = (92, 88, 64, 0.05)
        algae: Colour = (86, 108, 66, 0.05)
        share = min(1.0, 0.9 * surface.lot + 0.25 * date.wet)
        light, dark = mix(light, silt, share**2), mix(dark, shade(silt, 0.9), share**2)
        light, dark = (
            mix(light, algae, 0.4 * (1 - share) * date.green),
            mix(dark, algae, 0.25 * (1 - share) * date.green),
        )
    elif surface.material in ("asphalt", "worn"):
        light, dark = shade(light, place.asphalt**0.5), shade(dark, place.asphalt**0.5)
    return shade(light, surface.tone), shade(dark, surface.tone)


def _leaves(light: Colour, dark: Colour, lot: float, date: DateStyle) -> tuple[Colour, Colour]:
    if lot < date.autumn:
        turned = AUTUMN_LEAF[int(lot * 997) % len(AUTUMN_LEAF)]
        light, dark = mix(light, turned, 0.75), mix(dark, shade(turned, 0.8), 0.7)
    bare = 1 - date.leaf
    fresh = 0.25 * max(0.0, date.green - 0.6)
    light = mix(light, (112, 132, 58, 0.56), fresh)
    return mix(light, BARE_TWIGS[0], bare), mix(dark, BARE_TWIGS[1], bare)


def _crop(surface: Surface, date: DateStyle, date_index: int) -> tuple[Colour, Colour]:
    light, dark, _ = CROPS[crop_state(surface, date, date_index)]
    return light, dark


def crop_state(surface: Surface, date: DateStyle, date_index: int) -> int:
    """Which of CROPS a field shows: by its own lot, drawn anew each date, leaning to green in green seasons."""
    lot = (surface.lot * 7919.0 + 0.37 * date_index + date.green) % 1.0
    weights = np.asarray(CROP_CHANCES) * (1 + date.green * np.asarray([-0.5, 0.2, 0.8, 0.5, -0.3, -0.5, 0.3]))
    return int(np.searchsorted(np.cumsum(weights / weights.sum()), lot).clip(0, len(CROPS) - 1))
