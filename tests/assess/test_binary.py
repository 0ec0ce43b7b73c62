"""Confusions: by hand on 4 x 4 pixels, against a slow count, and where nothing is there."""

import numpy as np
import pytest
from sklearn import metrics

from cdengine.assess.binary import BinaryConfusion, BinaryScore

TRUTH = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 255], [0, 0, 0, 255]], np.uint8)
FOUND = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]], np.uint8)


def test_by_hand():
    one = BinaryConfusion.of(FOUND, TRUTH)
    assert (one.tp, one.fp, one.fn, one.tn) == (3, 1, 1, 9)
    assert one.pixels == 14  # two are not scored
    assert one.figures() == pytest.approx(
        # pe = (4 * 4 + 10 * 10) / 14² = 0.5918; kappa = (12/14 - pe) / (1 - pe)
        {"precision": 0.75, "recall": 0.75, "f1": 0.75, "iou": 0.6, "oa": 12 / 14, "kappa": 0.65}
    )


def test_what_is_not_valid_is_not_scored():
    valid = np.ones((4, 4), bool)
    valid[0, 2] = valid[1, 1] = False  # the false alarm and the miss
    assert BinaryConfusion.of(FOUND, TRUTH, valid) == BinaryConfusion(3, 0, 0, 9)
    with pytest.raises(ValueError, match="shape"):
        BinaryConfusion.of(FOUND, TRUTH, valid[:2])


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (BinaryConfusion(tn=16), (1, 1, 1, 1, 1, 1)),  # nothing there, nothing reported
        (BinaryConfusion(fp=4, tn=12), (0, 0, 0, 0, 0.75, 0)),  # false alarms on an unchanged image
        (BinaryConfusion(fn=4, tn=12), (0, 0, 0, 0, 0.75, 0)),  # all missed
        (BinaryConfusion(tp=16), (1, 1, 1, 1, 1, 1)),  # all changed
        (BinaryConfusion(), (1, 1, 1, 1, 1, 1)),  # no pixel is scored
    ],
)
def test_without_a_denominator(counts, expected):
    assert tuple(counts.figures().values()) == pytest.approx(expected)


def test_against_scikit_learn(rng):
    for _ in range(20):
        truth, found = rng.integers(0, 2, (2, 13, 17))
        one = BinaryConfusion.of(found, truth)
        flat = truth.ravel(), found.ravel()
        assert one.precision == pytest.approx(metrics.precision_score(*flat))
        assert one.recall == pytest.approx(metrics.recall_score(*flat))
        assert one.f1 == pytest.approx(metrics.f1_score(*flat))
        assert one.iou == pytest.approx(metrics.jaccard_score(*flat))
        assert one.oa == pytest.approx(metrics.accuracy_score(*flat))
        assert one.kappa == pytest.approx(metrics.cohen_kappa_score(*flat))


def test_pooled_is_the_figure_of_all_pixels(rng):
    score, truths, founds = BinaryScore(), rng.integers(0, 2, (5, 8, 8)), rng.integers(0, 2, (5, 8, 8))
    for found, truth in zip(founds, truths, strict=True):
        score.add(found, truth)
    assert score.confusion == BinaryConfusion.of(founds, truths)
    assert score.figures() == BinaryConfusion.of(founds, truths).figures()
