"""The staged plugin in qgis_process: another process, a private profile, no window."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest
from conftest import FAKE, make_raster
from test_process import alive

PROGRAM = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="qgis_process is not installed")


@pytest.fixture(scope="module")
def shell(staged, tmp_path_factory):
    """Runs qgis_process with the plugin enabled in a profile of its own."""
    profile = tmp_path_factory.mktemp("profile")
    environ = {
        **os.environ,
        "QGIS_PLUGINPATH": str(staged),
        "QGIS_CUSTOM_CONFIG_PATH": str(profile),
        "CDENGINE_PYTHON": str(FAKE),
        "CDENGINE_FAKE": "ok",
    }

    def call(*words, **settings):
        return subprocess.run(
            [PROGRAM, *words], capture_output=True, text=True, timeout=120, env={**environ, **settings}
        )

    call.environ = environ
    done = call("plugins", "enable", "cdengine_qgis")
    assert done.returncode == 0, done.stderr + done.stdout
    return call


def test_list_and_help(shell):
    listed = shell("list").stdout
    for name in (
        "detect",
        "detectwithoutmodel",
        "align",
        "vectorize",
        "detectpairs",
        "prepare",
        "train",
        "pseudolabel",
        "evaluate",
        "align_detect_vectorize",
    ):
        assert f"cdengine:{name}\t" in listed
    text = shell("help", "cdengine:detect").stdout
    assert "Finds what changed" in text and "<p>" not in text and "irmad" in text


def test_run(shell, pair, tmp_path):
    out = {name: str(tmp_path / file) for name, file in (("CHANGE", "c.tif"), ("POLYGONS", "v.gpkg"))}
    done = shell(
        "--json", "run", "cdengine:detect", "--", f"BEFORE={pair[0]}", f"AFTER={pair[1]}", "MODEL=irmad",
        "BANDS_BEFORE=3;2;1", "BANDS_AFTER=3;2;1", *(f"{name}={path}" for name, path in out.items()),
        CDENGINE_FAKE_LOG=str(tmp_path / "log"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout[done.stdout.index("{") :])["results"]
    assert results["CHANGE"] == out["CHANGE"] and results["CHANGED_AREA_M2"] == 2500
    assert all(os.path.isfile(path) for path in out.values()) and (tmp_path / "c.qml").exists()
    runs = [json.loads(line)["argv"] for line in (tmp_path / "log").read_text().splitlines()]
    assert "--bands-before=3,2,1" in runs[-1] and not any(word.startswith("--probability=") for word in runs[-1])


def test_list_of_files(shell, tmp_path):
    """Several model files: the parameter is given several times."""
    files = [tmp_path / "a.safetensors", tmp_path / "b c.safetensors"]
    for file in files:
        file.touch()
    done = shell(
        "--json", "run", "cdengine:pseudolabel", "--", f"DATA={tmp_path}", *(f"MODELS={file}" for file in files),
        f"OUTPUT={tmp_path / 'out'}", CDENGINE_FAKE_LOG=str(tmp_path / "log"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout[done.stdout.index("{") :])["results"]
    assert results["LABELLED_SHARE"] == 0.9 and results["REPORT"] == str(tmp_path / "out" / "report.html")
    words = json.loads((tmp_path / "log").read_text().splitlines()[-1])["argv"]
    assert words[words.index("--model") + 1 :][:2] == [str(file) for file in files]


def test_model(shell, tmp_path):
    for date in ("a", "b"):
        (tmp_path / date).mkdir()
        make_raster(tmp_path / date / "one.tif", seed=ord(date))
    done = shell(
        "run", "cdengine:detect_many_pairs", "--", f"BEFORE_FOLDER={tmp_path / 'a'}", f"AFTER_FOLDER={tmp_path / 'b'}",
        "MODEL=cva", "MIN_AREA=0", f"pairs:Results={tmp_path / 'r'}", f"merge:Changes={tmp_path / 'all.gpkg'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "all.gpkg").exists() and (tmp_path / "r" / "one_change.tif").exists()


def test_failure_is_a_message_and_an_exit_code(shell, pair, tmp_path):
    words = ["run", "cdengine:detect", "--", f"BEFORE={pair[0]}", f"AFTER={pair[1]}", f"CHANGE={tmp_path / 'c.tif'}"]
    done = shell(*words, CDENGINE_FAKE="error")
    assert done.returncode == 1
    assert "after.tif covers none of before.tif: check its CRS" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout
    done = shell(*words, CDENGINE_PYTHON="")
    assert done.returncode == 1 and "engine is not set up" in done.stderr + done.stdout


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 1), (signal.SIGTERM, -signal.SIGTERM)])
def test_signals_leave_no_engine_behind(shell, pair, tmp_path, number, code):
    """SIGINT cancels; SIGTERM kills qgis_process at once, and the engine sees its input close."""
    log = tmp_path / "log"
    words = [f"BEFORE={pair[0]}", f"AFTER={pair[1]}", f"CHANGE={tmp_path / 'c.tif'}"]
    process = subprocess.Popen(
        [PROGRAM, "run", "cdengine:detect", "--", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**shell.environ, "CDENGINE_FAKE": "slow", "CDENGINE_FAKE_LOG": str(log)},
    )  # fmt: skip
    try:
        engine = None
        for _ in range(600):
            lines = log.read_text().splitlines() if log.exists() else []
            engine = next((run["pid"] for run in map(json.loads, lines) if run["argv"][2] == "detect"), None)
            if engine is not None or process.poll() is not None:
                break
            time.sleep(0.1)
        assert engine is not None, "the engine did not start"
        process.send_signal(number)
        began = time.monotonic()
        assert process.wait(timeout=10) == code
        while alive(engine) and time.monotonic() - began < 3:
            time.sleep(0.05)
        assert not alive(engine) and not (tmp_path / "c.tif").exists()
    finally:
        process.kill()
