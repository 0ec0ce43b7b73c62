"""Average precision, thresholds and calibration: by hand, and against scikit-learn and torchmetrics."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score
from torchmetrics.functional.classification import binary_calibration_error

from cdengine.assess.binary import BinaryConfusion
from cdengine.assess.curves import Curves


def curves(probability, truth, valid=None):
    found = Curves()
    found.add(np.asarray(probability, np.float32), np.asarray(truth, np.uint8), valid)
    return found


def scene(rng, levels=None):
    truth = (rng.random((60, 70)) < 0.15).astype(np.uint8)
    probability = np.clip(rng.normal(0.3 + 0.3 * truth, 0.15), 0, 1).astype(np.float32)
    return (np.rint(probability * levels) / np.float32(levels) if levels else probability), truth


def test_average_precision_by_hand():
    # 0.9 hit (P 1, R 1/2), then 0.8 and 0.8 together, one of them a hit (P 2/3, R 1), then 0.1
    found = curves([[0.9, 0.8], [0.8, 0.1]], [[1, 1], [0, 0]])
    assert found.average_precision() == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@pytest.mark.parametrize("levels", [200, 255])
def test_average_precision_of_bytes_is_exact(rng, levels):
    probability, truth = scene(rng, levels)
    expected = average_precision_score(truth.ravel(), probability.ravel())
    assert curves(probability, truth).average_precision() == pytest.approx(expected, abs=1e-12)


def test_average_precision_of_floats(rng):
    probability, truth = scene(rng)
    expected = average_precision_score(truth.ravel(), probability.ravel())
    assert curves(probability, truth).average_precision() == pytest.approx(expected, abs=2e-4)


def test_best_threshold_is_the_best_and_holds_on_the_pixels(rng):
    probability, truth = scene(rng, 200)
    best = curves(probability, truth).best_threshold()
    every = [f1_score(truth.ravel(), (probability >= level).ravel()) for level in np.unique(probability)]
    assert best.confusion.f1 == pytest.approx(max(every))
    assert best.confusion == BinaryConfusion.of(probability >= np.float32(best.threshold), truth)


def test_of_equal_thresholds_the_one_nearest_to_one_half():
    assert curves([[0, 1, 0, 1]], [[0, 1, 0, 1]]).best_threshold().threshold == 0.5
    assert curves([[0.1, 0.3, 0.1]], [[0, 1, 0]]).best_threshold().threshold == pytest.approx(0.3, abs=2e-5)


def test_calibration_against_torchmetrics(rng):
    probability, truth = scene(rng)
    expected = binary_calibration_error(torch.from_numpy(probability).ravel(), torch.from_numpy(truth).ravel(), 16)
    assert curves(probability, truth).calibration().ece == pytest.approx(float(expected), abs=2e-5)


def test_calibration_by_hand():
    found = curves([[0.25, 0.25, 0.25, 0.25, 1.0, 1.0]], [[1, 0, 0, 0, 1, 0]]).calibration()
    assert found.pixels[4] == 4 and found.pixels[15] == 2
    assert found.observed[4] == 0.25 and found.observed[15] == 0.5
    assert found.ece == pytest.approx((4 * 0 + 2 * 0.5) / 6, abs=1e-5)


def test_nothing_there():
    empty = {"ap": 0, "best_threshold": 0.5, "best_f1": 1, "ece": 0}
    assert Curves().figures() == empty
    assert curves([[0, 0]], [[0, 0]]).figures() == pytest.approx(empty, abs=1e-5)
    assert curves([[0.9, 0.1]], [[0, 0]]).average_precision() == 0  # as scikit-learn and torchmetrics have it


def test_ignored_pixels_may_hold_anything():
    found = curves([[np.nan, 0.75, 0.25]], [[255, 1, 0]])
    assert found.counts.sum() == 2
    assert curves([[np.nan, 0.75]], [[0, 1]], np.array([[False, True]])).counts.sum() == 1
    for wrong in (np.nan, 1.5, -0.1):
        with pytest.raises(ValueError, match="0 to 1"):
            curves([[wrong]], [[1]])


def test_images_add_up(rng):
    one, two = scene(rng), scene(rng)
    both = curves(*one)
    both += curves(*two)
    whole = curves(np.concatenate([one[0], two[0]]), np.concatenate([one[1], two[1]]))
    assert both.figures() == whole.figures()
