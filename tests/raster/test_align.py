"""AFTER on BEFORE's pixels as a file: what GDAL's own warp gives, in AFTER's own type, with the shift removed."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp, Resampling
from rasterio.warp import reproject, transform_bounds
from scipy.ndimage import gaussian_filter

from cdengine.errors import Cancelled, DtypeError, OutputExistsError, OutputIsInputError, UsageError
from cdengine.events import Cancellation, Reporter
from cdengine.raster.align import align

PLACE = Affine(10, 0, 500_000, 0, -10, 4_000_000)


def texture(rng, height=300, width=280, bands=2):
    smooth = [gaussian_filter(rng.standard_normal((height, width)), 2) for _ in range(bands)]
    return np.stack([3000 + 2000 * band for band in smooth]).astype(np.uint16)


def save(path, array, transform=PLACE, crs="EPSG:32651", **options):
    profile = {"driver": "GTiff", "count": len(array), "height": array.shape[1], "width": array.shape[2]}
    profile |= {"dtype": array.dtype, "transform": transform, "crs": crs, **options}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(array)
    return path


def test_same_pixels_are_copied_with_names_and_type(tmp_path, rng):
    bands = texture(rng)
    before = save(tmp_path / "b.tif", bands)
    after = save(tmp_path / "a.tif", bands + 5)
    with rasterio.open(after, "r+") as dataset:
        dataset.descriptions = ("red", "nir")
        dataset.scales, dataset.offsets = (0.1, 0.1), (-1, -1)
    done = align(before, after, tmp_path / "o.tif", align="auto")
    with rasterio.open(tmp_path / "o.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(), bands + 5)
        assert dataset.descriptions == ("red", "nir")
        assert dataset.dtypes == ("uint16", "uint16")
        assert dataset.nodata is None
        assert dataset.scales == (0.1, 0.1)
        assert dataset.offsets == (-1, -1)
        assert dataset.tags()["CDENGINE_AFTER"].endswith("a.tif")
        assert dataset.tags()["CDENGINE_RESIDUAL_SHIFT"] == "not estimated"
    assert done.valid == 1
    assert done.shift is None


@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic"])
@pytest.mark.parametrize("crs", ["EPSG:32651", "EPSG:32652"])
def test_agrees_with_gdal(tmp_path, rng, method, crs):
    """Another origin in the same CRS, and another CRS: GDAL's warp of the same file, kernel by kernel."""
    bands = texture(rng)
    place = PLACE @ Affine.translation(7.3, -4.6)
    if crs == "EPSG:32652":
        box = transform_bounds("EPSG:32651", crs, 500_000, 3_997_000, 502_800, 4_000_000)
        place = Affine(10, 0, box[0], 0, -10, box[3])
    before, after = save(tmp_path / "b.tif", bands), save(tmp_path / "a.tif", bands, place, crs, nodata=0)
    align(before, after, tmp_path / "o.tif", align="auto", resampling=method)
    expected = np.zeros_like(bands)
    there = {"dst_crs": "EPSG:32651", "dst_transform": PLACE, "dst_nodata": 0}
    here = {"src_crs": crs, "src_transform": place, "src_nodata": 0}
    reproject(bands, expected, **here, **there, resampling=Resampling[method], tolerance=0.001)
    with rasterio.open(tmp_path / "o.tif") as dataset:
        assert dataset.nodata == 0
        ours = dataset.read()
    inside = np.zeros((300, 280), bool)
    inside[20:-20, 20:-20] = True
    inside &= (ours[0] != 0) & (expected[0] != 0)
    assert inside.mean() > 0.7
    difference = np.abs(ours.astype(int) - expected)[:, inside]
    if method == "nearest":  # a centre on a pixel's very edge may fall to either side
        assert (difference == 0).mean() > 0.99
    else:
        assert np.percentile(difference, 99) <= 2


