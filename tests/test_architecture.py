"""What docs/architecture.md promises about imports and file sizes, held by reading the source."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENGINE = ROOT / "cdengine"
PLUGIN = ROOT / "qgis_plugin"

# A room may import from rooms of a smaller number and from itself, never sideways or up.
LEVEL = {
    "errors": 0,
    "events": 1,
    "raster": 2,
    "vector": 3,
    "models": 4,  # data knows their cards, so that statistics can be written for them
    "methods": 4,
    "data": 5,
    "assess": 4,
    "inference": 6,
    "training": 7,
    "synthesis": 8,
    "cli": 9,
    "": 10,  # cdengine/__init__.py: the public face
    "__main__": 10,
}
# The protocol that every detector follows is a type; methods may name it though inference stands above them.
TYPES_FROM_ABOVE = {"cdengine.inference.detector"}
TORCH = {"torch", "torchvision", "timm", "lightning"}
TORCH_ROOMS = {"models", "training", "data"}
TORCH_MODULES = {f"cdengine.inference.{name}" for name in ("network", "ensemble", "augment", "device")}
UNSAFE_LOADERS = {"pickle", "dill", "joblib", "cloudpickle"}


def modules() -> list[Path]:
    return sorted(ENGINE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    return [*module.split("."), ""][1]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every imported module of a file, wherever the statement stands, with its line; relative ones resolved."""
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join(base + ([node.module] if node.module else []))
            # `from cdengine.raster import grid` imports a module where one of that name exists.
            for alias in node.names:
                inner = f"{stem}.{alias.name}"
                there = ROOT.joinpath(*inner.split("."))
                is_module = there.with_suffix(".py").is_file() or there.is_dir()
                yield node.lineno, inner if is_module else stem


def relative(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_every_room_is_known():
    unknown = {name_of(path) for path in modules()} - {"cdengine"}
    assert {room_of(name) for name in unknown} <= set(LEVEL)


def test_rooms_import_in_one_direction():
    wrong = []
    for path in modules():
        own = room_of(name_of(path))
        for line, target in imports(path):
            if target.split(".")[0] != "cdengine" or target in TYPES_FROM_ABOVE:
                continue
            room = room_of(target)
            if target == "cdengine":  # the version is all that anyone below may want of it
                continue
            if room != own and LEVEL[room] >= LEVEL[own]:
                wrong.append(f"{relative(path, line)} imports {target}")
    assert wrong == []


def test_torch_stays_in_its_rooms():
    wrong = []
    for path in modules():
        module = name_of(path)
        if room_of(module) in TORCH_ROOMS or module in TORCH_MODULES:
            continue
        wrong += [f"{relative(path, line)} {name}" for line, name in imports(path) if name.split(".")[0] in TORCH]
    assert wrong == []


def test_nothing_unpickles():
    """Models are data: no pickle anywhere, and torch.load only where published weights are imported."""
    wrong = []
    for path in modules():
        wrong += [
            f"{relative(path, line)} {name}" for line, name in imports(path) if name.split(".")[0] in UNSAFE_LOADERS
        ]
        if path.name != "import_weights.py":
            wrong += [
                f"{relative(path, node.lineno)} torch.load"
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Attribute) and node.attr == "load" and ast.unparse(node.value) == "torch"
            ]
    assert wrong == []


def test_only_the_command_line_prints():
    """`print` and `sys.stdout` belong to cli; NullSink's warnings on stderr are the one exception."""
    wrong = []
    for path in modules():
        module = name_of(path)
        if room_of(module) == "cli" or module in {"cdengine.events", "cdengine.__main__"}:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                wrong.append(relative(path, node.lineno))
            if isinstance(node, ast.Attribute) and ast.unparse(node) in {"sys.stdout", "sys.stderr"}:
                wrong.append(relative(path, node.lineno))
    assert wrong == []


@pytest.mark.skipif(not any(PLUGIN.rglob("*.py")), reason="no plugin in this checkout")
def test_plugin_imports_only_what_qgis_brings():
    """QGIS, its osgeo and processing, the standard library, the plugin itself: no wheel shares QGIS's interpreter."""
    allowed = {"qgis", "osgeo", "processing", PLUGIN.name} | set(sys.stdlib_module_names)  # processing: QGIS's own
    wrong = [
        f"{relative(path, line)} {name}"
        for path in sorted(PLUGIN.rglob("*.py"))
        for line, name in imports(path)
        if name.split(".")[0] not in allowed
    ]
    assert wrong == []


@pytest.mark.skipif(not (PLUGIN / "engine").is_dir(), reason="no plugin in this checkout")
def test_plugin_algorithms_start_no_processes():
    """Starting programs is engine/'s business, so that cancel and clean-up exist once."""
    process = {"subprocess", "multiprocessing"}
    wrong = [
        relative(path, line)
        for path in sorted((PLUGIN / "algorithms").rglob("*.py"))
        for line, name in imports(path)
        if name.split(".")[0] in process
    ]
    assert wrong == []


def loaded_by(*arguments: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running `python ARGUMENTS`."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, env=env, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = (line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {row.split(".")[0] for row in rows}


def test_import_is_light():
    assert not loaded_by("-c", "import cdengine") & {"torch", "rasterio", "numpy"}


@pytest.mark.parametrize("arguments", [("--help",), ("detect", "--help"), ("--version",)])
def test_help_loads_nothing_heavy(arguments):
    assert not loaded_by("-m", "cdengine", *arguments) & {"torch", "rasterio", "geopandas", "scipy"}


def test_files_and_functions_keep_the_budget():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "check_file_length.py")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
