"""`prepare` and `split` from the command line: files, events, exit codes."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from change_sets import write_second
from pairs import make_pair, write_raster

from cdengine.cli.main import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scene(tmp_path):
    before, after, truth = make_pair(tmp_path / "s", size=(200, 240))
    return before, after, write_raster(tmp_path / "s" / "label.tif", truth[None].astype(np.uint8))


def test_prepare_then_split_then_read(tmp_path, scene, capsys):
    before, after, label = scene
    out = str(tmp_path / "d")
    command = ["prepare", "pairs", before, after, "--label", label, "--output", out, "--patch", "32"]
    run = subprocess.run(
        [sys.executable, "-m", "cdengine", *command, "--progress", "json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    events = [json.loads(line) for line in run.stdout.splitlines()]
    assert events[0]["event"] == "start" and events[0]["command"] == "prepare"
    result = events[-1]
    assert result["event"] == "result" and set(result["outputs"]) == {"dataset", "index", "picture"}
    stats = result["stats"]
    assert stats["patches"] == stats["train_patches"] + stats["val_patches"] + stats["test_patches"] > 20
    assert all(Path(path).exists() for path in result["outputs"].values())
    assert {"survey of labels", "patches"} <= {event.get("stage") for event in events}
    assert main(["split", "--data", out, "--percent", "10,50"]) == 0
    assert "take one with --split train_10" in capsys.readouterr().out


def test_a_person_reads_counts(tmp_path, scene, capsys):
    before, after, label = scene
    assert (
        main(
            ["prepare", "pairs", before, after, "--label", label, "--output", str(tmp_path / "d"), "--splits", "test=1"]
        )
        == 0
    )
    text = capsys.readouterr().out
    assert "% changed" in text and "data.layout=pairs" in text


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["pairs", "{before}", "{after}"], 2, "--label"),
        (["pairs", "{before}", "--label", "{label}"], 2, "BEFORE and AFTER"),
        (["pairs", "{before}", "{after}", "--label", "{label}", "--patch", "0"], 2, "--patch 0"),
        (["pairs", "{before}", "{after}", "--label", "{label}", "--splits", "train=2"], 2, "--splits"),
        (["pairs", "{before}", "{after}", "--label", "nowhere.tif"], 3, "nowhere.tif"),
        (["pairs", "{before}", "{after}", "--label", "{before}"], 3, "4 bands"),
        (["pairs", "{before}", "{after}", "--label", "{label}", "--before-classes", "x.tif"], 2, "--after-classes"),
        (["second", "{before}", "--patch", "64"], 2, "--patch has no meaning for recipe second"),
        (["pairs", "{before}", "{after}", "--label", "{label}", "--rgb-labels"], 2, "--rgb-labels has no meaning"),
        (["hiucd", "nowhere", "--rgb-labels"], 2, "classes of hiucd have no colours"),
        (["second", "nowhere"], 3, "nowhere does not exist"),
        (["single", "{before}", "--label", "{label}", "--keep-unchanged", "0.5"], 2, "recipe single"),
        (["gold", "x"], 2, "gold"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, scene, capsys, arguments, code, says):
    names = dict(zip(("before", "after", "label"), scene, strict=True))
    filled = [argument.format(**names) for argument in arguments]
    assert main(["prepare", *filled, "--output", str(tmp_path / "d")]) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and says in errors[0]
    assert not (tmp_path / "d").exists()


def test_contradicting_dates_of_a_download_are_in_the_result(tmp_path):
    codes = np.zeros((2, 40, 50), np.uint8)
    codes[0, :10], codes[1, :12] = 1, 2
    write_second(tmp_path / "S" / "train", {"a": tuple(codes)})
    command = [sys.executable, "-m", "cdengine", "prepare", "senseearth", tmp_path / "S", "--output", tmp_path / "d"]
    run = subprocess.run([*command, "--progress", "json"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    events = [json.loads(line) for line in run.stdout.splitlines()]
    stats = events[-1]["stats"]
    assert (stats["contradicting_pairs"], stats["contradicting_px"]) == (1, 100)
    assert [event for event in events if event.get("level") == "warning" and "label1/a.png" in event["message"]]


def test_an_existing_set_is_kept(tmp_path, scene, capsys):
    before, after, label = scene
    command = [
        "prepare",
        "pairs",
        before,
        after,
        "--label",
        label,
        "--output",
        str(tmp_path / "d"),
        "--splits",
        "test=1",
    ]
    assert main(command) == 0
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_sigterm_leaves_nothing_within_two_seconds(tmp_path):
    before, after, truth = make_pair(tmp_path / "s", size=(1500, 1500))
    label = write_raster(tmp_path / "s" / "label.tif", truth[None].astype(np.uint8))
    command = [sys.executable, "-m", "cdengine", "prepare", "pairs", before, after, "--label", label]
    command += ["--output", str(tmp_path / "d"), "--patch", "16", "--progress", "json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            event = json.loads(line)
            if event.get("stage") == "patches" and event["done"] > 0:
                break
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(20) == 130
    assert time.monotonic() - began < 10  # 2 s on a machine of its own
    assert json.loads(rest.splitlines()[-1])["code"] == "cancelled"
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
