"""Recipes: strict YAML, errors that name the key, `--set`, and a complete file that reads back."""

import dataclasses
import time
from pathlib import Path

import pytest

from cdengine.data.codings import SENSEEARTH_CLASSES
from cdengine.errors import ConfigError
from cdengine.models.zoo import build_meta
from cdengine.training.chainconfig import load_chain
from cdengine.training.config import LossConfig, TrainConfig, dump_config, first_difference, load_config
from cdengine.training.strict import read_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join('*' + old for _ in range(10))}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture
def load(tmp_path):
    def read(text, *sets):
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, sets)

    return read


ROOT = "data: {root: here}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ROOT + "optimizer: {}", "unknown key optimizer: did you mean optimiser?"),
        (ROOT + "optimiser: {learning_rat: 1}", "unknown key optimiser.learning_rat: did you mean optimiser"),
        (
            "data: {root: x, augmentation: {photometric: {bluur: 1}}}",
            "did you mean data.augmentation.photometric.blur?",
        ),
        ("name: x", "data is missing"),
        ("data: {rot: x}", "unknown key data.rot: did you mean data.root?"),
        ("data: {layout: pairs}", "data.root is missing"),
        ("data: {root: null}", "data.root is missing"),
        (ROOT + "name: a\nname: b", "line 3: key 'name' is given twice"),
        ("data: {root: a, root: b}", "line 1: key 'root' is given twice"),
        (ROOT + "trainer: {epochs: 2.5}", "trainer.epochs: must be a whole number, not '2.5'"),
        (ROOT + "trainer: {epochs: true}", "trainer.epochs: must be a whole number"),
        (ROOT + "trainer: {epochs: 0}", "trainer.epochs: must be from 1 to"),
        (ROOT + "trainer: 3", "trainer is a section"),
        (ROOT + "optimiser: {name: lion}", "optimiser.name: must be one of adamw, adam, sgd, not 'lion'"),
        (ROOT + "loss: {bce: -1}", "loss.bce: must be from 0"),
        (ROOT + "loss: {positive_weight: 0}", "loss.positive_weight: must be auto or a number above 0"),
        ("data: {root: x, augmentation: {crop: 100}}", "data.augmentation.crop: must be a multiple of 32, not 100"),
        ("data: {root: x, classes: [one]}", "data.classes: name two classes or more"),
        (ROOT + "name: a/b", "name: must be a file name"),
        ("- a", "must hold `key: value` lines"),
        ("a: [1", "line 1: not valid YAML"),
        ("? [1, 2]\n: 3", "must be a word"),
        ("data: {root: !!python/name:os.system ''}", "line 1: could not determine a constructor"),
        (BOMB, "write it without anchors"),
        ("a: &a {b: *a}", "write it without anchors"),
    ],
)
def test_faults_are_one_line_that_names_the_key(load, text, says):
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert "recipe.yaml" in str(caught.value)
    assert (caught.value.slug, caught.value.exit_code) == ("config", 2)


@pytest.mark.parametrize(
    "text",
    [
        "data: {root: x}\nname: !!python/object/apply:os.mkdir ['CANARY']",
        "data: {root: x}\nmodel: {class_path: os.mkdir, init_args: {path: CANARY}}",
        "data: {root: x}\nmodel: {arguments: {class_path: os.mkdir, init_args: {path: CANARY}}}",
        "data: {root: x}\nmodel: {class_path: cdengine.models.btc.BTC}",
    ],
)
def test_nothing_named_in_a_recipe_runs(load, tmp_path, text):
    canary = tmp_path / "canary"
    with pytest.raises(ConfigError):
        load(text.replace("CANARY", str(canary)))
    assert not canary.exists()


def test_a_bomb_is_refused_at_once(load):
    began = time.monotonic()
    with pytest.raises(ConfigError):
        load(BOMB)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"x" * 1_000_001])
