"""The land-cover classes of rendered scenes: stable ids, names and colours."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SceneClass:
    """One class: its id in class rasters, its name and its map colour (red, green, blue)."""

    id: int
    name: str
    colour: tuple[int, int, int]


CLASSES = (
    SceneClass(0, "bare ground", (176, 148, 110)),
    SceneClass(1, "building", (200, 60, 50)),
    SceneClass(2, "road", (90, 90, 96)),
    SceneClass(3, "paved area", (170, 170, 176)),
    SceneClass(4, "low vegetation", (150, 196, 110)),
    SceneClass(5, "field", (226, 206, 120)),
    SceneClass(6, "tree", (40, 112, 56)),
    SceneClass(7, "water", (60, 116, 190)),
    SceneClass(8, "sport ground", (224, 138, 70)),
)
BARE, BUILDING, ROAD, PAVED, LOW, FIELD, TREE, WATER, SPORT = range(len(CLASSES))
CLASS_NODATA = 255
