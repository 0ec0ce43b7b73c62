"""Peak memory of `detect` as the raster grows in height, and on a very wide one.

Each figure is the `ru_maxrss` of a process of its own that runs the command line, polygons and overviews on.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from cdengine.cli.bench import write_model
from cdengine.events import Reporter
from cdengine.synthesis.texture import write_texture_pair

ROWS = (4096, 16384, 65536)
COLUMNS = {"cva": 2048, "network": 512}
WIDE_ROWS, WIDE_COLUMNS = 1024, 48_000
MODEL_SIDE = 1024  # of the pair from which the benchmark's model takes its statistics


# A child's peak begins with what its parent held when it was started: a small process of its own starts and weighs it.
WEIGH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak_mb(arguments: list[str]) -> float:
    """Peak resident memory, MB (10^6 bytes), of `python -m cdengine ARGUMENTS`, of which nothing may fail."""
    command = [sys.executable, "-c", WEIGH, sys.executable, "-m", "cdengine", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024) / 1e6


def detect_peak_mb(folder: Path, rows: int, columns: int, model: str) -> float:
    """Peak of one detection on a fresh pair, which is removed again."""
    place = folder / f"{rows}x{columns}"
    place.mkdir(parents=True)
    try:
        before, after = write_texture_pair(place, rows, columns, Reporter())
        arguments = [before, after, "--output", place / "change.tif", "--polygons", place / "change.gpkg"]
        arguments += ["--model", model, "--tile", "512", "--overlap", "64"]
        return peak_mb(["detect", *map(str, arguments)])
    finally:
        shutil.rmtree(place)


def measure(folder: Path, rows: tuple[int, ...] = ROWS) -> dict[str, float]:
    """Peaks by method and height, the ratio of the tallest to the lowest, and the peak at 48,000 columns."""
    sample = folder / "sample"
    sample.mkdir(parents=True)
    network = folder / "bench.safetensors"
    write_model(network, *map(str, write_texture_pair(sample, MODEL_SIDE, MODEL_SIDE, Reporter())))
    figures: dict[str, float] = {}
    for name, model in (("cva", "cva"), ("network", str(network))):
        columns = COLUMNS[name]
        peaks = [detect_peak_mb(folder, height, columns, model) for height in rows]
        for height, peak in zip(rows, peaks, strict=True):
            figures[f"{name}_{height}_rows_{columns}_columns_peak_rss_mb"] = round(peak, 1)
        figures[f"{name}_peak_ratio"] = round(peaks[-1] / peaks[0], 4)
    figures[f"network_{WIDE_ROWS}_rows_{WIDE_COLUMNS}_columns_peak_rss_mb"] = round(
        detect_peak_mb(folder, WIDE_ROWS, WIDE_COLUMNS, str(network)), 1
    )
    return figures
