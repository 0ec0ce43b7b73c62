"""Log-ratio by hand and under simulated speckle."""

import numpy as np
import pytest
from array_source import ArraySource, detect

from cdengine.events import CollectSink, Reporter
from cdengine.methods.log_ratio import LogRatio


def test_by_hand_without_smoothing():
    # The mean brightness is 50, so that ε is 0.5.
    before = np.array([[[10, 90, 50, 50]]], np.float32)
    after = np.array([[[90, 10, 50, 50]]], np.float32)
    detector = LogRatio(window=1)
    probability = detect(detector, before, after)
    cut = detector.describe()["statistic_threshold"]
    ratio = np.log(90.5 / 10.5)
    assert probability[0] == pytest.approx([ratio / (ratio + cut)] * 2 + [0, 0])


def test_windows_average_valid_pixels_only():
    before = np.full((1, 3, 3), 10, np.float32)
    after = before.copy()
    after[0, 1, 1], after[0, 0, 0] = 28, 1e6
    valid = np.ones((3, 3), bool)
    valid[0, 0] = False
    detector = LogRatio(window=3)
    detector.prepare(ArraySource(before, after, valid), Reporter())
    smooth = detector._smooth(valid, after)[0][0]
    assert smooth[1, 1] == pytest.approx((7 * 10 + 28) / 8)
    assert smooth[2, 2] == pytest.approx((3 * 10 + 28) / 4)
    assert smooth[0, 1] == pytest.approx((4 * 10 + 28) / 5)


@pytest.mark.parametrize("amplitude", [False, True])
def test_speckle_is_not_change(amplitude, rng):
    scene = np.full((128, 128), 100.0)
    scene[:, 64:] = 1000
    later = scene.copy()
    truth = np.zeros(scene.shape, bool)
    truth[30:60, 20:110] = True
    later[truth] *= 8
    dates = [ground * rng.gamma(2, 0.5, ground.shape) for ground in (scene, later)]  # two looks
    before, after = (np.sqrt(date) if amplitude else date for date in dates)
    found = detect(LogRatio(), before[None].astype(np.float32), after[None].astype(np.float32)) >= 0.5
    assert found[truth].mean() > 0.9
    assert found[~truth].mean() < 0.05
    # The bright half is no more changed than the dark one, as it would be for differences.
    assert abs(found[70:, 64:].mean() - found[70:, :64].mean()) < 0.02


def test_zeros_and_negative_values_are_dark(rng):
    before = rng.gamma(4, 25, (2, 40, 40)).astype(np.float32)
    before[:, :10] = 0
    before[:, 10:12] = -5
    probability = detect(LogRatio(), before, before.copy())
    assert (probability == 0).all()


def test_decibels_are_noticed(rng):
    decibels = 10 * np.log10(rng.gamma(4, 0.02, (1, 40, 40))).astype(np.float32)
    sink = CollectSink()
    LogRatio().prepare(ArraySource(decibels, decibels), Reporter(sink))
    (warning,) = [event["message"] for event in sink.events if event["event"] == "log"]
    assert "100% of the pixels of before.tif are 0 or negative" in warning
    assert "10^(dB/10)" in warning
