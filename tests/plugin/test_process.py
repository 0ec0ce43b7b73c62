"""Every way an engine run can go, by the fake engine; no QGIS involved."""

import os
import time

import pytest

from qgis_plugin.engine import events, process
from qgis_plugin.engine.child import Child


def run(fake, scenario, cancelled=lambda: False, **settings):
    fake(scenario)
    seen, stray = [], []
    environ = {**os.environ, "CDENGINE_FAKE_WRITES": "0", **settings}
    command = [fake.path, "-m", "cdengine", "detect", "a", "b"]
    try:
        result = process.run(command, environ, seen.append, cancelled, stray.append)
    finally:
        for started in fake.runs():
            assert not alive(started["pid"]), "the engine is still there"
    return result, seen, stray


def alive(pid):
    """Whether the process is still there after a moment; a killed one takes a few milliseconds to go."""
    for _ in range(20):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rsplit(")", 1)[1].split()[0] in "ZX":
                    return False
        except (FileNotFoundError, ProcessLookupError):
            return False
        time.sleep(0.025)
    return True


def cancel_after(seconds):
    began = time.monotonic()
    return lambda: time.monotonic() - began > seconds


def test_good_run(fake):
    result, seen, stray = run(fake, "ok")
    assert result.stats["polygons"] == 1
    assert isinstance(seen[0], events.Start) and seen[0].device_name == "Fake CPU"
    assert [event.stage for event in seen if isinstance(event, events.Progress)] == ["open", "detect", "detect"]
    assert events.Log("warning", "grids differ") in seen
    assert stray == []


@pytest.mark.parametrize(
    "scenario, words",
    [
        ("error", "after.tif covers none of before.tif: check its CRS"),
        ("oom", "out of memory with --tile 512: use a smaller --tile"),
        ("crash", "segmentation fault"),
        ("killed", "memory ran out"),
        ("half", "ended early"),
        ("noresult", "without a result"),
        ("newer", "update the QGIS plugin"),
        ("missing", "No module named cdengine"),
    ],
)
def test_failures_say_why(fake, scenario, words):
    with pytest.raises(process.EngineFailed) as failure:
        run(fake, scenario)
    assert words in str(failure.value)
    assert "Traceback" not in str(failure.value) and "\n" not in str(failure.value)


def test_exit_code_of_the_error_event(fake):
    with pytest.raises(process.EngineFailed) as failure:
        run(fake, "error")
    assert (failure.value.exit_code, failure.value.slug) == (3, "no-overlap")


def test_garbage_is_passed_on_and_survived(fake):
    result, _, stray = run(fake, "garbage")
    assert result.stats["polygons"] == 1
    assert len(stray) == 3  # bytes that are no UTF-8, a list, a progress event without its fields


def test_flood_on_both_pipes_neither_blocks_nor_fills_memory(fake):
    result, _, stray = run(fake, "flood")
    assert result.stats["polygons"] == 1
    assert all(len(line) <= 500 for line in stray)


@pytest.mark.parametrize("scenario", ["slow", "silent", "stubborn", "grandchild-slow"])
def test_cancel_within_two_seconds(fake, scenario):
    began = time.monotonic()
    with pytest.raises(process.EngineCancelled):
        run(fake, scenario, cancel_after(0.7))
    assert time.monotonic() - began < 0.7 + 2.0
    if scenario == "grandchild-slow":
        assert not alive(int((fake.log.parent / "fake.log.grandchild").read_text()))


def test_polite_engine_ends_by_itself(fake):
    """The closed input is enough: an engine that listens is not killed, and can clean up."""
    fake("silent")
    with Child([fake.path, "-m", "cdengine", "detect"], dict(os.environ)) as child:
        time.sleep(0.5)
        child.stop()
        assert child.returncode == 130


def test_grandchild_that_outlives_the_engine_does_not_hold_us_up(fake):
    began = time.monotonic()
    run(fake, "grandchild")
    assert time.monotonic() - began < 5
    assert not alive(int((fake.log.parent / "fake.log.grandchild").read_text()))


def test_result_stands_when_the_engine_does_not_end(fake, monkeypatch):
    monkeypatch.setattr(process, "EXIT_WAIT_S", 0.5)
    result, _, _ = run(fake, "lingers")
    assert result.stats["polygons"] == 1


def test_crash_after_the_result_is_told(fake):
    result, seen, _ = run(fake, "crash-after-result")
    assert result.stats["polygons"] == 1
    assert any(isinstance(event, events.Log) and "ended badly" in event.message for event in seen)


def test_program_that_is_not_there():
    with pytest.raises(process.EngineFailed, match="cannot be started"):
        process.run(["/nowhere/python", "-m", "cdengine"], {}, lambda event: None, lambda: False)


def test_exception_in_a_callback_leaves_no_process(fake):
    fake("slow")

    def explode(event):
        raise RuntimeError("in the dialog")

    with pytest.raises(RuntimeError):
        process.run([fake.path, "-m", "cdengine", "detect"], dict(os.environ), explode, lambda: False)
    assert not alive(fake.runs()[0]["pid"])


@pytest.mark.parametrize(
    "code, windows, words",
    [
        (-9, False, "memory ran out"),
        (-11, False, "segmentation fault"),
        (-4, False, "illegal instruction"),
        (3221225477, True, "access violation"),
        (-1073741819, True, "access violation"),  # the same, as a signed number
        (3221225781, True, "Visual C++"),
        (130, False, "stopped from outside"),
        (1, False, "exit 1"),
    ],
)
def test_exit_status_in_words(code, windows, words):
    assert words in process.describe_exit(code, windows)


@pytest.mark.parametrize(
    "line", ["", "{", "[]", '{"event": 3}', '{"event": "log"}', '{"event": "start", "protocol": "x"}']
)
def test_what_is_no_event(line):
    with pytest.raises(events.NotAnEvent):
        events.parse(line)


def test_unknown_events_are_skipped():
    assert events.parse('{"event": "fireworks", "colour": "red"}') is None


def test_figures():
    told = events.parse('{"event": "metric", "epoch": 3, "name": "f1", "value": null}')
    assert told == events.Metric("f1", None, "epoch", 3)
    assert events.parse('{"event": "metric", "name": "f1", "value": 1}') == events.Metric("f1", 1.0, "", 0)
