import json
import shutil

import numpy as np
import pytest
from PIL import Image

from cdengine.data.codings import FORMATS, SECOND_CLASSES, SECOND_PALETTE, SENSEEARTH_CLASSES
from cdengine.data.labels import read_classes
from cdengine.data.layouts import find_pairs
from cdengine.data.manifest import label_format
from cdengine.data.pairs import ChangePairs
from cdengine.data.prepare.convert import convert
from cdengine.errors import DatasetError, LabelError, UsageError
from cdengine.events import CollectSink, Reporter


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


def test_two_pairs_that_would_get_one_name_are_refused(tmp_path, download):
    download(("tile/1", "tile-1"))
    with pytest.raises(DatasetError, match=r"tile(/|-)1\.png and .*tile(/|-)1\.png would get one name"):
        convert("second", tmp_path / "S", tmp_path / "d")
    assert not (tmp_path / "d").exists()


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
    assert "unlabelled" in done.summary()


@pytest.fixture
def excerpts(tmp_path, shared_data):
    """SECOND's published excerpts as a download: labels of train in colours or by index, val without labels."""
    source = shared_data / "semantic" / "second_fig"

    def make(form):
        root = tmp_path / f"download-{form}"
        for split in ("train", "val"):
            for folder in ("im1", "im2"):
                shutil.copytree(source / folder, root / split / folder)
        for date in ("label1", "label2"):
            shutil.copytree(source / (f"{date}_rgb" if form == "rgb" else date), root / "train" / date)
        return root

    return make


def values(path):
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("form", ["rgb", "index"])
def test_second_s_excerpts_from_colours_or_indices_to_both(tmp_path, shared_data, excerpts, form):
    source = shared_data / "semantic" / "second_fig"
    convert("second", excerpts(form), tmp_path / "indices")
    convert("second", tmp_path / "indices", tmp_path / "colours", rgb_labels=True)
    for date in ("label1", "label2"):
        for label in sorted((source / date).iterdir()):
            index, colour = (tmp_path / form / "train" / date / label.name for form in ("indices", "colours"))
            with Image.open(index) as picture:
                assert picture.mode == "P"
                shown = np.asarray(picture.convert("RGB"))
            assert (values(index) == values(label)).all()
            assert (shown == values(source / f"{date}_rgb" / label.name)).all()  # people see the download's colours
            assert (values(colour) == shown).all()
    assert (tmp_path / "indices" / "val" / "im1" / "fig1.png").is_file() and not (
        tmp_path / "indices" / "val" / "label1"
    ).exists()


def test_senseearth_s_order_of_classes(tmp_path, shared_data, excerpts):
    """The same colours mean the same classes, under other indices; both forms read back alike."""
    rgb = excerpts("rgb")
    convert("senseearth", rgb, tmp_path / "d")
    convert("senseearth", rgb, tmp_path / "e", rgb_labels=True)
    order = np.array([255, *(SENSEEARTH_CLASSES.index(name) for name in SECOND_CLASSES)])
    for name in ("fig1", "fig3", "fig6", "fig8"):
        path = tmp_path / "d" / "train" / "label1" / f"{name}.png"
        second = values(shared_data / "semantic" / "second_fig" / "label1" / f"{name}.png")
        assert (read_classes(path, FORMATS["senseearth"].classes) == order[second]).all()
        assert (values(path) == np.append(0, order[1:] + 1)[second]).all()
    one, two = (
        ChangePairs(find_pairs(tmp_path / name, "second", "train"), labels=label_format(tmp_path / name, "second"))
        for name in ("d", "e")
    )
    assert one.classes == two.classes == SENSEEARTH_CLASSES
    for i in range(4):
        assert all((one[i][role] == two[i][role]).all() for role in ("change", "before_classes", "after_classes"))


