"""Votes worked out by hand, and against a slow implementation of the same rules."""

from collections import Counter

import numpy as np
import pytest

from cdengine.inference.votes import agreement, majority, vote


def probabilities(before, after, classes=3, sure=0.8):
    """(1 + 2 K, 1, W) with the named classes most probable."""
    layers = np.full((1 + 2 * classes, 1, len(before)), (1 - sure) / (classes - 1), np.float32)
    for at, (first, second) in enumerate(zip(before, after, strict=True)):
        layers[1 + first, 0, at] = layers[1 + classes + second, 0, at] = sure
    return layers


def test_a_member_votes_where_both_dates_agree_on_what_did_not_change():
    unchanged = np.array([[True, True, True, False]])
    found = vote(probabilities([0, 1, 2, 2], [0, 2, 2, 2]), unchanged)
    assert found.dtype == np.uint8 and found.tolist() == [[1, 0, 3, 0]]


def test_the_change_head_has_no_say():
    layers = probabilities([1], [1])
    layers[0] = 0.99
    assert vote(layers, np.ones((1, 1), bool)).tolist() == [[2]]


def test_an_unsure_member_abstains():
    layers = probabilities([0, 1], [0, 1])
    layers[4:, 0, 1] = (0.3, 0.4, 0.3)  # still class 1, but 0.4 only after
    assert vote(layers, np.ones((1, 2), bool), 0.5).tolist() == [[1, 0]]
    assert vote(layers, np.ones((1, 2), bool), 0.4).tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ([1, 1, 2], 1),
        ([1, 2, 2], 2),
        ([0, 0, 3], 0),
        ([0, 3, 3], 3),
        ([0, 3], 0),  # a tie with those who abstain
        ([1, 2], 0),  # a tie of classes
        ([1, 1, 2, 2, 3], 0),
        ([1, 1, 0, 0, 3], 0),
        ([2], 2),
        ([0, 1, 2, 3, 3], 3),
    ],
)
def test_majority(votes, expected):
    assert majority([np.array([[one]], np.uint8) for one in votes], 3).tolist() == [[expected]]


@pytest.mark.parametrize("members", [1, 2, 3, 5])
def test_majority_is_that_of_a_slow_count(rng, members):
    votes = [rng.integers(0, 5, (20, 30)).astype(np.uint8) for _ in range(members)]
    found = majority(votes, 4)
    for at in np.ndindex(20, 30):
        ranked = Counter(int(one[at]) for one in votes).most_common()
        tie = len(ranked) > 1 and ranked[0][1] == ranked[1][1]
        assert found[at] == (0 if tie else ranked[0][0])


def test_agreement_is_the_mean_over_pairs_of_members():
    votes = [np.array([[1, 2, 0, 3]]), np.array([[1, 2, 0, 0]]), np.array([[1, 1, 0, 0]])]
    unchanged = np.array([[True, True, True, False]])
    assert agreement(votes, unchanged) == pytest.approx((3 + 2 + 2) / 3)
    assert agreement(votes[:1], unchanged) == 3