def test_residual_shift_is_removed(tmp_path, rng):
    bands = texture(rng)
    before = save(tmp_path / "b.tif", bands)
    after = save(tmp_path / "a.tif", np.roll(bands, (4, -3), (1, 2)))
    done = align(before, after, tmp_path / "o.tif")
    assert (done.shift.rows, done.shift.cols) == (4, -3)
    with rasterio.open(tmp_path / "o.tif") as dataset:
        inner = np.s_[:, 10:-10, 10:-10]
        np.testing.assert_array_equal(dataset.read()[inner], bands[inner])  # whole pixels: moved, not interpolated
        assert "+4.00 rows, -3.00 columns" in dataset.tags()["CDENGINE_RESIDUAL_SHIFT"]
        assert dataset.nodata == 0  # rows that AFTER does not reach any more
        assert (dataset.read(1)[-4:] == 0).all()


def test_no_estimate_is_said_and_the_job_goes_on(tmp_path, rng):
    said = []

    class Listener:
        def emit(self, event):
            said.append(event)

    before = save(tmp_path / "b.tif", texture(rng))
    after = save(tmp_path / "a.tif", texture(rng))
    done = align(before, after, tmp_path / "o.tif", reporter=Reporter(Listener()))
    assert done.shift is None
    assert any(e.get("level") == "warning" and "residual shift not removed" in e["message"] for e in said)
    assert {"register", "align"} <= {event.get("stage") for event in said}


@pytest.mark.parametrize(
    "values, nodata",
    [((1, 250), 0), ((0, 250), 255), ((5, 255), 0), ((0, 255), 0)],
)
def test_nodata_is_a_value_that_is_not_used(tmp_path, rng, values, nodata):
    """Without a nodata of its own: a free value; with none free 0, and data of 0 become 1."""
    bands = rng.integers(values[0], values[1], (1, 200, 200), endpoint=True).astype(np.uint8)
    bands[0, 5, 5], bands[0, 6, 6] = values
    before = save(tmp_path / "b.tif", bands)
    after = save(tmp_path / "a.tif", bands, PLACE @ Affine.translation(50, 0))
    done = align(before, after, tmp_path / "o.tif", align="auto", resampling="nearest")
    with rasterio.open(tmp_path / "o.tif") as dataset:
        assert dataset.nodata == nodata
        ours = dataset.read(1)
    assert (ours[:, :50] == nodata).all()
    expected = bands[0, :, :150].copy()
    if values == (0, 255):
        expected[expected == 0] = 1
    np.testing.assert_array_equal(ours[:, 50:], expected)
    assert done.valid == pytest.approx(0.75)


def test_floats_get_nan_and_a_fourth_band_is_not_alpha(tmp_path, rng):
    before = save(tmp_path / "b.tif", rng.random((4, 100, 100), np.float32))
    after = save(tmp_path / "a.tif", rng.random((4, 100, 100), np.float32), PLACE @ Affine.translation(20, 0))
    align(before, after, tmp_path / "o.tif", align="auto")
    with rasterio.open(tmp_path / "o.tif") as dataset:
        assert np.isnan(dataset.nodata)
        assert np.isnan(dataset.read()[:, :, :20]).all()
    bands = rng.integers(1, 255, (4, 100, 100)).astype(np.uint8)
    after = save(tmp_path / "a8.tif", bands, nodata=0)
    with rasterio.open(after, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined]
    align(before, after, tmp_path / "o8.tif", align="auto")
    with rasterio.open(tmp_path / "o8.tif") as dataset:
        assert [c.name for c in dataset.colorinterp] == ["red", "green", "blue", "undefined"]
        np.testing.assert_array_equal(dataset.read(), bands)


