"""Pairs made of labelled images of single dates, and a run on them."""

import numpy as np
import pytest
import small_training as small
import torch
from PIL import Image

from cdengine.errors import ConfigError, DatasetError
from cdengine.models.container import read_card
from cdengine.training.fit import train
from cdengine.training.single_temporal import MadePairs, paired


def sample(number, mask, **more):
    layer = torch.full((3, 2, 2), number, dtype=torch.uint8)
    return {"before": layer, "after": layer + 100, "change": torch.tensor(mask, dtype=torch.uint8),
            "valid": torch.ones(2, 2, dtype=torch.bool), "name": str(number), **more}  # fmt: skip


MASKS = [[[0, 1], [1, 255]], [[0, 0], [1, 1]], [[1, 1], [1, 0]]]


def stacked(samples):
    return {name: torch.stack([one[name] for one in samples]) for name in samples[0] if name != "name"}


def test_change_is_the_exclusive_or_of_the_masks():
    batch = stacked([sample(number, mask) for number, mask in enumerate(MASKS)])
    batch["valid"][1, 0, 0] = False
    made = paired(batch)
    assert made["change"].tolist() == [[[0, 1], [0, 255]], [[1, 1], [0, 1]], [[1, 0], [0, 255]]]
    assert made["before"][:, 0, 0, 0].tolist() == [0, 1, 2] and made["after"][:, 0, 0, 0].tolist() == [101, 102, 100]
    assert made["valid"][:, 0, 0].tolist() == [False, False, True]


def test_classes_that_differ_are_change():
    batch = stacked([sample(n, mask, before_classes=torch.tensor([[n, 2], [3, 255]])) for n, mask in enumerate(MASKS)])
    made = paired(batch)
    assert made["change"].tolist() == [[[1, 0], [0, 255]]] * 3
    assert made["after_classes"][:, 0, 0].tolist() == [1, 2, 0]


def test_validation_pairs_are_fixed_and_cut_to_one_size():
    singles = [sample(number, mask) for number, mask in enumerate(MASKS)]
    singles[1] = {name: value[..., :1, :] if name != "name" else value for name, value in singles[1].items()}
    pairs = MadePairs(singles)
    assert len(pairs) == 3
    assert pairs[0]["change"].tolist() == [[0, 1]] and pairs[0]["name"] == "0 + 1"
    assert pairs[2]["change"].tolist() == [[1, 0], [0, 255]]
    assert pairs[2]["before"][0, 0, 0] == 2 and pairs[2]["after"][0, 0, 0] == 100


@pytest.fixture
def singles(tmp_path):
    rng = np.random.default_rng(3)
    for split, count in (("train", 6), ("val", 3)):
        for number in range(count):
            mask = np.zeros((64, 64), np.uint8)
            row, col = rng.integers(0, 40, 2)
            mask[row : row + 24, col : col + 24] = 1
            image = np.where(mask[..., None] > 0, 220, 90) + rng.integers(-20, 20, (64, 64, 3))
            for folder, layer in (("image", image.astype(np.uint8)), ("label", mask)):
                path = tmp_path / "singles" / split / folder / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(layer).save(path)
    return tmp_path / "singles"


def test_a_run_on_single_dates(singles, tmp_path):
    plain = {"augmentation": {"photometric": None}}
    config = small.config(singles, tmp_path / "run", procedure="single-temporal", trainer={"epochs": 12}, data=plain)
    result = train(config)
    assert result.metrics["f1"] > 0.8
    assert read_card(result.model).training["procedure"] == "single-temporal"


def test_what_makes_no_pairs(singles, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.batch_size"):
        train(small.config(singles, tmp_path / "a", procedure="single-temporal", data={"batch_size": 1}))
    with pytest.raises(DatasetError, match="no folder image/"):
        pairs = small.make_pairs(tmp_path / "pairs")
        train(small.config(pairs, tmp_path / "b", procedure="single-temporal"))
