"""Two dates on one grid: bit-equal however they are read, equal to GDAL's own warp, and clear refusals."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.warp import Resampling, transform
from reading import NORTH_UP, UTM, smooth, write

from cdengine import errors
from cdengine.events import Cancellation, CollectSink, Reporter
from cdengine.raster.grid import Window
from cdengine.raster.pair import Pair

OSCD = ["bercy", "abudhabi", "beihai", "saclay_e", "aguasclaras", "bordeaux", "nantes"]


def joined(blocks):
    blocks = list(blocks)
    return (
        np.concatenate([b.before for b in blocks], axis=1),
        np.concatenate([b.after for b in blocks], axis=1),
        np.concatenate([b.valid for b in blocks]),
    )


def gdal_warp(path, pair, bands):
    """The date by GDAL's warper at full extent, all but exact transformer; and where it has data.

    (A WarpedVRT, since rasterio's `reproject` does not hand its tolerance on: it is off by up to 0.02 px here.)
    """
    grid = pair.grid
    place = {
        "crs": grid.crs,
        "transform": grid.transform,
        "height": grid.height,
        "width": grid.width,
        "tolerance": 1e-9,
    }
    with rasterio.open(path) as dataset, WarpedVRT(dataset, resampling=Resampling.bilinear, **place) as view:
        warped = view.read(list(bands))
        masks = np.logical_and.reduce([dataset.read_masks(band) for band in bands])
        where = {"crs": dataset.crs, "transform": dataset.transform}
    return warped, nearest(masks, where, place)


def nearest(mask, where, place):
    """A mask that lies at `where` on the grid of `place`: True where the pixel's centre falls on True."""
    height, width = mask.shape
    options = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": height, "width": width, **where}
    with MemoryFile() as memory:
        with memory.open(**options) as dataset:
            dataset.write(mask.astype("uint8"), 1)
        with memory.open() as dataset, WarpedVRT(dataset, resampling=Resampling.nearest, **place) as view:
            return view.read(1).astype(bool)


def twin(tmp_path, rng, name="b.tif", to=NORTH_UP, crs=UTM, size=(300, 320), dtype="uint16", **options):
    """Two rasters made apart; the second placed by `to` and `crs`."""
    before = write(tmp_path / "a.tif", smooth(rng, 2, 300, 320, dtype), tiled=True, blockxsize=64, blockysize=64)
    after = write(tmp_path / name, smooth(rng, 2, *size, dtype), to, crs, **options)
    return before, after


def latlon(px=10.0, size=(300, 320)):
    """A geographic grid over the same ground as NORTH_UP's first 320 x 300 pixels."""
    (west,), (north,) = transform(UTM, "EPSG:4326", [500000], [5500000])
    return Affine(px / 71600, 0, west, 0, -px / 111200, north)


def noise(rng, bands, height, width):
    return rng.integers(1, 999, (bands, height, width)).astype("uint16")


PLACES = {
    "same": (NORTH_UP, UTM),
    "whole": (NORTH_UP @ Affine.translation(-17, 9), UTM),
    "subpixel": (NORTH_UP @ Affine.translation(2.3, -5.6), UTM),
    "scaled": (NORTH_UP @ Affine.scale(1.04, 0.97), UTM),
    "rotated": (NORTH_UP @ Affine.rotation(12), UTM),
    "sheared": (NORTH_UP @ Affine.shear(5, 3), UTM),
    "southup": (Affine(10, 0, 500000, 0, 10, 5497000), UTM),
    "geographic": (latlon(), "EPSG:4326"),
    "othercrs": (Affine(12, 0, 68000, 0, -12, 5530000), "EPSG:32633"),
}


# ------------------------------------------------------------------ one answer, however it is read
@pytest.mark.parametrize("place", PLACES)
def test_any_split_of_reading_gives_the_same_bits(tmp_path, rng, place):
    to, crs = PLACES[place]
    if place == "othercrs":
        (x,), (y,) = transform(UTM, crs, [500000], [5500000])
        to = Affine(10, 0, x, 0, -10, y)
    before, after = twin(tmp_path, rng, to=to, crs=crs, dtype="float32")
    with Pair.open(before, after) as pair:
        whole = pair.read(pair.window)
        assert whole.valid.any()
        for workers in (1, 3):
            parts = joined(pair.strips(workers=workers))
            for mine, theirs in zip((whole.before, whole.after, whole.valid), parts, strict=True):
                assert np.array_equal(mine, theirs)
        for _ in range(12):
            row, col = rng.integers(0, pair.window.height), rng.integers(0, pair.window.width)
            window = Window(pair.window.row + int(row), pair.window.col + int(col), 90, 45).intersect(pair.window)
            block = pair.read(window)
            rows, cols = window.within(pair.window).slices
            assert np.array_equal(block.after, whole.after[:, rows, cols])
            assert np.array_equal(block.before, whole.before[:, rows, cols])
            assert np.array_equal(block.valid, whole.valid[rows, cols])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64", "int32"])
def test_resampling_equals_gdals_warper(tmp_path, rng, place, dtype):
    to, crs = PLACES[place]
    if place == "othercrs":
        (x,), (y,) = transform(UTM, crs, [500000], [5500000])
        to = Affine(10, 0, x, 0, -10, y)
    before, after = twin(tmp_path, rng, to=to, crs=crs, dtype=dtype)
    with Pair.open(before, after) as pair:
        block = pair.read(pair.grid.window)
        expected, inside = gdal_warp(after, pair, (1, 2))
        assert (block.valid == inside).mean() > 0.9995  # centres on a source pixel's edge may fall to either side
        both = block.valid & inside
        assert both.mean() > 0.3
        difference = np.abs(block.after.astype(float) - expected)[:, both]
        assert difference.max() <= (1e-5 if dtype.startswith("float") else 1 if dtype != "int32" else 10)
        assert pair.alignment.kind == {"same": "same", "whole": "same"}.get(
            place, "warped" if crs != UTM else "resampled"
        )


def test_whole_pixel_offsets_are_plain_copies(tmp_path, rng):
    before, after = twin(tmp_path, rng, to=NORTH_UP @ Affine.translation(-17, 9))
    with rasterio.open(after) as dataset:
        pixels = dataset.read()
    with Pair.open(before, after) as pair:
        block = pair.read(Window(9, 0, 291, 303))
        assert np.array_equal(block.after, pixels[:, :291, 17:])
        assert pair.window == Window(9, 0, 291, 303)
        with pytest.raises(errors.GridMismatchError):
            Pair.open(before, after, align="strict")


def test_finer_after_is_averaged_not_skipped(tmp_path, rng):
    """Stripes one fine pixel wide must come out grey, not as whichever stripe the centre hits."""
    fine = np.zeros((1, 400, 400), "uint8")
    fine[:, :, ::2] = 200
    before = write(tmp_path / "a.tif", smooth(rng, 1, 100, 100, "uint8"))
    after = write(tmp_path / "b.tif", fine, NORTH_UP @ Affine.scale(0.25))
    with Pair.open(before, after) as pair:
        inner = pair.read(Window(2, 2, 96, 96)).after
        assert inner.min() >= 95 and inner.max() <= 105
        assert any("4 times as wide" in note for note in pair.notes)
    with Pair.open(before, after, grid="finer") as pair:
        assert pair.grid.height == 400
        assert pair.alignment.resampled == "before"
    with Pair.open(before, after, grid="after") as pair:
        assert np.array_equal(pair.read(pair.window).after, fine)


# ------------------------------------------------------------------ nodata
@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
@pytest.mark.parametrize("way", ["nodata", "nan", "mask", "alpha"])
def test_nodata_never_bleeds_into_data(tmp_path, rng, crs, way):
    hole = np.zeros((300, 320), bool)
    hole[100:140, 50:200] = True
    hole[200, 200] = True
    pixels = np.full((1, 300, 320), 1000, "float32" if way == "nan" else "uint16")
    pixels[0, hole] = {"nodata": 0, "nan": np.nan, "mask": 60000, "alpha": 60000}[way]
    options = {"nodata": 0} if way == "nodata" else {"mask": ~hole} if way == "mask" else {}
    if way == "alpha":
        pixels = np.concatenate([pixels, np.where(hole, 0, 65535).astype("uint16")[None]])
        options = {"ALPHA": "YES"}
    before = write(tmp_path / "a.tif", smooth(rng, 1, 300, 320))
    to = latlon() if crs != UTM else NORTH_UP @ Affine.translation(0.4, 0.3)
    after = write(tmp_path / "b.tif", pixels, to, crs, **options)
    with Pair.open(before, after) as pair:
        block = pair.read(pair.grid.window)
        assert np.allclose(block.after[0, block.valid], 1000, rtol=2e-7, atol=0)
        place = {"crs": UTM, "transform": NORTH_UP, "height": 300, "width": 320, "tolerance": 1e-9}
        expected = nearest(~hole, {"crs": crs, "transform": to}, place)
        assert (block.valid != expected).mean() < 5e-4
        assert not block.valid.all()


def test_validity_is_that_of_both_dates(tmp_path, rng):
    one, two = np.full((1, 50, 60), 7, "uint8"), np.full((1, 50, 60), 9, "uint8")
    one[0, :10], two[0, :, :20] = 0, 0
    a, b = write(tmp_path / "a.tif", one, nodata=0), write(tmp_path / "b.tif", two, nodata=0)
    with Pair.open(a, b) as pair:
        expected = np.ones((50, 60), bool)
        expected[:10], expected[:, :20] = False, False
        assert np.array_equal(pair.read(pair.window).valid, expected)
    empty = write(tmp_path / "c.tif", np.zeros((1, 50, 60), "uint8"), nodata=0)
    with Pair.open(a, empty) as pair:
        assert not any(block.valid.any() for block in pair.strips())


# ------------------------------------------------------------------ residual shift, window
def test_shift_of_after_is_removed(tmp_path, rng):
    scene = smooth(rng, 1, 140, 140, "float32")
    before = write(tmp_path / "a.tif", scene[:, 10:110, 10:110])
    # AFTER's content lies 3 rows further down and 2 columns further left than BEFORE's
    after = write(tmp_path / "b.tif", scene[:, 7:107, 12:112])
    with Pair.open(before, after) as pair, pair.with_shift((3.0, -2.0)) as moved:
        block = moved.read(moved.window)
        assert np.array_equal(block.before[:, block.valid], block.after[:, block.valid])
        assert moved.alignment.shift == (3.0, -2.0) and "+3.000 rows" in moved.alignment.text
        assert moved.window == Window(0, 2, 97, 98)
    with Pair.open(before, after, shift=(2.6, -2.0)) as pair:
        block = pair.read(pair.window)
        assert 0 < np.abs(block.before - block.after)[:, block.valid].max() < 0.1
        assert pair.alignment.kind == "resampled"


def test_limit_and_start_row_cut_whole_strips(tmp_path, rng):
    before = write(tmp_path / "a.tif", smooth(rng, 1, 1000, 80))
    with Pair.open(before, before) as pair:
        every = list(pair.strips())
        rest = list(pair.strips(start_row=every[1].window.row_stop))
        assert [b.window for b in rest] == [b.window for b in every[2:]]
        assert np.array_equal(rest[0].before, every[2].before)
        pair.limit(Window(300, 20, 500, 30))
        assert pair.window == Window(300, 20, 500, 30)
        assert sum(block.window.height for block in pair.strips()) == 500
        with pytest.raises(errors.AoiError):
            pair.limit(Window(0, 0, 10, 10))
    with Pair.open(before, before, window=Window(-5, -5, 20, 20)) as pair:
        assert pair.window == Window(0, 0, 15, 15)


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
        with pytest.raises(errors.NoCrsError, match=f"^{lacking} has no"):
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


def test_far_resolutions_are_refused(tmp_path, rng):
    with pytest.raises(errors.ResolutionError, match="100 times"):
        Pair.open(*twin(tmp_path, rng, to=NORTH_UP @ Affine.scale(100), size=(20, 20)))


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
    before = write(
        tmp_path / "a.tif", smooth(rng, 1, 200, 200, "float32"), Affine(1000, 0, -1e5, 0, -1000, 1e5), "EPSG:3413"
    )
    after = write(
        tmp_path / "b.tif",
        rng.random((1, 200, 3600)).astype("float32"),
        Affine(0.1, 0, -180, 0, -0.01, 90),
        "EPSG:4326",
    )
    with Pair.open(before, after) as pair:
        block = pair.read(pair.grid.window)
        assert pair.window == pair.grid.window  # the pole is inside
        assert block.valid.mean() > 0.95
        expected, inside = gdal_warp(after, pair, (1,))
        away = np.hypot(*np.mgrid[-99.5:100, -99.5:100]) > 20  # GDAL's kernel widens where the source is much finer
        assert (block.valid == inside)[away].mean() > 0.99


# ------------------------------------------------------------------ files of every build
@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"tiled": True, "blockxsize": 16, "blockysize": 16},
        {"tiled": True, "blockxsize": 512, "blockysize": 512},
        {"blockysize": 700, "compress": "none"},
        {"interleave": "band", "tiled": True, "blockxsize": 64, "blockysize": 128},
        {"driver": "PNG", "compress": None},
        {"driver": "JP2OpenJPEG", "compress": None, "REVERSIBLE": "YES", "QUALITY": "100"},
    ],
)
def test_every_layout_gives_the_same_pixels(tmp_path, layout):
    rng = np.random.default_rng(4)
    pixels = smooth(rng, 3, 700, 333, "uint8")
    plain = write(tmp_path / "plain.tif", pixels, tiled=True, blockxsize=128, blockysize=128)
    options = {key: value for key, value in ({"interleave": "pixel"} | layout).items() if value is not None}
    suffix = {"PNG": "png", "JP2OpenJPEG": "jp2"}.get(layout.get("driver"), "tif")
    if suffix != "tif":
        del options["interleave"]
    path = Path(write(tmp_path / f"x.{suffix}", pixels, **options))
    with Pair.open(str(path), plain) as pair:
        before, after, valid = joined(pair.strips(workers=2))
        assert np.array_equal(before, pixels) and np.array_equal(after, pixels) and valid.all()
        for date in (pair._before, pair._after):
            cells = len(date.reader.cells(date.reader.window))
            assert date.reader.decoded == cells  # each decoded once


