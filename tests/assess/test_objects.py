"""Objects that agree: one to one, at an overlap of one half, joined over corners."""

import numpy as np
import pytest

from cdengine.assess.binary import BinaryConfusion
from cdengine.assess.objects import ObjectScore, match_objects


def image(*lines):
    return np.array([[int(letter) for letter in line] for line in lines], np.uint8)


def slow(found, truth):
    """Flood fill and all pairs of objects, by sets of pixels."""

    def objects(picture):
        left, out = {tuple(at) for at in np.argwhere(picture)}, []
        while left:
            grown, front = set(), [min(left)]
            while front:
                at = front.pop()
                if at in left:
                    left.remove(at)
                    grown.add(at)
                    front += [(at[0] + i, at[1] + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
            out.append(grown)
        return out

    ours, theirs = objects(found), objects(truth)
    pairs = [(len(a & b) / len(a | b), i, j) for i, a in enumerate(ours) for j, b in enumerate(theirs)]
    used, matched = (set(), set()), 0
    for share, i, j in sorted(pairs, key=lambda item: (-item[0], item[1], item[2])):
        if share >= 0.5 and i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
            matched += 1
    return BinaryConfusion(matched, len(ours) - matched, len(theirs) - matched)


def test_by_hand():
    truth = image("1100", "1100", "0000", "0001")
    assert match_objects(image("1100", "0000", "0000", "0001"), truth) == BinaryConfusion(2, 0, 0)  # 2 of 4 is enough
    assert match_objects(image("1000", "0000", "0000", "0001"), truth) == BinaryConfusion(1, 1, 1)  # 1 of 4 is not
    assert match_objects(image("1100", "1110", "0011", "0001"), truth) == BinaryConfusion(1, 0, 1)  # 4 of 8, and taken


def test_corners_join_and_one_object_matches_once():
    assert match_objects(image("10", "01"), image("10", "01")) == BinaryConfusion(1)
    # one found object over two labelled ones of half its size each: only one of them is found
    assert match_objects(image("111"), image("101")) == BinaryConfusion(0, 1, 2)
    assert match_objects(image("1101"), image("1111")) == BinaryConfusion(1, 1, 0)


def test_what_is_not_scored_belongs_to_no_object():
    truth = image("110011").copy()
    truth[0, 4:] = 255
    assert match_objects(image("110011"), truth) == BinaryConfusion(1)
    assert match_objects(image("110011"), image("110000"), image("111100").astype(bool)) == BinaryConfusion(1)


def test_against_the_slow_implementation(rng):
    for density in (0.1, 0.3, 0.5):
        for _ in range(10):
            truth = rng.random((14, 15)) < density
            found = truth ^ (rng.random(truth.shape) < 0.08)
            assert match_objects(found, truth.astype(np.uint8)) == slow(found, truth)


def test_nothing_there_and_pooling():
    score, blank, dot = ObjectScore(), image("00"), image("10")
    score.add(blank, blank)
    assert score.figures() == {"object_precision": 1, "object_recall": 1, "object_f1": 1}
    score.add(dot, dot)
    score.add(blank, dot)
    assert score.figures() == pytest.approx({"object_precision": 1, "object_recall": 0.5, "object_f1": 2 / 3})
