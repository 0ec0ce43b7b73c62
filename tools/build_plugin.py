#!/usr/bin/env python3
"""Stages the QGIS plugin as it is installed, and zips it: qgis_plugin/, metadata, licence, guide, the engine's wheel.

Usage: tools/build_plugin.py [--wheel dist/cdengine-VERSION.whl] [--stage build/plugins] [--dist dist]
Standard library only, so that it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import configparser
import hashlib
import re
import shutil
import sys
import zipfile
from pathlib import Path

from markdown_page import page

ROOT = Path(__file__).resolve().parents[1]
NAME = "cdengine_qgis"
# What plugins.qgis.org accepts, so that a build which it would refuse fails here.
LIMIT_BYTES = 25 * 1024 * 1024
REQUIRED = (
    "name", "description", "version", "qgisMinimumVersion", "author", "email", "about", "tracker", "repository",
)  # fmt: skip
FORBIDDEN_SUFFIXES = {".pyc", ".so", ".dll", ".exe", ".sh", ".pyd", ".dylib"}
# The same bytes from the same sources: a zip's earliest date for every file.
STAMP = (1980, 1, 1, 0, 0, 0)


def main() -> int:
    """Builds and reports where the results are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="the engine's wheel, for Install the engine")
    parser.add_argument("--stage", type=Path, default=ROOT / "build" / "plugins", help="folder for QGIS_PLUGINPATH")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="folder of the zip")
    args = parser.parse_args()
    try:
        version = check_metadata(ROOT / "metadata.txt")
        staged = stage(args.stage, args.wheel)
        archive = pack(staged, args.dist / f"{NAME}-{version}.zip")
        check_archive(archive)
    except (OSError, ValueError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{staged}\n{archive} ({archive.stat().st_size / 1024:.0f} KiB)")
    return 0


def check_metadata(path: Path) -> str:
    """Returns the version, after checking that metadata.txt says all that QGIS asks for and agrees with the engine."""
    # No interpolation: a percent sign is text.
    reader = configparser.ConfigParser(interpolation=None)
    reader.optionxform = str  # type: ignore[assignment, method-assign]
    reader.read(path, encoding="utf-8")
    general = reader["general"]
    missing = [key for key in REQUIRED if not general.get(key)]
    if missing:
        raise ValueError(f"{path}: {', '.join(missing)} missing")
    engine = re.search(r'__version__ = "([^"]+)"', (ROOT / "cdengine" / "__init__.py").read_text(encoding="utf-8"))
    if engine and engine[1] != general["version"]:
        raise ValueError(
            f"{path}: version {general['version']}, but cdengine/__init__.py has {engine[1]}: set both alike"
        )
    return general["version"]


def stage(folder: Path, wheel: Path | None) -> Path:
    """Copies the plugin's files to `folder`/cdengine_qgis, replacing what was there."""
    target = folder / NAME
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(ROOT / "qgis_plugin", target, ignore=shutil.ignore_patterns("__pycache__", "*.py[co]", ".*"))
    for name in ("metadata.txt", "LICENSE"):
        shutil.copy2(ROOT / name, target / name)
    guide = (ROOT / "docs" / "qgis.md").read_text(encoding="utf-8")
    (target / "help.html").write_text(page(guide), encoding="utf-8")
    if wheel is not None:
        if not wheel.is_file():
            raise ValueError(f"{wheel} does not exist: build the wheel first")
        (target / "wheels").mkdir()
        shutil.copy2(wheel, target / "wheels" / wheel.name)
        # The installer holds the wheel against it: a copy that was cut short is told as such.
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (target / "wheels" / "SHA256SUMS").write_text(f"{digest}  {wheel.name}\n", encoding="ascii")
    return target


def pack(staged: Path, archive: Path) -> Path:
    """Zips the staged folder, in sorted order."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for path in sorted(staged.rglob("*")):
            if path.is_file():
                info = zipfile.ZipInfo(path.relative_to(staged.parent).as_posix(), STAMP)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = 0o644 << 16
                out.writestr(info, path.read_bytes())
    return archive


def check_archive(archive: Path) -> None:
    """The rules of plugins.qgis.org for a zip."""
    with zipfile.ZipFile(archive) as content:
        names = content.namelist()
    roots = {name.split("/")[0] for name in names}
    if roots != {NAME}:
        raise ValueError(f"{archive}: one folder is allowed at its root, found {sorted(roots)}")
    for needed in ("__init__.py", "metadata.txt", "LICENSE"):
        if f"{NAME}/{needed}" not in names:
            raise ValueError(f"{archive}: {needed} is missing")
    bad = [name for name in names if Path(name).suffix in FORBIDDEN_SUFFIXES or "__pycache__" in name or ".." in name]
    if bad:
        raise ValueError(f"{archive}: not allowed in a plugin: {', '.join(bad)}")
    if archive.stat().st_size > LIMIT_BYTES:
        raise ValueError(f"{archive}: larger than 25 MiB, the limit of plugins.qgis.org")


if __name__ == "__main__":
    sys.exit(main())
