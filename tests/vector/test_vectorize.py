from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
from affine import Affine

from cdengine.errors import (
    Cancelled,
    DtypeError,
    GridMismatchError,
    InputError,
    NotFoundInputError,
    OutputExistsError,
    OutputFolderError,
    OutputIsInputError,
    UsageError,
)
from cdengine.events import CollectSink, Reporter
from cdengine.vector.vectorize import vectorize

TRANSFORM = Affine(10, 0, 400_000, 0, -10, 5_100_000)


def save(path: Path, values: np.ndarray, crs: str | None = "EPSG:32633", nodata=None, **options) -> Path:
    profile = {
        "driver": "GTiff",
        "count": 1,
        "dtype": values.dtype,
        "crs": crs,
        "transform": TRANSFORM,
        "nodata": nodata,
    }
    scale = options.pop("scale", None)
    with rasterio.open(path, "w", height=values.shape[0], width=values.shape[1], **profile, **options) as file:
        file.write(values, 1)
        if scale:
            file.scales = [scale]
    return path


def classes() -> np.ndarray:
    values = np.zeros((40, 50), np.uint8)
    values[5:10, 5:10] = 1
    values[20:30, 20:30] = 2
    values[35:, :] = 255
    return values


def polygons(path: Path):
    return pyogrio.read_dataframe(path, fid_as_index=True)


def test_all_values_but_zero_and_nodata(tmp_path: Path) -> None:
    result = vectorize(save(tmp_path / "a.tif", classes(), nodata=255), tmp_path / "a.gpkg")
    frame = polygons(tmp_path / "a.gpkg")
    assert frame["value"].tolist() == [1, 2]
    assert frame["area_px"].tolist() == [25, 100]
    assert result.polygons == 2 and result.area_px == 125
    assert result.area_m2 == pytest.approx(12_500, rel=1e-3)


@pytest.mark.parametrize(("values", "found"), [([2], [2]), ([0, 2], [0, 2]), ([0], [0]), ([7], []), ([255, 1], [1])])
def test_chosen_values_zero_among_them(tmp_path: Path, values: list[int], found: list[int]) -> None:
    vectorize(save(tmp_path / "a.tif", classes(), nodata=255), tmp_path / "a.gpkg", values=values)
    assert polygons(tmp_path / "a.gpkg")["value"].tolist() == found


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int16", "int32", "uint32", "int64", "float32", "float64"])
def test_any_type_of_whole_numbers(tmp_path: Path, dtype: str) -> None:
    values = np.where(classes() == 255, 0, classes()).astype(dtype)
    if np.dtype(dtype).kind == "f":
        values[0, 0] = np.nan
    vectorize(save(tmp_path / "a.tif", values), tmp_path / "a.gpkg")
    assert polygons(tmp_path / "a.gpkg")["value"].tolist() == [1, 2]


def test_mean_probability_as_float_and_scaled(tmp_path: Path) -> None:
    raster = save(tmp_path / "a.tif", classes(), nodata=255)
    chance = np.where(classes() == 1, np.float32(0.5), np.float32(0.75))
    save(tmp_path / "p.tif", np.where(classes() == 0, np.float32(np.nan), chance), nodata=np.nan)
    vectorize(raster, tmp_path / "a.gpkg", probability=tmp_path / "p.tif")
    assert polygons(tmp_path / "a.gpkg")["probability"].tolist() == [0.5, 0.75]
    save(tmp_path / "q.tif", np.rint(chance * 200).astype(np.uint8), nodata=255, scale=0.005)
    vectorize(raster, tmp_path / "b.gpkg", probability=tmp_path / "q.tif")
    assert polygons(tmp_path / "b.gpkg")["probability"].tolist() == pytest.approx([0.5, 0.75])


def test_probability_that_does_not_fit(tmp_path: Path) -> None:
    raster = save(tmp_path / "a.tif", classes())
    save(tmp_path / "p.tif", np.zeros((40, 49), np.float32))
    with pytest.raises(GridMismatchError, match=r"p\.tif"):
        vectorize(raster, tmp_path / "a.gpkg", probability=tmp_path / "p.tif")
    save(tmp_path / "q.tif", np.full((40, 50), 90, np.uint8))
    with pytest.raises(InputError, match="outside 0 … 1"):
        vectorize(raster, tmp_path / "a.gpkg", probability=tmp_path / "q.tif")
    save(tmp_path / "r.tif", np.full((40, 50), np.nan, np.float32), nodata=np.nan)
    sink = CollectSink()
    vectorize(raster, tmp_path / "a.gpkg", probability=tmp_path / "r.tif", reporter=Reporter(sink))
    assert any("no data in" in event.get("message", "") for event in sink.events)


