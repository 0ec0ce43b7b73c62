"""What class labels of two dates say of change, and where they contradict each other or the change label."""

from pathlib import Path

import numpy as np
import pytest

from cdengine.data.agreement import Contradictions, implied_change
from cdengine.data.layouts import PairFiles

NONE = 255
BEFORE = np.array([[0, 1, NONE, NONE, 2, NONE]], np.uint8)
AFTER = np.array([[3, NONE, 4, NONE, 2, NONE]], np.uint8)


def pairs(*decided):
    """A pair a letter, with a change label where it is named in `decided`."""
    labels = {name: Path(f"{name}-change") for name in decided}
    return [PairFiles(name, Path("b"), Path("a"), labels.get(name), Path(name), Path("l")) for name in "xyz"]


def test_both_neither_or_one():
    assert implied_change(BEFORE, AFTER).tolist() == [[1, 255, 255, 0, 1, 0]]


def test_without_change_labels_they_are_ignored():
    found = Contradictions.among(pairs())
    for _ in range(2):  # read twice, counted once
        found.add(Path("x"), BEFORE, AFTER)
    found.add(Path("y"), BEFORE, BEFORE)
    assert (found.pairs, found.pixels) == (1, 2) and found.found == {Path("x"): 2}
    assert found.warnings() == [found.warning()]
    assert found.warning().startswith("2 pixel(s) of 1 pair(s), the first x, have a class at one date only")
    assert found.warning().endswith("; they are ignored as change")


def test_a_change_label_decides_and_both_kinds_are_counted():
    found = Contradictions.among(pairs("x", "y", "z"))
    found.add(Path("x"), BEFORE, AFTER, np.array([[0, 0, 1, 1, 1, 0]], np.uint8))  # first and fourth disagree
    assert found.found == {Path("x"): 2} and found.disagreeing == {Path("x"): 2}
    one_date, unlike = found.warnings()
    assert one_date.endswith("; the change labels decide what changed there") and "ignored" not in one_date
    assert unlike.startswith("2 pixel(s) of 1 pair(s), the first x, are changed by the class labels")


def test_sound_labels_say_nothing():
    found = Contradictions.among(pairs("x"))
    found.add(Path("x"), BEFORE, BEFORE, (BEFORE != NONE).astype(np.uint8))
    assert found.warnings() == []


def test_what_the_change_label_leaves_out_disagrees_with_nothing():
    found = Contradictions.among(pairs("x"))
    found.add(Path("x"), BEFORE, AFTER, np.full_like(BEFORE, NONE))
    assert found.pixels == 2 and not found.disagreeing


@pytest.mark.parametrize("change", [0, 1])
def test_labels_that_cover_unchanged_ground_are_no_contradiction(change):
    """Hi-UCD: a pixel without a class is unlabelled there, not unchanged."""
    before, found = np.array([[0, 1, 2, NONE]], np.uint8), Contradictions.among(pairs("x"))
    found.add(Path("x"), before, np.zeros_like(before), np.array([[change, 0, 0, 0]], np.uint8))
    assert found.warnings() == []


def test_some_pairs_with_a_change_label():
    found = Contradictions.among(pairs("y"))
    found.add(Path("x"), BEFORE, AFTER)
    found.add(Path("y"), BEFORE, AFTER, np.array([[1, 0, 0, 0, 1, 0]], np.uint8))
    assert (found.pairs, found.pixels) == (2, 4)
    assert found.warning().endswith(
        "in 1 pair(s) the change label decides what changed there, in the others they are ignored"
    )
