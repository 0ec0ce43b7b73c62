"""`train` as scripts and the plugin run it: events, exit codes, one-line errors, stopping, killing and going on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_training as small

from cdengine.cli.main import main
from cdengine.models import zoo

MAIN = Path(small.__file__)  # the command line with the small networks known
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(MAIN.parents[1])}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return small.make_pairs(tmp_path_factory.mktemp("pairs"))


def start(*argv, **options):
    command = [sys.executable, MAIN, "train", *map(str, argv), "--progress", "json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV, **options)


def run(*argv, **options):
    with start(*argv, **options) as process:
        out, err = process.communicate(timeout=280)
    return process.returncode, [json.loads(line) for line in out.splitlines()], err


def wait_for(process, wanted):
    for line in process.stdout:
        event = json.loads(line)
        if wanted(event):
            return event
    raise AssertionError(f"ended before: {process.stderr.read()}")


def table(folder):
    lines = (folder / "metrics.csv").read_text().splitlines()
    at = lines[0].split(",").index("seconds")
    return [[value for i, value in enumerate(line.split(",")) if i != at] for line in lines]


LONG = {"trainer": {"epochs": 8}, "data": {"workers": 1}}


@pytest.fixture(scope="module")
def reference(pairs, tmp_path_factory):
    """The run that nobody stopped."""
    folder = tmp_path_factory.mktemp("reference")
    recipe = small.write_recipe(folder / "r.yaml", small.recipe(pairs, folder / "run", **LONG))
    assert run("--config", recipe)[0] == 0
    return folder / "run"


@pytest.mark.parametrize(
    ("text", "argv", "says"),
    [
        (None, [], "none.yaml: there is no such file, nor a recipe"),
        ("data: {root: x}\ndata: {root: y}", [], "line 2: key 'data' is given twice"),
        ("data: {root: x}\nname: !!python/object/apply:os.system ['true']", [], "plain values only"),
        ("data: {root: x}\nmodel: {class_path: os.system}", [], "model.class_path: a recipe names no code"),
        ("data: {root: x}", ["--set", "trainer.epoch=1"], "did you mean trainer.epochs?"),
        ("data: {root: x}", ["--set", "trainer.epochs"], "must be KEY=VALUE"),
        ("data: {root: x}", ["--stepp", "3"], "unrecognized arguments: --stepp"),
    ],
)
def test_wrong_recipes_are_one_line_and_exit_2(tmp_path, capsys, text, argv, says):
    path = tmp_path / ("none.yaml" if text is None else "recipe.yaml")
    if text is not None:
        path.write_text(text)
    assert main(["train", "--config", str(path), "--output", str(tmp_path / "run"), *argv]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and says in err
    assert not (tmp_path / "run").exists()


def test_neither_recipe_nor_run(capsys):
    assert main(["train"]) == 2
    assert "--config FILE is missing" in capsys.readouterr().err
    assert main(["train", "--resume", "nowhere"]) == 2
    assert "--resume nowhere: no config.yaml there" in capsys.readouterr().err


def test_missing_data_is_exit_3(tmp_path, capsys):
    path = small.write_recipe(tmp_path / "r.yaml", small.recipe(tmp_path / "nowhere", tmp_path / "run"))
    assert main(["train", "--config", str(path), "--set", "model.architecture=fc-ef"]) == 3
    assert "nowhere" in capsys.readouterr().err


def test_a_run_from_recipe_to_result(pairs, tmp_path):
    recipe = small.write_recipe(tmp_path / "r.yaml", small.recipe(pairs, tmp_path / "unused"))
    code, events, err = run("--config", recipe, "--output", tmp_path / "run", "--set", "trainer.epochs=2", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert events[0]["event"] == "start" and events[0]["command"] == "train"
    result = events[-1]
    assert result["event"] == "result"
    assert Path(result["outputs"]["model"]) == tmp_path / "run" / "model.safetensors"
    assert {"f1", "iou", "threshold", "epoch"} <= set(result["stats"])
    assert {event["name"] for event in events if event["event"] == "metric"} >= {"train_loss", "f1", "ap"}
    assert sorted(os.listdir(tmp_path)) == ["r.yaml", "run"]


def test_runs_that_are_there_already(pairs, tmp_path, reference, capsys, monkeypatch):
    monkeypatch.setitem(zoo.ARCHITECTURES, small.TINY, small.TinyNet)
    recipe = str(small.write_recipe(tmp_path / "r.yaml", small.recipe(pairs, reference, **LONG)))

    def says(*argv):
        code = main(["train", *argv])
        out, err = capsys.readouterr()
        return code, out or err

    code, text = says("--config", recipe)
    assert code == 2 and "give --overwrite" in text and "--resume" in text
    code, text = says("--config", recipe, "--set", "trainer.epochs=9", "--resume", str(reference))
    assert code == 2 and "that run has another trainer.epochs" in text
    code, text = says("--resume", str(reference), "--output", str(tmp_path / "x"))
    assert code == 2 and "leave --output" in text
    for argv in (["--resume", str(reference)], ["--config", recipe, "--resume", str(reference)]):
        code, text = says(*argv)
        assert code == 0 and text.startswith("best epoch")


@pytest.mark.parametrize(
    "how",
    [
        signal.SIGTERM,
        signal.SIGKILL,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("stdin", marks=pytest.mark.slow),
    ],
)
def test_stopped_or_killed_a_run_goes_on_as_if_nothing_was(pairs, tmp_path, reference, how):
    recipe = small.write_recipe(tmp_path / "r.yaml", small.recipe(pairs, tmp_path / "run", **LONG))
    arguments = ["--config", recipe] + (["--cancel-on-stdin-close"] if how == "stdin" else [])
    with start(*arguments, stdin=subprocess.PIPE, start_new_session=True) as process:
        wait_for(process, lambda e: e["event"] == "metric" and e.get("epoch") == 2 and e["name"] == "threshold")
        began = time.monotonic()
        if how == "stdin":
            process.stdin.close()
        elif how == signal.SIGTERM:  # to the process that reads as well, as a service manager does it
            os.killpg(process.pid, how)
        else:
            process.send_signal(how)
        _, err = process.stdout.read(), process.stderr.read()
        process.wait()
        took = time.monotonic() - began
    if how != signal.SIGKILL:
        assert process.returncode == 130, err
        assert err.startswith("error: cancelled") and err.count("\n") == 1
        assert took < 10  # 2 s on a machine of one's own
    code, _, err = run("--resume", tmp_path / "run")
    assert code == 0, err
    assert table(tmp_path / "run") == table(reference)
    assert small.same(*(small.weights(folder / "model.safetensors") for folder in (tmp_path / "run", reference)))
    assert not [name for name in os.listdir(tmp_path / "run") if name.startswith(".")]
