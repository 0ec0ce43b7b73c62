"""The folder of a chain: refusals, beginning anew, going on after a stop at any moment and from anywhere."""

import json
import shutil

import pytest
import small_training as small
import yaml
from small_chain import NETWORKS, Stages, recipe

from cdengine.cli.main import main
from cdengine.errors import (
    Cancelled,
    ConfigError,
    DatasetError,
    OutputExistsError,
    OutputFolderError,
    ResumeMismatchError,
    UnknownModelError,
)
from cdengine.events import CollectSink, Reporter
from cdengine.training import chainfolder
from cdengine.training.chain import resumed_chain, run_chain
from cdengine.training.chainconfig import load_chain
from cdengine.training.checkpoint import write_checkpoint
from cdengine.training.config import load_config


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small.make_pairs(tmp_path_factory.mktemp("semantic") / "set", classes=True)


@pytest.fixture
def stages(monkeypatch):
    return Stages(monkeypatch)


@pytest.fixture
def chain(data, tmp_path):
    return load_chain(recipe(data, tmp_path))


def again(chain, *sets):
    return run_chain(resumed_chain(chain.output, None, sets), resume=True)


def stop_at(stages, *place):
    def fail(kind, name):
        if (kind, name) == place:
            raise Cancelled

    stages.fail = fail


def configs(chain):
    return sorted(chain.output.glob("*/*/config.yaml"))


# ---------------------------------------------------------------- what is there already
def test_a_chain_that_is_there_is_neither_gone_on_with_nor_replaced_unasked(stages, chain, tmp_path, capsys):
    run_chain(chain)
    stages.done.clear()
    with pytest.raises(OutputExistsError, match=r"--overwrite, another --output, or --resume .*run to go on"):
        run_chain(chain)
    assert main(["train", "--config", str(tmp_path / "chain.yaml")]) == 2
    assert "--resume" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="one of both"):
        run_chain(chain, resume=True, overwrite=True)
    assert stages.done == []


@pytest.mark.parametrize("inside", ["", "run"])
def test_a_folder_that_cannot_be_made(stages, data, tmp_path, capsys, inside):
    (tmp_path / "file").write_text("a file")
    output = tmp_path / "file" / inside
    with pytest.raises(OutputFolderError, match="cannot be made"):
        run_chain(load_chain(recipe(data, tmp_path), [f"output={output}"]))
    assert main(["train", "--config", str(tmp_path / "chain.yaml"), "--output", str(output)]) == 6
    assert "bug" not in capsys.readouterr().err


def test_a_refused_chain_leaves_no_folder(data, tmp_path):
    with pytest.raises(DatasetError):
        run_chain(load_chain(recipe(data, tmp_path, evaluation={"split": "tset"})))
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- beginning anew
def test_overwriting_that_is_stopped_goes_on_with_the_new_recipe_alone(stages, data, chain, tmp_path):
    run_chain(chain)
    notes = [chain.output / "notes.txt", chain.output / "wide.txt"]
    for path in notes:
        path.write_text("years of work")
    stages.done.clear()
    stop_at(stages, "train", "teacher-2")
    renewed = load_chain(recipe(data, tmp_path, compare=False), ["seed=5"])
    with pytest.raises(Cancelled):
        run_chain(renewed, overwrite=True)
    left = {path.name for path in chain.output.iterdir()}
    assert left == {"chain.yaml", "teachers", "notes.txt", "wide.txt"}, "nothing of the old chain, all of the user's"
    stages.fail = lambda *_: None
    again(renewed)
    assert stages.done[1][1:] == ("wide", True) and stages.done[2][1:] == ("teacher-2", True)
    assert stages.named("train") == ["wide", *NETWORKS[:3]]
    assert len(configs(chain)) == 3 and {load_config(path).seed for path in configs(chain)} == {5}
    assert (chain.output / "teachers/wide/model.safetensors").read_text() == "wide of seed 5"
    assert all(path.read_text() == "years of work" for path in notes)


def test_a_faulty_recipe_replaces_nothing(stages, data, chain, tmp_path):
    run_chain(chain)
    before = {path: path.read_bytes() for path in chain.output.rglob("*") if path.is_file()}
    with pytest.raises(DatasetError, match="tset"):
        run_chain(load_chain(recipe(data, tmp_path, evaluation={"split": "tset"})), overwrite=True)
    assert {path: path.read_bytes() for path in chain.output.rglob("*") if path.is_file()} == before


