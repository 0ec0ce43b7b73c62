"""Finding the engine, and the environment it gets; no QGIS involved."""

import os
import stat
import time

import pytest

from qgis_plugin.engine import environ, locate


def interpreter(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def managed(tmp_path):
    folder = tmp_path / "managed"
    python = interpreter(folder / "env-1" / "bin" / "python")
    (folder / "current").write_text("env-1")
    return str(folder), python


def test_order(tmp_path):
    folder, own = managed(tmp_path)
    named, variable = interpreter(tmp_path / "a"), interpreter(tmp_path / "b")
    assert locate.find(named, {"CDENGINE_PYTHON": variable}, folder).python == named
    assert locate.find("", {"CDENGINE_PYTHON": variable}, folder).python == variable
    assert locate.find("", {}, folder).python == own


def test_nothing_is_set(tmp_path):
    with pytest.raises(locate.EngineMissing, match=r"not set up\. Install it from the Processing toolbox"):
        locate.find("", {}, str(tmp_path / "none"))


@pytest.mark.parametrize(
    "setting, variable, words",
    [
        ("/nowhere/python", "", "setting Engine Python names /nowhere"),
        ("", "/nowhere/python", "CDENGINE_PYTHON names /nowhere"),
    ],
)
def test_what_is_named_but_missing_is_never_skipped(tmp_path, setting, variable, words):
    folder, _ = managed(tmp_path)
    with pytest.raises(locate.EngineMissing, match=words):
        locate.find(setting, {"CDENGINE_PYTHON": variable}, folder)


def test_folder_of_an_environment_is_as_good(tmp_path):
    python = interpreter(tmp_path / "venv" / "bin" / "python")
    assert locate.find(str(tmp_path / "venv"), {}, "").python == python
    (tmp_path / "empty").mkdir()
    with pytest.raises(locate.EngineMissing, match="holds no Python"):
        locate.find(str(tmp_path / "empty"), {}, "")


def test_not_executable(tmp_path):
    file = tmp_path / "python"
    file.write_text("x")
    file.chmod(stat.S_IRUSR)
    if os.access(file, os.X_OK):
        pytest.skip("this user may execute anything")
    with pytest.raises(locate.EngineMissing, match="may not be executed"):
        locate.find(str(file), {}, "")


def test_pointer_to_a_vanished_environment(tmp_path):
    folder, python = managed(tmp_path)
    os.remove(python)
    assert locate.managed_python(folder) is None


def test_probe_is_asked_once(fake, tmp_path):
    cache = str(tmp_path / "sub" / "engines.json")
    engine = locate.Engine(fake.path, "a test")
    assert locate.probe(engine, dict(os.environ), cache).version == "9.9.9"
    asked = len(fake.runs())
    assert locate.probe(engine, dict(os.environ), cache).version == "9.9.9"
    assert len(fake.runs()) == asked
    assert locate.known_models(engine, cache) == ["rgb-building"]
    with open(cache, "w") as file:
        file.write("damaged {")
    locate.probe(engine, dict(os.environ), cache)
    assert len(fake.runs()) == 2 * asked


def test_probe_without_the_package(fake, tmp_path):
    fake("missing")
    with pytest.raises(locate.EngineMissing, match="does not have the package cdengine"):
        locate.probe(locate.Engine(fake.path, "a test"), dict(os.environ))


def test_probe_of_a_program_that_is_no_engine():
    with pytest.raises(locate.EngineMissing, match="did not answer"):
        locate.probe(locate.Engine("/bin/true", "a test"), dict(os.environ))


def test_probe_is_cancelled(fake):
    fake("doctor-slow")
    began = time.monotonic()
    with pytest.raises(locate.EngineCancelled):
        locate.probe(locate.Engine(fake.path, "a test"), dict(os.environ), None, lambda: time.monotonic() - began > 0.5)
    assert time.monotonic() - began < 2.5


def test_environment_is_cleaned():
    given = {
        "PATH": "/usr/bin",
        "HOME": "/home/u",
        "HTTPS_PROXY": "http://proxy",
        "AWS_ACCESS_KEY_ID": "k",
        "GDAL_HTTP_TIMEOUT": "3",
        "CUDA_VISIBLE_DEVICES": "1",
        "PYTHONHOME": "/qgis",
        "PythonPath": "/qgis/python",
        "PYTHONEXECUTABLE": "/qgis/python",
        "GDAL_DATA": "/qgis/gdal",
        "PROJ_LIB": "/qgis/proj",
        "QGIS_PREFIX_PATH": "/qgis",
        "QT_PLUGIN_PATH": "/qgis/qt",
        "CONDA_PREFIX": "/conda",
        "LD_LIBRARY_PATH": "/usr/lib/grass",
        "SSL_CERT_FILE": "/nowhere/cert.pem",
    }
    kept = environ.clean(given)
    assert set(kept) == {
        "PATH", "HOME", "HTTPS_PROXY", "AWS_ACCESS_KEY_ID", "GDAL_HTTP_TIMEOUT", "CUDA_VISIBLE_DEVICES",
        "PYTHONUTF8", "PYTHONNOUSERSITE", "PYTHONSAFEPATH", "PYTHONUNBUFFERED",
    }  # fmt: skip
    assert given["PYTHONHOME"] == "/qgis", "the caller's own is left alone"


def test_folders_of_qgis_leave_path(tmp_path):
    qgis, other = tmp_path / "QGIS", tmp_path / "QGIS other"
    path = os.pathsep.join([str(qgis / "bin"), str(other), str(qgis)])
    assert environ.clean({"PATH": path}, str(qgis))["PATH"] == str(other)
