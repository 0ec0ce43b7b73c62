"""The plugin's source, read as text: what must hold on QGIS versions that are not installed here."""

import ast
import configparser
import importlib
import os
import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT

PLUGIN = ROOT / "qgis_plugin"
FILES = sorted(PLUGIN.rglob("*.py"))


def trees():
    for path in FILES:
        yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


def test_syntax_is_that_of_python_3_9():
    assert len(list(trees())) > 15


def test_annotations_are_never_evaluated():
    """`X | None` in annotations is fine on 3.9 with this import, and fails without it."""
    wrong = [
        str(path) for path in FILES
        if path.read_text(encoding="utf-8").count("\n") > 8 and path != PLUGIN / "__init__.py"
        and "from __future__ import annotations" not in path.read_text(encoding="utf-8")
    ]  # fmt: skip
    assert wrong == []


def test_enums_are_scoped(qgis):
    """`Class.Member` of PyQt5 is gone in PyQt6: only `Class.Enum.Member` works on QGIS 3 and 4."""
    modules = [importlib.import_module(name) for name in (
        "qgis.core", "qgis.gui", "qgis.PyQt.QtCore", "qgis.PyQt.QtGui", "qgis.PyQt.QtWidgets")]  # fmt: skip
    plain = {"QGIS_VERSION_INT", "QGIS_VERSION", "TEMPORARY_OUTPUT"}
    wrong = []
    for path, tree in trees():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
                continue
            owner = next((getattr(module, node.value.id) for module in modules if hasattr(module, node.value.id)), None)
            if isinstance(owner, type) and node.attr not in plain and isinstance(getattr(owner, node.attr, None), int):
                wrong.append(f"{path}:{node.lineno} {node.value.id}.{node.attr}")
    assert wrong == []


def test_the_lint_sees_an_unscoped_enum(qgis):
    from qgis.core import QgsProcessingParameterNumber

    assert isinstance(QgsProcessingParameterNumber.Integer, int)


def test_nothing_that_qt6_dropped():
    dropped = ("exec_(", "QRegExp", "QDesktopWidget", "QVariant.", "PyQt5", "PyQt6", "FlagNoThreading", "iface.")
    wrong = [
        f"{path.name}: {word}" for path in FILES for word in dropped
        if word in path.read_text(encoding="utf-8") and not (word == "iface." and path.name == "plugin.py")
    ]  # fmt: skip
    assert wrong == []


def test_engine_room_knows_no_qgis():
    """Process and protocol are testable, and are tested, without QGIS."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import qgis_plugin.engine.install; print('qgis' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_no_widgets_headless():
    """The provider loads without the modules of the user interface."""
    widgets = ("QtWidgets", "processing.gui")
    for path, tree in trees():
        if path.name in ("widgets.py", "plugin.py"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert not any(word in (node.module or "") for word in widgets), path


def test_metadata():
    reader = configparser.ConfigParser(interpolation=None)
    reader.optionxform = str
    reader.read(ROOT / "metadata.txt", encoding="utf-8")
    general = reader["general"]
    assert general["qgisMinimumVersion"] == "3.22" and general["qgisMaximumVersion"] == "4.99"
    assert general["hasProcessingProvider"] == "yes" and "/" not in general["author"]
    assert (PLUGIN / general["icon"]).is_file()


def test_staged_plugin_and_zip(staged, qgis):
    folder = staged / "cdengine_qgis"
    for name in ("__init__.py", "metadata.txt", "LICENSE", "styles/change.qml", "modeler/detect_many_pairs.model3"):
        assert (folder / name).is_file(), name
    guide = (folder / "help.html").read_text(encoding="utf-8")
    for name in ("detect", "detectwithoutmodel", "detectpairs", "align", "vectorize", "pseudolabel", "installengine"):
        assert f'<a id="{name}"></a>' in guide, "the Help button leads there"
    assert "<code>BEFORE</code>" in guide and "```" not in guide and "**" not in guide
    archive = next(staged.parent.glob("cdengine_qgis-*.zip"))
    with zipfile.ZipFile(archive) as content:
        names = content.namelist()
    assert {name.split("/")[0] for name in names} == {"cdengine_qgis"}
    assert not any("__pycache__" in name or name.endswith((".pyc", ".sh")) for name in names)


@pytest.mark.parametrize("break_it", ["version", "wheel"])
def test_a_build_that_would_be_wrong_fails(tmp_path, break_it):
    script = ROOT / "tools" / "build_plugin.py"
    if break_it == "wheel":
        words = ["--wheel", str(tmp_path / "absent.whl")]
        done = subprocess.run(
            [sys.executable, str(script), "--stage", str(tmp_path), "--dist", str(tmp_path), *words],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 1 and "absent.whl does not exist" in done.stderr
        return
    sys.path.insert(0, os.fspath(script.parent))
    try:
        import build_plugin
    finally:
        sys.path.pop(0)
    text = (ROOT / "metadata.txt").read_text(encoding="utf-8")
    (tmp_path / "metadata.txt").write_text(text.replace("\nversion=", "\nversion=9"), encoding="utf-8")
    with pytest.raises(ValueError, match="set both alike"):
        build_plugin.check_metadata(tmp_path / "metadata.txt")
