"""Ordered batches of polygons → GeoPackage, GeoJSON, FlatGeobuf (by GDAL) or GeoParquet (by pyarrow)."""

from __future__ import annotations

import json
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError
from rasterio.crs import CRS

from cdengine.errors import UsageError
from cdengine.raster.diskerrors import write_error, writing
from cdengine.vector.plainpath import plain_for_writing

GEOMETRY = "geometry"
PROBE_BYTES = 64 << 10  # more than any buffer that is written at a file's end
BOUNDS = ("xmin", "ymin", "xmax", "ymax")
GDAL_ERRORS = (DataSourceError, DataLayerError, FeatureError, GeometryError, RuntimeError)


@dataclass(frozen=True)
class Features:
    """What is to be written.

    Attributes:
        schema: attribute columns, then `geometry` (WKB) and the bounds columns.
        batches: in their final order.
        crs: of the coordinates; None: pixels.
        layer: name of the layer in formats that have one.
        bounds: xmin, ymin, xmax, ymax of all; None when there are no features.
    """

    schema: pa.Schema
    batches: Iterable[pa.RecordBatch]
    crs: CRS | None
    layer: str
    bounds: tuple[float, float, float, float] | None


def check_suffix(path: str | Path) -> str:
    """The suffix of a vector file that can be written, lower case.

    Raises:
        UsageError: no format goes by this suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise UsageError(f"{path}: unknown vector format {suffix or '(no suffix)'}; use one of {', '.join(WRITERS)}")
    return suffix


def write_geopackage(path: Path, features: Features) -> None:
    """One layer with spatial index; `fid` is the table's key, 1 … n in order."""
    # 0 and -1 are GeoPackage's undefined geographic and undefined Cartesian systems; pixels are the latter.
    srid = {} if features.crs is not None else {"SRID": "-1"}
    # Version 1.2 holds all that is used here, and GDAL before 3.7 (QGIS 3.22 to 3.28) reads it without a warning.
    _write_with_gdal(path, features, "GPKG", without=("fid", *BOUNDS), dataset={"VERSION": "1.2"}, FID="fid", **srid)
    _check_index(path, features.layer)


def _check_index(path: Path, layer: str) -> None:
    """Compares the spatial index with the table: GDAL keeps quiet where the disk was full when it made the index.

    Raises:
        OutputError: the index lacks features or is not there.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as base:
        table = layer.replace('"', '""')
        try:
            column = base.execute("SELECT column_name FROM gpkg_geometry_columns").fetchone()[0]
            indexed = base.execute(f'SELECT count(*) FROM "rtree_{table}_{column}"').fetchone()
            complete = indexed == base.execute(f'SELECT count(*) FROM "{table}"').fetchone()
        except sqlite3.DatabaseError as error:
            raise write_error(error, path) from error
    if not complete:
        raise write_error(OSError("the spatial index is not complete"), path)


def write_geojson(path: Path, features: Features) -> None:
    """RFC 7946: longitude and latitude on WGS 84, 7 decimals, right-hand rule; plain pixels where there is no CRS."""
    if features.crs is None:
        _write_with_gdal(path, features, "GeoJSON", without=BOUNDS)
    else:
        _write_with_gdal(path, features, "GeoJSON", without=BOUNDS, RFC7946="YES", COORDINATE_PRECISION="7")


def write_flatgeobuf(path: Path, features: Features) -> None:
    """With its packed index, by which features are ordered; `fid` is a column."""
    _write_with_gdal(path, features, "FlatGeobuf", without=BOUNDS)


def write_geoparquet(path: Path, features: Features) -> None:
    """GeoParquet 1.1: WKB, PROJJSON, a bounding-box column for reading parts of it."""
    crs = None if features.crs is None else pyproj.CRS.from_wkt(features.crs.to_wkt()).to_json_dict()
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": crs,  # null: unknown. (Leaving it out would claim WGS 84.)
        "orientation": "counterclockwise",
        "covering": {"bbox": {name: ["bbox", name] for name in BOUNDS}},
    }
    if features.bounds is not None:
        column["bbox"] = list(features.bounds)
    geo = {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
    box = pa.struct([pa.field(name, pa.float64(), nullable=False) for name in BOUNDS])
    attributes = [field for field in features.schema if field.name not in BOUNDS]
    schema = pa.schema([*attributes, pa.field("bbox", box)], metadata={"geo": json.dumps(geo)})
    with writing(path), pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in features.batches:
            bbox = pa.StructArray.from_arrays([batch[name] for name in BOUNDS], fields=list(box))
            columns = [batch[field.name] for field in attributes]
            writer.write_batch(pa.RecordBatch.from_arrays([*columns, bbox], schema=schema))


WRITERS: dict[str, Callable[[Path, Features], None]] = {
    ".gpkg": write_geopackage,
    ".geojson": write_geojson,
    ".fgb": write_flatgeobuf,
    ".parquet": write_geoparquet,
}


def bounds_columns(bounds: np.ndarray[Any, np.dtype[Any]]) -> dict[str, pa.Array]:
    """(n, 4) bounds as the columns that the writers expect."""
    return {name: pa.array(bounds[:, at]) for at, name in enumerate(BOUNDS)}


def _write_with_gdal(
    path: Path,
    features: Features,
    driver: str,
    *,
    without: tuple[str, ...],
    dataset: dict[str, str] | None = None,
    **options: str,
) -> None:
    schema = pa.schema([field for field in features.schema if field.name not in without])
    failure: list[BaseException] = []

    def chosen() -> Iterator[pa.RecordBatch]:
        # GDAL pulls batches through C, which turns any exception here into text: the original is kept.
        try:
            for batch in features.batches:
                yield batch.select(schema.names)
        except BaseException as error:
            failure.append(error)
            raise

    try:
        with warnings.catch_warnings(), plain_for_writing(path) as plain:
            warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)  # pixel space is meant
            pyogrio.write_arrow(
                pa.RecordBatchReader.from_batches(schema, chosen()),
                plain,
                layer=features.layer,
                driver=driver,
                geometry_name=GEOMETRY,
                geometry_type="Polygon",
                crs=None if features.crs is None else features.crs.to_wkt(),
                dataset_options=dataset,
                layer_options=options,
            )
    except GDAL_ERRORS as error:
        if failure:
            raise failure[0] from None
        raise write_error(error, path) from error
    except OSError as error:
        if failure:
            raise failure[0] from None
        raise write_error(error, path) from error
    if failure:  # GDAL took the broken stream for its end
        raise failure[0]
    _check_room(path)


def _check_room(path: Path) -> None:
    """Lets a finished file take a little more: GDAL keeps quiet where its last buffered bytes did not fit.

    Raises:
        DiskFullError: the file cannot grow, so it may be cut short.
    """
    with writing(path):
        size = path.stat().st_size
        with open(path, "ab") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.truncate(path, size)