def test_each_block_is_decoded_once_when_resampled(tmp_path, rng):
    after = write(tmp_path / "b.tif", noise(rng, 2, 1500, 1400), NORTH_UP @ Affine.translation(0.5, 0.5), tiled=True)
    before = write(tmp_path / "large.tif", noise(rng, 2, 1500, 1400), tiled=True)
    with Pair.open(before, after) as pair:
        for _ in pair.strips(workers=3):
            pass
        reader = pair._after.reader
        assert reader.decoded == len(reader.cells(reader.window))


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (7, 5), (90, 1)])
def test_tiny_rasters(tmp_path, rng, size):
    a, b = (write(tmp_path / f"{n}.tif", rng.integers(1, 99, (1, *size)).astype("uint8")) for n in "ab")
    with Pair.open(a, b) as pair:
        before, _, valid = joined(pair.strips())
        assert before.shape == (1, *size) and valid.all()
    with Pair.open(a, b, shift=(0.3, 0.3)) as pair:
        assert pair.read(pair.window).valid.all()


def test_windows_beyond_the_raster_are_not_data(tmp_path, rng):
    before, after = twin(tmp_path, rng)
    with Pair.open(before, after) as pair:
        assert not pair.read(Window(5000, 5000, 10, 10)).valid.any()
        block = pair.read(Window(-5, -5, 20, 20))
        assert block.before.shape == (2, 20, 20) and block.valid.sum() == 15 * 15


