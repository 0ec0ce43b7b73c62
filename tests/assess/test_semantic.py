"""Scores of semantic change: by hand on 4 x 4 pixels, and against a slow implementation of the published formulas."""

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from cdengine.assess.binary import BinaryConfusion
from cdengine.assess.semantic import SemanticScore, binary_of, class_ious, codes, figures

BEFORE = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 2, 2], [0, 0, 2, 255]], np.uint8)
FOUND = np.array([[1, 1, 1, 0], [2, 0, 0, 0], [0, 0, 2, 2], [0, 0, 1, 1]], np.uint8)


def slow(truth, found, classes):
    """mIoU, SeK, F_scd and score, pixel by pixel and term by term."""
    q = [[0] * (classes + 1) for _ in range(classes + 1)]
    for one, two in zip(truth, found, strict=True):
        if one != 255:
            q[one][two] += 1
    n = range(classes + 1)
    tn = q[0][0]
    fp, fn = sum(q[0][j] for j in n if j), sum(q[i][0] for i in n if i)
    tp = sum(q[i][j] for i in n for j in n if i and j)
    iou_c = tp / (tp + fp + fn) if tp + fp + fn else 1.0
    iou_n = tn / (tn + fp + fn) if tn + fp + fn else 1.0
    q[0][0] = 0
    total = sum(map(sum, q))
    kappa = 0.0
    if total:
        agree = sum(q[i][i] for i in n) / total
        chance = sum(sum(q[i]) * sum(row[i] for row in q) for i in n) / total**2
        kappa = (agree - chance) / (1 - chance) if chance < 1 else 0.0
    sek = kappa * math.exp(iou_c) / math.e
    miou = (iou_c + iou_n) / 2
    right = sum(q[i][i] for i in n if i)
    p, r = right / (tp + fp) if tp + fp else 0.0, right / (tp + fn) if tp + fn else 0.0
    fscd = 2 * p * r / (p + r) if p + r else float(tp + fp + fn == 0)
    return {"miou": miou, "sek": sek, "fscd": fscd, "score": 0.3 * miou + 0.7 * sek}


def test_by_hand():
    score = SemanticScore(2)
    own = score.add((FOUND, FOUND), (BEFORE, BEFORE))
    one_date = np.array([[7, 1, 0], [1, 2, 1], [0, 1, 2]])
    assert (own == 2 * one_date).all() and (score.confusion == own).all()
    found = score.figures()
    # one date: TN 7, FP 1, FN 1, TP 6; IoU 6/8 and 7/9
    assert found["miou"] == pytest.approx((6 / 8 + 7 / 9) / 2)
    # Q' sums to 8, agree 4/8, chance (1·1 + 4·4 + 3·3) / 64
    kappa = (4 / 8 - 26 / 64) / (1 - 26 / 64)
    assert found["sek"] == pytest.approx(kappa * math.exp(6 / 8 - 1))
    assert found["score"] == pytest.approx(0.3 * found["miou"] + 0.7 * found["sek"])
    assert found["fscd"] == pytest.approx(2 * 4 / (7 + 7))
    assert (found["scd_precision"], found["scd_recall"]) == pytest.approx((4 / 7, 4 / 7))
    assert found["oa"] == pytest.approx(11 / 15)
    assert class_ious(own) == pytest.approx([7 / 9, 2 / 6, 2 / 4])
    assert binary_of(own) == BinaryConfusion(12, 2, 2, 14)


def test_against_the_slow_implementation(rng):
    for classes in (1, 2, 6):
        for _ in range(20):
            truth, found = rng.integers(0, classes + 1, (2, 2, 9, 11)).astype(np.uint8)
            truth[rng.random(truth.shape) < 0.1] = 255
            score = SemanticScore(classes)
            score.add((found[0], found[1]), (truth[0], truth[1]))
            ours, theirs = score.figures(), slow(truth.ravel().tolist(), found.ravel().tolist(), classes)
            assert {name: ours[name] for name in theirs} == pytest.approx(theirs)
            known = truth != 255
            assert ours["kappa"] == pytest.approx(cohen_kappa_score(truth[known], found[known]))


def test_miou_and_sek_do_not_mind_which_side_is_which(rng):
    table = rng.integers(0, 100, (7, 7))
    one, other = figures(table), figures(table.T)
    assert all(one[name] == pytest.approx(other[name]) for name in ("miou", "sek", "fscd", "kappa"))
    assert one["scd_precision"] == pytest.approx(other["scd_recall"])


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (np.zeros((3, 3), int), {"miou": 1, "sek": 0, "fscd": 1, "score": 0.3, "kappa": 1, "oa": 1}),
        (np.diag([9, 0, 0]), {"miou": 1, "sek": 0, "fscd": 1, "score": 0.3, "kappa": 1, "oa": 1}),  # nothing changed
        (np.diag([9, 5, 0]), {"miou": 1, "sek": 0, "fscd": 1, "score": 0.3, "kappa": 1, "oa": 1}),  # one class only
        (np.diag([9, 5, 4]), {"miou": 1, "sek": 1, "fscd": 1, "score": 1, "kappa": 1, "oa": 1}),
        (np.array([[9, 3, 0], [0, 0, 0], [0, 0, 0]]), {"miou": 0.375, "sek": 0, "fscd": 0, "kappa": 0}),
    ],
)
def test_without_a_denominator(table, expected):
    found = figures(table)
    assert all(math.isfinite(value) for value in found.values())
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_codes_join_change_and_classes():
    change = np.array([0, 0, 1, 1, 255], np.uint8)
    classes = np.array([255, 3, 3, 255, 3], np.uint8)
    assert codes(change, classes).tolist() == [0, 0, 4, 255, 255]


def test_transitions():
    score = SemanticScore(2)
    truth = np.array([[1, 1, 2, 0]], np.uint8), np.array([[2, 2, 1, 0]], np.uint8)
    found = np.array([[1, 2, 2, 1]], np.uint8), np.array([[2, 1, 0, 1]], np.uint8)
    score.add(found, truth)
    assert score.labelled.tolist() == [[0, 2], [1, 0]]
    assert score.predicted.tolist() == [[1, 1], [1, 0]]  # the third is unchanged at the second date
    assert score.right.tolist() == [[0, 1], [0, 0]]


def test_wrong_arguments_are_told():
    with pytest.raises(ValueError, match="square"):
        figures(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="class 3 is beyond"):
        SemanticScore(2).add((np.full((1, 1), 3, np.uint8),) * 2, (np.zeros((1, 1), np.uint8),) * 2)
