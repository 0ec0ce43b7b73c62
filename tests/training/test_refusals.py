"""Data sets that a run refuses, or takes although they are odd; each refusal is one line that names the file or key."""

import dataclasses
import os

import numpy as np
import pytest
import small_training as small
from PIL import Image
from pseudo_sets import filled, write_pseudo

from cdengine.data.codings import SECOND_CLASSES
from cdengine.errors import (
    CDEngineError,
    ConfigError,
    DatasetError,
    LabelError,
    OutputExistsError,
)
from cdengine.models.container import read_card
from cdengine.training.fit import train


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_label_among_good_ones_is_named(tmp_path, workers):
    root = small.make_pairs(tmp_path / "pairs")
    Image.fromarray(np.full((64, 64), 7, np.uint8)).save(root / "train" / "label" / "5.png")
    with pytest.raises((LabelError, DatasetError), match=r"5\.png") as caught:
        train(small.config(root, tmp_path / "run", data={"workers": workers, "coding": "0/255"}))
    assert "\n" not in str(caught.value) and caught.value.exit_code == 3


def test_sizes_that_differ_and_unreadable_files_in_validation(tmp_path):
    root = small.make_pairs(tmp_path / "pairs")
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(root / "val" / "label" / "1.png")
    with pytest.raises(DatasetError, match=r"1\.png.*32 x 32"):
        train(small.config(root, tmp_path / "run", data={"workers": 1}))
    (root / "val" / "label" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(Exception, match=r"1\.png") as caught:
        train(small.config(root, tmp_path / "run", data={"workers": 1}), overwrite=True)
    assert caught.value.exit_code == 3


def test_a_run_that_cannot_begin_leaves_the_old_one(finished, tmp_path):
    config, result, _ = finished
    before = {path: path.read_bytes() for path in result.run.rglob("*") if path.is_file()}
    for changes in ({"data": {"root": str(tmp_path / "gone")}}, {"model": {"arguments": {"widht": 8}}}):
        with pytest.raises(CDEngineError):
            train(small.replaced(config, **changes), overwrite=True)
    assert {path: path.read_bytes() for path in result.run.rglob("*") if path.is_file()} == before
    with pytest.raises(CDEngineError):
        train(
            small.replaced(
                dataclasses.replace(config, output=str(tmp_path / "new")), data={"root": str(tmp_path / "x")}
            )
        )
    assert os.listdir(tmp_path) == []


def test_figures_of_classes_need_classes(pairs, tmp_path):
    with pytest.raises(ConfigError, match=r"trainer\.monitor"):
        train(small.config(pairs, tmp_path / "run", trainer={"monitor": "sek"}))


def test_class_weights_must_be_as_many_as_the_classes(tmp_path):
    root = small.make_pairs(tmp_path / "pairs", classes=True)
    with pytest.raises(ConfigError, match=r"loss\.class_weights: 2 numbers for 6 classes \(low vegetation"):
        train(small.config(root, tmp_path / "run", data={"layout": "second"}, loss={"class_weights": [1.0, 2.0]}))


def test_pseudo_labels_need_a_network_that_tells_classes(tmp_path):
    root = small.make_pairs(tmp_path / "pairs", classes=True)
    pseudo = write_pseudo(tmp_path / "pseudo", SECOND_CLASSES, filled(root, "train", 4))
    data = {"layout": "second", "pseudo_labels": str(pseudo)}
    with pytest.raises(ConfigError, match=r"data\.pseudo_labels: fc-ef tells no classes"):
        train(small.config(root, tmp_path / "run", data=data, model={"architecture": "fc-ef"}))


def test_empty_split(tmp_path):
    root = small.make_pairs(tmp_path / "pairs")
    for file in (root / "val").rglob("*.png"):
        file.unlink()
    with pytest.raises(DatasetError, match="val"):
        train(small.config(root, tmp_path / "run"))


def test_all_unchanged_trains(tmp_path):
    root = small.make_pairs(tmp_path / "pairs")
    for file in root.rglob("label/*.png"):
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(file)
    result = train(small.config(root, tmp_path / "run", trainer={"epochs": 1}, data={"coding": "0/255"}))
    assert all(np.isfinite(value) for value in result.metrics.values())


def test_shared_pairs_are_refused(pairs, tmp_path):
    with pytest.raises(DatasetError, match="figures would be too good"):
        train(small.config(pairs, tmp_path / "run", data={"validation": "train"}))


def test_holdout(pairs, tmp_path):
    result = train(small.config(pairs, tmp_path / "run", data={"validation": "holdout"}, trainer={"epochs": 1}))
    training = read_card(result.model).training
    assert (training["train_pairs"], training["validation_pairs"]) == (4, 2)


def test_existing_folders(finished, tmp_path):
    config, result, _ = finished
    with pytest.raises(OutputExistsError, match="--overwrite"):
        train(config)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError):
            train(dataclasses.replace(config, output=str(tmp_path / "mine")), overwrite=overwrite)
    assert (tmp_path / "mine" / "thesis.tex").exists() and (result.run / "last.ckpt").exists()