def test_dates_that_contradict_each_other_are_told(tmp_path, save, rng):
    """1 px with a class before only, 2 px after only, in pair b; a is sound."""
    for name, dates in {
        "a": ([[1, 0, 0, 0]], [[2, 0, 0, 0]]),
        "b": ([[1, 1, 0, 0]], [[3, 0, 2, 2]]),
    }.items():
        for folder in ("im1", "im2"):
            save(tmp_path / "S" / "train" / folder / f"{name}.png", rng.integers(0, 255, (1, 4, 3), dtype=np.uint8))
        for folder, date in zip(("label1", "label2"), dates, strict=True):
            save(tmp_path / "S" / "train" / folder / f"{name}.png", np.array(date, np.uint8))
    sink = CollectSink()
    done = convert("senseearth", tmp_path / "S", tmp_path / "d", reporter=Reporter(sink))
    assert (done.contradicting_pairs, done.contradicting_pixels) == (1, 3) and "3 pixels of 1 pairs" in done.summary()
    warnings = [event["message"] for event in sink.events if event.get("level") == "warning"]
    assert len(warnings) == 1 and "label1/b.png" in warnings[0] and warnings[0].startswith("3 pixel(s) of 1 pair(s)")
    facts = json.loads((tmp_path / "d" / "dataset.json").read_text())
    assert facts["contradicting"] == {"pairs": 1, "pixels": 3}
    assert facts["splits"]["train"]["change_share"] == 2 / 5  # of 5 px that can be told
    assert values(tmp_path / "d" / "train" / "label" / "b.png").tolist() == [[1, 255, 255, 255]]
    sample = ChangePairs(find_pairs(tmp_path / "d", "second", "train"), labels=label_format(tmp_path / "d", "second"))[
        1
    ]
    assert sample["before_classes"].tolist() == [[0, 0, 255, 255]]  # what the date has is still learnt
    assert sample["after_classes"].tolist() == [[2, 255, 1, 1]]


def test_a_change_folder_decides_and_the_contradictions_are_told_all_the_same(tmp_path, shared_data):
    sink = CollectSink()
    source = shared_data / "semantic" / "second_fig"
    done = convert("second", source, tmp_path / "d", reporter=Reporter(sink))
    assert (done.contradicting_pairs, done.contradicting_pixels) == (4, 1633)
    (warning,) = [event["message"] for event in sink.events if event.get("level") == "warning"]
    assert warning.startswith("1,633 pixel(s) of 4 pair(s)") and "ignored" not in warning
    assert "1,633 pixels of 4 pairs; the change labels decide what changed there" in done.summary()
    facts = json.loads((tmp_path / "d" / "dataset.json").read_text())
    assert facts["contradicting"] == {"pairs": 4, "pixels": 1633} and facts["disagreeing"] == {"pairs": 0, "pixels": 0}
    for written in (tmp_path / "d").glob("train/label/*.png"):
        given = np.asarray(Image.open(source / "change" / written.name))
        assert np.array_equal(values(written), given > 0), "the pixels are what they were"


def test_lists_name_every_tenth_pair(tmp_path, download):
    names = [f"{number:05}" for number in range(21)]
    convert("second", download(names), tmp_path / "d")
    tenth = find_pairs(tmp_path / "d", "second", "train-tenth")
    assert [pair.name for pair in tenth] == ["train/00000", "train/00010", "train/00020"]
    rest = find_pairs(tmp_path / "d", "second", "train-rest")
    assert len(rest) == 18 and not {pair.before for pair in rest} & {pair.before for pair in tenth}
    convert("second", tmp_path / "d", tmp_path / "again")  # the lists are no splits of their own
    assert {path.name for path in (tmp_path / "again").iterdir()} == {"train", "test", "list", "dataset.json"}


def test_colours_are_refused_where_classes_have_none(tmp_path):
    with pytest.raises(UsageError, match="hiucd have no colours"):
        convert("hiucd", tmp_path, tmp_path / "d", rgb_labels=True)
