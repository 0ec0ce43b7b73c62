"""What holds for every training-free method; one that joins the table joins these tests."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from array_source import ArraySource, detect, scene

from cdengine.errors import BandsError, Cancelled
from cdengine.events import Cancellation, CollectSink, Reporter
from cdengine.methods.table import METHODS

every_method = pytest.mark.parametrize("name", METHODS)
MULTISPECTRAL = [name for name in METHODS if name != "log-ratio"]


def auc(probability, truth):
    order = np.sort(probability[~truth])
    values = probability[truth]
    return (np.searchsorted(order, values) + np.searchsorted(order, values, "right")).mean() / 2 / order.size


@every_method
class TestEveryMethod:
    def test_follows_the_protocol(self, name):
        detector = METHODS[name]()
        assert (detector.name, detector.classes, detector.threshold) == (name, (), 0.5)
        assert isinstance(detector.margin, int)

    @pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f4", "f8"])
    def test_finds_a_changed_rectangle(self, name, dtype, rng):
        before, after, truth = scene(rng, dtype=np.dtype(dtype))
        detector = METHODS[name]()
        inputs = before.copy(), after.copy()
        probability = detect(detector, before, after)
        assert probability.dtype == np.float32
        assert probability.min() >= 0
        assert probability.max() <= 1
        assert auc(probability, truth) > (0.9 if name == "log-ratio" else 0.99)
        assert np.array_equal(before, inputs[0])
        assert np.array_equal(after, inputs[1])
        facts = detector.describe()
        assert facts["statistic_threshold"] > 0
        assert facts["sampled_pixels"] == truth.size
        assert all(isinstance(value, (str, int, float)) for value in facts.values())

    @pytest.mark.parametrize("kind", ["texture", "constant band", "equal bands", "one value", "zeros", "tiny spread"])
    @pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
    def test_identical_images_have_no_change(self, name, kind, dtype, rng):
        image, _, _ = scene(rng, bands=4, height=40, width=50, dtype=np.dtype(dtype))
        if kind == "constant band":
            image[1] = 7
        elif kind == "equal bands":
            image[1] = image[2] = image[0]
        elif kind == "one value":
            image[:] = 9
        elif kind == "zeros":
            image[:] = 0
        elif kind == "tiny spread":
            image[:] = 100
            image[:, 3, 4] = 101
        probability = detect(METHODS[name](), image, image.copy())
        assert (probability < 0.5).all()

    def test_two_constant_images_have_no_change(self, name):
        before, after = np.full((2, 20, 30), 10, np.uint8), np.full((2, 20, 30), 200, np.uint8)
        assert (detect(METHODS[name](), before, after) < 0.5).all()

    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 3), (7, 5)])
    def test_tiny_rasters_are_finite(self, name, shape, rng, recwarn):
        before = rng.integers(1, 255, (3, *shape)).astype(np.uint8)
        after = rng.integers(1, 255, (3, *shape)).astype(np.uint8)
        probability = detect(METHODS[name](), before, after)
        assert probability.shape == shape
        assert np.isfinite(probability).all()
        if shape == (1, 1):
            assert probability[0, 0] < 0.5

    def test_one_change_in_identical_images_is_found_and_nothing_else(self, name, rng):
        before, _, _ = scene(rng, height=100, width=100)
        after = before.copy()
        after[:, 50:54, 60:64] += np.array([900, 800, 700], np.uint16)[:, None, None]
        found = detect(METHODS[name](), before, after) >= 0.5
        assert found[51:53, 61:63].all()
        found[48:56, 58:66] = False  # what a window of the spatial methods reaches
        assert not found.any()

    @pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf, 1e38])
    def test_invalid_pixels_change_nothing_elsewhere(self, name, garbage, rng):
        before, after, _ = scene(rng, dtype=np.float32)
        valid = rng.random(before.shape[1:]) > 0.1
        valid[60:, :30] = False
        results = []
        for fill in (0, garbage):
            one, two = before.copy(), after.copy()
            one[:, ~valid] = fill
            two[0, ~valid] = fill
            results.append(detect(METHODS[name](), one, two, valid))
        assert np.isfinite(results[1]).all()
        assert np.array_equal(results[0], results[1])
        assert (results[0][~valid] == 0).all()

    def test_nothing_valid_is_nothing_changed(self, name, rng):
        before = np.full((3, 20, 20), np.nan, np.float32)
        probability = detect(METHODS[name](), before, before, np.zeros((20, 20), bool))
        assert (probability == 0).all()

    @pytest.mark.parametrize("value", [1e38, -3.4e38])
    def test_wild_values_in_the_valid_area_stay_local(self, name, value, rng):
        before, after, truth = scene(rng, dtype=np.float32)
        calm = detect(METHODS[name](), before, after)
        after[1, 5, 5] = before[0, 80, 100] = value
        wild = detect(METHODS[name](), before, after)
        assert np.isfinite(wild).all()
        far = np.ones(truth.shape, bool)
        far[:12, :12] = far[73:88, 93:108] = False
        assert ((wild >= 0.5) != (calm >= 0.5))[far].mean() < 0.002
        assert auc(wild[far], truth[far]) == pytest.approx(auc(calm[far], truth[far]), abs=0.002)

    def test_result_does_not_depend_on_strip_heights(self, name, rng):
        before, after, _ = scene(rng)
        valid = rng.random(before.shape[1:]) > 0.05
        results = [detect(METHODS[name](), before, after, valid, strip=strip) for strip in (96, 64, 5, 1)]
        for other in results[1:]:
            assert np.array_equal(results[0], other)

    def test_tiles_with_the_margin_equal_the_whole(self, name, rng):
        before, after, _ = scene(rng)
        valid = rng.random(before.shape[1:]) > 0.05
        detector = METHODS[name]()
        whole = detect(detector, before, after, valid)
        m = detector.margin
        top, bottom, left, right = 20, 70, 31, 90
        window = (slice(top - m, bottom + m), slice(left - m, right + m))
        bands = (None, slice(None), *window)
        tile = detector.predict(before[bands], after[bands], valid[window][None])
        inner = tile[0, 0, m : m + bottom - top, m : m + right - left]
        np.testing.assert_allclose(inner, whole[top:bottom, left:right], rtol=1e-5, atol=1e-7)

    def test_batches_and_threads_give_the_same_pixels(self, name, rng):
        before, after, _ = scene(rng, height=64, width=64)
        detector = METHODS[name]()
        single = detect(detector, before, after)
        valid = np.ones((3, 64, 64), bool)
        batch = detector.predict(np.stack([before] * 3), np.stack([after] * 3), valid)
        assert batch.shape == (3, 1, 64, 64)
        assert all(np.array_equal(one[0], single) for one in batch)
        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(detector.predict, before[None], after[None], valid[:1]) for _ in range(8)]
        assert all(np.array_equal(job.result()[0, 0], single) for job in jobs)

    def test_order_of_the_dates_does_not_matter(self, name, rng):
        before, after, _ = scene(rng)
        there, back = detect(METHODS[name](), before, after), detect(METHODS[name](), after, before)
        np.testing.assert_allclose(there, back, atol=2e-3)

    def test_only_the_window_of_the_source_counts_as_the_scene(self, name, rng):
        before, after, _ = scene(rng, height=40, width=40)
        here = detect(METHODS[name](), before, after)
        moved = detect(METHODS[name](), before, after, origin=(1000, 50))
        # Blocks of PCA-k-means are cut from the grid's first pixel, so that they fall elsewhere.
        np.testing.assert_allclose(here, moved, atol=0.05 if name == "pca-kmeans" else 0)

    def test_reports_a_stage_in_pixels_and_can_be_cancelled(self, name, rng):
        before, after, truth = scene(rng)
        sink = CollectSink()
        METHODS[name]().prepare(ArraySource(before, after), Reporter(sink))
        stages = [event for event in sink.events if event["event"] == "progress"]
        assert (stages[0]["stage"], stages[0]["unit"]) == ("statistics", "px")
        assert stages[0]["total"] % truth.size == 0
        cancellation = Cancellation()
        cancellation.cancel()
        with pytest.raises(Cancelled):
            METHODS[name]().prepare(ArraySource(before, after), Reporter(CollectSink(), cancellation))

    def test_preparing_again_forgets_the_first_pair(self, name, rng):
        before, after, _ = scene(rng)
        detector = METHODS[name]()
        detect(detector, before[::-1] // 2, after)
        assert np.array_equal(detect(detector, before, after), detect(METHODS[name](), before, after))

    def test_different_band_numbers(self, name, rng):
        before, after, truth = scene(rng)
        if name == "irmad":
            assert auc(detect(METHODS[name](), before, after[:2]), truth) > 0.99
            assert auc(detect(METHODS[name](), before[:1], after), truth) > 0.8
        else:
            with pytest.raises(BandsError, match=rf"{name} .* before.tif has 3 and after.tif has 2 bands.*irmad"):
                detect(METHODS[name](), before, after[:2])


@pytest.mark.parametrize("name", ["cva", "irmad", "sfa", "pca-kmeans"])
def test_gain_and_offset_of_a_date_do_not_matter(name, rng):
    before, after, _ = scene(rng, dtype=np.float32)
    plain = detect(METHODS[name](), before, after)
    gains, offsets = np.array([0.001, 2, 50], np.float32), np.array([0, -70, 1e4], np.float32)
    scaled = detect(METHODS[name](), before, after * gains[:, None, None] + offsets[:, None, None])
    np.testing.assert_allclose(plain, scaled, atol=2e-3)


@pytest.mark.parametrize("name", ["irmad", "sfa"])
def test_too_few_pixels_are_said(name, rng):
    before = rng.integers(0, 255, (4, 2, 4)).astype(np.uint8)
    sink = CollectSink()
    detector = METHODS[name]()
    detector.prepare(ArraySource(before, before[:, ::-1]), Reporter(sink))
    warning = next(event["message"] for event in sink.events if event["event"] == "log")
    assert f"{name}: 8 valid pixels are too few" in warning
    assert (detector.predict(before[None], before[None, :, ::-1], np.ones((1, 2, 4), bool)) == 0).all()
