"""Training with pseudo labels, and SenseEarth2020's split."""

import numpy as np
import pytest
import small_training as small
import torch
from PIL import Image
from pseudo_sets import filled, write_pseudo

from cdengine.data.codings import SECOND_CLASSES
from cdengine.data.layouts import find_pairs
from cdengine.errors import ConfigError, DatasetError, LabelError
from cdengine.events import Reporter
from cdengine.models.container import read_card
from cdengine.models.logits import Logits
from cdengine.training.config import LossConfig, load_config, portable
from cdengine.training.datasets import find_splits, open_data
from cdengine.training.fit import train
from cdengine.training.losses.combined import CombinedLoss
from cdengine.training.runfolder import RunFolder

PLAIN = {"crop": 64, "scale": [1, 1], "exchange": 0, "shift": 0, "photometric": None, "change_crops": 0, "turns": "six"}
ONE_EPOCH = {"epochs": 1, "epoch_batches": 2}


@pytest.fixture(scope="module")
def semantic(tmp_path_factory):
    return small.make_pairs(tmp_path_factory.mktemp("semantic"), classes=True)


@pytest.fixture(scope="module")
def pseudo(semantic, tmp_path_factory):
    """Unchanged ground is class 4 before and after."""
    return write_pseudo(tmp_path_factory.mktemp("pseudo"), SECOND_CLASSES, filled(semantic, "train", 4))


def config(root, run, **data):
    data = {"layout": "second", "augmentation": PLAIN, **data}
    return small.config(root, run, data=data, trainer=ONE_EPOCH)


def test_the_semantic_loss_counts_unchanged_pixels_and_the_change_target_stays(semantic, pseudo, tmp_path):
    plain = open_data(config(semantic, tmp_path / "a"), None, Reporter())
    told = open_data(config(semantic, tmp_path / "b", pseudo_labels=str(pseudo)), None, Reporter())
    loss = CombinedLoss(LossConfig(bce=1.0), plain.changed_share)
    torch.manual_seed(0)
    logits = Logits(torch.randn(1, 1, 64, 64), torch.randn(1, 6, 64, 64), torch.randn(1, 6, 64, 64))

    def terms(data, i):
        sample = data.train[i]
        batch = {key: value[None] for key, value in sample.items() if key != "name"}
        return sample, loss(logits, batch)[1]

    for i in range(6):
        (one, first), (two, second) = terms(plain, i), terms(told, i)
        assert torch.equal(one["change"], two["change"]) and torch.equal(one["before"], two["before"])
        assert first["bce"] == second["bce"]
        unchanged = one["change"] == 0
        assert (one["before_classes"][unchanged] == 255).all() and (two["before_classes"][unchanged] == 3).all()
        assert torch.equal(one["after_classes"][~unchanged], two["after_classes"][~unchanged])
        both = [
            torch.nn.functional.cross_entropy(getattr(logits, date), two[f"{date}_classes"][None])
            for date in ("before", "after")
        ]
        assert second["classes"] == pytest.approx(float(sum(both)) / 2, rel=1e-5)  # over all 64 x 64 pixels
        assert second["classes"] != first["classes"]
    assert told.changed_share == plain.changed_share
    for i in range(2):  # validation keeps its own labels
        assert torch.equal(told.validation[i]["before_classes"], plain.validation[i]["before_classes"])
        assert (told.validation[i]["before_classes"] == 255).any()


def test_a_run_learns_from_them(semantic, pseudo, tmp_path, monkeypatch):
    plain = train(config(semantic, tmp_path / "plain"))
    made = config(semantic, tmp_path / "run", pseudo_labels=str(pseudo))
    result = train(made)
    assert {"score", "sek", "f1"} <= result.metrics.keys()
    assert not small.same(small.weights(result.model), small.weights(plain.model))
    assert read_card(result.model).training["pseudo_labels"] == pseudo.name
    assert "pseudo_labels" not in read_card(plain.model).training
    monkeypatch.chdir(pseudo.parent)  # what is kept names the folder in full
    kept = load_config(RunFolder(str(result.run)).config)
    assert kept.data.pseudo_labels == str(pseudo)
    relative = small.replaced(made, data={"pseudo_labels": pseudo.name})
    assert (
        portable(relative).data.pseudo_labels == str(pseudo)
        and portable(config(semantic, "x")).data.pseudo_labels is None
    )