def test_bands_of_either_date(tmp_path, rng):
    before, after = twin(tmp_path, rng)
    with Pair.open(before, after, bands_before="2", bands_after=[2, 1, 2]) as pair:
        assert (pair.before.count, pair.after.count) == (1, 3)
        block = pair.read(pair.window)
        assert np.array_equal(block.after[0], block.after[2])
    with pytest.raises(errors.BandNumberError, match="AFTER"):
        Pair.open(before, after, bands_after="3")


# ------------------------------------------------------------------ threads, faults, cancel
def corrupt(path, rng):
    """Overwrites the compressed bytes of one block of a tiled GeoTIFF in its middle."""
    data = bytearray(Path(path).read_bytes())
    with rasterio.open(path) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_2_1", "TIFF", bidx=1))
        size = int(dataset.get_tag_item("BLOCK_SIZE_2_1", "TIFF", bidx=1))
    data[offset : offset + size] = rng.integers(0, 255, size, dtype=np.uint8).tobytes()
    Path(path).write_bytes(data)


@pytest.mark.parametrize("shift", [(0, 0), (0.5, 0.5)])
def test_a_damaged_block_is_named_and_threads_end(tmp_path, rng, shift):
    before, after = twin(tmp_path, rng, tiled=True, blockxsize=64, blockysize=64, interleave="pixel")
    corrupt(after, rng)
    with (
        Pair.open(before, after, shift=shift) as pair,
        pytest.raises(errors.CorruptBlockError, match="rows 64-127, columns 128-191") as caught,
    ):
        list(pair.strips(workers=3))
    assert after in str(caught.value) and "\n" not in str(caught.value)
    assert not [t for t in threading.enumerate() if t.name.startswith("cdengine-read")]


