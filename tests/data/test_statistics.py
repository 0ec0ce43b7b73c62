import numpy as np
import pytest

from cdengine.data.layouts import PairFiles, find_pairs
from cdengine.data.statistics import Moments, date_statistics
from cdengine.errors import BandsError, NothingToEstimateError


def test_moments_in_pieces_equal_those_of_all(rng):
    values = rng.normal(1e4, 3, (4, 5000))  # a large mean is what naive sums fail at
    moments = Moments(4)
    for part in np.array_split(values, [1, 10, 2000, 2000], axis=1):
        moments.add(part)
    assert moments.count == 5000
    np.testing.assert_allclose(moments.mean, values.mean(1), rtol=1e-12)
    np.testing.assert_allclose(moments.std, values.std(1), rtol=1e-9)
    assert moments.low.tolist() == values.min(1).tolist() and moments.high.tolist() == values.max(1).tolist()


def test_eight_bit_statistics_are_scaled(tmp_path, make_pairs):
    make_pairs(tmp_path, ["a", "b"])
    files = find_pairs(tmp_path, "pairs", "all")
    from PIL import Image

    truth = np.concatenate([np.asarray(Image.open(f.before)).reshape(-1, 3) for f in files]).astype(float)
    before, after = (date.date_input(0.5) for date in date_statistics(files))
    np.testing.assert_allclose(before.mean, truth.mean(0) / 255)
    np.testing.assert_allclose(before.std, truth.std(0) / 255)
    assert before.scale == 1 / 255 and before.bands == ("red", "green", "blue") and before.mean != after.mean
    assert before.ground_sample_distance == 0.5


def test_other_types_keep_their_units_and_leave_out_invalid_pixels(shared_data):
    city = shared_data / "oscd" / "bercy"
    files = [PairFiles("bercy", city / "before.tif", city / "after.tif")]
    before, _ = date_statistics(files, bands_before=[4, 1])
    assert before.date_input().scale == 1.0 and before.bands == ("band4", "band1") and len(before.mean) == 2
    for (low, high), mean, least, most in zip(before.value_range, before.mean, before.low, before.high, strict=True):
        assert least <= low < mean < high <= most


def test_invalid_pixels_do_not_count(tmp_path, save):
    rgba = np.full((4, 4, 4), 50, np.uint8)
    rgba[0, :, :3], rgba[1, :, :3], rgba[..., 3] = 100, 0, 255
    rgba[1, :, 3] = 0
    for folder in ("A", "B"):
        save(tmp_path / folder / "a.png", rgba)
    before, _ = date_statistics(find_pairs(tmp_path, "pairs", "all"))
    assert before.count == 12 and before.low == (50.0,) * 3
    np.testing.assert_allclose(before.mean, (50 * 8 + 100 * 4) / 12)


def test_what_cannot_be_told(tmp_path, make_pairs, save):
    make_pairs(tmp_path, ["a", "b"])
    save(tmp_path / "A" / "b.png", np.zeros((32, 32), np.uint8))
    with pytest.raises(BandsError, match=r"A/b\.png has 1 bands"):
        date_statistics(find_pairs(tmp_path, "pairs", "all"))
    for name in "ab":
        save(tmp_path / "A" / f"{name}.png", np.full((32, 32, 3), 9, np.uint8))
    with pytest.raises(NothingToEstimateError, match="band red is constant"):
        date_statistics(find_pairs(tmp_path, "pairs", "all"))
