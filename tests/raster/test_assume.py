"""A CRS that the user states: only for files without one, and never a guess."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from reading import NORTH_UP, UTM, smooth, write

from cdengine.errors import NoCrsError, UsageError
from cdengine.events import CollectSink, Reporter
from cdengine.raster.align import align
from cdengine.raster.pair import Pair
from cdengine.raster.quiet import opened

MOVED = NORTH_UP @ Affine.translation(20, -10)


def placed(path, pixels, transform, crs=None):
    """A raster with a geotransform and no CRS."""
    count, height, width = pixels.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": pixels.dtype}
    with opened(path, "w", crs=crs, transform=transform, **profile) as dataset:
        dataset.write(pixels)
    return str(path)


@pytest.fixture
def files(tmp_path, rng):
    """Each date with a CRS and without; AFTER lies 20 columns east and 10 rows north."""
    images = {"before": (smooth(rng, 2, 60, 70), NORTH_UP), "after": (smooth(rng, 2, 60, 70), MOVED)}
    return {
        (date, bool(crs)): placed(tmp_path / f"{date}_{crs is None}.tif", pixels, transform, crs)
        for date, (pixels, transform) in images.items()
        for crs in (UTM, None)
    }


def said(sink, level):
    return [event["message"] for event in sink.events if event.get("level") == level]


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True), (False, False)])
def test_files_without_a_crs_are_as_if_they_had_it(files, before, after):
    with Pair.open(files["before", True], files["after", True]) as pair:
        expected = pair.read(pair.grid.window)
    sink = CollectSink()
    lacking = files["before", before], files["after", after]
    with Pair.open(*lacking, assume_crs=UTM, reporter=Reporter(sink)) as pair:
        found = pair.read(pair.grid.window)
        assert pair.grid.crs.to_epsg() == 32632
        pair.check_unchanged()
        with pair.with_shift((0.0, 0.0)) as same:
            assert same.grid.crs is not None
    assert np.array_equal(found.valid, expected.valid) and expected.valid.sum() == 50 * 50
    assert np.array_equal(found.after[:, found.valid], expected.after[:, found.valid])
    assert len([text for text in said(sink, "info") if f"{UTM} is assumed" in text]) == 2 - before - after


def test_a_crs_of_the_file_is_never_replaced(files):
    sink = CollectSink()
    with Pair.open(
        files["before", True], files["after", True], assume_crs="EPSG:4326", reporter=Reporter(sink)
    ) as pair:
        assert {grid.crs.to_epsg() for grid in pair.grids} == {32632}
    assert any("--assume-crs EPSG:4326 is not used" in text for text in said(sink, "warning"))


def test_without_it_the_option_is_offered(files):
    with pytest.raises(NoCrsError, match=r"^AFTER \(.*after_True.tif\) has no .*--assume-crs"):
        Pair.open(files["before", True], files["after", False])


def test_a_file_without_any_place_is_not_placed_by_a_crs(files, tmp_path, rng):
    nowhere = placed(tmp_path / "nowhere.tif", smooth(rng, 2, 60, 70), Affine.identity())
    sink = CollectSink()
    with pytest.raises(NoCrsError, match=r"nowhere.tif\) has no place on earth .*-a_ullr"):
        Pair.open(files["before", True], nowhere, assume_crs=UTM, reporter=Reporter(sink))
    assert any("not used for AFTER" in text and "geotransform" in text for text in said(sink, "warning"))
    with Pair.open(nowhere, nowhere, assume_crs=UTM) as pair:  # pixel by pixel, as without the option
        assert pair.grid.crs is None


@pytest.mark.parametrize("text", ["EPSG:99999", "mars", "", "EPSG:", "EPSG:5773", "32632.5", "+proj=nonsense"])
def test_what_is_no_crs_is_wrong_usage(files, text):
    with pytest.raises(UsageError, match=r"^--assume-crs '.*EPSG:32632") as caught:
        Pair.open(files["before", True], files["after", False], assume_crs=text)
    assert "\n" not in str(caught.value)


def test_align_writes_it(files, tmp_path):
    align(files["before", False], files["after", False], tmp_path / "o.tif", align="auto", assume_crs=UTM)
    with rasterio.open(tmp_path / "o.tif") as file, rasterio.open(files["after", True]) as after:
        assert file.crs.to_epsg() == 32632
        assert np.array_equal(file.read()[:, :50, 20:], after.read()[:, 10:, :50])


def test_other_words_than_a_code(files):
    wkt = rasterio.crs.CRS.from_epsg(32632).to_wkt()
    for text in (wkt, "+proj=utm +zone=32 +datum=WGS84 +units=m +no_defs"):
        with Pair.open(files["before", False], files["after", False], assume_crs=text) as pair:
            assert pair.grid.crs.is_projected


def test_the_warnings_are_about_what_was_written(tmp_path, rng):
    """A raster with ground control points has the CRS of its points: nothing is assumed for it."""
    from rasterio.control import GroundControlPoint

    path = tmp_path / "gcps.tif"
    with opened(path, "w", driver="GTiff", count=2, height=60, width=70, dtype="uint16") as dataset:
        dataset.write(smooth(rng, 2, 60, 70))
        corners = [(0, 0), (0, 70), (60, 0), (60, 70)]
        points = [GroundControlPoint(row, col, *(NORTH_UP @ (col, row)), 0) for row, col in corners]
        dataset.gcps = (points, rasterio.crs.CRS.from_epsg(32632))
    after = write(tmp_path / "after.tif", smooth(rng, 2, 60, 70))
    sink = CollectSink()
    with Pair.open(str(path), after, assume_crs="EPSG:4326", reporter=Reporter(sink)) as pair:
        assert pair.grid.crs.to_epsg() == 32632
    assert any("is not used" in text for text in said(sink, "warning"))
