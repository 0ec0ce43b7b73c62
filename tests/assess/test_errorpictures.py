"""Error pictures: the right colour on every pixel, and panels that fit."""

import io

import numpy as np
import pytest
from PIL import Image

from cdengine.assess.errorpictures import (
    CLASS_LEGEND,
    FALSE_ALARM,
    GAP,
    HIT,
    MISS,
    PANEL,
    WRONG_CLASS,
    class_map,
    error_map,
    panel_size,
    resampled,
    sheet,
)


def test_every_pixel_has_the_colour_of_its_kind():
    truth = np.array([[1, 1, 0, 0, 255]], np.uint8)
    found = np.array([[1, 0, 1, 0, 1]], np.uint8)
    picture = error_map(found, truth)
    assert [tuple(colour) for colour in picture[0, :4].tolist()] == [HIT, MISS, FALSE_ALARM, (0, 0, 0)]
    assert tuple(picture[0, 4]) not in (HIT, MISS, FALSE_ALARM, (0, 0, 0))  # hatched
    ground = np.full((1, 5, 3), 200, np.uint8)
    grey = error_map(found, truth, ground=ground)[0, 3]
    assert grey[0] == grey[1] == grey[2] and 0 < grey[0] < 100
    wrong = error_map(found, truth, wrong_class=np.ones((1, 5), bool))
    assert [tuple(colour) for colour in wrong[0, :3].tolist()] == [WRONG_CLASS, MISS, FALSE_ALARM]


@pytest.mark.parametrize("weak", ["protan", "deutan", "tritan"])
def test_colours_differ_for_every_kind_of_colour_vision(weak):
    """Simulated in linear RGB (Viénot et al. 1999; tritan: Brettel's plane in one matrix)."""
    matrix = {
        "protan": [[0.1124, 0.8876, 0], [0.1124, 0.8876, 0], [0.004, -0.004, 1]],
        "deutan": [[0.2925, 0.7075, 0], [0.2925, 0.7075, 0], [-0.0223, 0.0223, 1]],
        "tritan": [[1, 0.1525, -0.1525], [0, 0.8673, 0.1327], [0, 0.8673, 0.1327]],
    }[weak]
    colours = [(0, 0, 0), *(colour for _, colour in CLASS_LEGEND)]
    seen = [np.array(matrix) @ (np.array(colour) / 255) ** 2.2 for colour in colours]
    for i, one in enumerate(seen):
        for two in seen[:i]:
            assert np.abs(np.clip(one, 0, 1) ** (1 / 2.2) - np.clip(two, 0, 1) ** (1 / 2.2)).max() > 0.15


def test_classes_and_unknown_pixels():
    picture = class_map(np.array([[0, 1, 2, 255]], np.uint8), [(1, 2, 3), (4, 5, 6)])
    assert picture[0, 1].tolist() == [1, 2, 3] and picture[0, 2].tolist() == [4, 5, 6]
    assert picture[0, 0].tolist() == [235, 235, 235]


@pytest.mark.parametrize(
    ("size", "expected"), [((256, 256), (256, 256)), ((100, 50), (400, 200)), ((1664, 832), (416, 208))]
)
def test_small_images_grow_by_whole_factors_and_large_ones_shrink(size, expected):
    assert panel_size(*size) == expected
    assert max(panel_size(*size)) <= PANEL


def test_sheet_of_panels():
    panel = np.zeros((40, 50, 3), np.uint8)
    with Image.open(io.BytesIO(sheet([[panel, panel, panel], [panel]]))) as picture:
        assert picture.size == (3 * 50 + 2 * GAP, 2 * 40 + GAP) and picture.format == "JPEG"


def test_resampling_makes_up_no_colour(rng):
    picture = rng.integers(0, 2, (30, 40)).astype(np.uint8)
    assert (resampled(resampled(picture, (90, 120)), (30, 40)) == picture).all()
