"""The chain of SenseEarth2020: stages in order, what each is told, going on after a stop, and refusals."""

import json
import re

import pytest
import small_training as small
import yaml
from small_chain import recipe

from cdengine.cli.main import main
from cdengine.errors import Cancelled, ConfigError, OutputExistsError, ResumeMismatchError, UnknownModelError
from cdengine.events import Cancellation, CollectSink, Reporter
from cdengine.models import zoo
from cdengine.models.container import read_card
from cdengine.training import chain as chains
from cdengine.training.chain import resumed_chain, run_chain
from cdengine.training.chainconfig import load_chain
from cdengine.training.config import load_config


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small.make_pairs(tmp_path_factory.mktemp("semantic") / "set", classes=True)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chain")
    sink = CollectSink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.ARCHITECTURES, small.TINY, small.TinyNet)
        chain = load_chain(recipe(data, folder))
        return chain, run_chain(chain, Reporter(sink)), sink


def stages(sink):
    names = [event["stage"] for event in sink.events if event["event"] == "progress"]
    return list(dict.fromkeys(name.split(":")[0] for name in names))


def test_stages_in_order(finished):
    chain, result, sink = finished
    assert stages(sink) == [
        "wide (1 of 6)",
        "teacher-2 (2 of 6)",
        "pseudo labels (3 of 6)",
        "small-one (4 of 6)",
        "small-one-without (5 of 6)",
        "evaluation (6 of 6)",
    ]
    assert result.best == "small-one" and result.model == chain.output / "students" / "small-one" / "model.safetensors"
    assert {name: row["role"] for name, row in result.figures.items()} == {
        "wide": "teacher",
        "teacher-2": "teacher",
        "small-one": "student",
        "small-one-without": "student without pseudo labels",
    }


def test_members_have_what_is_theirs_and_what_is_everybodys(finished):
    chain, *_ = finished
    run = chain.output
    wide, small_one = (load_config(run / part / "config.yaml") for part in ("teachers/wide", "students/small-one"))
    assert wide.model.arguments == {"width": 16} and small_one.model.arguments == {}
    assert (wide.optimiser.learning_rate, small_one.optimiser.learning_rate) == (0.02, 0.01)
    assert wide.loss == small_one.loss and wide.seed == small_one.seed
    assert wide.data.pseudo_labels is None
    assert small_one.data.pseudo_labels == str((run / "pseudo-labels").absolute())
    plain = load_config(run / "students-without" / "small-one-without" / "config.yaml")
    assert plain.data.pseudo_labels is None and plain.optimiser == small_one.optimiser and plain.seed == small_one.seed


def test_the_teachers_vote(finished):
    chain, *_ = finished
    facts = json.loads((chain.pseudo_labels / "pseudo-labels.json").read_text())
    sums = [read_card(chain.output / "teachers" / name / "model.safetensors") for name in ("wide", "teacher-2")]
    assert len(facts["models"]) == len(sums) == 2 and len({model["sha256"] for model in facts["models"]}) == 2
    assert facts["split"] == "train" and facts["tta"] == "six" and facts["pairs"] == 6


def test_figures_and_page(finished):
    chain, result, _ = finished
    kept = json.loads((chain.output / "chain.json").read_text())
    assert kept["figures"] == result.figures
    for name, row in result.figures.items():
        own = json.loads((chain.output / f"{name}.json").read_text())["pooled"]
        assert row["score"] == pytest.approx(own["score"])
        assert row["score"] == pytest.approx(0.3 * row["miou"] + 0.7 * row["sek"])
    page = result.report.read_text()
    assert "small-one-without" in page and "pseudo-labels/report.html" in page
    assert (chain.output / "chain.csv").read_text().count("\n") == 5


def test_what_is_done_is_not_done_again(finished):
    chain, result, _ = finished
    before = {path: path.stat().st_mtime_ns for path in chain.output.rglob("*.safetensors")}
    labels = chain.pseudo_labels / "label1" / "0.png"
    written = labels.stat().st_mtime_ns
    sink = CollectSink()
    again = run_chain(load_chain(chain.output / "chain.yaml"), Reporter(sink), resume=True)
    assert again.figures == result.figures
    assert "the figures are there already" in [event.get("message") for event in sink.events]
    assert {path: path.stat().st_mtime_ns for path in before} == before and labels.stat().st_mtime_ns == written