def test_fractions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DtypeError, match="threshold"):
        vectorize(save(tmp_path / "a.tif", np.full((4, 4), 0.5, np.float32)), tmp_path / "a.gpkg")
    assert not (tmp_path / "a.gpkg").exists()


def test_without_a_crs_says_so(tmp_path: Path) -> None:
    sink = CollectSink()
    result = vectorize(save(tmp_path / "a.tif", classes(), crs=None), tmp_path / "a.gpkg", reporter=Reporter(sink))
    assert result.area_m2 is None
    assert any("no CRS" in event.get("message", "") for event in sink.events)


def test_bad_requests_touch_nothing(tmp_path: Path) -> None:
    raster = save(tmp_path / "a.tif", classes())
    (tmp_path / "old.gpkg").write_bytes(b"old")
    with pytest.raises(OutputExistsError):
        vectorize(raster, tmp_path / "old.gpkg")
    assert (tmp_path / "old.gpkg").read_bytes() == b"old"
    with pytest.raises(UsageError):
        vectorize(raster, tmp_path / "a.shp")
    with pytest.raises(UsageError):
        vectorize(raster, tmp_path / "a.gpkg", values=[])
    with pytest.raises(UsageError, match="too large"):
        vectorize(raster, tmp_path / "a.gpkg", values=[1, 10**30])
    with pytest.raises(NotFoundInputError):
        vectorize(tmp_path / "none.tif", tmp_path / "a.gpkg")
    with pytest.raises(OutputFolderError):
        vectorize(raster, tmp_path / "none" / "a.gpkg")
    (tmp_path / "link.gpkg").symlink_to(raster)
    with pytest.raises(OutputIsInputError):
        vectorize(raster, tmp_path / "link.gpkg", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "link.gpkg", "old.gpkg"]


def test_overwrite_replaces_all_of_it(tmp_path: Path) -> None:
    raster = save(tmp_path / "a.tif", classes(), nodata=255)
    vectorize(raster, tmp_path / "a.gpkg")
    vectorize(raster, tmp_path / "a.gpkg", values=[1], overwrite=True)
    assert len(polygons(tmp_path / "a.gpkg")) == 1


class _CancelAt(CollectSink):
    def __init__(self, stage: str) -> None:
        super().__init__()
        self.stage, self.reporter = stage, Reporter(self)

    def emit(self, event: dict) -> None:
        if event.get("stage") == self.stage:
            self.reporter.cancellation.cancel()


@pytest.mark.parametrize("stage", ["polygons", "write polygons"])
def test_cancel_leaves_only_what_was_there(tmp_path: Path, stage: str) -> None:
    raster = save(tmp_path / "a.tif", classes(), nodata=255)
    vectorize(raster, tmp_path / "a.gpkg")
    before = hashlib.sha256((tmp_path / "a.gpkg").read_bytes()).hexdigest()
    with pytest.raises(Cancelled):
        vectorize(raster, tmp_path / "a.gpkg", overwrite=True, reporter=_CancelAt(stage).reporter)
    assert hashlib.sha256((tmp_path / "a.gpkg").read_bytes()).hexdigest() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gpkg", "a.tif"]


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "fgb", "parquet"])
@pytest.mark.parametrize("name", ["oscd/nantes", "oscd/saclay_e", "landsat_taizhou"])
def test_real_label_rasters(tmp_path: Path, shared_data: Path, name: str, suffix: str) -> None:
    source = shared_data / name / "label.tif"
    output = tmp_path / f"a.{suffix}"
    result = vectorize(source, output)
    if suffix == "parquet":
        import geopandas

        frame = geopandas.read_parquet(output)
    else:
        frame = pyogrio.read_dataframe(output)
    with rasterio.open(source) as file:
        labels, crs, transform = file.read(1), file.crs, file.transform
    assert len(frame) == result.polygons
    assert frame.geometry.is_valid.all()
    shapes = zip(frame.to_crs(crs.to_wkt()).geometry, frame["value"], strict=True)
    burnt = rasterio.features.rasterize(shapes, out_shape=labels.shape, transform=transform, dtype=np.int32)
    assert (burnt == labels).all()
