"""How two rasters lie to each other: refusals that say what differs, and a round earth."""

import tracemalloc

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform
from reading import NORTH_UP, PLACES, gdal_warp, latlon, noise, smooth, twin, write

from cdengine import errors
from cdengine.events import CollectSink, Reporter
from cdengine.raster.grid import Window
from cdengine.raster.pair import Pair


# ------------------------------------------------------------------ refusals
def test_strict_says_what_differs(tmp_path, rng):
    before, after = twin(tmp_path, rng, to=NORTH_UP @ Affine.translation(0.25, -1.5), size=(300, 321))
    with pytest.raises(errors.GridMismatchError) as caught:
        Pair.open(before, after, align="strict")
    text = str(caught.value)
    assert "size (320 x 300 and 321 x 300" in text and "-1.500 rows, +0.250 columns" in text
    before, after = twin(tmp_path, rng, to=latlon(), crs="EPSG:4326")
    with pytest.raises(errors.GridMismatchError, match="EPSG:32632 and EPSG:4326"):
        Pair.open(before, after, align="strict")
    before, after = twin(tmp_path, rng, to=NORTH_UP @ Affine.rotation(3))
    with pytest.raises(errors.GridMismatchError, match="rotation"):
        Pair.open(before, after, align="strict")
    before, after = twin(tmp_path, rng, to=PLACES["southup"][0])
    with pytest.raises(errors.GridMismatchError):
        Pair.open(before, after, align="strict")
    before, after = twin(tmp_path, rng)
    with Pair.open(before, after, align="strict") as pair:
        assert pair.alignment.kind == "same"


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # of writing
def test_pairs_without_crs(tmp_path, rng):
    plain = [write(tmp_path / f"{n}.tif", smooth(rng, 1, 50, 60), Affine.identity(), None) for n in "ab"]
    placed = write(tmp_path / "c.tif", smooth(rng, 1, 50, 60))
    other = write(tmp_path / "d.tif", smooth(rng, 1, 50, 61), Affine.identity(), None)
    sink = CollectSink()
    with Pair.open(*plain, reporter=Reporter(sink)) as pair:
        assert pair.grid.crs is None and pair.alignment.kind == "same"
        assert pair.read(pair.window).valid.all()
    assert any(e["level"] == "warning" and "areas are in pixels" in e["message"] for e in sink.events)
    for one, two, lacking in ((plain[0], placed, "BEFORE"), (placed, plain[0], "AFTER")):
        with pytest.raises(errors.NoCrsError, match=rf"^{lacking} \(.*a\.tif\) has no"):
            Pair.open(one, two)
    with pytest.raises(errors.NoCrsError, match="61 x 50"):
        Pair.open(plain[0], other)


def test_no_overlap_gives_distance_and_extents(tmp_path, rng):
    before, after = twin(tmp_path, rng, to=NORTH_UP @ Affine.translation(10000, 0))
    with pytest.raises(errors.NoOverlapError, match=r"96\.\d km apart") as caught:
        Pair.open(before, after)
    assert str(caught.value).count("longitude") == 2
    far = Affine(1e-4, 0, -120, 0, -1e-4, -30)
    with pytest.raises(errors.NoOverlapError, match=r"1\d,\d{3}\.\d km apart"):
        Pair.open(*twin(tmp_path, rng, to=far, crs="EPSG:4326"))


def test_small_overlap_warns_and_runs(tmp_path, rng):
    before, after = twin(tmp_path, rng, to=NORTH_UP @ Affine.translation(318, 290))
    with Pair.open(before, after) as pair:
        assert pair.window == Window(290, 318, 10, 2)
        assert any("0.02%" in note for note in pair.notes)
        assert pair.read(pair.grid.window).valid.sum() == 20