def test_a_stopped_chain_goes_on_and_ends_alike(finished, data, tmp_path, monkeypatch):
    _, result, _ = finished
    chain = load_chain(recipe(data, tmp_path))
    label = chains.pseudo_label

    def stopped(options, reporter):
        label(options, reporter)
        raise Cancelled

    monkeypatch.setattr(chains, "pseudo_label", stopped)
    with pytest.raises(Cancelled):
        run_chain(chain)
    monkeypatch.setattr(chains, "pseudo_label", label)
    resumed = run_chain(resumed_chain(chain.output, None, []), resume=True)
    for name, row in result.figures.items():
        assert resumed.figures[name] == pytest.approx(row)


def test_a_teacher_without_its_file_is_told_by_its_checkpoint(finished):
    chain, *_ = finished
    model = chain.output / "teachers" / "wide" / "model.safetensors"
    kept = model.rename(chain.output.parent / "kept.safetensors")
    try:
        with pytest.raises(UnknownModelError, match=r"model\.safetensors is gone"):
            run_chain(resumed_chain(chain.output, None, []), resume=True)
    finally:
        kept.rename(model)


def test_cancel_stops_it(data, tmp_path):
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        run_chain(load_chain(recipe(data, tmp_path)), Reporter(cancellation=cancellation))


@pytest.mark.parametrize("stage", ["teacher-2", "pseudo labels", "evaluation"])
def test_a_stop_says_how_to_go_on_with_the_chain(data, tmp_path, stage):
    cancellation = Cancellation()
    chain = load_chain(recipe(data, tmp_path))

    class Stop:
        def emit(self, event):
            if event.get("stage", "").startswith(f"{stage} ("):
                cancellation.cancel()

    with pytest.raises(Cancelled, match=f"^cancelled: go on with --resume {re.escape(str(chain.output))}$"):
        run_chain(chain, Reporter(Stop(), cancellation=cancellation))


def test_another_recipe_is_refused(finished, data, tmp_path):
    chain, *_ = finished
    with pytest.raises(ResumeMismatchError, match=r"loss\.bce"):
        resumed_chain(chain.output, None, ["loss.bce=1.0"])
    with pytest.raises(ResumeMismatchError, match=r"chain\.compare"):
        run_chain(load_chain(chain.output / "chain.yaml", ["chain.compare=false"]), resume=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputExistsError, match="not the folder of a chain"):
        run_chain(load_chain(recipe(data, tmp_path)), overwrite=True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"teachers": []}, "chain.teachers: name one"),
        ({"students": [{"name": "wide"}]}, "named wide"),
        ({"students": [{"optimiser": {"learning_rat": 1}}]}, "learning_rate"),
        ({"student": []}, "did you mean students"),
        ({"pseudo_labels": {"min_confidence": 1.5}}, "min_confidence"),
        ({"students": [{"data": {"pseudo_labels": "x"}}]}, "the chain makes them itself"),
    ],
)
def test_faults_are_told_before_any_work(data, tmp_path, change, says):
    with pytest.raises(ConfigError, match=says):
        load_chain(recipe(data, tmp_path, **change))


def test_the_command(data, tmp_path, capsys):
    path = recipe(data, tmp_path, compare=False)
    argv = ["train", "--config", str(path), "--set", "trainer.epochs=1", "--output", str(tmp_path / "other")]
    # two of three bands, and validation pairs that are no split: both must reach the votes and the figures
    argv += ["--set", "data.bands_before=[3,1]", "--set", "data.bands_after=[1,2]", "--set", "data.validation=holdout"]
    assert main(argv) == 0, capsys.readouterr().err
    out, _ = capsys.readouterr()
    assert "small-one" in out and "Score" in out and str(tmp_path / "other" / "report.html") in out
    kept = yaml.safe_load((tmp_path / "other" / "chain.yaml").read_text().split("\n", 1)[1])
    assert kept["trainer"]["epochs"] == 1
    assert main(["train", "--resume", str(tmp_path / "other")]) == 0
    assert main(["train", "--resume", str(tmp_path / "other"), "--set", "seed=3"]) == 2
    assert "another seed" in capsys.readouterr().err
