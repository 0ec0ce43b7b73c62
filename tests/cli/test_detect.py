"""`detect` as scripts and the plugin run it: events, exit codes, cancelling, killing and resuming."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rasterio
from model_files import card_for, trained
from pairs import make_pair

from cdengine.models.modelfile import save_model

COMMAND = [sys.executable, "-m", "cdengine", "detect"]


def start(*argv, **options):
    return subprocess.Popen(
        [*COMMAND, *map(str, argv), "--progress", "json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def run(*argv):
    process = start(*argv)
    out, err = process.communicate(timeout=120)
    return process.returncode, [json.loads(line) for line in out.splitlines()], err


def pixels(path):
    with rasterio.open(path) as file:
        return file.read(1)


def hidden(folder):
    return sorted(entry.name for entry in folder.iterdir() if entry.name.startswith("."))


def wait_for(process, wanted):
    """Reads events until one passes `wanted`; returns it."""
    for line in process.stdout:
        event = json.loads(line)
        if wanted(event):
            return event
    raise AssertionError(f"ended before: {process.stderr.read()}")


def half_done(event):
    return event["event"] == "progress" and event["stage"] == "detect" and event["done"] > 0


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A pair and a network with random weights, which takes long enough to be interrupted."""
    folder = tmp_path_factory.mktemp("large")
    card = card_for(threshold=0.5)
    save_model(folder / "random.safetensors", trained(card), card)
    before, after, _ = make_pair(folder, size=(800, 640), bands=3, compress="deflate")
    return before, after, "--model", folder / "random.safetensors", "--tile", "128", "--overlap", "32"


def resumed_at(events):
    """Pixels that were done when the stage "detect" began."""
    return next(event["done"] for event in events if event["event"] == "progress" and event["stage"] == "detect")


def test_events_of_a_good_run(tmp_path):
    before, after, _ = make_pair(tmp_path)
    code, events, err = run(before, after, "--output", tmp_path / "c.tif", "--polygons", tmp_path / "c.gpkg")
    assert (code, err) == (0, "")
    assert events[0]["event"] == "start" and events[0]["protocol"] == 1 and events[0]["command"] == "detect"
    assert events[0]["device"] == "cpu" and events[0]["device_name"]
    assert events[-1]["event"] == "result"
    assert events[-1]["outputs"] == {"change": str(tmp_path / "c.tif"), "polygons": str(tmp_path / "c.gpkg")}
    assert events[-1]["stats"]["changed_area_m2"] > 0
    stages = list(dict.fromkeys(event["stage"] for event in events if event["event"] == "progress"))
    assert stages[0] == "statistics" and stages.index("detect") < stages.index("write") < stages.index("write polygons")
    assert any("irmad" in event.get("message", "") for event in events)
    assert hidden(tmp_path) == []


def test_events_of_a_failed_run(tmp_path):
    before, _, _ = make_pair(tmp_path)
    code, events, err = run(before, tmp_path / "gone.tif", "--output", tmp_path / "c.tif")
    assert code == 3
    assert events[-1]["event"] == "error" and events[-1]["code"] == "not-found" and events[-1]["exit"] == 3
    assert err == f"error: {events[-1]['message']}\n" and "gone.tif" in err
    assert not (tmp_path / "c.tif").exists() and hidden(tmp_path) == []


def test_a_time_budget_needs_something_to_spend_it_on(tmp_path):
    before, after, _ = make_pair(tmp_path)
    code, events, _ = run(before, after, "--output", tmp_path / "c.tif", "--model", "cva", "--time-budget", "60")
    assert code == 2 and events[-1]["exit"] == 2
    assert "--time-budget 60" in events[-1]["message"] and "give --tta too (flip, six, d4)" in events[-1]["message"]
    options = ("--model", "cva", "--tta", "six", "--time-budget", "600", "--tile", "128")
    code, events, err = run(before, after, "--output", tmp_path / "c.tif", *options)
    stats = events[-1]["stats"]
    assert (code, err) == (0, "")
    assert stats["tiles"] == stats["tta_tiles"] > 4 and stats["time_budget_s"] == 600


