"""Pictures and the report of a detection, made from the files just written."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdengine import __version__
from cdengine.assess.quicklook import quicklook
from cdengine.assess.report import write_report
from cdengine.assess.reportdata import ChangedPlace, Histogram, Input, ReportData, Transitions
from cdengine.events import Reporter
from cdengine.inference.assemble import Totals
from cdengine.raster.grid import Grid
from cdengine.raster.pair import Pair, SourceInfo
from cdengine.vector.stream import LargePolygon


@dataclass(frozen=True)
class Shown:
    """What pictures and report are made of.

    Attributes:
        before: path of the first date, as it can be opened.
        after: path of the second date.
        change: the change raster, under its temporary name.
        probability: the probability raster, under its temporary name.
        polygons: the vector file, under its temporary name, where its outlines say more than the change raster.
        largest: polygons, largest first.
        totals: what was counted.
        stats: the result's figures.
        described: what the detector says of itself.
        outputs: name → final path.
        parameters: options that shaped the result.
        classes: of a semantic model.
    """

    before: str
    after: str
    change: Path
    probability: Path
    polygons: Path | None
    largest: tuple[LargePolygon, ...]
    totals: Totals
    stats: dict[str, Any]
    described: dict[str, str | float]
    outputs: dict[str, Path]
    parameters: dict[str, Any]
    classes: tuple[str, ...]


def write_picture(shown: Shown, path: Path, reporter: Reporter) -> None:
    """The quick-look PNG."""
    with reporter.stage("quicklook", 1, "pictures") as stage:
        quicklook(
            shown.before,
            shown.after,
            shown.change,
            shown.probability,
            path,
            polygons=shown.polygons,
            threshold=shown.stats["threshold"],
        )
        stage.advance()


def write_page(shown: Shown, picture: Path, pair: Pair, model: str, path: Path, reporter: Reporter) -> None:
    """The HTML report."""
    totals = shown.totals
    with reporter.stage("report", 1, "pages") as stage:
        data = ReportData(
            title="Changes between two images",
            inputs=(_input("Before", pair.before, pair.grids[0]), _input("After", pair.after, pair.grids[1])),
            model=model,
            changed_px=totals.changed,
            compared_px=totals.valid,
            total_px=pair.grid.window.pixels,
            changed_m2=totals.changed_m2,
            compared_m2=totals.valid_m2,
            threshold=shown.stats["threshold"],
            polygons=shown.stats.get("polygons"),
            places=tuple(_place(item) for item in shown.largest),
            pictures=(("Both dates, the probability of change, and the changes", picture),),
            histogram=Histogram(tuple(int(count) for count in totals.histogram), shown.stats["threshold"]),
            transitions=_transitions(shown),
            alignment=pair.alignment.text,
            device=str(shown.described.get("device", "cpu")),
            seconds=shown.stats["seconds"],
            version=__version__,
            created=time.strftime("%Y-%m-%d %H:%M"),
            outputs={name: str(file) for name, file in shown.outputs.items()},
            parameters=shown.parameters | shown.described,
            notes=pair.notes,
        )
        write_report(path, data)
        stage.advance()


def _input(role: str, info: SourceInfo, grid: Grid) -> Input:
    width, height = grid.pixel_size
    unit, crs = "px", ""
    if grid.crs is not None:
        unit = grid.crs.linear_units if grid.crs.is_projected else "°"
        code = grid.crs.to_epsg()
        crs = f"EPSG:{code}" if code else grid.crs.to_string()
    unit = "m" if unit.lower() in ("metre", "meter") else unit
    bands = [f"{number} ({name})" if name else str(number) for number, name in zip(info.bands, info.names, strict=True)]
    size = f"{width:.6g} × {height:.6g} {unit}"
    return Input(role, info.uri, crs, size, (grid.width, grid.height), ", ".join(bands))


def _place(item: LargePolygon) -> ChangedPlace:
    change = f"{item.from_class} → {item.to_class}" if item.from_class else ""
    return ChangedPlace(item.area_m2, item.area_px, item.probability, item.lonlat, change)


def _transitions(shown: Shown) -> Transitions | None:
    if not shown.classes:
        return None
    on_earth = shown.totals.changed_m2 is not None
    areas = shown.totals.transitions_m2 if on_earth else shown.totals.transitions
    rows = tuple(tuple(float(value) for value in row) for row in areas)
    return Transitions(shown.classes, rows, "m²" if on_earth else "pixels")
