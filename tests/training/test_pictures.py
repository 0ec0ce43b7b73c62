"""Sample pictures of a training run: which bands are shown, and how."""

import numpy as np
import pytest

from cdengine.training.pictures import colour


@pytest.mark.parametrize(
    ("bands", "order"),
    [
        (("red", "green", "blue"), (0, 1, 2)),
        (("B02", "B03", "B04", "B08"), (2, 1, 0)),
        (("nir", "Red", "Green", "Blue"), (1, 2, 3)),
        (("1", "2", "3", "4"), (2, 1, 0)),
        (("vv", "vh"), (0, 0, 0)),
    ],
)
def test_bands_are_shown_as_their_names_say(bands, order):
    values = np.stack([np.full((4, 5), 10 * number, np.uint8) for number in range(len(bands))])
    assert colour(values, bands)[2, 3].tolist() == [10 * place for place in order]


def test_measurements_are_stretched_around_what_is_missing():
    values = np.linspace(100, 3000, 3 * 64, dtype=np.float32).reshape(3, 8, 8)
    values[:, 0, 0] = np.nan
    shown = colour(values, ("red", "green", "blue"))
    assert shown[0, 0].tolist() == [0, 0, 0]
    assert shown[-1, -1].tolist() == [255, 255, 255]
    assert (colour(np.full((3, 4, 4), np.nan, np.float32), ("red", "green", "blue")) == 0).all()
