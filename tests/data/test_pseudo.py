import json

import numpy as np
import pytest
import torch
from PIL import Image
from pseudo_sets import write_pseudo

from cdengine.data.codings import SENSEEARTH_CLASSES
from cdengine.data.layouts import PairFiles, find_pairs
from cdengine.data.manifest import label_format
from cdengine.data.pairs import ChangePairs, Draw
from cdengine.data.pseudo import MANIFEST, PseudoLabels
from cdengine.data.transforms import Augment, Augmentation
from cdengine.errors import CorruptError, DatasetError, LabelError, NotFoundInputError

OWN = (np.array([[1, 0, 0, 0]], np.uint8), np.array([[2, 0, 0, 0]], np.uint8))
FULL = (np.array([[1, 4, 4, 0]], np.uint8), np.array([[2, 4, 5, 0]], np.uint8))


@pytest.fixture
def semantic(tmp_path, save, rng):
    """Two labelled pairs of layout senseearth, one in a sub folder; returns their files."""
    for name in ("a", "city/b"):
        for folder in ("im1", "im2"):
            save(tmp_path / "S" / folder / f"{name}.png", rng.integers(0, 255, (1, 4, 3), dtype=np.uint8))
        for folder, label in zip(("label1", "label2"), OWN, strict=True):
            save(tmp_path / "S" / folder / f"{name}.png", label)
    return find_pairs(tmp_path / "S", "senseearth", "all")


@pytest.fixture
def folder(tmp_path):
    return write_pseudo(tmp_path / "P", SENSEEARTH_CLASSES, {"a": FULL, "city/b": FULL})


def opened(files, folder, **options):
    pseudo = PseudoLabels(folder, SENSEEARTH_CLASSES, files)
    return ChangePairs(files, labels=label_format(files[0].before.parents[1], "senseearth"), pseudo=pseudo, **options)


def test_classes_come_from_pseudo_labels_and_change_does_not(semantic, folder):
    pairs = opened(semantic, folder)
    plain = ChangePairs(semantic, labels=pairs.labels)
    for i, name in enumerate(("a", "city/b")):
        assert pairs[i]["name"] == name
        assert torch.equal(pairs[i]["change"], plain[i]["change"]) and pairs[i]["change"].tolist() == [[1, 0, 0, 0]]
        assert plain[i]["before_classes"].tolist() == [[0, 255, 255, 255]]
        assert pairs[i]["before_classes"].tolist() == [[0, 3, 3, 255]]
        assert pairs[i]["after_classes"].tolist() == [[1, 3, 4, 255]]
        assert pairs[i]["before_classes"].dtype == torch.int64
        assert pairs.read_labels(i)["after_classes"].tolist() == [[1, 3, 4, 255]]


def test_pseudo_labels_move_with_the_images(semantic, folder):
    """Turned by any of the eight symmetries, a pair's pseudo classes stay on their pixels."""
    plain = Augmentation(crop=32, scale=(1, 1), exchange=0, shift=0, photometric=None)
    pairs = opened(semantic, folder, transform=Augment(plain), seed=4)
    image, whole = pairs.read(0)["before"], pairs.read(0)["before_classes"]
    for epoch in range(6):
        sample = pairs[Draw(0, epoch)]
        for col in range(4):
            at = (sample["before"] == image[:, 0, col, None, None]).all(0) & sample["valid"]
            assert sample["before_classes"][at].tolist() == [whole[0, col]]


def test_geotiffs_and_colour_tables_are_indices(semantic, folder, tmp_path):
    from pairs import write_raster

    picture = Image.fromarray(FULL[0])
    picture.putpalette([255, 255, 255, 0, 0, 255] + [0] * 15)
    picture.save(folder / "label1" / "a.png")
    (folder / "label2" / "a.png").unlink()
    write_raster(folder / "label2" / "a.tif", FULL[1][None])
    sample = opened(semantic, folder)[0]
    assert sample["before_classes"].tolist() == [[0, 3, 3, 255]] and sample["after_classes"].tolist() == [
        [1, 3, 4, 255]
    ]


def test_a_label_of_one_date_alone_is_kept(semantic, folder, save, tmp_path):
    """Contradicting pixels are ignored as change; the class that is known stays, whatever a pseudo label says.

    So it does where a pseudo label says nothing about changed ground: an image may have no data there.
    """
    save(folder / "label2" / "a.png", np.array([[0, 4, 5, 0]], np.uint8))
    save(tmp_path / "S" / "label1" / "a.png", np.array([[1, 6, 0, 0]], np.uint8))
    sample = opened(semantic, folder)[0]
    assert sample["change"].tolist() == [[1, 255, 0, 0]]
    assert sample["before_classes"].tolist() == [[0, 5, 3, 255]]
    assert sample["after_classes"].tolist() == [[1, 3, 4, 255]]


def test_what_does_not_fit_is_one_line_with_the_file_and_the_remedy(semantic, folder, save):
    path = folder / "label2" / "a.png"
    for label, error, match in (
        (np.zeros((2, 4), np.uint8), DatasetError, r"label2/a\.png is 4 x 2 pixels but the labels of a are 4 x 1"),
        (np.array([[2, 7, 0, 0]], np.uint8), LabelError, r"label2/a\.png: values 7 are no class; classes are 1 to 6"),
        (np.array([[2, 255, 0, 0]], np.uint8), LabelError, r"label2/a\.png: values 255 are no class"),
        (
            np.array([[3, 4, 5, 0]], np.uint8),
            LabelError,
            r"a\.png: 1 changed pixel\(s\) have another class than .*S/lab",
        ),
    ):
        save(path, label)
        with pytest.raises(error, match=match) as caught:
            opened(semantic, folder)
        assert "make them again with pseudo-label" in str(caught.value) and "\n" not in str(caught.value)


def test_folders_that_are_not_of_this_data_set(semantic, folder, tmp_path):
    with pytest.raises(NotFoundInputError, match="does not exist"):
        opened(semantic, tmp_path / "none")
    (folder / "label1" / "city" / "b.png").unlink()
    with pytest.raises(DatasetError, match=r"label1 has no pseudo label of city/b\.png, as of 1 of 2 training pairs"):
        opened(semantic, folder)
    assert opened(semantic[:1], folder)[0]["before_classes"].tolist() == [[0, 3, 3, 255]]  # only what is trained on
    for content, error, match in (
        (
            json.dumps({"classes": list(SENSEEARTH_CLASSES[::-1])}),
            DatasetError,
            "its classes are playground, .* data set",
        ),
        ("{", CorruptError, "not valid JSON"),
        ("[]", CorruptError, "no list `classes`"),
    ):
        (folder / MANIFEST).write_text(content, encoding="utf-8")
        with pytest.raises(error, match=match):
            opened(semantic, folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(NotFoundInputError, match="no finished folder of pseudo labels; make them again"):
        opened(semantic, folder)


def test_pairs_without_class_labels_get_all_of_them(semantic, folder):
    pseudo = PseudoLabels(folder, SENSEEARTH_CLASSES, semantic)
    bare = [PairFiles(pair.name, pair.before, pair.after) for pair in semantic]
    labels = label_format(semantic[0].before.parents[1], "senseearth")
    sample = ChangePairs(bare, labels=labels, pseudo=pseudo, need_labels=False)[0]
    assert (sample["change"] == 255).all() and sample["before_classes"].tolist() == [[0, 3, 3, 255]]
