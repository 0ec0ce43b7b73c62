"""Land-cover labels of any numbering or polygons with an attribute, brought to the classes that the user names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyproj
import shapely

from cdengine.data.codings import IGNORE, shown
from cdengine.data.prepare.sources import RasterLabel, VectorLabel
from cdengine.errors import LabelError, UsageError
from cdengine.events import Reporter
from cdengine.raster.grid import Grid
from cdengine.vector.aoi import Aoi, load_aoi
from cdengine.vector.plainpath import plain_for_reading

Array = np.ndarray[Any, np.dtype[Any]]

MOST = 254  # class ids are bytes, and 255 stands for nothing


@dataclass(frozen=True)
class ClassTable:
    """Classes and the stored values that stand for them.

    Attributes:
        names: of the K classes, in the order of their ids.
        values: of each: a raster's value, or an attribute's text.
    """

    names: tuple[str, ...]
    values: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> ClassTable:
        """What a user writes: "water=10,forest=20", or "water,forest" for values 1, 2, … of rasters.

        Raises:
            UsageError: it is not so written.
        """
        names, values = [], []
        for number, part in enumerate(text.split(","), 1):
            name, stated, value = (piece.strip() for piece in part.partition("="))
            if not name or (stated and not value):
                raise UsageError(f"--classes {text!r}: give names, or names with values, such as water=1,forest=2")
            names.append(name)
            values.append(value or str(number))
        if len(set(names)) < len(names) or len(set(values)) < len(values) or len(names) > MOST:
            raise UsageError(f"--classes {text!r}: a name or value is given twice, or there are more than {MOST}")
        return cls(tuple(names), tuple(values))

    @classmethod
    def of_values(cls, values: Sequence[int]) -> ClassTable:
        """A class for each value found in the labels, 0 and 255 apart.

        Raises:
            LabelError: none, or too many.
        """
        kept = [value for value in sorted(set(values)) if value not in (0, IGNORE)]
        if not 0 < len(kept) <= MOST:
            raise LabelError(
                f"the labels hold {len(kept)} classes (values {shown(np.array(sorted(values)))}); name them"
            )
        return cls(tuple(f"class {value}" for value in kept), tuple(str(value) for value in kept))

    def decode(self, values: Array, where: str) -> Array:
        """uint8 class ids of a raster's values; raises LabelError for values that are no class."""
        numbers = [int(value) if re.fullmatch(r"-?\d+", value) else None for value in self.values]
        ids = np.full(values.shape, IGNORE, np.uint8)
        known = np.isin(values, (0, IGNORE))
        for number, value in enumerate(numbers):
            if value is None:
                raise UsageError(f"--classes: {self.values[number]!r} is no number, but {where} is a raster of numbers")
            here = values == value
            ids[here] = number
            known |= here
        if not known.all():
            told = ", ".join(f"{name}={value}" for name, value in zip(self.names, self.values, strict=True))
            raise LabelError(
                f"{where}: values {shown(values[~known])} are no class of {told}; add them to --classes "
                "(0 and 255 are unlabelled)"
            )
        return ids


def settle_classes(labels: Sequence[RasterLabel], stated: ClassTable | None, reporter: Reporter) -> ClassTable:
    """The classes of raster labels, all scenes together: those stated, else one for each value; sets the decoding."""
    if stated is None:
        stated = ClassTable.of_values(sorted(set().union(*(label.values(reporter) for label in labels))))
        reporter.info("classes: " + ", ".join(f"{v}" for v in stated.values) + " (name them with --classes)")
    for label in labels:
        label.decode = stated.decode
    return stated


def class_polygons(path: str, field: str, table: ClassTable, grid: Grid, reporter: Reporter) -> VectorLabel:
    """Polygons with their class in an attribute; what lies outside all of them is unlabelled.

    Args:
        path: vector file.
        field: the attribute's name.
        table: its values.
        grid: of the images.
        reporter: takes notes.

    Raises:
        LabelError: the attribute is missing, or has a value that is no class.
    """
    crs_of = load_aoi(path)  # refuses what cannot be read, with the reason
    values, geometry, crs = _attribute(path, field)
    unknown = sorted(set(values) - set(table.values) - {""})
    if unknown:
        raise LabelError(
            f"{path}: {field} has values {', '.join(unknown[:8])} that are no class; add them to --classes"
        )
    areas = []
    for number, value in enumerate(table.values):
        chosen = geometry[np.array([v == value for v in values], bool)]
        if len(chosen):
            whole = shapely.union_all(shapely.make_valid(shapely.force_2d(chosen)))
            parts = shapely.get_parts(shapely.get_parts(whole))
            polygons = shapely.union_all(parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON])
            areas.append((number, Aoi(polygons, crs, path)))
    for note in crs_of.notes:
        reporter.warning(note)
    return VectorLabel(areas, grid, IGNORE, reporter)


def attribute_values(path: str, field: str) -> list[str]:
    """Distinct values of an attribute, sorted."""
    load_aoi(path)
    return sorted({value for value in _attribute(path, field)[0] if value})


def _attribute(path: str, field: str) -> tuple[list[str], Array, pyproj.CRS | None]:
    file, _, rest = path.partition("|")
    layer = rest.removeprefix("layername=") or None
    with plain_for_reading(Path(file)) as plain:
        fields = list(pyogrio.read_info(plain, layer=layer)["fields"])
        if field not in fields:
            raise LabelError(f"{path}: has no attribute {field!r}; it has {', '.join(fields) or 'none'}")
        frame = pyogrio.read_dataframe(plain, layer=layer, columns=[field])
    frame = frame[~(frame.geometry.isna() | frame.geometry.is_empty)]
    values = ["" if value is None or value != value else _plain(value) for value in frame[field]]
    crs = None if frame.crs is None else pyproj.CRS.from_user_input(frame.crs)
    return values, np.asarray(frame.geometry.array, dtype=object), crs


def _plain(value: object) -> str:
    """2.0 as "2": whole numbers become floats where a cell is empty."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
