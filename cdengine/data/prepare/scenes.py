"""Which scenes a data set is made of: one from the command line, or many from a table."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely

from cdengine.data.indexfile import read_table
from cdengine.errors import DatasetError, UsageError
from cdengine.raster.grid import Grid
from cdengine.vector.area import positions

Array = np.ndarray[Any, np.dtype[Any]]

COLUMNS = {
    "image": "before",  # a table for `single`
    "before": "before",
    "after": "after",
    "label": "change",
    "change": "change",
    "classes": "before_classes",
    "label1": "before_classes",
    "before_classes": "before_classes",
    "label2": "after_classes",
    "after_classes": "after_classes",
    "aoi": "aoi",
}
TABLES = (".csv", ".parquet")
SHARED = 1e-3  # of the smaller scene: less is a common border
LABELS = ("change", "before_classes", "after_classes")


@dataclass(frozen=True)
class Scene:
    """One place.

    Attributes:
        name: unique; patches carry it.
        before: raster of the first date, or the only one.
        after: raster of the second date; None for single images.
        labels: role ("change", "before_classes", "after_classes") → raster or vector file.
        aoi: polygons of what was labelled; None: everything.
        split: of the whole scene; None: its blocks are shared out.
    """

    name: str
    before: str
    after: str | None
    labels: Mapping[str, str] = field(default_factory=dict)
    aoi: str | None = None
    split: str | None = None

    @property
    def inputs(self) -> list[str]:
        """Every path that is read."""
        return [path for path in (self.before, self.after, *self.labels.values(), self.aoi) if path]


def given_scenes(
    inputs: Sequence[str], *, dates: int, labels: Mapping[str, str], aoi: str | None = None
) -> list[Scene]:
    """Scenes as the command line gives them: a table of many, or the images of one with its labels.

    Args:
        inputs: one table, or as many images as there are dates.
        dates: 2, or 1 for single images.
        labels: role → file, of one scene.
        aoi: polygons of what was labelled, of one scene.

    Raises:
        UsageError: too many or too few files, or no label.
        DatasetError: of the table.
    """
    if len(inputs) == 1 and Path(inputs[0]).suffix.lower() in TABLES:
        if labels or aoi:
            raise UsageError(f"{inputs[0]} is a table of scenes: give labels and areas of interest in its columns")
        return read_scenes(Path(inputs[0]), dates=dates)
    if len(inputs) != dates:
        images = "one image" if dates == 1 else "BEFORE and AFTER"
        raise UsageError(f"{len(inputs)} inputs given: give {images}, or one table of scenes (.csv or .parquet)")
    if not labels:
        raise UsageError("no label given: give --label with a raster or vector file")
    return named([Scene("", inputs[0], inputs[1] if dates == 2 else None, dict(labels), aoi)])


def read_scenes(table: Path, *, dates: int) -> list[Scene]:
    """Scenes of a CSV or Parquet table: before, after, label, and where wanted name, split, aoi, label1, label2.

    Args:
        table: paths in it are relative to its folder.
        dates: 2, or 1 for single images (columns image and label).

    Raises:
        DatasetError: a column or cell is missing.
    """
    rows = read_table(table)
    if not rows:
        raise DatasetError(f"{table} has no rows; list one scene a row")
    scenes = []
    for number, row in enumerate(rows, 1):
        found: dict[str, str] = {}
        for column, role in COLUMNS.items():
            value = (row.get(column) or "").strip()
            if value:
                found[role] = _resolved(value, table.parent)
        if dates == 1 and "change" in found:
            found["before_classes"] = found.pop("change")
        wanted = ("before", "after")[:dates]
        for role in wanted:
            if role not in found:
                column = "image" if dates == 1 else role
                raise DatasetError(f"{table}, row {number}: no {column}; fill the cell, or add the column")
        labels = {role: found[role] for role in LABELS if role in found}
        if not labels:
            raise DatasetError(f"{table}, row {number}: no label; fill the cell, or add the column")
        split = (row.get("split") or "").strip() or None
        name = (row.get("name") or "").strip()
        scenes.append(Scene(name, found["before"], found.get("after"), labels, found.get("aoi"), split))
    return named(scenes)


def named(scenes: Sequence[Scene]) -> list[Scene]:
    """The scenes with names that files can have: those given, else the image's, else its folder's where that differs.

    Raises:
        DatasetError: two scenes have one name.
    """
    stems = [_stem(scene.before) for scene in scenes]
    folders = [Path(os.path.abspath(scene.before)).parent.name for scene in scenes]
    made = stems if len(set(stems)) == len(stems) else folders
    found: dict[str, Scene] = {}
    for scene, own in zip(scenes, made, strict=True):
        name = re.sub(r"[^\w.-]+", "-", scene.name or own).strip("-.") or "scene"
        if name in found:
            raise DatasetError(f"two scenes are named {name} ({found[name].before}, {scene.before}); name each apart")
        found[name] = Scene(name, scene.before, scene.after, scene.labels, scene.aoi, scene.split)
    return list(found.values())


def check_apart(scenes: Sequence[Scene], grids: Sequence[Grid]) -> None:
    """Scenes of the same ground must not share it out between splits.

    Args:
        scenes: all of a data set.
        grids: of each.

    Raises:
        DatasetError: two scenes overlap, and they are not wholly of one split.
    """
    for i, one in enumerate(scenes):
        for j, other in enumerate(scenes[:i]):
            if one.split is not None and one.split == other.split:
                continue
            if _overlap(grids[j], grids[i], os.path.realpath(one.before) == os.path.realpath(other.before)):
                raise DatasetError(
                    f"scenes {other.name} and {one.name} show the same ground, which would be in several splits; "
                    "give both one split in the table, or leave one out"
                )


def _overlap(one: Grid, other: Grid, same_file: bool) -> bool:
    """Whether two scenes share more than a border; of scenes without a CRS nothing is known but their files."""
    if one.crs is None or other.crs is None:
        return same_file
    first, second = (shapely.Polygon(_border(grid, one)) for grid in (one, other))
    if not np.isfinite(shapely.bounds(second)).all():
        return False  # on the other side of the world
    shared = float(shapely.intersection(shapely.make_valid(first), shapely.make_valid(second)).area)
    return shared > SHARED * min(first.area, second.area)


def _border(grid: Grid, target: Grid) -> Array:
    """Points along the edges of a grid, (N, 2) x and y in the CRS of another."""
    side = np.linspace(0, 1, 32, endpoint=False)
    zero, one = np.zeros_like(side), np.ones_like(side)
    cols = np.concatenate([side, one, 1 - side, zero]) * grid.width
    rows = np.concatenate([zero, side, one, 1 - side]) * grid.height
    x, y = positions(grid.transform, cols, rows)
    if grid.crs is not None and target.crs is not None and grid.crs != target.crs:
        source, aim = (pyproj.CRS.from_wkt(crs.to_wkt()) for crs in (grid.crs, target.crs))
        x, y = pyproj.Transformer.from_crs(source, aim, always_xy=True).transform(x, y)
    return np.column_stack([x, y])


def _resolved(value: str, folder: Path) -> str:
    if value.startswith("/vsi") or "://" in value or "|layername=" in value:
        return value
    return os.path.normpath(folder / value)


def _stem(path: str) -> str:
    return Path(path.split("|")[0]).stem