def test_all_are_looked_at_before_training(semantic, tmp_path):
    """The last pair's is wrong: told at once, not in the middle of an epoch."""
    labels = filled(semantic, "train", 4)
    last = max(labels)
    labels[last] = tuple(np.where(date == 4, 4, 6) for date in labels[last])
    folder = write_pseudo(tmp_path / "P", SECOND_CLASSES, labels)
    with pytest.raises(LabelError, match=rf"label1/{last}\.png: 400 changed pixel\(s\) have another class"):
        open_data(config(semantic, tmp_path / "run", pseudo_labels=str(folder)), None, Reporter())
    (folder / "label2" / f"{last}.png").unlink()
    with pytest.raises(DatasetError, match=rf"no pseudo label of {last}\.png, as of 1 of 6 training pairs"):
        train(config(semantic, tmp_path / "run", pseudo_labels=str(folder)))


def test_where_they_have_no_meaning(pairs, pseudo, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.pseudo_labels: the data set has no class labels"):
        train(small.config(pairs, tmp_path / "run", data={"pseudo_labels": str(pseudo)}))
    single = small.config(pairs, tmp_path / "run", procedure="single-temporal", data={"pseudo_labels": str(pseudo)})
    with pytest.raises(ConfigError, match=r"data\.pseudo_labels: single-temporal"):
        train(single)


def test_every_tenth_pair_by_name_validates(tmp_path):
    root = small.make_pairs(tmp_path / "pairs", train=23, val=1)
    names = [pair.name for pair in find_pairs(root, "pairs", "train")]
    (root / "list").mkdir()
    (root / "list" / "reverse.txt").write_text("".join(f"train/{name}\n" for name in names[::-1]))
    made = small.config(root, tmp_path / "run", data={"validation": "tenth"})
    find = lambda root, split, _: find_pairs(root, "pairs", split)  # noqa: E731
    train_, held = find_splits(made.data, find, classes=False)
    assert [pair.name for pair in held] == [names[0], names[10], names[20]]
    assert [pair.name for pair in train_] == [name for i, name in enumerate(names) if i % 10]
    turned = small.replaced(made, data={"train": "reverse"})
    assert [pair.before for pair in find_splits(turned.data, find, classes=False)[1]] == [pair.before for pair in held]
    result = train(small.replaced(made, trainer=ONE_EPOCH))
    facts = read_card(result.model).training
    assert (facts["validation"], facts["train_pairs"], facts["validation_pairs"]) == ("tenth", 20, 3)
    for path in root.rglob("train/*/*.png"):
        if path.stem != names[0]:
            path.unlink()
    with pytest.raises(DatasetError, match="leave none to hold out"):
        find_splits(made.data, find, classes=False)


def test_the_recipe_takes_six_views(semantic, tmp_path):
    made = config(semantic, tmp_path / "run")
    assert made.data.augmentation.turns == "six" and made.data.augmentation.photometric is None
    tree = small.recipe(semantic, tmp_path / "run", data={"augmentation": {"turns": "five"}})
    with pytest.raises(ConfigError, match=r"data\.augmentation\.turns: must be one of all, six, not 'five'"):
        load_config(small.write_recipe(tmp_path / "r.yaml", tree))


def test_contradicting_dates_are_warned_of_and_train(semantic, tmp_path):
    from cdengine.events import CollectSink

    root = small.make_pairs(tmp_path / "set", classes=True)
    path = root / "train" / "label1" / "0.png"
    with Image.open(path) as picture:
        label = np.array(picture)
    label[0, :5] = 1
    Image.fromarray(label).save(path)
    sink = CollectSink()
    train(config(root, tmp_path / "run"), Reporter(sink))
    told = [event["message"] for event in sink.events if "a class at one date only" in event.get("message", "")]
    assert len(told) == 1 and told[0].startswith(f"5 pixel(s) of 1 pair(s), the first {path}")
