#!/usr/bin/env python3
"""Pins what the plugin installs for the engine, with hashes, for all platforms: qgis_plugin/engine/requirements.txt.

Usage: tools/lock_engine.py [--upgrade]     (needs uv: python -m pip install uv)
Run it after the dependencies in pyproject.toml changed. Pins that still fit stay; --upgrade takes the newest.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "qgis_plugin" / "engine" / "requirements.txt"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
# No Intel Macs: torch has had no wheels for them since 2.3.
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "x86_64-pc-windows-msvc", "aarch64-apple-darwin")
MACOS = "14.0"  # the oldest that onnxruntime's wheels run on
HEADER = f"""\
# What "Install the engine" installs, beside the engine's own wheel. Made by tools/lock_engine.py: do not edit.
# Python {PYTHONS[0]} to {PYTHONS[-1]} on Linux (x86_64 and aarch64, glibc 2.28 or newer), Windows (x86_64),
# and macOS {MACOS} or newer (Apple silicon). Hashes are those of the Python Package Index.
"""
COMMON = ("--only-binary", ":all:", "--generate-hashes", "--no-header", "--no-annotate", "--system-certs", "--quiet")


def main() -> int:
    """Resolves, checks every platform, and only then replaces the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions, not those pinned so far")
    args = parser.parse_args()
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        print("error: uv is not on PATH: python -m pip install uv (or name it in the variable UV)", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "requirements.txt"
        if LOCK.is_file():
            shutil.copyfile(LOCK, made)  # uv keeps the pins that it finds in the file it writes
        words = ["--upgrade"] if args.upgrade else []
        resolve(uv, [str(ROOT / "pyproject.toml"), "--universal", "--python-version", PYTHONS[0], *words], made)
        for platform in PLATFORMS:
            for python in PYTHONS:
                one = Path(folder) / "one.txt"
                resolve(uv, [str(made), "--python-platform", platform, "--python-version", python], one)
                print(f"{platform}, Python {python}: {one.read_text().count('==')} packages")
                one.unlink()
        LOCK.write_text(HEADER + made.read_text(encoding="utf-8"), encoding="utf-8")
    print(LOCK)
    return 0


def resolve(uv: str, words: list[str], output: Path) -> None:
    """One resolution; fails where a pin has no wheel for the platform, or where a dependency is missing.

    Raises:
        SystemExit: uv's own words.
    """
    environ = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": MACOS}
    command = [uv, "pip", "compile", *COMMON, *words, "--output-file", str(output)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"error: {' '.join(command)}\n{done.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main())
