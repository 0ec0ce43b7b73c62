"""A vector file written while polygons come in; whole, sorted and indexed once it is closed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from rasterio.crs import CRS

from cdengine.events import Reporter
from cdengine.raster.diskerrors import writing
from cdengine.vector.formats import BOUNDS, GEOMETRY, WRITERS, Features, bounds_columns, check_suffix
from cdengine.vector.spill import Spill

Array = np.ndarray[Any, np.dtype[Any]]

__all__ = ["PolygonWriter", "check_suffix"]


class PolygonWriter:
    """Context manager: `write` as often as needed, then `close`; leaving without `close` removes everything."""

    def __init__(
        self,
        path: Path,
        crs: CRS | None,
        fields: Sequence[pa.Field],
        *,
        layer: str = "changes",
        reporter: Reporter | None = None,
    ) -> None:
        """Begins a file.

        Args:
            path: of the file, with a suffix that `check_suffix` knows; replaced if it exists.
            crs: of the coordinates; None: pixels, and the file claims no CRS.
            fields: attribute columns but `fid`, which is added.
            layer: name of the layer in GeoPackage and FlatGeobuf.
            reporter: shows the stage of writing, and stops it.

        Raises:
            UsageError: the suffix is unknown.
            OutputError: the file's folder cannot be written to.
        """
        self._path, self._crs, self._layer = path, crs, layer
        self._write = WRITERS[check_suffix(path)]
        self._reporter = reporter or Reporter()
        geometry = pa.field(GEOMETRY, pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
        self._schema = pa.schema([*fields, geometry, *(pa.field(name, pa.float64()) for name in BOUNDS)])
        self._bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])
        self._closed = False
        self._spill_path = path.with_name(f"{path.name}.arrow")
        with writing(path):
            self._spill = Spill(self._spill_path, self._schema)

    def __enter__(self) -> PolygonWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spill.discard()
        if not self._closed:
            self._path.unlink(missing_ok=True)

    @property
    def features(self) -> int:
        """How many were written so far."""
        return self._spill.rows

    def write(self, geometry: Array, first: Array, columns: dict[str, Array | pa.Array]) -> None:
        """Adds polygons.

        Args:
            geometry: (n,) shapely polygons in the file's CRS.
            first: (n, 2) int64 by which the file is sorted and `fid` numbered.
            columns: attribute → (n,) values; NaN becomes null.
        """
        if not len(geometry):
            return
        bounds = shapely.bounds(geometry)
        self._bounds[:2] = np.minimum(self._bounds[:2], bounds[:, :2].min(axis=0))
        self._bounds[2:] = np.maximum(self._bounds[2:], bounds[:, 2:].max(axis=0))
        values: dict[str, Any] = {**columns, GEOMETRY: shapely.to_wkb(geometry), **bounds_columns(bounds)}
        arrays = [
            values[field.name]
            if isinstance(values[field.name], pa.Array)
            else pa.array(values[field.name], field.type, from_pandas=True)
            for field in self._schema
        ]
        with writing(self._path):
            self._spill.write(pa.RecordBatch.from_arrays(arrays, schema=self._schema), first)

    def close(self) -> None:
        """Writes the file.

        Raises:
            OutputError: the disk is full, or the driver failed.
            Cancelled: on request; the file is removed.
        """
        west, south, east, north = (float(bound) for bound in self._bounds)
        bounds = (west, south, east, north) if self.features else None
        schema = self._schema.insert(0, pa.field("fid", pa.int64()))
        features = Features(schema, self._numbered(schema), self._crs, self._layer, bounds)
        self._path.unlink(missing_ok=True)  # GDAL would add to a GeoPackage that is there
        with writing(self._path):
            self._write(self._path, features)
        self._closed = True

    def _numbered(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with self._reporter.stage("write polygons", self.features, "polygons") as stage:
            fid = 1
            for batch in self._spill.sorted_batches():
                numbers = pa.array(np.arange(fid, fid + batch.num_rows, dtype=np.int64))
                fid += batch.num_rows
                yield pa.RecordBatch.from_arrays([numbers, *batch.columns], schema=schema)
                stage.advance(batch.num_rows)
