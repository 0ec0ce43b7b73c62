"""What a chain is told before its first stage: recipes, networks and splits that would end it after days."""

from pathlib import Path

import pytest
import small_training as small
from small_chain import Stages, recipe

from cdengine.data.layouts import find_pairs
from cdengine.errors import ConfigError, DatasetError, DeviceError, ModelArchitectureError, UnknownModelError
from cdengine.events import CollectSink, Reporter
from cdengine.models import zoo
from cdengine.training.chain import run_chain
from cdengine.training.chaincheck import check_chain
from cdengine.training.chainconfig import load_chain

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small.make_pairs(tmp_path_factory.mktemp("semantic") / "set", classes=True)


def student(**changes):
    return {"students": [{"name": "pupil", **changes}]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"teachers": [{"name": None}]}, r"chain\.teachers: name: must be a text, not None"),
        ({"students": [{"name": 5}]}, r"chain\.students: name: must be a text, not 5"),
        (student(output="elsewhere"), r"chain\.students: output: members lie in the chain's own folder"),
        ({"students": [{"name": "chain"}]}, "chain would name files of the chain itself"),
        ({"students": [{"name": "Report"}]}, "Report would name files of the chain itself"),
        ({"students": [{"name": ".."}]}, r"\.\. would name files"),
        ({"students": [{"name": "Wide"}]}, "two members are named Wide"),
        ({"students": [{"name": "a"}, {"name": "a-without"}]}, "two members are named a-without"),
        ({"teachers": [{}, {"seed": 1}, {}]}, "teacher-3 differs from teacher-1 in name only"),
        (student(data={"root": "x"}), r"pupil: data\.root holds for all members"),
        (student(data={"bands_after": [1]}), r"pupil: data\.bands_after holds for all members"),
        (student(trainer={"precision": "fp32"}), r"pupil: trainer\.precision holds for all members"),
        (student(procedure="single-temporal"), "procedure: .* supervised"),
    ],
)
def test_recipes_that_cannot_be_meant(data, tmp_path, change, says):
    with pytest.raises(ConfigError, match=says):
        load_chain(recipe(data, tmp_path, **change))


def test_the_chains_own_name_is_a_text(data, tmp_path):
    with pytest.raises(ConfigError, match="name: must be a text, not None"):
        load_chain(recipe(data, tmp_path), ["name=null"])


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (
            student(model={"architecture": "senseearth", "arguments": {"backbone": "hrnet_w19"}}),
            ModelArchitectureError,
            "chain: pupil: .*hrnet_w18",
        ),
        (student(model={"arguments": {"widht": 8}}), ModelArchitectureError, "chain: pupil: .*'width'"),
        (student(model={"architecture": "sensearth"}), ModelArchitectureError, "pupil: .*'senseearth'"),
        (student(model={"architecture": "fc-ef"}), ConfigError, "pupil: model.architecture: fc-ef tells no classes"),
        (student(loss={"class_weights": [1.0, 2.0]}), ConfigError, r"pupil: .*2 numbers for 6 classes \(low vege"),
        (student(model={"weights": "nowhere.safetensors"}), UnknownModelError, "nowhere"),
        (student(model={"pretrained": "timm"}), ConfigError, "pupil: model.pretrained: .* no backbone"),
        (
            student(model={"architecture": "bisrnet", "pretrained": "timm", "arguments": {"backbone": "resnet18c"}}),
            ConfigError,
            "pupil: model.pretrained: timm offers no weights for resnet18c",
        ),
        ({"evaluation": {"split": "tset"}}, DatasetError, "tset"),
    ],
)
def test_networks_and_splits_are_looked_at_before_any_work(data, tmp_path, monkeypatch, change, error, says):
    stages = Stages(monkeypatch)
    with pytest.raises(error, match=says):
        run_chain(load_chain(recipe(data, tmp_path, **change)))
    assert stages.done == [] and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        (["data.train=trian"], DatasetError, "trian"),
        (["data.validation=vla"], DatasetError, "vla"),
        (["trainer.device=cuda:77"], DeviceError, "cuda:77"),
        (["data.augmentation.crop=96", "model.arguments={backbone: resnet50}", "model.architecture=odd"], ConfigError,
         "crop: must be a multiple of 5"),
    ],
)  # fmt: skip
def test_what_all_have_in_common_too(data, tmp_path, monkeypatch, settings, error, says):
    class Odd(small.TinyNet):
        stride = 5

        def __init__(self, bands_before=3, bands_after=3, width=8, classes=0, backbone=""):
            super().__init__(bands_before, bands_after, width, classes)

    monkeypatch.setitem(zoo.ARCHITECTURES, "odd", Odd)
    with pytest.raises(error, match=says):
        check_chain(load_chain(recipe(data, tmp_path), settings))


