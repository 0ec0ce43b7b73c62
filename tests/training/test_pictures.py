"""Sample pictures of a training run: which bands are shown, and how; classes in the data set's colours."""

import io

import numpy as np
import pytest
import small_training as small
from PIL import Image

from cdengine.assess.colours import UNCHANGED, hatch
from cdengine.data.codings import SECOND_PALETTE
from cdengine.training.fit import train
from cdengine.training.pictures import GAP, KEY_ROWS, LEFT, SIDE, TOP, Shown, class_panels, colour, picture

BANDS = (("red", "green", "blue"),) * 2
RED, BLUE = (250, 0, 0), (0, 0, 250)


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


@pytest.fixture
def shown():
    """8 x 8 pixels: the upper half changed from class 0 to 1, row 0 without a class after; found: the left half."""
    change, probability = np.zeros((2, 8, 8), np.uint8)
    change[:4], probability[:, :4] = 1, 1
    labels = np.full((2, 8, 8), 255, np.uint8)
    labels[0, :4], labels[1, 1:4] = 0, 1
    image = np.full((3, 8, 8), 90, np.uint8)
    network = np.stack([np.zeros((8, 8)), np.ones((8, 8))]).astype(np.uint8)
    return Shown("a", image, image, change, probability.astype(np.float32), (labels, network))


def test_classes_are_shown_where_something_changed(shown):
    before, after, found_before, found_after = class_panels(shown, 0.5, [RED, BLUE])
    assert (before[:4] == RED).all() and (before[4:] == UNCHANGED).all()
    assert (after[1:4] == BLUE).all() and (after[4:] == UNCHANGED).all()
    assert (after[0] == hatch(8, 8)[0]).all(), "changed into a class that nobody told"
    for found, tint in ((found_before, RED), (found_after, BLUE)):
        assert (found[:, :4] == tint).all() and (found[:, 4:] == UNCHANGED).all()
    assert (class_panels(shown, 1.1, [RED, BLUE])[2] == UNCHANGED).all(), "below the threshold nothing changed"


def test_a_second_row_for_classes_alone(shown):
    def opened(pair, legend):
        return np.asarray(Image.open(io.BytesIO(picture([pair, pair], 0.5, BANDS, legend))))

    plain = opened(Shown("a", shown.before, shown.after, shown.change, shown.probability), None)
    semantic = opened(shown, {"low": RED, "high": BLUE})
    assert len(plain) == TOP + 2 * (SIDE + GAP) and len(semantic) == len(plain) + 2 * (TOP + SIDE + GAP)
    first = TOP + SIDE + GAP
    assert (semantic[:first] == plain[:first]).all()
    row, columns = first + TOP + 2, [LEFT + column * (SIDE + GAP) + 2 for column in range(5)]
    assert [tuple(semantic[row + SIDE // 8, left]) for left in columns[:4]] == [RED, BLUE, RED, BLUE]
    assert [tuple(semantic[row + 4 + down, columns[4]]) for down in (0, 21)] == [RED, BLUE], "the legend"
    many = {f"class {number}": RED for number in range(KEY_ROWS + 4)}
    assert opened(shown, many).shape == semantic.shape


def test_a_semantic_run_shows_classes_in_the_colours_of_second(tmp_path):
    root = small.make_pairs(tmp_path / "set", classes=True)
    semantic = {"layout": "second", "augmentation": {"crop": 32}}
    result = train(small.config(root, tmp_path / "run", data=semantic, trainer={"epochs": 1, "pictures": 1}))
    page = np.asarray(Image.open(result.run / "samples" / "epoch_001.png"))
    assert len(page) == 2 * (TOP + SIDE + GAP)
    tints = {number: tint for tint, number in SECOND_PALETTE.items()}
    for column, number in ((0, 1), (1, 4)):  # stored 2 and 5
        panel = page[2 * TOP + SIDE + GAP :, LEFT + column * (SIDE + GAP) :][:SIDE, :SIDE].reshape(-1, 3)
        assert {tuple(tint) for tint in panel} == {tints[number], UNCHANGED}
    assert "Classes are shown where something changed" in (result.run / "report.html").read_text()
