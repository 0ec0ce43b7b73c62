"""What changed into what, read from the engine's raster of transitions: codes, names, colours, pixels; and as a table.

The raster holds 0 where nothing changed and `1 + before × classes + after` elsewhere; names and colours stand in its
metadata. Only the transitions that occur are told: of n classes there could be n².
"""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass
from typing import Any, Callable, Iterable, List, Mapping, Optional, Tuple

from osgeo import gdal, ogr

ARROW = " → "
# Of the engine's figures: "transition_m2 forest → water".
AREA_FIGURE = "transition_m2 "
M2_PER_HECTARE = 10_000.0
# Suffix → (GDAL driver, options of the layer). A CSV file alone would be all text to QGIS: .csvt tells the types.
DRIVERS = {
    "gpkg": ("GPKG", []),
    "csv": ("CSV", ["CREATE_CSVT=YES", "STRING_QUOTING=IF_NEEDED"]),
    "xlsx": ("XLSX", []),
}
# What a driver writes beside the file.
SIDECARS = {"csv": ("csvt",)}
FIELDS = (
    ("from_class", ogr.OFTString),
    ("to_class", ogr.OFTString),
    ("pixels", ogr.OFTInteger64),
    ("area_m2", ogr.OFTReal),
    ("area_ha", ogr.OFTReal),
)

Colour = Tuple[int, int, int, int]


class NoTransitions(Exception):
    """The file is not a raster of transitions, or cannot be read; the text says why."""


@dataclass(frozen=True)
class Transition:
    """One kind of change that occurs.

    Attributes:
        code: its value in the raster.
        before: name of the class at the first date.
        after: name of the class at the second date.
        pixels: how many have it.
        colour: red, green, blue, opacity, as the file says.
    """

    code: int
    before: str
    after: str
    pixels: int
    colour: Colour

    @property
    def label(self) -> str:
        """As legends name it."""
        return named(self.before, self.after)

    def area_m2(self, figures: Mapping[str, Any]) -> Optional[float]:
        """Its area among the engine's figures, on the ellipsoid; None where there is none (no CRS)."""
        area = figures.get(AREA_FIGURE + self.label)
        return float(area) if isinstance(area, (int, float)) else None


def named(before: str, after: str) -> str:
    """How a transition is called."""
    return f"{before}{ARROW}{after}"


def read(path: str, cancelled: Callable[[], bool] = lambda: False) -> List[Transition]:
    """The transitions that occur in a raster, by code; counted over all pixels, a block at a time.

    Args:
        path: of the raster.
        cancelled: asked while counting.

    Raises:
        NoTransitions: it is no such raster, or counting was cancelled.
    """
    dataset = _open(path)
    band = dataset.GetRasterBand(1)
    # The colours first: asked alone, GDAL 3.6 does not look for names in the sidecar.
    table, names = band.GetRasterColorTable(), band.GetRasterCategoryNames()
    classes = class_names(names or [])
    if not classes:
        raise NoTransitions(f"{path} does not name its transitions")
    kinds = len(classes)
    counts = _counts(band, kinds * kinds + 1, cancelled)
    if counts is None:
        raise NoTransitions(f"the transitions in {path} could not be counted")
    found = []
    for code, pixels in enumerate(counts):
        if code and pixels:
            before, after = divmod(code - 1, kinds)
            found.append(Transition(code, classes[before], classes[after], int(pixels), colour_of(table, code)))
    return found


def class_names(categories: List[str]) -> List[str]:
    """Names of the classes from those of all transitions; none where there are not n² + 1 of them."""
    kinds = math.isqrt(max(len(categories) - 1, 0))
    if kinds == 0 or kinds * kinds + 1 != len(categories):
        return []
    # Those on the diagonal read "x → x": cut in half, because a name may hold an arrow itself.
    return [text[: (len(text) - len(ARROW)) // 2] for text in categories[1 :: kinds + 1]]


def colour_of(table: Optional[gdal.ColorTable], value: int) -> Colour:
    """A value's colour in a file's colour table; grey where it has none."""
    if table is None or value >= table.GetCount():
        return 128, 128, 128, 255
    red, green, blue, opacity = table.GetColorEntry(value)
    return red, green, blue, opacity


def write(path: str, transitions: Iterable[Transition], figures: Mapping[str, Any]) -> None:
    """Writes the table, largest first; it appears under its name only when whole.

    Args:
        path: its suffix is one of `DRIVERS`.
        transitions: the rows.
        figures: of the engine, with the areas.

    Raises:
        OSError: it cannot be written.
    """
    stem, suffix = os.path.splitext(path)
    driver, options = DRIVERS[suffix.lower().lstrip(".")]
    part = f"{stem}.{os.getpid()}.part"
    kinds = [suffix, *("." + name for name in SIDECARS.get(suffix.lower().lstrip("."), ()))]
    try:
        _fill(part + suffix, driver, options, os.path.basename(stem), transitions, figures)
        for kind in reversed(kinds):
            os.replace(part + kind, stem + kind)
    finally:
        for kind in kinds:
            with contextlib.suppress(OSError):
                os.remove(part + kind)


def told(transitions: Iterable[Transition], figures: Mapping[str, Any]) -> List[str]:
    """Lines for the log, largest first."""
    lines = []
    for item in _largest_first(transitions):
        area = item.area_m2(figures)
        amount = f"{item.pixels:,} pixels"
        lines.append(f"  {item.label}: " + (amount if area is None else f"{area / M2_PER_HECTARE:,.4g} ha, {amount}"))
    return lines


def _largest_first(transitions: Iterable[Transition]) -> List[Transition]:
    return sorted(transitions, key=lambda item: (-item.pixels, item.code))


def _open(path: str) -> gdal.Dataset:
    """QGIS and other plugins may have switched GDAL's exceptions on or off: both are met."""
    try:
        dataset = gdal.Open(path)
    except RuntimeError as error:
        raise NoTransitions(str(error)) from error
    if dataset is None:
        raise NoTransitions(f"{path} cannot be opened: {gdal.GetLastErrorMsg()}")
    return dataset


def _counts(band: gdal.Band, values: int, cancelled: Callable[[], bool]) -> Optional[List[int]]:
    """Pixels of each value from 0 on; None where it was cancelled or a block cannot be read."""
    try:
        counts = band.GetHistogram(
            -0.5, values - 0.5, values, 0, 0, callback=lambda done, text, data: 0 if cancelled() else 1
        )
    except RuntimeError:
        return None
    return None if counts is None or cancelled() else list(counts)


def _fill(
    path: str,
    driver: str,
    options: List[str],
    name: str,
    transitions: Iterable[Transition],
    figures: Mapping[str, Any],
) -> None:
    try:
        data = ogr.GetDriverByName(driver).CreateDataSource(path)
        layer = None if data is None else data.CreateLayer(name, None, ogr.wkbNone, options)
        if layer is None:
            raise OSError(f"{path} cannot be written: {gdal.GetLastErrorMsg()}")
        for column, kind in FIELDS:
            layer.CreateField(ogr.FieldDefn(column, kind))
        for item in _largest_first(transitions):
            area = item.area_m2(figures)
            feature = ogr.Feature(layer.GetLayerDefn())
            feature["from_class"], feature["to_class"], feature["pixels"] = item.before, item.after, item.pixels
            if area is not None:
                feature["area_m2"], feature["area_ha"] = area, area / M2_PER_HECTARE
            layer.CreateFeature(feature)
        feature = layer = data = None  # closed, and so written
    except RuntimeError as error:
        raise OSError(f"{path} cannot be written: {error}") from error