def test_closing_and_cancelling_end_the_threads(tmp_path, rng):
    before = write(tmp_path / "a.tif", noise(rng, 2, 3000, 700), tiled=True)
    cancellation = Cancellation()
    with Pair.open(before, before, reporter=Reporter(CollectSink(), cancellation)) as pair:
        strips = pair.strips(workers=3)
        next(strips)
        strips.close()
        assert not [t for t in threading.enumerate() if t.name.startswith("cdengine-read")]
        strips = pair.strips(workers=3)
        next(strips)
        cancellation.cancel()
        began = time.monotonic()
        with pytest.raises(errors.Cancelled):
            list(strips)
        assert time.monotonic() - began < 1
        assert not [t for t in threading.enumerate() if t.name.startswith("cdengine-read")]


def test_a_changed_input_is_noticed(tmp_path, rng):
    before, after = twin(tmp_path, rng)
    with Pair.open(before, after) as pair:
        pair.check_unchanged()
        write(after, smooth(rng, 2, 300, 320))
        with pytest.raises(errors.ChangedError, match=r"b\.tif"):
            pair.check_unchanged()
        Path(after).unlink()
        with pytest.raises(errors.ChangedError):
            pair.check_unchanged()


# ------------------------------------------------------------------ real pairs
REAL = {
    **{f"oscd/{city}": ("before.tif", "after.tif") for city in OSCD},
    "landsat_taizhou": ("before.tif", "after.tif"),
    "georef/joplin_two_crs": ("pre_tile_337-10160.tif", "post_tile_31500-6161.tif"),
    "georef/naip_nd": ("20090818.tif", "20180716.tif"),
    "georef/landsat_pucallpa": ("1985.tif", "2020.tif"),
    "georef/uint16_utm21s": ("before.tif", "after.tif"),
    "georef/float32_delhi": ("t1_1_2.tif", "t2_1_2.tif"),
    "georef/float32_delhi/": ("t1_5_5.tif", "t2_5_5.tif"),
}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NodataShadowWarning")  # of GDAL's masks, which are compared with
@pytest.mark.parametrize("place", REAL)
def test_real_pairs_equal_gdals_warper(shared_data, place):
    before, after = (str(shared_data / place / name) for name in REAL[place])
    with Pair.open(before, after) as pair:
        block = pair.read(pair.grid.window)
        parts = joined(pair.strips())
        rows, cols = pair.window.slices
        assert np.array_equal(block.after[:, rows, cols], parts[1])
        assert block.valid[rows, cols].sum() == block.valid.sum() > 0
        with rasterio.open(before) as dataset:
            assert np.array_equal(block.before, dataset.read(list(pair.before.bands)))
        expected, inside = gdal_warp(after, pair, pair.after.bands)
        assert (block.valid & ~inside).mean() < 1e-3
        difference = np.abs(block.after.astype(float) - expected)[:, block.valid & inside]
        assert difference.max() <= 1
        assert difference.mean() < 0.03
        same = place.split("/")[-1] in ("abudhabi", "saclay_e", "naip_nd", "joplin_two_crs", "float32_delhi", "")
        assert (pair.alignment.kind != "same") == same
