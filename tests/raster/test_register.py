"""The residual shift of real images to a tenth of a pixel, and an honest refusal where there is none to be told."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as moved

from cdengine.errors import Cancelled, NothingToEstimateError
from cdengine.events import Cancellation, Reporter
from cdengine.raster.grid import Window
from cdengine.raster.pair import Pair, PixelBlock
from cdengine.raster.register import estimate_shift

SHIFTS = [(0.3, -0.4), (3.25, -7.7), (-12.4, 15.2), (29.3, 4.5)]


class Arrays:
    """A pair in memory that counts how much of it is read."""

    def __init__(self, before, after, valid=None):
        self.before, self.after = before, after
        self.valid = np.ones(before.shape[1:], bool) if valid is None else valid
        self.window = Window(0, 0, *self.valid.shape)
        self.read_pixels = 0

    def read(self, window):
        rows, cols = window.slices
        self.read_pixels += window.pixels
        return PixelBlock(window, self.before[:, rows, cols], self.after[:, rows, cols], self.valid[rows, cols])


def displaced(bands, shift):
    return np.stack([moved(band, shift, order=3, mode="nearest") for band in bands])


def texture(rng, height, width, bands=1):
    return np.stack([gaussian_filter(rng.standard_normal((height, width)), 1.5) for _ in range(bands)])


def pixels(shared_data, name):
    before, after = {
        "beihai": ("oscd/beihai/before.tif", "oscd/beihai/after.tif"),
        "naip": ("georef/naip_nd/20090818.tif", "georef/naip_nd/20180716.tif"),
        "joplin": (
            "georef/joplin_two_crs/pre_tile_337-10160.tif",
            "georef/joplin_two_crs/post_tile_31500-6161.tif",
        ),
    }[name]
    with Pair.open(str(shared_data / before), str(shared_data / after)) as pair:
        block = pair.read(pair.window)
    return block.before.astype(np.float32), block.after.astype(np.float32), block.valid


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("name", ["beihai", "naip", "joplin"])
def test_known_shift_of_a_real_image_under_other_light(shared_data, rng, name, shift):
    before, _, valid = pixels(shared_data, name)
    after = np.maximum(displaced(before, shift), 0) ** 0.7
    after += rng.normal(0, 0.05 * after.std(), after.shape)
    valid = valid & (moved(valid.astype(np.float32), shift, order=1) > 0.99)
    found = estimate_shift(Arrays(before, after, valid), Reporter())
    assert abs(found.rows - shift[0]) < 0.1
    assert abs(found.cols - shift[1]) < 0.1
    assert found.spread < 0.2


@pytest.mark.parametrize("shift", SHIFTS)
def test_known_shift_added_to_a_real_second_date(shared_data, shift):
    before, after, valid = pixels(shared_data, "beihai")
    own = estimate_shift(Arrays(before, after, valid), Reporter())
    valid = valid & (moved(valid.astype(np.float32), shift, order=1) > 0.99)
    found = estimate_shift(Arrays(before, displaced(after, shift), valid), Reporter())
    assert abs(found.rows - own.rows - shift[0]) < 0.1
    assert abs(found.cols - own.cols - shift[1]) < 0.1


@pytest.mark.parametrize("name", ["abudhabi", "bordeaux", "saclay_e"])
def test_nothing_is_left_once_the_shift_is_removed(shared_data, name):
    folder = shared_data / "oscd" / name
    with Pair.open(str(folder / "before.tif"), str(folder / "after.tif")) as pair:
        shift = estimate_shift(pair, Reporter())
        assert max(abs(shift.rows), abs(shift.cols)) > 0.3
        left = estimate_shift(pair.with_shift((shift.rows, shift.cols)), Reporter())
    assert max(abs(left.rows), abs(left.cols)) < 0.1


def test_sign_positive_means_further_down_and_right(rng):
    before = texture(rng, 300, 320)
    after = np.roll(before, (5, 3), (1, 2))
    shift = estimate_shift(Arrays(before, after), Reporter())
    assert (shift.rows, shift.cols) == (5, 3)
    assert shift.places == shift.compared
    assert "+5.00 rows, +3.00 columns" in shift.text


def test_inverted_and_rescaled_second_date(rng):
    before = texture(rng, 300, 320)
    after = 1e4 - 300 * np.roll(before, (-4, 6), (1, 2))
    shift = estimate_shift(Arrays(before, after), Reporter())
    assert (shift.rows, shift.cols) == (-4, 6)


def test_identical_dates_have_no_shift(rng):
    before = texture(rng, 300, 320, 3)
    shift = estimate_shift(Arrays(before, before), Reporter())
    assert (shift.rows, shift.cols) == (0, 0)
    assert "no residual shift" in shift.text


def test_a_third_of_the_places_changed_beyond_recognition(rng):
    before = texture(rng, 900, 900)
    after = np.roll(before, (2, -3), (1, 2))
    after[:, :300] = texture(rng, 300, 900)
    shift = estimate_shift(Arrays(before, after), Reporter())
    assert (shift.rows, shift.cols) == (2, -3)
    assert shift.places < shift.compared


def test_invalid_pixels_take_no_part(rng):
    before, valid = texture(rng, 400, 400), rng.random((400, 400)) < 1
    valid[:, 180:210] = False
    after = np.roll(before, (1, 2), (1, 2))
    before, after = before.copy(), after.copy()
    before[:, ~valid], after[:, ~valid] = 1e6, np.nan  # a still edge that would say "no shift"
    shift = estimate_shift(Arrays(before, after, valid), Reporter())
    assert (shift.rows, shift.cols) == (1, 2)


@pytest.mark.parametrize("case", ["noise", "flat", "flat one", "invalid", "tiny"])
def test_refusals(rng, case):
    size = 40 if case == "tiny" else 400
    before, after = texture(rng, size, size), texture(rng, size, size)
    valid = np.full((size, size), case != "invalid")
    if case.startswith("flat"):
        after = np.ones_like(after)
        before = after if case == "flat" else before
    with pytest.raises(NothingToEstimateError):
        estimate_shift(Arrays(before, after, valid), Reporter())


def test_unlike_scenes_are_refused_however_often_one_tries(rng):
    for _ in range(20):
        with pytest.raises(NothingToEstimateError):
            estimate_shift(Arrays(texture(rng, 300, 300), texture(rng, 300, 300)), Reporter())


def test_misregistered_sar_is_refused_or_told_right(shared_data):
    """Optical against SAR with a deliberate distortion: no single shift describes it."""
    folder = shared_data / "opt_sar" / "shuguang_misregistered_GiToF"
    with (
        Pair.open(str(folder / "t1_sar.png"), str(folder / "t2_optical.png")) as pair,
        pytest.raises(NothingToEstimateError, match="places agree"),
    ):
        estimate_shift(pair, Reporter())


def test_a_large_raster_is_not_read_whole():
    class Large(Arrays):
        def __init__(self):
            self.window, self.read_pixels = Window(100, 50, 100_000, 100_000), 0

        def read(self, window):
            self.read_pixels += window.pixels
            bands = texture(np.random.default_rng(window.row), window.height, window.width)
            return PixelBlock(window, bands, np.roll(bands, (1, 1), (1, 2)), np.ones(bands.shape[1:], bool))

    source = Large()
    shift = estimate_shift(source, Reporter())
    assert (shift.rows, shift.cols) == (1, 1)
    assert source.read_pixels <= 36 * 256**2


def test_cancel(rng):
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        estimate_shift(Arrays(texture(rng, 300, 300), texture(rng, 300, 300)), Reporter(None, cancellation))