def test_what_is_no_recipe_at_all(tmp_path, content):
    (tmp_path / "bad.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_config(tmp_path / "bad.yaml")


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file, nor a recipe"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_sets_reach_every_depth_and_win(load):
    config = load(
        ROOT + "optimiser: {learning_rate: 1}",
        "optimiser.learning_rate=1e-4",
        "model.arguments.backbone=resnet34",
        "data.classes=[no, 'yes']",
        "data.augmentation.photometric=null",
        "data.augmentation.scale=[1, 1]",
    )
    assert config.optimiser.learning_rate == 1e-4
    assert config.model.arguments == {"backbone": "resnet34"}
    assert config.data.classes == ["no", "yes"]  # YAML 1.1 would read a boolean
    assert config.data.augmentation.photometric is None and config.data.augmentation.scale == (1.0, 1.0)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("epochs", "must be KEY=VALUE"),
        ("=1", "must be KEY=VALUE"),
        ("trainer.epoch=1", "did you mean trainer.epochs?"),
        ("name.first=1", "name is a value, not a section"),
        ("trainer.epochs=[1", "--set trainer.epochs"),
        ("trainer.epochs=many", "trainer.epochs: must be a whole number, not 'many'"),
    ],
)
def test_wrong_sets(load, setting, says):
    with pytest.raises(ConfigError, match=None) as caught:
        load(ROOT + "name: x", setting)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_the_complete_file_reads_back(load):
    config = load(ROOT + "optimiser: {learning_rate: 1e-5}\nloss: {focal: 1}\ncitation: 'a: b'\nlicense: '1.0'")
    again = load(dump_config(config, "complete"))
    assert again == config
    assert dataclasses.asdict(again)["loss"]["bce"] == 0.0


def test_losses_by_default_and_by_choice(load):
    assert (load(ROOT).loss.bce, load(ROOT).loss.dice) == (1.0, 1.0)
    chosen = load(ROOT, "loss.focal=2").loss
    assert (chosen.bce, chosen.dice, chosen.focal) == (0.0, 0.0, 2.0)
    assert LossConfig().completed() == LossConfig(bce=1.0, dice=1.0)


def test_every_value_is_documented():
    from cdengine.training import config

    for kind in (TrainConfig, config.DataConfig, config.ModelConfig, config.LossConfig, config.OptimiserConfig,
                 config.TrainerConfig):  # fmt: skip
        for field in dataclasses.fields(kind):
            assert f"        {field.name}: " in kind.__doc__, f"{kind.__name__}.{field.name}"


def test_first_difference(load):
    one, other = load(ROOT), load(ROOT, "trainer.epochs=7", "data.workers=0")
    assert first_difference(one, other, ["data.workers"]) == "trainer.epochs"
    assert first_difference(one, one) is None


CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = [path for path in sorted(CONFIGS.rglob("*.yaml")) if "chain" not in read_yaml(path)]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_project_is_sound(path):
    config = load_config(path)
    build_meta(config.model.architecture, {**config.model.arguments, "bands_before": 3, "bands_after": 3})


@pytest.mark.parametrize("path", sorted((CONFIGS / "senseearth").glob("*_*_*.yaml")), ids=lambda path: path.stem)
def test_recipes_of_senseearths_members_are_those_of_the_chain(path):
    chain = load_chain(CONFIGS / "senseearth" / "chain.yaml")
    one = load_config(path)
    other = next(member.config for member in chain.members if member.config.name == one.name)
    assert first_difference(one, other, ("output", "data.pseudo_labels")) is None
    assert (one.data.pseudo_labels is None) == (other.data.pseudo_labels is None) == path.stem.startswith("teacher")


def test_senseearths_chain_is_that_of_the_report():
    members = load_chain(CONFIGS / "senseearth" / "chain.yaml").members
    told = [(m.role, m.config.model.arguments["head"], m.config.model.arguments["backbone"]) for m in members]
    assert told == [
        ("teacher", "fcn", "hrnet_w40"),
        ("teacher", "fcn", "hrnet_w48"),
        ("teacher", "psp", "hrnet_w40"),
        ("teacher", "psp", "hrnet_w48"),
        ("teacher", "psp", "hrnet_w64"),
        ("student", "psp", "hrnet_w18"),
        ("student", "psp", "hrnet_w40"),
    ]
    assert all(member.config.model.arguments["lightweight"] for member in members)
    weights = dict(zip(SENSEEARTH_CLASSES, members[0].config.loss.class_weights, strict=True))
    assert weights == {"water": 2, "ground": 1, "low vegetation": 2, "tree": 2, "building": 1, "playground": 1}
