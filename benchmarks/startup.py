"""How long a user waits for the first sign: `import cdengine`, `--help`, `doctor`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

CASES = {
    "python_alone_s": ["-c", "pass"],
    "import_s": ["-c", "import cdengine"],
    "help_s": ["-m", "cdengine", "--help"],
    "detect_help_s": ["-m", "cdengine", "detect", "--help"],
    "doctor_json_s": ["-m", "cdengine", "doctor", "--json"],
}


def seconds(arguments: list[str]) -> float:
    """Wall time of one interpreter run."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began


def measure(repeats: int = 5) -> dict[str, float]:
    """Median wall time of each case, files already in the system's cache."""
    figures = {}
    for name, arguments in CASES.items():
        seconds(arguments)
        figures[name] = round(statistics.median(seconds(arguments) for _ in range(repeats)), 3)
    return figures
