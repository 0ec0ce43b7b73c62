from __future__ import annotations

from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio.features
import shapely
from affine import Affine
from rasterio.crs import CRS
from scipy.ndimage import gaussian_filter

from cdengine.errors import UsageError
from cdengine.events import CollectSink, Reporter
from cdengine.raster.grid import Grid
from cdengine.vector import stream as module
from cdengine.vector.area import PixelArea, area_m2
from cdengine.vector.stream import PolygonStream


def blobs(rng: np.random.Generator, shape: tuple[int, int] = (200, 300), sigma: float = 3) -> np.ndarray:
    smooth = gaussian_filter(rng.standard_normal(shape), sigma)
    return (smooth > smooth.std()).astype(np.uint8)


def write(path: Path, grid: Grid, labels: np.ndarray, probability=None, height: int = 64, **options):
    with PolygonStream(path, grid, **options) as stream:
        for row in range(0, labels.shape[0], height):
            part = slice(row, row + height)
            stream.add(row, labels[part], None if probability is None else probability[part])
    frame = pyogrio.read_dataframe(path, fid_as_index=True)
    assert len(frame) == stream.count
    return stream, frame


def test_polygons_burn_back_to_the_labels(tmp_path: Path, utm: Grid, rng: np.random.Generator) -> None:
    labels = blobs(rng)
    stream, frame = write(tmp_path / "a.gpkg", utm, labels)
    burnt = rasterio.features.rasterize(frame.geometry, out_shape=labels.shape, transform=utm.transform)
    assert (burnt == labels).all()
    assert frame.crs.to_epsg() == 32633
    assert list(frame.index) == list(range(1, len(frame) + 1))
    assert stream.area_px == frame["area_px"].sum() == labels.sum()
    assert stream.area_m2 == pytest.approx(PixelArea(utm).total(utm.window, labels == 1), rel=1e-3)
    assert frame["area_m2"].iloc[0] == pytest.approx(area_m2(frame.geometry.iloc[0], utm.crs), rel=1e-12)


def test_files_are_equal_whatever_the_strips(tmp_path: Path, utm: Grid, rng: np.random.Generator) -> None:
    labels, probability = blobs(rng, sigma=1), rng.random((200, 300)).astype(np.float32)
    frames = [write(tmp_path / f"{h}.gpkg", utm, labels, probability, h)[1] for h in (200, 64, 3)]
    assert frames[0].equals(frames[1]) and frames[0].equals(frames[2])
    tops = -frames[0].geometry.bounds["maxy"].to_numpy()
    assert (np.diff(tops) >= 0).all()  # by first row


def test_columns_place_a_part_of_the_grid(tmp_path: Path, utm: Grid) -> None:
    labels = np.zeros((10, 20), np.uint8)
    labels[3:5, 4:6] = 1
    with PolygonStream(tmp_path / "a.gpkg", utm, columns=(100, 120)) as stream:
        stream.add(50, labels)
    bounds = pyogrio.read_dataframe(tmp_path / "a.gpkg").total_bounds
    assert bounds.tolist() == [401_040, 5_099_450, 401_060, 5_099_470]


def test_transitions_become_class_names(tmp_path: Path, utm: Grid) -> None:
    labels = np.zeros((10, 300), np.uint16)
    labels[2, 2] = 1 + 0 * 3 + 2
    labels[5, 5] = 1 + 2 * 3 + 1
    _, frame = write(tmp_path / "a.gpkg", utm, labels, classes=("forest", "water", "Gebäude"))
    assert frame["from_class"].tolist() == ["forest", "Gebäude"]
    assert frame["to_class"].tolist() == ["Gebäude", "water"]


def test_values_as_they_are_or_by_place(tmp_path: Path, utm: Grid) -> None:
    labels = np.zeros((10, 300), np.uint8)
    labels[2, 2], labels[5, 5] = 1, 2
    assert write(tmp_path / "a.gpkg", utm, labels, values=True)[1]["value"].tolist() == [1, 2]
    assert write(tmp_path / "b.gpkg", utm, labels, values=(0, 7))[1]["value"].tolist() == [0, 7]
    assert "value" not in write(tmp_path / "c.gpkg", utm, labels)[1]


def test_without_a_crs_areas_are_pixels(tmp_path: Path, pixels: Grid, rng: np.random.Generator) -> None:
    labels = blobs(rng)
    stream, frame = write(tmp_path / "a.gpkg", pixels, labels, min_area=20)
    assert stream.area_m2 is None and frame["area_m2"].isna().all()
    assert (frame["area_px"] >= 20).all()


@pytest.mark.parametrize("kind", ["binary", "classes"])
@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
def test_simplified_polygons_are_valid_on_the_map(
    tmp_path: Path, rng: np.random.Generator, kind: str, crs: str
) -> None:
    size = 10 if crs == "EPSG:32633" else 1e-4
    grid = Grid(CRS.from_user_input(crs), Affine(size, 0, 10.1, 0, -size, 49.3), 200, 300)
    labels = blobs(rng, sigma=1.5) * (1 + blobs(rng, sigma=4) if kind == "classes" else 1)
    options = {"classes": ("a", "b")} if kind == "classes" else {}
    _, plain = write(tmp_path / "a.gpkg", grid, labels, **options)
    _, frame = write(tmp_path / "b.gpkg", grid, labels, simplify=15, **options)
    assert frame.geometry.is_valid.all() and not frame.geometry.is_empty.any()
    assert len(frame) == len(plain)
    assert shapely.get_num_coordinates(frame.geometry).sum() < shapely.get_num_coordinates(plain.geometry).sum()
    assert frame["area_m2"].sum() == pytest.approx(plain["area_m2"].sum(), rel=0.15)


def test_classes_too_many_to_hold_are_simplified_one_by_one_and_said(
    tmp_path: Path, utm: Grid, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COVERAGE_VERTICES", 100)
    sink = CollectSink()
    labels = blobs(rng) * 2
    write(tmp_path / "a.gpkg", utm, labels, simplify=15, values=True, reporter=Reporter(sink))
    assert any("simplified one by one" in event.get("message", "") for event in sink.events)


def test_specks_are_worth_a_word(
    tmp_path: Path, utm: Grid, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MANY", 50)
    sink = CollectSink()
    write(tmp_path / "a.gpkg", utm, blobs(rng), reporter=Reporter(sink))
    assert [event["message"] for event in sink.events if event["event"] == "log"] == [
        "more than 50 polygons: --min-area drops specks"
    ]


@pytest.mark.parametrize("label", [0, 1])
def test_nothing_and_everything(tmp_path: Path, utm: Grid, label: int) -> None:
    _, frame = write(tmp_path / "a.gpkg", utm, np.full((200, 300), label, np.uint8))
    assert len(frame) == label
    if label:
        assert frame.geometry.iloc[0].equals(shapely.box(400_000, 5_098_000, 403_000, 5_100_000))


def test_an_unknown_suffix_or_amount_fails_at_once(tmp_path: Path, utm: Grid) -> None:
    with pytest.raises(UsageError):
        PolygonStream(tmp_path / "a.shp", utm)
    with pytest.raises(UsageError):
        PolygonStream(tmp_path / "a.gpkg", utm, min_area=-1)
    assert list(tmp_path.iterdir()) == []


def test_an_error_on_the_way_leaves_nothing(tmp_path: Path, utm: Grid) -> None:
    with pytest.raises(KeyError), PolygonStream(tmp_path / "a.gpkg", utm) as stream:
        stream.add(0, np.ones((5, 300), np.uint8))
        raise KeyError
    assert list(tmp_path.iterdir()) == []