def test_killed_while_the_old_chain_is_removed(stages, chain, monkeypatch):
    """What is half removed is never taken for a network that is done."""
    run_chain(chain)
    remove = chainfolder._remove

    def killed(path):
        if path.name.endswith("teachers"):
            (path / "wide" / "config.yaml").unlink()
            raise KeyboardInterrupt
        remove(path)

    monkeypatch.setattr(chainfolder, "_remove", killed)
    with pytest.raises(KeyboardInterrupt):
        run_chain(chain, overwrite=True)
    monkeypatch.setattr(chainfolder, "_remove", remove)
    stages.done.clear()
    again(chain)
    assert [done[1:] for done in stages.done[:2]] == [("wide", False), ("teacher-2", False)]
    assert not list(chain.output.glob(".removed*"))


# ---------------------------------------------------------------- going on
def test_a_network_of_another_recipe_is_not_taken_for_this_ones(stages, chain):
    run_chain(chain)
    kept = chain.output / "teachers" / "wide" / "config.yaml"
    kept.write_text(kept.read_text().replace("learning_rate: 0.02", "learning_rate: 0.5"))
    with pytest.raises(ResumeMismatchError, match=r"wide was trained with another optimiser\.learning_rate"):
        again(chain)


@pytest.mark.parametrize("left", [["samples"], ["samples", "survey.json"], ["survey.json", ".config.yaml.part"]])
def test_killed_before_a_run_has_its_configuration(stages, chain, left):
    stop_at(stages, "train", "teacher-2")
    with pytest.raises(Cancelled):
        run_chain(chain)
    folder = chain.output / "teachers" / "teacher-2"
    shutil.rmtree(folder)
    folder.mkdir()
    for name in left:
        (folder / name).mkdir() if name == "samples" else (folder / name).write_text("{")
    (chain.output / "pseudo-labels").mkdir()
    (chain.output / "pseudo-labels" / ".job.json.part").write_text("{")
    stages.fail = lambda *_: None
    assert set(again(chain).figures) == set(NETWORKS)


def test_killed_before_the_chain_has_its_recipe(stages, chain):
    chain.output.mkdir()
    (chain.output / ".chain.yaml.part").write_text("data:")
    assert set(run_chain(chain).figures) == set(NETWORKS)


def test_what_no_stage_left_is_not_removed(stages, chain):
    stop_at(stages, "train", "wide")
    with pytest.raises(Cancelled):
        run_chain(chain)
    folder = chain.output / "teachers" / "teacher-2"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputExistsError, match=r"thesis\.txt is not of the chain"):
        again(chain)
    assert (folder / "thesis.txt").is_file()


def keep_checkpoint(folder, best):
    write_checkpoint(folder / "last.ckpt", {"module": {}, "keeper": {"best": best}})


def test_a_trained_network_that_is_gone_is_told_before_any_stage(stages, chain, capsys):
    run_chain(chain)
    folder = chain.output / "teachers" / "teacher-2"
    keep_checkpoint(folder, 0.5)
    kept = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    stages.done.clear()
    with pytest.raises(
        UnknownModelError, match=rf"teacher-2.model\.safetensors is gone, .* remove {folder}, and --resume"
    ):
        again(chain)
    assert main(["train", "--resume", str(chain.output)]) == 4 and stages.done == []
    assert f"put it back, or remove {folder}" in capsys.readouterr().err
    (folder / "model.safetensors").write_bytes(kept)
    again(chain)
    shutil.rmtree(folder)
    again(chain)
    assert (folder / "model.safetensors").read_bytes() == kept, "trained again"
    assert [done[1:] for done in stages.done if done[0] == "train"].count(("teacher-2", False)) == 1


def test_a_network_stopped_in_its_first_epoch_has_no_model_yet(stages, chain):
    stop_at(stages, "train", "teacher-2")
    with pytest.raises(Cancelled):
        run_chain(chain)
    keep_checkpoint(chain.output / "teachers" / "teacher-2", None)
    stages.fail = lambda *_: None
    assert set(again(chain).figures) == set(NETWORKS)


