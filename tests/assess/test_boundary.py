"""Boundaries that agree within a tolerance."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from cdengine.assess.boundary import BoundaryCounts, BoundaryScore, boundary_counts


def square(size, top, left, side):
    picture = np.zeros((size, size), np.uint8)
    picture[top : top + side, left : left + side] = 1
    return picture


def test_by_hand():
    truth, found = square(12, 2, 2, 4), square(12, 2, 4, 4)  # 12 pixels of outline each, two columns apart
    assert boundary_counts(found, truth, tolerance=2) == BoundaryCounts(12, 12, 12, 12)
    # exactly the same pixels: the shared parts of upper and lower edge
    assert boundary_counts(found, truth, tolerance=0) == BoundaryCounts(12, 4, 12, 4)
    far = boundary_counts(square(40, 30, 30, 4), square(40, 2, 2, 4))
    assert far.f1 == 0 and far.found == 12


def test_the_edge_of_the_image_and_of_what_is_scored_is_no_boundary():
    assert boundary_counts(square(4, 0, 0, 4), square(4, 0, 0, 4)).found == 0
    truth = square(6, 0, 0, 3)
    truth[:, 3:] = 255
    assert boundary_counts(square(6, 0, 0, 6), truth) == BoundaryCounts(0, 0, 3, 0)


def test_against_distances(rng):
    for tolerance in (1, 3):
        truth, found = rng.random((2, 40, 41)) < 0.02
        counts = boundary_counts(found, truth.astype(np.uint8), tolerance=tolerance)
        # thin speckle: nearly every changed pixel is an outline; its own definition, pixel by pixel
        outlines = [
            np.array(
                [
                    [
                        picture[r, c]
                        and any(
                            0 <= r + i < 40 and 0 <= c + j < 41 and not picture[r + i, c + j]
                            for i, j in ((0, 1), (1, 0), (0, -1), (-1, 0))
                        )
                        for c in range(41)
                    ]
                    for r in range(40)
                ]
            )
            for picture in (found, truth)
        ]
        near = [distance_transform_edt(~outline) <= tolerance for outline in outlines]
        assert counts.found == outlines[0].sum() and counts.there == outlines[1].sum()
        assert counts.found_near == (outlines[0] & near[1]).sum()
        assert counts.there_near == (outlines[1] & near[0]).sum()


def test_nothing_there_and_pooling():
    blank, thing = square(8, 0, 0, 0), square(8, 2, 2, 3)
    score = BoundaryScore()
    score.add(blank, blank)
    assert set(score.figures().values()) == {1}
    assert set(boundary_counts(thing, blank).figures().values()) == {0}
    score.add(thing, thing)
    score.add(blank, thing)
    assert score.figures() == pytest.approx({"boundary_precision": 1, "boundary_recall": 0.5, "boundary_f1": 2 / 3})
