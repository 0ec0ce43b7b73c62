"""The main job from Python: what comes out, on which grid, with which figures."""

import json
import shutil

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from memory_pair import Semantic
from pairs import make_pair, write_raster
from rasterio.transform import from_origin

import cdengine
from cdengine.errors import (
    BandsError,
    Cancelled,
    ModelTaskError,
    OutputExistsError,
    OutputIsInputError,
    UnknownModelError,
    UsageError,
)
from cdengine.events import Cancellation, CollectSink, Reporter
from cdengine.inference.detect import detect
from cdengine.methods.table import METHODS as METHODS_TABLE

METHODS = ("cva", "irmad", "pca-kmeans", "sfa", "log-ratio")


def read(path):
    with rasterio.open(path) as file:
        return file.read(1)


def run(folder, model="cva", **options):
    before, after, truth = make_pair(folder)
    result = detect(before, after, folder / "change.tif", model, **options)
    return result, truth


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_rectangle(tmp_path, method):
    result, truth = run(tmp_path, method, probability=tmp_path / "p.tif")
    change, probability = read(result.outputs["change"]), read(result.outputs["probability"])
    found = change == 1
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.85
    assert np.array_equal(found, probability >= np.float32(result.stats["threshold"]))
    assert np.isfinite(probability).all() and probability.min() >= 0 and probability.max() < 1
    assert len(np.unique(probability)) > 1000  # graded, not saturated


@pytest.mark.parametrize("method", METHODS)
def test_identical_images_have_no_change(tmp_path, method):
    before, _, _ = make_pair(tmp_path)
    result = detect(before, before, tmp_path / "c.tif", method, polygons=tmp_path / "c.gpkg")
    assert result.stats["changed_px"] == 0 and result.stats["polygons"] == 0
    assert (read(tmp_path / "c.tif") == 0).all()


def test_change_raster_has_the_grid_of_before_and_says_how_it_was_made(tmp_path):
    result, _ = run(tmp_path)
    with rasterio.open(result.outputs["change"]) as file, rasterio.open(tmp_path / "before.tif") as before:
        assert (file.crs, file.transform, file.shape) == (before.crs, before.transform, before.shape)
        assert file.dtypes == ("uint8",) and file.nodata == 255 and file.block_shapes[0][0] > 1
        assert file.colormap(1)[1][3] == 255
        tags = file.tags()
    assert tags["CDENGINE_MODEL"] == "cva"
    assert tags["CDENGINE_BEFORE"].endswith("before.tif")
    assert float(tags["CDENGINE_THRESHOLD"]) == result.stats["threshold"]
    assert isinstance(json.loads(tags["CDENGINE_PARAMETERS"]), dict)


def test_figures_agree_with_the_raster_and_the_polygons(tmp_path):
    result, _ = run(tmp_path, polygons=tmp_path / "c.gpkg")
    changed = (read(tmp_path / "change.tif") == 1).sum()
    frame = geopandas.read_file(tmp_path / "c.gpkg")
    assert result.stats["changed_px"] == changed == frame.area_px.sum()
    # UTM near its central meridian: 0.9996² of the ellipsoid
    assert result.stats["changed_area_m2"] == pytest.approx(changed * 100 / 0.9996**2, rel=2e-3)
    assert frame.area_m2.sum() == pytest.approx(result.stats["changed_area_m2"], rel=1e-4)
    assert result.stats["polygons"] == len(frame) and frame.crs.to_epsg() == 32632
    assert frame.probability.between(0.5, 1).all()
    largest = frame.geometry[frame.area_px.idxmax()]
    assert largest.bounds == pytest.approx((501500, 5298400, 502400, 5299000), abs=25)


def test_small_areas_and_holes_follow_the_options(tmp_path):
    small = run(tmp_path, polygons=tmp_path / "a.gpkg")[0].stats["polygons"]
    large = detect(
        tmp_path / "before.tif", tmp_path / "after.tif", tmp_path / "b.tif", "cva", polygons=tmp_path / "b.gpkg",
        min_area=5000, fill_holes=2000, simplify=5,
    )  # fmt: skip
    assert large.stats["polygons"] <= small
    frame = geopandas.read_file(tmp_path / "b.gpkg")
    assert (frame.area_m2 >= 5000).all() and frame.is_valid.all()