def test_data_without_classes(tmp_path):
    root = small.make_pairs(tmp_path / "set")
    chain = load_chain(recipe(root, tmp_path), ["data.layout=pairs"])
    with pytest.raises(ConfigError, match=r"names no classes.* data\.classes"):
        check_chain(chain)
    chain = load_chain(recipe(root, tmp_path), ["data.layout=pairs", "data.classes=[a, b]"])
    with pytest.raises(DatasetError, match="has no class labels"):
        check_chain(chain)


def test_classes_of_ones_own(data, tmp_path):
    """As docs/senseearth.md advises: no weights, for members without weights of their own."""
    settings = ["data.classes=[a, b, c, d, e]", "loss.class_weights=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0]"]
    with pytest.raises(ConfigError, match=r"6 numbers for 5 classes"):
        check_chain(load_chain(recipe(data, tmp_path), settings))
    check_chain(load_chain(recipe(data, tmp_path), [*settings, "loss.class_weights=[]"]))
    check_chain(load_chain(CONFIGS / "senseearth" / "chain.yaml", [
        f"data.root={data}", "data.layout=second", "data.classes=[a, b, c, d, e]", "loss.class_weights=[]",
        "chain.teachers=[{name: t}]", "model.pretrained=null",
    ]))  # fmt: skip


# ---------------------------------------------------------------- on what the networks are measured
@pytest.mark.parametrize(("validation", "named"), [("val", None), ("holdout", "train/0")])
def test_the_validation_pairs_are_found_whatever_folders_are_called(tmp_path, validation, named):
    """A folder above the data is called like a split, and both splits have the same names."""
    root = small.make_pairs(tmp_path / "train" / "set", classes=True)
    chain = load_chain(recipe(root, tmp_path), [f"data.validation={validation}"])
    measure = check_chain(chain)
    if named is None:
        assert (measure.split, measure.listed) == ("val", ())
    else:
        assert named in measure.listed and measure.split == str(tmp_path / "run" / "validation.txt")
        lists = tmp_path / "list.txt"
        lists.write_text("\n".join(measure.listed))
        pairs = find_pairs(root, "second", str(lists))
        assert len(pairs) == measure.pairs and all(pair.before.parts[-3] == "train" for pair in pairs)
    assert measure.chose == measure.pairs > 0 and measure.learnt == 0


def test_pairs_that_no_list_can_name(tmp_path):
    root = small.make_pairs(tmp_path / "set", classes=True)
    for role in ("im1", "im2", "label1", "label2"):
        (root / "train" / role / "0.png").rename(root / "train" / role / "#0.png")
    small.make_pairs(tmp_path, train=0, val=0, classes=True)
    check_chain(load_chain(recipe(root, tmp_path), ["data.validation=holdout"]))  # "train/#0" is a name like others
    flat = small.make_pairs(tmp_path / "flat", train=4, val=0, classes=True) / "train"
    for role in ("im1", "im2", "label1", "label2"):
        (flat / role / "0.png").rename(flat / role / "#0.png")
    chain = load_chain(recipe(flat, tmp_path), ["data.train=all", "data.validation=tenth"])
    with pytest.raises(DatasetError, match=r"cannot be listed .* chain\.evaluation\.split"):
        check_chain(chain)


def test_the_recipe_says_how_the_teachers_vote(data, tmp_path, monkeypatch):
    stages = Stages(monkeypatch)
    votes = {"tta": "flip", "min_confidence": 0.25, "label_shift": True}
    run_chain(load_chain(recipe(data, tmp_path, pseudo_labels=votes)))
    (asked,) = stages.named("label")
    assert {name: getattr(asked, name) for name in votes} == votes


def test_the_page_says_on_what_the_figures_are(data, tmp_path, monkeypatch):
    Stages(monkeypatch)
    page = run_chain(load_chain(recipe(data, tmp_path, evaluation={"tta": "flip"}))).report.read_text()
    assert "Measured on val (2 pairs), test-time augmentation flip." in page
    assert "2 of these pairs chose epoch and threshold of every network" in page and "learnt from" not in page


def test_pairs_that_were_learnt_from_are_told(data, tmp_path, monkeypatch):
    Stages(monkeypatch)
    sink = CollectSink()
    result = run_chain(load_chain(recipe(data, tmp_path, evaluation={"split": "train"})), Reporter(sink))
    assert "6 of these pairs were learnt from" in result.report.read_text()
    assert any("6 of 6 pairs of split train" in event.get("message", "") for event in sink.events)
    page = run_chain(load_chain(recipe(data, tmp_path, evaluation={"split": "all"})), overwrite=True).report.read_text()
    assert "all (8 pairs)" in page and "2 of these pairs chose" in page and "6 of these pairs were learnt from" in page
