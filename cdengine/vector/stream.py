"""Strips of labels in, one vector file out: the whole way from pixels to finished polygons with attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from cdengine.events import Reporter
from cdengine.raster.grid import Grid, Window
from cdengine.vector.files import PolygonWriter
from cdengine.vector.polygonize import BLOCK_PIXELS, Patches, Polygonizer
from cdengine.vector.shape import COVERAGE_VERTICES, Shaper, Shaping, is_sound, to_map

Array = np.ndarray[Any, np.dtype[Any]]

MANY = 1_000_000  # polygons from which specks are worth a word
LARGEST = 20  # polygons that are remembered for a report
_PIECE = 20_000  # polygons shaped between two looks at the cancel flag


@dataclass(frozen=True)
class LargePolygon:
    """One of the largest polygons: areas, mean probability, a point inside, and classes of a semantic model."""

    area_m2: float | None
    area_px: float
    probability: float
    lonlat: tuple[float, float] | None
    from_class: str = ""
    to_class: str = ""


class PolygonStream:
    """Context manager: takes strips from top to bottom; the file is whole when the block ends without an error.

    Attributes:
        count: polygons written so far.
        area_m2: their area on the ellipsoid, None without a CRS on the ground.
        area_px: their area in pixels.
        largest: the largest ones, largest first.
    """

    def __init__(
        self,
        path: Path,
        grid: Grid,
        *,
        columns: tuple[int, int] | None = None,
        classes: Sequence[str] = (),
        values: bool | Sequence[int] = False,
        min_area: float = 0.0,
        simplify: float = 0.0,
        fill_holes: float = 0.0,
        layer: str = "changes",
        reporter: Reporter | None = None,
    ) -> None:
        """Begins the file.

        Args:
            path: of the vector file; its suffix says the format.
            grid: of the raster that the labels belong to.
            columns: first column of the strips and one past their last; all of the grid's when None.
            classes: names of land-cover classes: labels are then `1 + from * K + to`, and polygons carry
                `from_class` and `to_class`.
            values: polygons carry their label as `value`; or the numbers that labels 1, 2, … stand for.
            min_area: m² (px² where the CRS has no ground), smaller polygons are dropped.
            simplify: m (px), tolerance. With classes or values, polygons that adjoin are simplified together.
            fill_holes: m² (px²), smaller holes are filled, before `min_area` applies.
            layer: name of the layer.
            reporter: stages, warnings and cancelling.

        Raises:
            UsageError: an unknown suffix, or a negative number.
            OutputError: the folder cannot be written to.
        """
        start, stop = columns or (0, grid.width)
        self._grid = grid.crop(Window(0, start, grid.height, stop - start))
        self._reporter = reporter or Reporter()
        self._shaping = Shaping(fill_holes=fill_holes, min_area=min_area, simplify=simplify)
        self._shaper = Shaper(self._shaping, self._grid)
        self._polygonizer = Polygonizer(stop - start, min_pixels=self._shaper.min_pixels(), reporter=self._reporter)
        self._classes, self._values = tuple(classes), values if isinstance(values, bool) else np.asarray(values)
        self._held: list[Patches] | None = [] if simplify > 0 and (classes or values is not False) else None
        self._held_vertices = 0
        on_earth = self._shaper.ground is not None
        self._writer = PolygonWriter(
            path, grid.crs if on_earth else None, self._fields(), layer=layer, reporter=self._reporter
        )
        self.count = 0
        self.area_m2: float | None = 0.0 if on_earth else None
        self.area_px = 0.0
        self.largest: tuple[LargePolygon, ...] = ()

    def __enter__(self) -> PolygonStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._writer:
            if error is None:
                self._end()

    def add(self, row: int, labels: Array, probability: Array | None = None) -> None:
        """Takes the next strip.

        Args:
            row: of the grid, the strip's first; rows that were left out count as background.
            labels: (h, columns) integers, 0 is background.
            probability: (h, columns) floats in 0 … 1, finite wherever the label is not 0.

        Raises:
            OutputError: the disk is full.
            Cancelled: on request.
        """
        rows = max(1, BLOCK_PIXELS // labels.shape[1])
        for start in range(0, labels.shape[0], rows):
            part = slice(start, start + rows)
            self._take(
                self._polygonizer.add(row + start, labels[part], None if probability is None else probability[part])
            )

    def _end(self) -> None:
        self._take(self._polygonizer.finish())
        if self._held:
            patches = Patches.join(self._held)
            self._held = None
            with self._reporter.stage("simplify", 1, "layers"):
                self._write(patches, self._shaper.simplified_together(patches.geometry), None)
        self._writer.close()

    def _take(self, patches: Patches) -> None:
        for start in range(0, len(patches), _PIECE):
            self._reporter.check()
            kept, areas = self._shaper.select(patches.take(np.arange(start, min(start + _PIECE, len(patches)))))
            if self._held is not None:
                self._hold(kept)
            elif self._shaping.simplify > 0:
                self._write(kept, self._shaper.simplified(kept.geometry), None)
            else:
                self._write(kept, kept.geometry, areas)

    def _hold(self, patches: Patches) -> None:
        """Keeps polygons until all are known, unless they become too many."""
        assert self._held is not None
        self._held.append(patches)
        self._held_vertices += int(shapely.get_num_coordinates(patches.geometry).sum())
        if self._held_vertices > COVERAGE_VERTICES:
            self._reporter.warning(
                f"more than {COVERAGE_VERTICES:,} vertices: polygons are simplified one by one, so borders between "
                "classes may part; raise --min-area, or leave out --simplify"
            )
            held, self._held = self._held, None
            for part in held:
                self._write(part, self._shaper.simplified(part.geometry), None)

    def _write(self, patches: Patches, geometry: Array, areas: Array | None) -> None:
        if not len(patches):
            return
        mapped = to_map(geometry, self._grid.transform)
        if geometry is not patches.geometry:
            # Judged on the map, where rounding counts: a vertex that simplifying left on another edge may cross it.
            broken = ~is_sound(mapped)
            geometry = np.where(broken, patches.geometry, geometry)
            mapped[broken] = to_map(patches.geometry[broken], self._grid.transform)
        if areas is None and self._shaper.ground is not None:
            areas = self._shaper.ground.areas(mapped)
        pixels = shapely.area(geometry)
        columns: dict[str, Any] = {
            "area_m2": np.full(len(patches), np.nan) if areas is None else areas,
            "area_px": pixels,
            "probability": patches.probability,
            "value": patches.value if isinstance(self._values, bool) else self._values[patches.value - 1],
        }
        if self._classes:
            before, after = np.divmod(patches.value - 1, len(self._classes))
            names = np.array(self._classes, dtype=object)
            columns |= {"from_class": names[before], "to_class": names[after]}
        self._writer.write(mapped, patches.first, columns)
        self._remember(mapped, columns)
        if self.count < MANY <= self.count + len(patches):
            self._reporter.warning(f"more than {MANY:,} polygons: --min-area drops specks")
        self.count += len(patches)
        self.area_px += float(pixels.sum())
        if areas is not None and self.area_m2 is not None:
            self.area_m2 += float(np.nansum(areas))

    def _remember(self, geometry: Array, columns: dict[str, Any]) -> None:
        """Keeps the largest polygons seen so far."""
        largest = np.argsort(-columns["area_px"], kind="stable")[:LARGEST]
        points = shapely.point_on_surface(geometry[largest])
        ground = self._shaper.ground
        lon, lat = ground.lonlat(shapely.get_x(points), shapely.get_y(points)) if ground is not None else ((), ())
        found = [
            LargePolygon(
                None if ground is None else float(columns["area_m2"][index]),
                float(columns["area_px"][index]),
                float(columns["probability"][index]),
                None if ground is None else (float(lon[rank]), float(lat[rank])),
                str(columns["from_class"][index]) if self._classes else "",
                str(columns["to_class"][index]) if self._classes else "",
            )
            for rank, index in enumerate(largest)
        ]
        ranked = sorted([*self.largest, *found], key=lambda polygon: -polygon.area_px)
        self.largest = tuple(ranked[:LARGEST])

    def _fields(self) -> list[pa.Field]:
        fields = [pa.field(name, pa.float64()) for name in ("area_m2", "area_px", "probability")]
        if self._values is not False:
            fields.insert(0, pa.field("value", pa.int64()))
        if self._classes:
            fields += [pa.field(name, pa.string()) for name in ("from_class", "to_class")]
        return fields