def test_uint8_probability_keeps_the_change(tmp_path):
    result, _ = run(tmp_path, probability=tmp_path / "p.tif")
    other = detect(
        tmp_path / "before.tif", tmp_path / "after.tif", tmp_path / "c8.tif", "cva", probability=tmp_path / "p8.tif",
        probability_dtype="uint8",
    )  # fmt: skip
    assert np.array_equal(read(result.outputs["change"]), read(other.outputs["change"]))
    stored = read(tmp_path / "p8.tif")
    assert stored.max() <= 200
    assert np.abs(stored / 200 - read(tmp_path / "p.tif")).max() <= 0.0051


def test_nodata_of_either_date_is_nodata_of_the_result(tmp_path):
    before, after, _ = make_pair(tmp_path, nodata=0)
    for path, rows in ((before, slice(0, 20)), (after, slice(280, 300))):
        with rasterio.open(path, "r+") as file:
            pixels = file.read()
            pixels[:, rows] = 0
            file.write(pixels)
    result = detect(before, after, tmp_path / "c.tif", "cva", probability=tmp_path / "p.tif")
    change = read(tmp_path / "c.tif")
    hidden = np.zeros(change.shape, bool)
    hidden[:20] = hidden[280:] = True
    assert np.array_equal(change == 255, hidden)
    assert np.array_equal(np.isnan(read(tmp_path / "p.tif")), hidden)
    assert result.stats["compared_px"] == (~hidden).sum()


def test_all_nodata_gives_an_empty_result(tmp_path):
    before = write_raster(tmp_path / "b.tif", np.zeros((3, 50, 60), np.uint8), nodata=0)
    after = write_raster(tmp_path / "a.tif", np.full((3, 50, 60), 9, np.uint8), nodata=0)
    sink = CollectSink()
    result = detect(before, after, tmp_path / "c.tif", "irmad", polygons=tmp_path / "c.gpkg", reporter=Reporter(sink))
    assert (read(tmp_path / "c.tif") == 255).all()
    assert result.stats["polygons"] == 0 and result.stats["changed_percent"] == 0
    assert any(event.get("level") == "warning" for event in sink.events)


def test_area_of_interest(tmp_path):
    before, after, _ = make_pair(tmp_path)
    box = {
        "type": "Polygon",
        "coordinates": [[[501000, 5298000], [502000, 5298000], [502000, 5299500], [501000, 5298000]]],
    }
    aoi = tmp_path / "aoi.gpkg"
    geopandas.GeoDataFrame.from_features(
        [{"type": "Feature", "geometry": box, "properties": {}}], crs="EPSG:32632"
    ).to_crs(4326).to_file(aoi)
    detect(before, after, tmp_path / "c.tif", "cva", aoi=str(aoi))
    inside = read(tmp_path / "c.tif") != 255
    rows, cols = np.nonzero(inside)
    assert cols.min() >= 99 and cols.max() <= 200 and rows.max() <= 200
    assert inside.sum() == pytest.approx(150 * 100 / 2, rel=0.02)


def test_without_any_crs_areas_are_in_pixels(tmp_path):
    before, after, _ = make_pair(tmp_path, crs=None)
    result = detect(before, after, tmp_path / "c.tif", "cva", polygons=tmp_path / "c.geojson")
    assert result.stats["changed_area_m2"] is None and result.stats["changed_px"] > 0
    frame = geopandas.read_file(tmp_path / "c.geojson")
    assert frame.area_m2.isna().all() and frame.area_px.sum() == result.stats["changed_px"]


def test_another_grid_is_warped_onto_before(tmp_path):
    before, after, truth = make_pair(tmp_path)
    moved = tmp_path / "moved.tif"
    with rasterio.open(after) as file:
        write_raster(
            moved, file.read(), transform=file.transform * Affine.translation(-3, 2) * Affine.translation(3, -2)
        )
        pixels = file.read()[:, 20:, 30:]
    shifted = write_raster(tmp_path / "part.tif", pixels, transform=from_origin(500_300, 5_299_800, 10, 10))
    detect(before, shifted, tmp_path / "c.tif", "cva")
    detect(before, after, tmp_path / "d.tif", "cva", aoi=None)
    change = read(tmp_path / "c.tif")
    assert (change[:20] == 255).all() and (change[:, :30] == 255).all() and (change[20:, 30:] != 255).all()
    assert ((change == 1) & truth).sum() > 0.8 * truth.sum()


