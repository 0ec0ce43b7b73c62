"""Two dates as one source: bit-equal however they are read, each block decoded once, threads that end."""

import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from reading import NORTH_UP, PLACES, joined, noise, smooth, twin, write

from cdengine import errors
from cdengine.events import Cancellation, CollectSink, Reporter
from cdengine.raster.grid import Window
from cdengine.raster.pair import Pair
from cdengine.raster.projection import Projection


# ------------------------------------------------------------------ one answer, however it is read
@pytest.mark.parametrize("place", PLACES)
def test_any_split_of_reading_gives_the_same_bits(tmp_path, rng, place):
    to, crs = PLACES[place]
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


def test_a_strip_is_gone_once_its_reader_lets_go_of_it(tmp_path, rng):
    """A wide one is hundreds of megabytes."""
    before = write(tmp_path / "a.tif", smooth(rng, 1, 1000, 80))
    with Pair.open(before, before) as pair:
        strips = pair.strips()
        first = weakref.ref(next(strips).before)
        assert first() is None
        strips.close()


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


@pytest.mark.parametrize("align", ["auto", "register"])
def test_a_coarse_transformation_is_told_with_what_is_left_to_do(tmp_path, rng, monkeypatch, align):
    monkeypatch.setattr(Projection, "warning", lambda *_: "the CRSs are brought together roughly")
    to, crs = PLACES["othercrs"]
    before, after = twin(tmp_path, rng, to=to, crs=crs, dtype="float32")
    with Pair.open(before, after, align=align) as pair:
        (told,) = [note for note in pair.notes if "roughly" in note]
    assert ("--align register" in told) == (align == "auto")
