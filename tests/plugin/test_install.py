"""The managed environment, made for real from a small wheel and without network."""

import hashlib
import os
import re
import sys
import zipfile

import pytest
from conftest import ROOT

from qgis_plugin.engine import environ, install, locate, pins
from qgis_plugin.engine.process import EngineCancelled

MAIN = """
import json, sys
if sys.argv[1] == "doctor":
    print(json.dumps({"versions": {"cdengine": "VERSION"}}))
else:
    print(json.dumps({"shipped": []}))
"""


def wheel(folder, version="1.0", main=MAIN, name="cdengine"):
    """A package that answers doctor, as a wheel; cdengine needs the package `small`."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    needs = "Requires-Dist: small\n" if name == "cdengine" else ""
    files = {
        f"{name}/__init__.py": "",
        f"{name}/__main__.py": main.replace("VERSION", version),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as out:
        for name, text in files.items():
            out.writestr(name, text)
        out.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]))
    return str(path)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def pinned(tmp_path, hashed=""):
    """The engine's one dependency, as a wheel and as a requirement with its hash (or a wrong one)."""
    small = wheel(tmp_path, "2.0", name="small")
    return [pins.Step(f"small==2.0 \\\n    --hash=sha256:{hashed or digest(small)}\n")]


def make(tmp_path, package, cancelled=lambda: False, room=1, hashed="", stage=None):
    log, stages = [], []
    packages = install.Packages(package, pinned(tmp_path, hashed), wheels=str(tmp_path), room=room)
    python = install.install(
        str(tmp_path / "managed"), packages, environ.clean(os.environ), log.append,
        stage or (lambda title, done: stages.append((title, done))), cancelled,
    )  # fmt: skip
    return python, log, stages


def environments(tmp_path):
    return sorted(name for name in os.listdir(tmp_path / "managed") if name.startswith("env-"))


@pytest.mark.slow
def test_wheel_that_cannot_be_installed(tmp_path):
    with pytest.raises(install.InstallFailed, match="Cannot install the engine"):
        make(tmp_path, str(tmp_path / "absent.whl"))
    with pytest.raises(install.InstallFailed, match="hash differs"):
        make(tmp_path, wheel(tmp_path), hashed="0" * 64)
    assert environments(tmp_path) == []


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

    with pytest.raises(EngineCancelled):
        make(tmp_path, wheel(tmp_path), cancelled, stage=lambda title, done: stage.append(title) if done >= 0.02 else 0)
    assert environments(tmp_path) == [] and locate.managed_python(str(tmp_path / "managed")) is None


def test_failures_say_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(install.InstallFailed, match="make room there"):
        make(tmp_path, wheel(tmp_path), room=10**18)
    with pytest.raises(pins.Damaged, match="brings no engine"):
        pins.bundled_wheel(str(tmp_path))
    with pytest.raises(install.InstallFailed, match="apt install python3-venv"):
        install.base_python({"PATH": str(tmp_path)})


def test_one_at_a_time(tmp_path):
    os.makedirs(tmp_path / "managed")
    lock = install._lock(str(tmp_path / "managed" / install.LOCK))
    with lock, pytest.raises(install.InstallFailed, match="Another QGIS is installing"):
        make(tmp_path, wheel(tmp_path))


def test_pythons_without_wheels_are_passed_over(tmp_path):
    old = tmp_path / "python3.12"
    old.write_text("#!/bin/sh\necho 3.9\n")
    old.chmod(0o755)
    good = tmp_path / "python3"
    good.write_text("#!/bin/sh\necho 3.11\n")
    good.chmod(0o755)
    new = tmp_path / "python3.11"
    new.write_text("#!/bin/sh\necho 3.15\n")
    new.chmod(0o755)
    assert install.base_python({"PATH": str(tmp_path)}) == [str(good)]


def test_as_an_algorithm(qgis, tmp_path, monkeypatch, feedback):
    """From the bundled wheel to an engine that is found."""
    import processing

    from qgis_plugin import settings

    monkeypatch.delenv("CDENGINE_PYTHON", raising=False)
    wheels = tmp_path / "plugin" / "wheels"
    wheels.mkdir(parents=True)
    engine = wheel(wheels)
    (wheels / "SHA256SUMS").write_text(f"{digest(engine)}  {os.path.basename(engine)}\n")
    monkeypatch.setattr(settings, "plugin_folder", lambda: str(tmp_path / "plugin"))
    monkeypatch.setattr(pins, "steps", lambda cpu: pinned(wheels))
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


def test_damaged_wheel_is_refused(tmp_path):
    folder = tmp_path / "wheels"
    folder.mkdir()
    engine = wheel(folder)
    with pytest.raises(pins.Damaged, match="cannot be checked"):
        pins.bundled_wheel(str(tmp_path))
    (folder / "SHA256SUMS").write_text(f"{digest(engine)}  {os.path.basename(engine)}\n")
    assert pins.bundled_wheel(str(tmp_path)) == engine
    with open(engine, "ab") as file:
        file.write(b"x")
    with pytest.raises(pins.Damaged, match="install the plugin anew"):
        pins.bundled_wheel(str(tmp_path))


# ---------------------------------------------------------------- the pinned requirements
def names(step):
    return set(re.findall(r"^([a-z0-9-]+)==", step.requirements, re.MULTILINE))


def test_all_that_the_engine_needs_is_pinned_with_hashes():
    """Every dependency of pyproject.toml, none older than asked for; tools/lock_engine.py makes the list anew."""
    import tomllib

    (step,) = pins.steps(cpu=False)
    with open(ROOT / "pyproject.toml", "rb") as file:
        wanted = tomllib.load(file)["project"]["dependencies"]
    versions = {}
    for line in step.requirements.splitlines():
        if not line.startswith(" "):
            assert line.endswith("\\"), f"{line} has no hash"
            name, version = re.match(r"([a-z0-9-]+)==(\S+)", line).groups()
            versions.setdefault(name, []).append([int(part) for part in re.findall(r"\d+", version)])
    for requirement in wanted:
        name, least = re.match(r"([A-Za-z0-9_-]+)>=([\d.]+)$", requirement).groups()
        least = [int(part) for part in least.split(".")]
        assert all(found >= least for found in versions[name.lower().replace("_", "-")]), requirement
    assert len(versions) > 80


def test_build_without_cuda_leaves_its_libraries_out():
    (everything,) = pins.steps(cpu=False)
    torch, rest = pins.steps(cpu=True)
    assert not torch.hashed and names(torch) == {"torch", "torchvision"} and "--hash" not in torch.requirements
    assert rest.hashed and not names(rest) & names(torch)
    left_out = names(everything) - names(rest) - names(torch)
    assert left_out and all(name.startswith(("nvidia-", "cuda-", "triton")) for name in left_out)


def test_where_packages_come_from():
    """An index of torch alone serves torch alone; a folder serves everything."""
    steps = [pins.Step("torch==1\n", hashed=False), pins.Step("numpy==1 --hash=sha256:0\n")]

    told = ("--index-url", "INDEX", "--no-index", "--find-links", "FOLDER", "--require-hashes")

    def sources(**given):
        calls = install.Packages("engine.whl", steps, **given).calls(os.devnull)
        return [[word for word in call if word in told] for call in calls]

    assert sources() == [[], ["--require-hashes"], ["--no-index"], []]
    assert sources(cpu_index="INDEX")[:2] == [["--index-url", "INDEX"], ["--require-hashes"]]
    offline = ["--no-index", "--find-links", "FOLDER"]
    assert sources(cpu_index="INDEX", wheels="FOLDER")[:2] == [offline, ["--require-hashes", *offline]]
