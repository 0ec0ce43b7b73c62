import numpy as np
import pytest
from PIL import Image

from cdengine.data.codings import SECOND_CLASSES, SECOND_PALETTE
from cdengine.data.layouts import find_pairs
from cdengine.data.manifest import label_format
from cdengine.data.pairs import ChangePairs
from cdengine.data.prepare.convert import convert
from cdengine.errors import LabelError, UsageError


@pytest.fixture
def download(tmp_path, save, rng):
    """SECOND as it is downloaded: split folders, colours."""
    colours = list(SECOND_PALETTE)

    def make(names=("1", "2", "3", "4"), wrong=None):
        for split in ("train", "test"):
            for name in names:
                for folder in ("im1", "im2"):
                    save(
                        tmp_path / "S" / split / folder / f"{name}.png",
                        rng.integers(0, 255, (16, 16, 3), dtype=np.uint8),
                    )
                where = rng.random((16, 16)) < 0.3
                for folder, colour in (("label1", colours[1]), ("label2", colours[5])):
                    label = np.full((16, 16, 3), 255, np.uint8)
                    label[where] = wrong if wrong and name == names[-1] else colour
                    save(tmp_path / "S" / split / folder / f"{name}.png", label)
        return tmp_path / "S"

    return make


def test_colours_become_indices(tmp_path, download):
    done = convert("second", download(), tmp_path / "d")
    assert done.classes == SECOND_CLASSES and {k: c.patches for k, c in done.counts.items()} == {"test": 4, "train": 4}
    values = np.unique(np.asarray(Image.open(tmp_path / "d" / "train" / "label1" / "1.png")))
    assert values.tolist() == [0, 1]
    before = ChangePairs(find_pairs(tmp_path / "S", "second", "train"), labels=label_format(tmp_path / "S", "second"))
    after = ChangePairs(find_pairs(tmp_path / "d", "second", "train"), labels=label_format(tmp_path / "d", "second"))
    for i in range(4):
        for role in ("before", "change", "before_classes", "after_classes"):
            assert (before[i][role] == after[i][role]).all()


def test_training_pairs_are_dealt_out(tmp_path, download):
    done = convert("second", download(), tmp_path / "d", shares={"train": 0.75, "val": 0.25}, seed=1)
    assert {k: c.patches for k, c in done.counts.items()} == {"train": 3, "val": 1, "test": 4}
    with pytest.raises(UsageError, match="a split test of its own"):
        convert("second", tmp_path / "S", tmp_path / "e", shares={"train": 0.5, "test": 0.5})


def test_a_wrong_colour_stops_it(tmp_path, download):
    with pytest.raises(LabelError, match=r"label1/4\.png"):
        convert("second", download(wrong=(1, 2, 3)), tmp_path / "d")
    assert not (tmp_path / "d").exists()
    with pytest.raises(UsageError, match="second, senseearth, hiucd"):
        convert("pairs", tmp_path / "S", tmp_path / "d")


def test_hiucd_channels_become_files(tmp_path, save, rng):
    for year in ("2017", "2018"):
        save(tmp_path / "H" / "train" / "image" / year / "9" / "1.png", rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
    mask = np.zeros((8, 8, 3), np.uint8)
    mask[:4] = (1, 3, 2)
    mask[4:6] = (2, 2, 1)
    save(tmp_path / "H" / "train" / "mask" / "2017_2018" / "9" / "1.png", mask)
    convert("hiucd", tmp_path / "H", tmp_path / "d")
    folder = tmp_path / "d" / "train"
    read = {
        name: np.asarray(Image.open(folder / name / "2017_2018-9-1.png"))[:, 0].tolist()
        for name in ("label", "label1", "label2")
    }
    assert read == {
        "label": [1] * 4 + [0] * 2 + [255] * 2,
        "label1": [1] * 4 + [2] * 2 + [0] * 2,
        "label2": [3] * 4 + [2] * 2 + [0] * 2,
    }
    sample = ChangePairs(find_pairs(tmp_path / "d", "second", "train"), labels=label_format(tmp_path / "d", "second"))[
        0
    ]
    assert sample["before_classes"][:, 0].tolist() == [0] * 4 + [1] * 2 + [255] * 2


def test_unlabelled_split_is_copied(tmp_path, save, rng):
    for split in ("train", "test"):
        for folder in ("im1", "im2"):
            save(tmp_path / "S" / split / folder / "1.png", rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
    for folder in ("label1", "label2"):
        save(tmp_path / "S" / "train" / folder / "1.png", np.full((8, 8), 2, np.uint8))
    done = convert("senseearth", tmp_path / "S", tmp_path / "d")
    assert done.counts["test"].patches == 1 and not find_pairs(tmp_path / "d", "second", "test")[0].labelled
    assert done.counts["train"].change_share == 1.0
