import numpy as np
import pytest

from cdengine.inference.value_range import range_fault
from cdengine.models.card import DateInput

EIGHT_BIT = DateInput(("red", "green", "blue"), (0.43, 0.45, 0.4), (0.2, 0.19, 0.18), 1 / 255)
VALID = np.ones((1, 128, 128), bool)


@pytest.fixture
def image(rng):
    """Like 8-bit imagery."""
    return np.clip(rng.normal(110, 45, (1, 3, 128, 128)), 0, 255)


def test_imagery_of_the_same_kind(image):
    assert range_fault(image.astype(np.uint8), VALID, EIGHT_BIT) == ""
    assert range_fault(image * 0.4, VALID, EIGHT_BIT) == ""  # a dark season
    assert range_fault(np.clip(image + 100, 0, 255), VALID, EIGHT_BIT) == ""  # snow


@pytest.mark.parametrize("factor", [1 / 255, 20, 257])
def test_other_units(image, factor):
    """0..1 floats, reflectances times 10,000, full 16-bit range."""
    fault = range_fault(image * factor, VALID, EIGHT_BIT)
    assert "training data from about 7.65 to 211.65" in fault
    assert "values run from about" in fault


def test_nothing_can_be_told_of_blank_tiles(image):
    assert range_fault(np.zeros_like(image), VALID, EIGHT_BIT) is None
    assert range_fault(image, ~VALID, EIGHT_BIT) is None


def test_invalid_pixels_do_not_count(image):
    image[..., :64] = np.nan
    valid = VALID.copy()
    valid[..., :64] = False
    assert range_fault(image, valid, EIGHT_BIT) == ""
