"""`evaluate` as scripts and the plugin run it: exit codes, one-line errors, events, cancelling."""

import json
import signal
import subprocess
import sys
import time

import pytest
from change_sets import write_pairs

from cdengine.cli.main import main

COMMAND = [sys.executable, "-m", "cdengine", "evaluate"]


def test_table_and_files(tmp_path, capsys):
    write_pairs(tmp_path / "set")
    output = tmp_path / "m.json"
    assert (
        main(["evaluate", "--data", str(tmp_path / "set"), "--split", "all", "--model", "cva", "--output", str(output)])
        == 0
    )
    out, err = capsys.readouterr()
    assert err == "" and f"metrics: {output}" in out
    lines = out.splitlines()
    assert "4 labelled pairs, protocol whole" in lines[0]
    head, pooled = lines[1].split(), lines[2].split()
    assert pooled[0] == "cva"
    assert float(pooled[1 + head.index("f1")]) == pytest.approx(
        json.loads(output.read_text())["pooled"]["f1"], abs=1e-4
    )


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["--model", "cva"], 2, "--data"),
        (["--data", "nowhere", "--model", "cva"], 3, "nowhere does not exist"),
        (["--data", "set"], 2, "either --model or --predictions"),
        (["--data", "set", "--split", "all", "--model", "cba"], 4, "did you mean cva?"),
        (["--data", "set", "--split", "all", "--model", "x.safetensors"], 4, "no such model file"),
        (["--data", "set", "--split", "trian", "--model", "cva"], 3, "trian"),
        (["--data", "set", "--layout", "levir", "--model", "cva"], 2, "levir"),
        (["--data", "set", "--split", "all", "--model", "cva", "--threshold", "high"], 2, "--threshold 'high'"),
        (["--data", "set", "--split", "all", "--model", "cva", "--device", "cuda:77"], 2, "cuda:77"),
        (["--data", "set", "--split", "all", "--predictions", "none"], 3, "none does not exist"),
        (["--data", "set", "--split", "all", "--model", "cva", "--output", "no/m.json"], 6, "does not exist"),
        (["--data", "set", "--split", "all", "--model", "cva", "--reprot", "r.html"], 2, "did you mean --report?"),
    ],
)
def test_every_mistake_is_one_line(tmp_path, monkeypatch, capsys, argv, code, says):
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "set", boxes=((20, 30, 24, 40),))
    assert main(["evaluate", *argv]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and says in err


def test_events(tmp_path):
    write_pairs(tmp_path / "set")
    command = [*COMMAND, "--data", tmp_path / "set", "--split", "all", "--model", "cva", "irmad", "--progress", "json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == ""
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "start" and events[-1]["event"] == "result"
    metrics = [event for event in events if event["event"] == "metric"]
    assert {(event["step"], event["name"]) for event in metrics} >= {(1, "f1"), (2, "f1"), (1, "ap")}
    last = [event for event in events if event["event"] == "progress" and event["stage"] == "evaluate"][-1]
    assert last["done"] == last["total"] == 8 and last["unit"] == "pairs"
    stats = events[-1]["stats"]
    assert stats["pairs"] == 4 and 0 < stats["f1"] <= 1 and stats["seconds"] > 0
    assert not [event for event in events if event["event"] == "log" and event["level"] == "warning"]


def test_sigterm_stops_within_two_seconds_and_leaves_nothing(tmp_path):
    write_pairs(tmp_path / "set", boxes=((100, 100, 300, 300),), size=(700, 900))
    for path in list((tmp_path / "set").rglob("p0.png")):
        for number in range(1, 30):
            path.with_name(f"p{number}.png").hardlink_to(path)
    command = [*COMMAND, "--data", tmp_path / "set", "--split", "all", "--model", "irmad"]
    command += ["--output", tmp_path / "m.json", "--save-predictions", tmp_path / "out", "--progress", "json"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "progress" and event["stage"] == "evaluate" and event["done"] >= 1:
            break
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and time.monotonic() - began < 3
    assert json.loads(out.splitlines()[-1])["code"] == "cancelled" and err.startswith("error: cancelled")
    assert not list(tmp_path.glob("*m.json*"))
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
