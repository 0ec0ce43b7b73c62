import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from cdengine.data.layouts import PairFiles, find_pairs
from cdengine.data.manifest import label_format, write_manifest
from cdengine.data.pairs import ChangePairs, Draw, collate
from cdengine.data.sampling import PairSampler
from cdengine.data.transforms import Augment, Augmentation, CentreCrop
from cdengine.errors import BandsError, CorruptError, DatasetError, LabelError


def test_a_sample_has_the_agreed_form(tmp_path, make_pairs):
    make_pairs(tmp_path, ["a", "b"])
    pairs = ChangePairs(find_pairs(tmp_path, "pairs", "all"))
    sample = pairs[0]
    assert set(sample) == {"before", "after", "change", "valid", "name"}
    assert (sample["before"].shape, sample["before"].dtype) == ((3, 32, 32), torch.uint8)
    assert (sample["change"].dtype, sample["valid"].dtype, sample["name"]) == (torch.uint8, torch.bool, "a")
    assert int((sample["change"] == 1).sum()) == 64 and sample["valid"].all()
    assert len(pairs) == 2 and pairs.bands == (3, 3) and pairs.classes == ()


def test_semantic_sample_of_the_shared_excerpts(shared_data):
    root = shared_data / "semantic" / "second_fig"
    pairs = ChangePairs(find_pairs(root, "second", "all"), labels=label_format(root, "second"))
    sample = pairs[0]
    assert sample["before_classes"].dtype == torch.int64 and len(pairs.classes) == 6
    both = (sample["before_classes"] != 255) & (sample["after_classes"] != 255)
    assert torch.equal(both, sample["change"] == 1)  # its change folder: what has a class at both dates


def test_change_is_derived_from_classes(tmp_path, save):
    for folder in ("im1", "im2", "label1", "label2"):
        array = np.zeros((4, 4), np.uint8)
        array[0, 0] = 1 if folder == "label1" else 3
        array[0, 2] = folder == "label2"  # a class after, none before: nobody knows whether it changed
        save(tmp_path / folder / "a.png", array)
    pairs = ChangePairs(find_pairs(tmp_path, "senseearth", "all"), labels=label_format(tmp_path, "senseearth"))
    assert pairs[0]["change"].tolist() == [[1, 0, 255, 0]] + [[0] * 4] * 3
    assert pairs[0]["after_classes"][0].tolist() == [2, 255, 0, 255]
    with pytest.raises(LabelError, match="classes are not named"):
        ChangePairs(find_pairs(tmp_path, "senseearth", "all"))


def test_validity_enters_labels_and_pixels(tmp_path, make_pairs, save, rng):
    make_pairs(tmp_path, ["a"])
    rgba = rng.integers(1, 255, (32, 32, 4), dtype=np.uint8)
    rgba[:, :8, 3] = 0
    save(tmp_path / "B" / "a.png", rgba)
    sample = ChangePairs(find_pairs(tmp_path, "pairs", "all"))[0]
    assert not sample["valid"][:, :8].any() and sample["valid"][:, 8:].all()
    assert (sample["change"][:, :8] == 255).all() and (sample["after"][:, :, :8] == 0).all()


def test_sixteen_bits_become_float(shared_data):
    city = shared_data / "oscd" / "bercy"
    files = [PairFiles("bercy", city / "before.tif", city / "after.tif", city / "label.tif")]
    sample = ChangePairs(files, bands_before=[3, 2, 1], bands_after=[3, 2, 1])[0]
    assert sample["before"].dtype == torch.float32 and sample["before"].shape[0] == 3
    assert float(sample["before"].max()) > 255


def test_bad_pairs_are_named(tmp_path, make_pairs, save):
    make_pairs(tmp_path, ["a", "b"])
    files = find_pairs(tmp_path, "pairs", "all")
    save(tmp_path / "label" / "b.png", np.zeros((16, 32), np.uint8))
    with pytest.raises(DatasetError, match=r"label/b\.png is 32 x 16 pixels but .*A/b\.png is 32 x 32"):
        ChangePairs(files)[1]
    save(tmp_path / "A" / "b.png", np.zeros((32, 32), np.uint8))
    with pytest.raises(BandsError, match=r"A/b\.png has 1 bands"):
        ChangePairs(files)[1]
    (tmp_path / "A" / "b.png").write_bytes((tmp_path / "A" / "a.png").read_bytes()[:200])
    with pytest.raises(CorruptError, match=r"A/b\.png"):
        ChangePairs(files)[1]
    with pytest.raises(DatasetError, match="no pairs"):
        ChangePairs([])
    with pytest.raises(DatasetError, match=r"a\.png has no label"):
        ChangePairs([PairFiles("a", files[0].before, files[0].after)])
    unlabelled = ChangePairs([PairFiles("a", files[0].before, files[0].after)], need_labels=False)
    assert (unlabelled[0]["change"] == 255).all()


def test_the_manifest_settles_the_coding(tmp_path, make_pairs):
    """Labels of 255 only are ignored where the set says that it is coded 0/1, which no file alone can tell."""
    make_pairs(tmp_path, ["a"], high=255)
    files = find_pairs(tmp_path, "pairs", "all")
    assert (ChangePairs(files, labels=label_format(tmp_path, "pairs"))[0]["change"] == 1).any()
    write_manifest(tmp_path, {"change": "0/1"})
    sample = ChangePairs(files, labels=label_format(tmp_path, "pairs"))[0]
    assert (sample["change"] == 255).any() and not (sample["change"] == 1).any()


def test_batches_of_unlike_sizes_are_padded(tmp_path, make_pairs):
    make_pairs(tmp_path, ["a"], size=32)
    make_pairs(tmp_path, ["b"], size=40)
    batch = collate([ChangePairs(find_pairs(tmp_path, "pairs", "all"))[i] for i in (0, 1)])
    assert batch["before"].shape == (2, 3, 64, 64) and batch["name"] == ["a", "b"]
    assert not batch["valid"][0, 32:].any() and (batch["change"][0, 32:] == 255).all()


def test_augmentation_does_not_depend_on_workers(tmp_path, make_pairs):
    make_pairs(tmp_path, list("abcdef"))
    files = find_pairs(tmp_path, "pairs", "all")

    def epoch(workers: int, number: int) -> list[torch.Tensor]:
        pairs = ChangePairs(files, transform=Augment(Augmentation(crop=32)), seed=3)
        sampler = PairSampler(len(pairs), seed=3)
        sampler.set_epoch(number)
        loader = DataLoader(pairs, 2, sampler=sampler, num_workers=workers, collate_fn=collate)
        return [batch["before"] for batch in loader]

    alone = epoch(0, 1)
    assert all(torch.equal(a, b) for a, b in zip(alone, epoch(2, 1), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(alone, epoch(0, 2), strict=True))


def test_centre_crop(tmp_path, make_pairs):
    make_pairs(tmp_path, ["a"], size=40)
    files = find_pairs(tmp_path, "pairs", "all")
    whole = ChangePairs(files)[0]
    cut = ChangePairs(files, transform=CentreCrop(32))[0]
    assert torch.equal(cut["before"], whole["before"][:, 4:36, 4:36])
    wide = ChangePairs(files, transform=CentreCrop(64))[Draw(0)]
    assert torch.equal(wide["before"][:, 12:52, 12:52], whole["before"]) and int(wide["valid"].sum()) == 1600