def test_grid_of_after_and_bands(tmp_path, rng):
    before = save(tmp_path / "b.tif", texture(rng))
    bands = texture(rng, 150, 140, 3)
    after = save(tmp_path / "a.tif", bands, PLACE @ Affine.scale(2))
    align(before, after, tmp_path / "o.tif", align="auto", grid="after", bands_after="3,1")
    with rasterio.open(tmp_path / "o.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(), bands[[2, 0]])
    align(before, after, tmp_path / "f.tif", align="auto", grid="finer", bands_after="3,1", cog=True)
    with rasterio.open(tmp_path / "f.tif") as dataset:
        assert dataset.shape == (300, 280)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_refusals_and_failures_leave_everything_as_it_was(tmp_path, rng):
    before, after = save(tmp_path / "b.tif", texture(rng)), save(tmp_path / "a.tif", texture(rng))
    old = tmp_path / "o.tif"
    old.write_text("old")
    with pytest.raises(OutputExistsError):
        align(before, after, old)
    with pytest.raises(OutputIsInputError):
        align(before, after, after, overwrite=True)
    with pytest.raises(UsageError, match="GeoTIFF"):
        align(before, after, tmp_path / "o.png")
    cancellation = Cancellation()

    class Stopper:
        def emit(self, event):
            if event.get("stage") == "align":
                cancellation.cancel()

    with pytest.raises(Cancelled):
        align(before, after, old, overwrite=True, align="auto", reporter=Reporter(Stopper(), cancellation))
    assert old.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"a.tif", "b.tif", "o.tif"}


def test_two_crss_of_joplin(shared_data, tmp_path):
    """The tornado pair: another CRS, partial overlap, and a residual shift of about a pixel.

    Lean and rubble make places differ by a pixel; what is left lies within the spread that was reported.
    """
    folder = shared_data / "georef" / "joplin_two_crs"
    before, after = folder / "pre_tile_337-10160.tif", folder / "post_tile_31500-6161.tif"
    done = align(before, after, tmp_path / "o.tif")
    assert 0.3 < abs(done.shift.rows) < 3
    with rasterio.open(before) as reference, rasterio.open(tmp_path / "o.tif") as dataset:
        assert (dataset.crs, dataset.transform, dataset.shape) == (reference.crs, reference.transform, reference.shape)
    again = align(before, tmp_path / "o.tif", tmp_path / "p.tif")
    assert max(abs(again.shift.rows), abs(again.shift.cols)) < done.shift.spread


@pytest.mark.parametrize("moment", ["write", "overviews", "verify", "replace"])
def test_sigkill_at_any_moment_keeps_the_old_file(tmp_path, rng, moment):
    before, after = save(tmp_path / "b.tif", texture(rng, 700, 600)), save(tmp_path / "a.tif", texture(rng, 700, 600))
    align(before, after, tmp_path / "o.tif", align="auto")
    old = (tmp_path / "o.tif").read_bytes()
    code = """
        import os, signal, sys
        from cdengine.raster import align, publish, sink
        def die(*args, **options): os.kill(os.getpid(), signal.SIGKILL)
        where = {"write": (align.GeoTiffSink, "_flush"), "overviews": (sink, "fill_overviews"),
                 "verify": (sink, "verify"), "replace": (os, "replace")}[sys.argv[4]]
        setattr(*where, die)
        align.align(*sys.argv[1:4], align="auto", overwrite=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), before, after, tmp_path / "o.tif", moment]
    child = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert (tmp_path / "o.tif").read_bytes() == old
    assert len(list(tmp_path.iterdir())) > 3  # what the dead run left,
    align(before, after, tmp_path / "o.tif", align="auto", overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"a.tif", "b.tif", "o.tif"}  # swept by the next


def test_class_rasters_keep_values_and_colours_by_nearest_only(tmp_path, rng):
    before = save(tmp_path / "b.tif", texture(rng))
    classes = rng.integers(0, 3, (1, 300, 280)).astype(np.uint8)
    after = save(tmp_path / "a.tif", classes, PLACE @ Affine.translation(0.3, 0))
    with rasterio.open(after, "r+") as dataset:
        dataset.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255), 2: (0, 0, 255, 255)})
    align(before, after, tmp_path / "o.tif", align="auto", resampling="nearest")
    with rasterio.open(tmp_path / "o.tif") as dataset:
        found = dataset.read(1)
        assert set(np.unique(found[:, 1:])) == {0, 1, 2} and dataset.colormap(1)[2] == (0, 0, 255, 255)
    with pytest.raises(DtypeError):
        align(before, after, tmp_path / "p.tif", align="auto")
