"""`doctor`: right answers on this machine, and plain words when something is broken."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cdengine.cli import doctor
from cdengine.errors import Cancelled
from cdengine.events import CollectSink, Reporter

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def answer() -> dict:
    result = doctor.run(argparse.Namespace(json=True), Reporter())
    assert result.answer is not None
    return json.loads(json.dumps(result.answer))


def test_all_is_well_where_the_suite_runs(answer):
    assert answer["ok"] is True
    assert [check["name"] for check in answer["checks"] if check["required"] and not check["ok"]] == []


def test_answer_names_versions_and_devices(answer):
    assert {"cdengine", "python", "torch", "torchvision", "timm", "rasterio", "gdal", "proj", "numpy"} <= set(
        answer["versions"]
    )
    assert answer["devices"][0]["device"] == "cpu"
    assert answer["devices"][0]["cores"] >= 1
    assert all({"name", "ok", "detail", "remedy"} <= set(check) for check in answer["checks"])


def test_text_says_what_to_do_about_a_missing_thing(answer):
    broken = {"name": "rasterio", "ok": False, "detail": "libexpat.so.1: no such file", "remedy": "do this"}
    text = doctor.as_text({**answer, "ok": False, "checks": [{**broken, "required": True}]})
    assert "MISSING" in text and "libexpat" in text and "do this" in text
    assert text.endswith("is missing")


def test_progress_is_reported():
    sink = CollectSink()
    doctor.run(argparse.Namespace(json=False), Reporter(sink))
    last = [event for event in sink.events if event["event"] == "progress"][-1]
    assert last["done"] == last["total"]


def test_a_shadowed_projection_database_is_found(tmp_path):
    code = "from cdengine.cli.doctor import check_projections as c; r = c(); print(r.ok, r.remedy)"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PROJ_DATA": str(tmp_path), "PROJ_LIB": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("False unset PROJ_LIB"), done.stdout + done.stderr


def test_a_torch_that_cannot_load_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(doctor, "TORCH_PROBE", "raise ImportError('libcudart.so.13: cannot open shared object file')")
    check, facts = doctor.finish_torch(doctor.start_torch(), Reporter())
    assert not check.ok and facts == {}
    assert "libcudart.so.13" in check.detail and "\n" not in check.detail
    assert "torch" in check.remedy


def test_a_torch_that_kills_its_process_is_told(monkeypatch):
    monkeypatch.setattr(doctor, "TORCH_PROBE", "import os; os.abort()")
    check, _ = doctor.finish_torch(doctor.start_torch(), Reporter())
    assert not check.ok and "status" in check.detail


def test_cancel_ends_the_torch_process(monkeypatch):
    monkeypatch.setattr(doctor, "TORCH_PROBE", "import time; time.sleep(60)")
    reporter = Reporter()
    probe = doctor.start_torch()
    reporter.cancellation.cancel()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        doctor.finish_torch(probe, reporter)
    assert time.monotonic() - began < 2
    assert probe.poll() is not None


def test_a_missing_package_is_told():
    check = doctor.check_package("no_such_package_of_cdengine")
    assert not check.ok and "no_such_package" in check.detail and "pip install" in check.remedy
