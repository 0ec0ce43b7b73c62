from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from rasterio.crs import CRS

from cdengine.errors import Cancelled, OutputError, UsageError
from cdengine.events import CollectSink, Reporter
from cdengine.vector.files import PolygonWriter, check_suffix

SUFFIXES = [".gpkg", ".geojson", ".fgb", ".parquet"]
FIELDS = [pa.field("area_m2", pa.float64()), pa.field("from_class", pa.string())]
UTM = CRS.from_epsg(32633)


def boxes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Squares from west to east, and the order they want: east first."""
    x = 400_000 + 20.0 * np.arange(count)
    first = np.column_stack([np.arange(count)[::-1], np.zeros(count, int)])
    return shapely.orient_polygons(shapely.box(x, 5e6, x + 10, 5e6 + 10)), first


def write(path: Path, count: int, crs: CRS | None = UTM, batch: int = 7, reporter: Reporter | None = None) -> Path:
    geometry, first = boxes(count)
    with PolygonWriter(path, crs, FIELDS, reporter=reporter) as writer:
        for start in range(0, count, batch):
            part = slice(start, start + batch)
            columns = {
                "area_m2": np.where(first[part, 0] == 0, np.nan, 100.0),
                "from_class": np.array([f"é{n}" for n in first[part, 0]], object),
            }
            writer.write(geometry[part], first[part], columns)
        writer.close()
    return path


def read(path: Path) -> geopandas.GeoDataFrame:
    if path.suffix == ".parquet":
        return geopandas.read_parquet(path)
    frame = pyogrio.read_dataframe(path, fid_as_index=True)
    return frame.reset_index() if path.suffix == ".gpkg" else frame.reset_index(drop=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_features_come_back_sorted_and_numbered(tmp_path: Path, suffix: str) -> None:
    frame = read(write(tmp_path / f"a b é{suffix}", 30)).sort_values("fid")
    assert frame["fid"].tolist() == list(range(1, 31))
    assert frame["from_class"].tolist() == [f"é{n}" for n in range(30)]
    assert np.isnan(frame["area_m2"].iloc[0]) and (frame["area_m2"].iloc[1:] == 100).all()
    assert frame.to_crs(32633).geometry.iloc[0].centroid.x == pytest.approx(400_000 + 29 * 20 + 5, abs=0.02)
    assert frame.geometry.is_valid.all()
    assert [path.name for path in tmp_path.iterdir()] == [f"a b é{suffix}"]  # nothing is left beside it


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("crs", [UTM, None])
def test_no_features_still_give_a_file_with_schema_and_crs(tmp_path: Path, suffix: str, crs: CRS | None) -> None:
    path = write(tmp_path / f"none{suffix}", 0, crs)
    frame = read(path)
    assert len(frame) == 0
    if suffix != ".geojson":  # which has no schema
        assert {"area_m2", "from_class"} <= set(frame.columns)
        found = None if frame.crs is None or frame.crs.name.startswith("Undefined") else frame.crs.to_epsg()
        assert found == (None if crs is None else 32633)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pixel_coordinates_claim_no_crs(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"pixels{suffix}", 3, None)
    frame = read(path)
    assert frame.geometry.total_bounds.tolist() == [400_000, 5e6, 400_050, 5e6 + 10]
    if suffix == ".geojson":
        assert "crs" not in json.loads(path.read_text())
    else:
        assert frame.crs is None or frame.crs.name == "Undefined Cartesian SRS"


def test_geojson_follows_rfc_7946(tmp_path: Path) -> None:
    text = write(tmp_path / "a.geojson", 4).read_text(encoding="utf-8")
    document = json.loads(text)
    assert "crs" not in document
    for feature in document["features"]:
        ring = shapely.geometry.shape(feature["geometry"]).exterior
        assert ring.is_ccw and -180 <= ring.bounds[0] <= 180 and 45 < ring.bounds[1] < 46
    assert not re.search(r"\d\.\d{8}", text)


def test_geopackage_has_a_spatial_index_and_suits_older_gdal(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(write(tmp_path / "a.gpkg", 3)) as file:
        assert file.execute(
            "SELECT count(*) FROM gpkg_extensions WHERE extension_name = 'gpkg_rtree_index'"
        ).fetchone() == (1,)
        assert file.execute("PRAGMA user_version").fetchone() == (10200,)


def test_geoparquet_metadata(tmp_path: Path) -> None:
    file = pq.ParquetFile(write(tmp_path / "a.parquet", 3))
    geo = json.loads(file.schema_arrow.metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert geo["version"] == "1.1.0" and column["encoding"] == "WKB" and column["geometry_types"] == ["Polygon"]
    assert column["bbox"] == [400_000, 5e6, 400_050, 5e6 + 10]
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32633}
    part = geopandas.read_parquet(tmp_path / "a.parquet", bbox=(400_041, 5e6, 400_042, 5e6 + 1))
    assert part["fid"].tolist() == [1]
    pixels = pq.ParquetFile(write(tmp_path / "b.parquet", 3, None))
    assert json.loads(pixels.schema_arrow.metadata[b"geo"])["columns"]["geometry"]["crs"] is None


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".fgb"])
@pytest.mark.skipif(shutil.which("ogrinfo") is None, reason="gdal-bin is not installed")
def test_debians_gdal_reads_it_without_complaint(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", 5)
    done = subprocess.run(["ogrinfo", "-so", "-al", str(path)], capture_output=True, text=True, check=True)
    assert "Feature Count: 5" in done.stdout and done.stderr == ""


@pytest.mark.parametrize("path", ["a.shp", "a", "a.gpkg.zip", "a.GPKGX"])
def test_unknown_suffixes_are_refused(path: str) -> None:
    with pytest.raises(UsageError, match=re.escape(path) + ".*gpkg, .geojson, .fgb, .parquet"):
        check_suffix(path)


def test_suffix_in_capitals() -> None:
    assert check_suffix("A.GPKG") == ".gpkg"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_same_bytes_of_features_whatever_the_batches(tmp_path: Path, suffix: str) -> None:
    one, other = read(write(tmp_path / f"a{suffix}", 50, batch=50)), read(write(tmp_path / f"b{suffix}", 50, batch=3))
    assert one.equals(other)


class _CancelLate(CollectSink):
    """Asks to stop once the file itself is being written."""

    def __init__(self) -> None:
        super().__init__()
        self.reporter: Reporter | None = None

    def emit(self, event: dict) -> None:
        super().emit(event)
        if event["event"] == "progress" and event["stage"] == "write polygons" and self.reporter:
            self.reporter.cancellation.cancel()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_cancel_while_the_file_is_written_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    sink = _CancelLate()
    sink.reporter = Reporter(sink)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Cancelled):
            write(tmp_path / f"a{suffix}", 30, reporter=sink.reporter)
    assert list(tmp_path.iterdir()) == []


def test_an_error_before_closing_leaves_nothing(tmp_path: Path) -> None:
    geometry, first = boxes(3)
    with pytest.raises(RuntimeError), PolygonWriter(tmp_path / "a.gpkg", UTM, FIELDS[:1]) as writer:
        writer.write(geometry, first, {"area_m2": np.ones(3)})
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("suffix", "limit"), [(".gpkg", 140), (".geojson", 1000), (".fgb", 60), (".parquet", 1)])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, suffix: str, limit: int) -> None:
    """Files may grow to `limit` kB in a child process, while features are gathered or when the file is written."""
    code = f"""
import resource, sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[2])]!r}
from pathlib import Path
from cdengine.errors import OutputError
from cdengine.vector import spill
from test_files import write
spill._WAITING_BYTES = 1000
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit} * 1024, {limit} * 1024))
try:
    write(Path({str(tmp_path / "a")!r} + "{suffix}"), 5000, batch=500)
except OutputError:
    sys.exit(0 if not list(Path({str(tmp_path)!r}).iterdir()) else 3)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        PolygonWriter(tmp_path / "none" / "a.gpkg", UTM, FIELDS)