def test_register_removes_a_shift(tmp_path):
    before, after, _ = make_pair(tmp_path, size=(600, 700))
    with rasterio.open(after) as file:
        wrong = write_raster(tmp_path / "wrong.tif", file.read(), transform=file.transform * Affine.translation(4, -3))
    plain = detect(before, wrong, tmp_path / "a.tif", "cva")
    result = detect(before, wrong, tmp_path / "b.tif", "cva", align="register")
    assert result.stats["shift_rows_px"] == pytest.approx(-3, abs=0.1)
    assert result.stats["shift_cols_px"] == pytest.approx(4, abs=0.1)
    assert result.stats["changed_px"] != plain.stats["changed_px"]


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "fgb", "parquet"])
def test_polygon_formats(tmp_path, suffix):
    result, _ = run(tmp_path, polygons=tmp_path / f"c.{suffix}")
    read_file = geopandas.read_parquet if suffix == "parquet" else geopandas.read_file
    assert len(read_file(tmp_path / f"c.{suffix}")) == result.stats["polygons"] > 0


def test_pictures_and_report(tmp_path):
    result, _ = run(tmp_path, quicklook=tmp_path / "q.png", report=tmp_path / "r.html", polygons=tmp_path / "c.gpkg")
    assert (tmp_path / "q.png").read_bytes().startswith(b"\x89PNG")
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "before.tif" in html and "http://" not in html.replace("http://www.w3.org", "")
    assert set(result.outputs) == {"change", "quicklook", "report", "polygons"}
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"model": "cav"}, UnknownModelError, "did you mean cva"),
        ({"model": "nowhere.safetensors"}, UnknownModelError, "nowhere.safetensors"),
        ({"model": "cva", "polygons": "c.xyz"}, UsageError, "c.xyz"),
        ({"model": "cva", "report": "c.txt"}, UsageError, ".html"),
        ({"model": "cva", "probability": "p.png"}, UsageError, "p.png"),
        ({"model": "cva", "min_aera": 3}, UsageError, "did you mean 'min_area'"),
        ({"model": "cva", "transitions": "t.tif"}, ModelTaskError, "--transitions"),
        ({"model": "cva", "class_extent": "changed"}, UsageError, "--before-classes"),
        ({"model": "cva", "bands_before": "1,2"}, BandsError, "2"),
        ({"model": "cva", "bands_before": "9"}, UsageError, "9"),
    ],
)
def test_wrong_use_names_the_option(tmp_path, options, error, says, monkeypatch):
    before, after, _ = make_pair(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=says.replace(".", r"\.")):
        detect(before, after, "c.tif", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_outputs_are_protected(tmp_path):
    before, after, _ = make_pair(tmp_path)
    original = (tmp_path / "before.tif").read_bytes()
    with pytest.raises(OutputIsInputError):
        detect(before, after, before, "cva", overwrite=True)
    (tmp_path / "c.tif").write_bytes(b"old")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        detect(before, after, tmp_path / "c.tif", "cva")
    assert (tmp_path / "c.tif").read_bytes() == b"old"
    assert (tmp_path / "before.tif").read_bytes() == original
    detect(before, after, tmp_path / "c.tif", "cva", overwrite=True)
    assert read(tmp_path / "c.tif").shape == (300, 400)


def test_resume_of_a_finished_output_says_so(tmp_path):
    run(tmp_path)
    stamp = (tmp_path / "change.tif").stat().st_mtime_ns
    sink = CollectSink()
    result = detect(
        tmp_path / "before.tif", tmp_path / "after.tif", tmp_path / "change.tif", "cva", resume=True,
        reporter=Reporter(sink),
    )  # fmt: skip
    assert (tmp_path / "change.tif").stat().st_mtime_ns == stamp
    assert any("finished already" in event.get("message", "") for event in sink.events)
    assert result.outputs["change"].endswith("change.tif")


def test_public_face():
    assert cdengine.detect is detect
    assert set(cdengine.__all__) >= {"detect", "DetectionResult", "load_model", "__version__"}


def test_resume_takes_up_the_statistics(tmp_path, monkeypatch):
    """What a method found out about the pair is in the journal; only pixels are still to be computed."""
    before, after, _ = make_pair(tmp_path)
    reference = detect(before, after, tmp_path / "a.tif", "irmad")

    def dies(*_):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("cdengine.inference.detect.Runner.run", dies)
        with pytest.raises(RuntimeError):
            detect(before, after, tmp_path / "b.tif", "irmad", resume=True)
    sink = CollectSink()
    result = detect(before, after, tmp_path / "b.tif", "irmad", resume=True, reporter=Reporter(sink))
    stages = {event["stage"] for event in sink.events if event["event"] == "progress"}
    assert "detect" in stages and "statistics" not in stages
    assert np.array_equal(read(tmp_path / "a.tif"), read(tmp_path / "b.tif"))
    assert result.stats["statistic_threshold"] == reference.stats["statistic_threshold"]


def test_classes_and_transitions_of_a_semantic_detector(tmp_path, monkeypatch):
    """Every output that a model with classes has, from one consistent decision per pixel."""
    monkeypatch.setitem(METHODS_TABLE, "semantic", Semantic)
    before, after, _ = make_pair(tmp_path, bands=3)
    result = detect(
        before, after, tmp_path / "c.tif", "semantic",
        threshold=0.2, before_classes=tmp_path / "b.tif", after_classes=tmp_path / "a.tif",
        transitions=tmp_path / "t.tif", polygons=tmp_path / "c.gpkg", report=tmp_path / "r.html",
    )  # fmt: skip
    change, old, new = read(tmp_path / "c.tif"), read(tmp_path / "b.tif"), read(tmp_path / "a.tif")
    transitions = read(tmp_path / "t.tif")
    assert transitions.dtype == np.uint16
    assert np.array_equal(transitions, np.where(change == 1, 1 + old.astype(int) * 3 + new, 0))
    frame = geopandas.read_file(tmp_path / "c.gpkg")
    assert set(frame.columns) >= {"from_class", "to_class", "area_m2", "probability"}
    names = ("low", "middle", "high")
    assert set(zip(frame.from_class, frame.to_class, strict=True)) == {
        (names[old[at]], names[new[at]]) for at in zip(*np.nonzero(change == 1), strict=True)
    }
    figures = [value for name, value in result.stats.items() if name.startswith("transition_m2")]
    assert sum(figures) == pytest.approx(result.stats["changed_area_m2"])
    counted = {name: value for name, value in result.stats.items() if name.startswith("transition_px ")}
    assert counted == {
        f"transition_px {names[i]} → {names[j]}": ((change == 1) & (old == i) & (new == j)).sum()
        for i in range(3)
        for j in range(3)
        if ((change == 1) & (old == i) & (new == j)).any()
    }
    assert "Share of the change" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "middle" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "options", [{"ensemble": ["cva", "sfa"]}, {"model": "cva", "ensemble": ["irmad"], "tta": "flip"}]
)
def test_an_ensemble_of_methods_needs_no_model(tmp_path, options):
    result, truth = run(tmp_path, **{"model": "default", **options})
    change = read(result.outputs["change"])
    assert (change[truth == 1] == 1).mean() > 0.5


