"""Runs the benchmarks; writes `bench.json` and `bench.md`: figures with their units in the names, and the machine."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import memory, startup, vectorize

ROOT = Path(__file__).resolve().parents[1]


def engine(*arguments: str) -> dict[str, Any]:
    """The JSON answer of a command."""
    done = subprocess.run(
        [sys.executable, "-m", "cdengine", *arguments, "--json"], check=True, stdout=subprocess.PIPE, text=True
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def measure_memory() -> dict[str, float]:
    """See `benchmarks.memory`."""
    with tempfile.TemporaryDirectory(prefix="cdengine-bench-") as folder:
        return memory.measure(Path(folder))


SECTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "throughput": lambda: engine("bench"),
    "memory": measure_memory,
    "vectorize": vectorize.measure,
    "startup": startup.measure,
}


def machine() -> dict[str, Any]:
    """Where and with what the figures were taken."""
    doctor = engine("doctor")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit.stdout.strip() or "not a git checkout",
        "devices": doctor["devices"],
        "versions": doctor["versions"],
    }


def table(figures: dict[str, Any]) -> str:
    """Markdown: a table for each section."""
    lines = ["# Benchmarks", ""]
    for section, values in figures.items():
        lines += [f"## {section}", "", "| what | value |", "|---|---|"]
        lines += [f"| {name} | {_cell(value)} |" for name, value in values.items()]
        lines += [""]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, list):
        return "; ".join(_cell(item) for item in value)
    return str(value)


def main() -> int:
    """Runs the sections named, all by default; each is written as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="which ones (all)")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench", help="folder for bench.json, bench.md")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {"machine": machine()}
    for name in args.sections or SECTIONS:
        print(f"measuring {name} …", flush=True)
        began = time.monotonic()
        figures[name] = SECTIONS[name]()
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
        (args.output / "bench.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
        (args.output / "bench.md").write_text(table(figures))
    print((args.output / "bench.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