def test_plain_run_prints_paths_and_area(tmp_path):
    before, after, _ = make_pair(tmp_path)
    result = subprocess.run(
        [*COMMAND, before, after, "--output", tmp_path / "c.tif", "--model", "cva"], capture_output=True, text=True
    )
    assert result.returncode == 0 and result.stderr == ""
    assert "changed: " in result.stdout and str(tmp_path / "c.tif") in result.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_within_two_seconds_and_leaves_nothing(tmp_path, large, number):
    process = start(*large, "--output", tmp_path / "c.tif")
    wait_for(process, half_done)
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert time.monotonic() - began < 2
    assert process.returncode == 130
    assert json.loads(out.splitlines()[-1])["code"] == "cancelled"
    assert err.count("\n") == 1 and err.startswith("error: cancelled")
    assert list(tmp_path.iterdir()) == []


def test_closing_stdin_stops_too(tmp_path, large):
    process = start(*large, "--output", tmp_path / "c.tif", "--cancel-on-stdin-close", stdin=subprocess.PIPE)
    wait_for(process, half_done)
    began = time.monotonic()
    process.stdin.close()
    assert process.wait(timeout=10) == 130
    assert time.monotonic() - began < 2
    process.stdout.close()
    process.stderr.close()
    assert list(tmp_path.iterdir()) == []


def test_kill_and_resume_ends_with_the_same_pixels(tmp_path, large):
    options = ("--probability", tmp_path / "p.tif", "--polygons", tmp_path / "c.gpkg")
    code, whole, _ = run(*large, "--output", tmp_path / "c.tif", *options)
    assert code == 0
    expected = pixels(tmp_path / "c.tif"), pixels(tmp_path / "p.tif")
    for path in tmp_path.iterdir():
        path.unlink()

    process = start(*large, "--output", tmp_path / "c.tif", *options)
    seen = wait_for(process, lambda event: half_done(event) and event["done"] > 0.4 * event["total"])
    process.kill()
    process.communicate()
    assert not (tmp_path / "c.tif").exists()

    code, events, _ = run(*large, "--output", tmp_path / "c.tif", *options, "--resume")
    assert code == 0
    assert resumed_at(events) >= seen["done"] - 2 * 128 * 640  # what was stored, at most two bands behind
    assert resumed_at(events) > 0
    assert np.array_equal(pixels(tmp_path / "c.tif"), expected[0])
    assert np.array_equal(pixels(tmp_path / "p.tif"), expected[1])
    assert events[-1]["stats"]["changed_px"] == whole[-1]["stats"]["changed_px"]
    assert events[-1]["stats"]["polygons"] == whole[-1]["stats"]["polygons"]
    assert hidden(tmp_path) == []


def test_resume_of_another_job_names_the_difference(tmp_path, large):
    process = start(*large, "--output", tmp_path / "c.tif")
    wait_for(process, half_done)
    process.kill()
    process.communicate()
    code, _, err = run(*large, "--output", tmp_path / "c.tif", "--threshold", "0.7", "--resume")
    assert code == 2 and "threshold" in err
    code, _, err = run(*large[:2], "--output", tmp_path / "c.tif", "--model", "cva")  # no --resume: a fresh start
    assert code == 0 and hidden(tmp_path) == []


def test_cancel_with_resume_keeps_what_is_done(tmp_path, large):
    process = start(*large, "--output", tmp_path / "c.tif", "--resume")
    wait_for(process, lambda event: half_done(event) and event["done"] > 0.3 * event["total"])
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 130 and hidden(tmp_path) == [".c.tif.cdengine"]
    code, events, _ = run(*large, "--output", tmp_path / "c.tif", "--resume")
    assert code == 0 and resumed_at(events) > 0


def test_odd_names_work_and_nothing_is_expanded(tmp_path):
    folder = tmp_path / "é x'q&;$(touch pwned).d"
    before, after, _ = make_pair(folder)
    code, _, err = run(before, after, "--output", folder / "c h$HOME.tif", "--polygons", folder / "c;.gpkg")
    assert (code, err) == (0, "")
    assert (folder / "c h$HOME.tif").exists() and not (tmp_path / "pwned").exists()


def test_a_foreign_locale_and_a_bare_environment(tmp_path):
    before, after, _ = make_pair(tmp_path)
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "de_DE.UTF-8", "PYTHONIOENCODING": "ascii"}
    result = subprocess.run(
        [*COMMAND, before, after, "--output", tmp_path / "c.tif", "--model", "cva"],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