@pytest.mark.parametrize(("resume", "says"), [(True, "go on with --resume"), (False, "nothing was written")])
def test_a_stop_tells_whether_it_goes_on(tmp_path, resume, says):
    before, after, _ = make_pair(tmp_path)
    cancellation = Cancellation()

    class Stop:
        def emit(self, event):
            if event.get("stage") == "detect":
                cancellation.cancel()

    with pytest.raises(Cancelled, match=says):
        detect(
            before,
            after,
            tmp_path / "c.tif",
            "irmad",
            resume=resume,
            reporter=Reporter(Stop(), cancellation=cancellation),
        )
    assert (tmp_path / ".c.tif.cdengine").exists() == resume and not (tmp_path / "c.tif").exists()
    again = detect(before, after, tmp_path / "c.tif", "irmad", resume=resume)
    assert np.array_equal(
        read(again.outputs["change"]), read(detect(before, after, tmp_path / "d.tif", "irmad").outputs["change"])
    )


def test_a_run_killed_while_its_journal_goes_counts_as_finished(tmp_path, monkeypatch):
    before, after, _ = make_pair(tmp_path)
    monkeypatch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)
    first = detect(before, after, tmp_path / "change.tif", "cva")
    assert list((tmp_path / ".change.tif.cdengine").iterdir())  # the parts are still there
    again = detect(before, after, tmp_path / "change.tif", "cva", resume=True)
    assert again.stats["changed_px"] == first.stats["changed_px"]


def test_shaping_polygons_that_nobody_asked_for_is_told(tmp_path):
    sink = CollectSink()
    run(tmp_path, min_area=50, reporter=Reporter(sink))
    assert any("give --polygons too" in event.get("message", "") for event in sink.events)


@pytest.mark.parametrize("wrong", [{"min_area": "10 ha"}, {"simplify": float("nan")}, {"threshold": "otsu"}])
def test_what_is_no_number_is_told(tmp_path, wrong):
    with pytest.raises(UsageError, match="--"):
        run(tmp_path, **wrong)
