"""The managed environment, made for real from a small wheel and without network."""

import os
import sys
import zipfile

import pytest

from qgis_plugin.engine import environ, install, locate
from qgis_plugin.engine.process import EngineCancelled

MAIN = """
import json, sys
if sys.argv[1] == "doctor":
    print(json.dumps({"versions": {"cdengine": "VERSION"}}))
else:
    print(json.dumps({"shipped": []}))
"""


def wheel(folder, version="1.0", main=MAIN):
    """A package cdengine that answers doctor, as a wheel."""
    path = folder / f"cdengine-{version}-py3-none-any.whl"
    info = f"cdengine-{version}.dist-info"
    files = {
        "cdengine/__init__.py": "",
        "cdengine/__main__.py": main.replace("VERSION", version),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: cdengine\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as out:
        for name, text in files.items():
            out.writestr(name, text)
        out.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]))
    return str(path)


def make(tmp_path, package, cancelled=lambda: False, room=1):
    log, stages = [], []
    python = install.install(
        str(tmp_path / "managed"), package, environ.clean(os.environ), log.append,
        lambda title, done: stages.append((title, done)), cancelled, wheels=str(tmp_path), room=room,
    )  # fmt: skip
    return python, log, stages


def environments(tmp_path):
    return sorted(name for name in os.listdir(tmp_path / "managed") if name.startswith("env-"))


@pytest.mark.slow
def test_wheel_that_cannot_be_installed(tmp_path):
    with pytest.raises(install.InstallFailed, match="Cannot install the engine"):
        make(tmp_path, str(tmp_path / "absent.whl"))


@pytest.mark.slow
def test_install_update_and_failed_update(tmp_path, monkeypatch):
    managed = str(tmp_path / "managed")
    python, log, stages = make(tmp_path, wheel(tmp_path))
    assert locate.find("", {}, managed).python == python
    assert locate.probe(locate.Engine(python, ""), environ.clean(os.environ)).version == "1.0"
    assert [done for _, done in stages] == sorted(done for _, done in stages) and stages[-1][1] == 1.0
    assert any("cdengine-1.0" in line for line in log)

    monkeypatch.setattr(install.time, "strftime", lambda pattern: "later")
    newer, _, _ = make(tmp_path, wheel(tmp_path, "1.1"))
    assert locate.find("", {}, managed).python == newer and environments(tmp_path) == ["env-later"]

    monkeypatch.setattr(install.time, "strftime", lambda pattern: "latest")
    with pytest.raises(install.InstallFailed, match="does not work"):
        make(tmp_path, wheel(tmp_path, "1.2", main="raise SystemExit('broken')"))
    assert locate.find("", {}, managed).python == newer and environments(tmp_path) == ["env-later"]


def test_cancel_leaves_nothing(tmp_path):
    stage = []

    def cancelled():
        return bool(stage)

    package = wheel(tmp_path)
    with pytest.raises(EngineCancelled):
        install.install(
            str(tmp_path / "managed"), package, environ.clean(os.environ), lambda line: None,
            lambda title, done: stage.append(title) if done >= 0.02 else None, cancelled, wheels=str(tmp_path), room=1,
        )  # fmt: skip
    assert environments(tmp_path) == [] and locate.managed_python(str(tmp_path / "managed")) is None


def test_failures_say_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(install.InstallFailed, match="make room there"):
        make(tmp_path, wheel(tmp_path), room=10**18)
    with pytest.raises(install.InstallFailed, match="brings no engine"):
        install.bundled_wheel(str(tmp_path))
    with pytest.raises(install.InstallFailed, match="apt install python3-venv"):
        install.base_python({"PATH": str(tmp_path)})


def test_one_at_a_time(tmp_path):
    os.makedirs(tmp_path / "managed")
    lock = install._lock(str(tmp_path / "managed" / install.LOCK))
    with lock, pytest.raises(install.InstallFailed, match="Another QGIS is installing"):
        make(tmp_path, wheel(tmp_path))


def test_too_old_a_python_is_passed_over(tmp_path):
    old = tmp_path / "python3.12"
    old.write_text("#!/bin/sh\necho 3.9\n")
    old.chmod(0o755)
    good = tmp_path / "python3"
    good.write_text("#!/bin/sh\necho 3.11\n")
    good.chmod(0o755)
    assert install.base_python({"PATH": str(tmp_path)}) == [str(good)]


def test_as_an_algorithm(qgis, tmp_path, monkeypatch, feedback):
    """From the bundled wheel to an engine that is found."""
    import processing

    from qgis_plugin import settings

    monkeypatch.delenv("CDENGINE_PYTHON", raising=False)
    wheels = tmp_path / "plugin" / "wheels"
    wheels.mkdir(parents=True)
    wheel(wheels)
    monkeypatch.setattr(settings, "plugin_folder", lambda: str(tmp_path / "plugin"))
    monkeypatch.setattr("qgis_plugin.algorithms.installengine.CPU_ROOM_BYTES", 1)
    try:
        result = processing.run("cdengine:installengine", {"WHEELS": str(wheels)}, feedback=feedback)
        assert settings.surroundings().find().python == result["PYTHON"]
        assert result["PYTHON"].startswith(settings.surroundings().managed)
        assert feedback.percents[-1] == 100 and any("answers" in line for line in feedback.console)
    finally:
        import shutil

        shutil.rmtree(settings.surroundings().managed, ignore_errors=True)
    assert sys.executable not in result["PYTHON"]