def test_far_resolutions_are_refused_unless_forced(tmp_path, rng):
    before, after = twin(tmp_path, rng, to=NORTH_UP @ Affine.scale(100), size=(20, 20))
    with pytest.raises(errors.ResolutionError, match=r"100 times.*--allow-coarse"):
        Pair.open(before, after)
    with Pair.open(before, after, allow_coarse=True) as pair:
        assert any("100 times" in note for note in pair.notes)
        assert pair.read(Window(0, 0, 100, 100)).valid.all()
    with Pair.open(after, before, allow_coarse=True) as pair:  # the finer one is averaged over a coarse pixel
        block = pair.read(Window(0, 0, 3, 3))
        with rasterio.open(before) as dataset:
            mean = dataset.read()[:, :300, :300].reshape(2, 3, 100, 3, 100).mean((2, 4))
        assert block.valid.all() and np.abs(block.after - mean).max() < 0.02 * mean.max()


def test_a_much_finer_date_takes_little_memory(tmp_path, rng):
    """64 fine pixels a side of a grid pixel: what is resampled at a time must shrink, or it is the whole file."""
    before = write(tmp_path / "a.tif", noise(rng, 1, 80, 80), NORTH_UP @ Affine.scale(64))
    fine = np.repeat(np.repeat(noise(rng, 1, 80, 80).astype("uint8"), 64, 1), 64, 2)
    after = write(tmp_path / "b.tif", fine, tiled=True, compress="deflate")
    with Pair.open(before, after) as pair:
        pair._after.reader.budget = 16 << 20
        tracemalloc.start()
        block = pair.read(pair.grid.window)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        part = pair.read(Window(33, 41, 5, 7))
    assert np.array_equal(block.after, fine[:, ::64, ::64])
    assert np.array_equal(part.after, block.after[:, 33:38, 41:48])
    assert peak < 120e6  # 26 million pixels in float32 alone are 105


def test_unknown_transformation(tmp_path, rng):
    local = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]')
    before, after = twin(tmp_path, rng)
    with rasterio.open(after, "r+") as dataset:
        dataset.crs = local
    with pytest.raises(errors.ProjError, match="doctor"):
        Pair.open(before, after)
    with rasterio.open(before, "r+") as dataset:
        dataset.crs = local
    with Pair.open(before, after) as pair:  # both on the same local grid
        assert pair.alignment.kind == "same"


# ------------------------------------------------------------------ the earth is round
def test_antimeridian(tmp_path, rng):
    """A UTM zone 60 raster that crosses 180 degrees, against longitudes below -180, above 180 and cut in two."""
    (x,), (y,) = transform("EPSG:4326", "EPSG:32660", [179.99], [-17.0])
    size = (200, 300)
    before = write(tmp_path / "a.tif", smooth(rng, 1, *size, "float32"), Affine(10, 0, x, 0, -10, y), "EPSG:32660")
    scene = smooth(rng, 1, 260, 400, "float32")
    results = []
    for name, west in (("east.tif", 179.985), ("west.tif", 179.985 - 360)):
        after = write(tmp_path / name, scene, Affine(1e-4, 0, west, 0, -1e-4, -16.999), "EPSG:4326")
        with Pair.open(before, after) as pair:
            block = pair.read(pair.grid.window)
            assert block.valid.mean() > 0.95
            results.append(block.after)
        with Pair.open(before, after, grid="after") as pair:
            assert pair.read(pair.grid.window).valid.mean() > 0.4
    assert np.allclose(*results, atol=1e-5)
    with Pair.open(str(tmp_path / "east.tif"), str(tmp_path / "west.tif")) as pair:
        block = pair.read(pair.grid.window)
        assert block.valid.all() and np.allclose(block.before, block.after, atol=1e-6)


def test_polar_pair(tmp_path, rng):
    before = write(tmp_path / "a.tif", noise(rng, 1, 100, 100), Affine(2000, 0, -1e5, 0, -2000, 1e5), "EPSG:3413")
    after = write(
        tmp_path / "b.tif",
        noise(rng, 1, 200, 1800),
        Affine(0.2, 0, -180, 0, -0.01, 90),
        "EPSG:4326",
    )
    with Pair.open(before, after) as pair:
        block = pair.read(pair.grid.window)
        assert pair.window == pair.grid.window  # the pole is inside
        assert block.valid.mean() > 0.95
        _, inside = gdal_warp(after, pair, (1,))
        away = np.hypot(*np.mgrid[-49.5:50, -49.5:50]) > 10  # GDAL's kernel widens where the source is much finer
        assert (block.valid == inside)[away].mean() > 0.99
