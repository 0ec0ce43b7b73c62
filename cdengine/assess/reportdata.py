"""What a report says, as plain values; nothing here knows how they came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Input:
    """One raster that was compared.

    Attributes:
        role: "Before", "After".
        uri: path or address; shown without secrets.
        crs: "EPSG:32632" or the like; "" for none.
        pixel_size: "0.50 × 0.50 m" or the like.
        size: columns and rows.
        bands: names or numbers of the bands used.
    """

    role: str
    uri: str
    crs: str
    pixel_size: str
    size: tuple[int, int]
    bands: str


@dataclass(frozen=True)
class ChangedPlace:
    """One of the largest changed areas; `area_m2` is None without a CRS, `lonlat` too."""

    area_m2: float | None
    area_px: float
    probability: float
    lonlat: tuple[float, float] | None = None
    change: str = ""


@dataclass(frozen=True)
class Histogram:
    """Pixels by probability in equal bins from 0 to 1, and where change begins."""

    counts: tuple[int, ...]
    threshold: float


@dataclass(frozen=True)
class Transitions:
    """What became what: areas[from][to] in `unit` ("m²" or "pixels"), for changed pixels.

    A change within one class (areas[i][i]) is one that the model saw without seeing another class afterwards.
    """

    classes: tuple[str, ...]
    areas: tuple[tuple[float, ...], ...]
    unit: str = "m²"


@dataclass(frozen=True)
class ReportData:
    """A report.

    Attributes:
        title: headline.
        inputs: what was compared.
        model: name of the model or method.
        changed_px: changed pixels.
        compared_px: pixels where both dates have data.
        total_px: pixels of the output grid.
        changed_m2: changed area on the ellipsoid; None without a CRS.
        compared_m2: compared area; None without a CRS.
        threshold: probability from which a pixel is changed.
        polygons: number of polygons, None if none were made.
        places: the largest ones, largest first.
        pictures: captions and image files, which become part of the page.
        histogram: of the probability.
        transitions: for models that tell classes.
        alignment: how the second date was brought onto the first one's grid.
        device: where it ran.
        seconds: how long it took.
        version: of cdengine.
        created: when, as text; "" leaves it out (two reports of one run are then equal).
        outputs: name → file.
        parameters: name → value, as the user gave them.
        notes: warnings that the reader should know of.
    """

    title: str
    inputs: tuple[Input, ...]
    model: str
    changed_px: int
    compared_px: int
    total_px: int
    changed_m2: float | None
    compared_m2: float | None
    threshold: float
    polygons: int | None = None
    places: tuple[ChangedPlace, ...] = ()
    pictures: tuple[tuple[str, Path], ...] = ()
    histogram: Histogram | None = None
    transitions: Transitions | None = None
    alignment: str = ""
    device: str = ""
    seconds: float | None = None
    version: str = ""
    created: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