def test_from_another_folder(stages, data, tmp_path, monkeypatch):
    """Files of the recipe are named in full, as a single run names them."""
    there, elsewhere = tmp_path / "there", tmp_path / "elsewhere"
    for folder in (there, elsewhere):
        folder.mkdir()
    monkeypatch.chdir(there)
    shutil.copytree(data, "set")
    recipe("set", there)
    assert main(["train", "--config", "chain.yaml", "--output", "run"]) == 0
    kept = yaml.safe_load((there / "run/chain.yaml").read_text())
    assert kept["data"]["root"] == str(there / "set")
    monkeypatch.chdir(elsewhere)
    (there / "run/chain.json").unlink()
    stages.done.clear()
    assert main(["train", "--resume", str(there / "run")]) == 0
    assert stages.named("train") == stages.named("measure") == NETWORKS
    monkeypatch.chdir(tmp_path)
    shutil.move(there, tmp_path / "moved")
    root = tmp_path / "moved" / "set"
    assert main(["train", "--resume", "moved/run", "--set", f"data.root={root}"]) == 0, "the machine's own may differ"


def test_files_of_models_are_named_in_full(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    members = [{"name": "a", "model": {"weights": "a.safetensors", "pretrained": "timm"}}]
    chain = load_chain(recipe(data, tmp_path, teachers=members), ["model.pretrained=b.safetensors"])
    assert chain.tree["model"]["pretrained"] == str(tmp_path / "b.safetensors")
    assert chain.tree["chain"]["teachers"][0]["model"] == {
        "weights": str(tmp_path / "a.safetensors"),
        "pretrained": "timm",
    }


# ---------------------------------------------------------------- pseudo labels and figures
def test_labels_of_other_teachers_are_told(stages, chain):
    run_chain(chain)
    (chain.output / "teachers" / "wide" / "model.safetensors").write_text("another")
    with pytest.raises(ResumeMismatchError, match="other teachers voted"):
        again(chain)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"models": []}'])
def test_damaged_facts_of_the_labels_are_made_again(stages, chain, content):
    run_chain(chain)
    facts = chain.pseudo_labels / "pseudo-labels.json"
    facts.write_text(content)
    stages.done.clear()
    again(chain)
    assert [done[1].resume for done in stages.done if done[0] == "label"] == [True] and json.loads(facts.read_text())


@pytest.mark.parametrize("content", ["", "{", "[]", '{"figures": {"wide": 3}}', '{"figures": 1, "models": 2}'])
def test_damaged_figures_are_measured_again(stages, chain, content):
    result = run_chain(chain)
    kept = chain.output / "chain.json"
    kept.write_text(content)
    stages.done.clear()
    sink = CollectSink()
    again_result = run_chain(resumed_chain(chain.output, None, []), Reporter(sink), resume=True)
    assert any("measured again" in event.get("message", "") for event in sink.events)
    assert stages.named("measure") == NETWORKS and again_result.figures == result.figures
    assert json.loads(kept.read_text())["finished"] is True


def test_an_evaluation_that_was_stopped_goes_on_with_what_is_left(stages, chain):
    stop_at(stages, "measure", "small-one")
    with pytest.raises(Cancelled):
        run_chain(chain)
    kept = json.loads((chain.output / "chain.json").read_text())
    assert list(kept["figures"]) == NETWORKS[:2] and kept["finished"] is False
    assert not (chain.output / "report.html").exists()
    stages.done.clear()
    stages.fail = lambda *_: None
    assert list(again(chain).figures) == NETWORKS
    assert stages.named("measure") == NETWORKS[2:]
    assert (chain.output / "report.html").is_file()
    stages.done.clear()
    again(chain)
    assert stages.named("measure") == []


def test_a_network_that_was_trained_again_is_measured_again(stages, chain):
    run_chain(chain)
    (chain.output / "students" / "small-one" / "model.safetensors").write_text("another")
    stages.done.clear()
    again(chain)
    assert stages.named("measure") == ["small-one"]


def test_how_the_data_are_read_reaches_every_stage(stages, data, tmp_path):
    told = ["data.bands_before=[3,1]", "data.bands_after=[2,1]", "data.coding=0/1", "trainer.precision=fp32"]
    classes = ["a", "b", "c", "d", "e"]
    run_chain(load_chain(recipe(data, tmp_path), [*told, f"data.classes={classes}"]))
    (options,) = [done[1] for done in stages.done if done[0] == "label"]
    measured = [done[2] for done in stages.done if done[0] == "measure"]
    for found in (vars(options), *measured):
        assert (found["bands_before"], found["bands_after"], found["label_coding"]) == ("3,1", "2,1", "0/1")
        assert (found["precision"], found["device"], found["classes"]) == ("fp32", "cpu", tuple(classes))
