"""`bench`: the whole of `detect` against the bare network in memory, on the same tiles, precision and threads."""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdengine.cli.result import Result
from cdengine.errors import UsageError
from cdengine.events import Event, Reporter

if TYPE_CHECKING:
    from cdengine.inference.options import DetectOptions
    from cdengine.models.modelfile import LoadedModel

SHARE = 0.04  # of the pixels that the benchmark's model calls changed: a usual scene has a few per cent
RESIDENT = 16  # tiles that the raw forward turns round; enough that no cache holds them
SAMPLE = 256  # side of the tiles from which the model takes its statistics


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `bench`."""
    parser.add_argument("--size", type=int, default=4096, metavar="N", help="rows and columns of the pair")
    parser.add_argument("--tile", type=int, default=512, metavar="N", help="side of a tile")
    parser.add_argument("--overlap", type=int, default=64, metavar="N", help="pixels that neighbouring tiles share")
    parser.add_argument("--batch-size", type=int, default=1, metavar="N", help="tiles at a time, on both sides")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda[:N] or mps")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], default="auto", help="arithmetic")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="rounds; the median counts")
    parser.add_argument("--json", action="store_true", help="print the answer as one JSON object")


def run(args: argparse.Namespace, reporter: Reporter) -> Result:
    """Measures and answers."""
    from cdengine.inference.options import DetectOptions

    for name, least in (("size", args.tile), ("batch_size", 1), ("repeats", 1)):
        if getattr(args, name) < least:
            raise UsageError(f"--{name.replace('_', '-')} {getattr(args, name)}: {least} or more")
    shared = {name: getattr(args, name) for name in ("tile", "overlap", "batch_size", "device", "precision")}
    DetectOptions.of("cva", shared)  # refuses what is wrong before anything is written
    folder = Path(tempfile.mkdtemp(prefix="cdengine-bench-"))
    try:
        with reporter.cancellation.cleanup(lambda: shutil.rmtree(folder, ignore_errors=True)):
            answer = measure(folder, args.size, shared, args.repeats, reporter)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    numbers = {name: value for name, value in answer.items() if isinstance(value, (int, float))}
    return Result(stats=numbers, text=as_text(answer), answer=answer)


def measure(folder: Path, size: int, shared: dict[str, Any], repeats: int, reporter: Reporter) -> dict[str, Any]:
    """The figures, units in their names; `*_mpx_s` of raw forward and detect count tile pixels, overlaps included.

    The raw forward is the network as it was loaded, in the memory layout that suits it; detection folds its batch
    normalisation into the convolutions first, which is a part of what it is measured by.
    """
    from cdengine.inference.device import choose_device, choose_precision
    from cdengine.inference.options import DetectOptions
    from cdengine.inference.tiles import Tiling
    from cdengine.models.devices import facts
    from cdengine.models.modelfile import load_model
    from cdengine.synthesis.texture import write_texture_pair

    device = choose_device(shared["device"])
    precision = choose_precision(shared["precision"], device)
    before, after = (str(path) for path in write_texture_pair(folder, size, size, reporter))
    path = folder / "bench.safetensors"
    write_model(path, before, after)
    model = load_model(path)
    tiling = Tiling.of(size, size, shared["tile"], shared["overlap"], model.card.margin)
    tiles = len(tiling.rows.starts) * len(tiling.cols.starts)
    options = DetectOptions.of(
        str(path), {**shared, "precision": precision, "polygons": str(folder / "change.gpkg"), "overwrite": True}
    )
    arithmetic = {"device": device.torch_device, "precision": precision, "batch": shared["batch_size"]}
    rounds = []
    for _ in range(repeats):
        # Detection first: the peak of memory is that of the first round, before the raw forward has held anything.
        detected = detect_s(folder, before, after, options, reporter)
        rounds.append(
            Round(*detected, raw_forward_s(model, before, after, shared["tile"], tiles, arithmetic, reporter))
        )
    typical = sorted(rounds, key=lambda one: one.detect_s)[len(rounds) // 2]
    mpx = tiling.tile_pixels / 1e6
    return {
        "raw_forward_mpx_s": round(mpx / statistics.median(one.raw_s for one in rounds), 4),
        "detect_mpx_s": round(mpx / statistics.median(one.detect_s for one in rounds), 4),
        "ratio": round(statistics.median(one.raw_s / one.detect_s for one in rounds), 4),
        "ratio_rounds": [round(one.raw_s / one.detect_s, 4) for one in rounds],
        "peak_rss_mb": rounds[0].peak_rss_mb,
        "read_mpx_s": round(size * size / 1e6 / read_s(before, after, reporter), 2),
        "stages_s": {name: round(seconds, 3) for name, seconds in typical.stages_s.items()},
        "detect_s": round(typical.detect_s, 3),
        "polygons": typical.polygons,
        "scene_rows": size,
        "scene_columns": size,
        "tiles": tiles,
        "tile_px": shared["tile"],
        "overlap_px": shared["overlap"],
        "batch": shared["batch_size"],
        "architecture": "fc-siam-diff, resnet18",
        "device": device.label,
        "device_name": device.name,
        "precision": precision,
        "threads": facts()["threads"],
        "repeats": repeats,
    }


@dataclass(frozen=True)
class Round:
    """One detection and one raw forward, seconds; one after the other, so that both meet the same machine."""

    detect_s: float
    stages_s: dict[str, float]
    polygons: int
    peak_rss_mb: float | None
    raw_s: float


class StageClock:
    """A sink that passes events on and keeps how long each stage was open."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._seen: dict[str, tuple[float, float]] = {}

    def emit(self, event: Event) -> None:
        """Notes the time of the event."""
        if event["event"] == "progress":
            now = time.perf_counter()
            first, _ = self._seen.get(event["stage"], (now, now))
            self._seen[event["stage"]] = first, now
        self._reporter.emit(event)

    @property
    def seconds(self) -> dict[str, float]:
        """Stage → seconds from its first to its last event."""
        return {stage: last - first for stage, (first, last) in self._seen.items()}


def write_model(path: Path, before: str, after: str) -> None:
    """A model file for the benchmark, its statistics taken from the pair."""
    from cdengine.models.modelfile import save_model
    from cdengine.models.speed import reference_network

    save_model(path, *reference_network(*_corner_tiles(before, after, SAMPLE, 4), SHARE))


def raw_forward_s(
    model: LoadedModel, before: str, after: str, tile: int, tiles: int, arithmetic: dict[str, Any], reporter: Reporter
) -> float:
    """Seconds of the network alone for as many tiles as the detection has."""
    from cdengine.models.speed import forward_seconds

    resident = _corner_tiles(before, after, tile, max(RESIDENT, arithmetic["batch"]))
    return forward_seconds(model, *resident, tiles=tiles, reporter=reporter, **arithmetic)


def _corner_tiles(before: str, after: str, side: int, count: int) -> tuple[Any, Any]:
    """`count` tiles (N, C, side, side) of both dates from the top of the pair, used again where it has fewer."""
    import numpy as np

    from cdengine.raster.grid import Window
    from cdengine.raster.pair import Pair

    with Pair.open(before, after) as pair:
        side = min(side, pair.grid.width)
        across, down = pair.grid.width // side, pair.grid.height // side
        places = [divmod(index % (across * down), across) for index in range(count)]
        blocks = [pair.read(Window(row * side, col * side, side, side)) for row, col in places]
    return np.stack([block.before for block in blocks]), np.stack([block.after for block in blocks])


def detect_s(
    folder: Path, before: str, after: str, options: DetectOptions, reporter: Reporter
) -> tuple[float, dict[str, float], int, float | None]:
    """Seconds from the call to closed files, those of its stages, the polygons, and the peak of memory meanwhile."""
    from cdengine.inference.detect import run_detect

    clock = StageClock(reporter)
    reset_peak_rss()
    inner = Reporter(clock, reporter.cancellation)
    began = time.perf_counter()
    try:
        result = run_detect(before, after, str(folder / "change.tif"), options, inner)
    finally:
        inner.close()
    seconds = time.perf_counter() - began
    return seconds, clock.seconds, int(result.stats["polygons"]), peak_rss_mb()


def read_s(before: str, after: str, reporter: Reporter) -> float:
    """Seconds to read the pair strip by strip as detection does, and to do nothing with it."""
    from cdengine.raster.pair import Pair
    from cdengine.raster.source import gdal_env

    with gdal_env(), Pair.open(before, after) as pair:
        began = time.perf_counter()
        with reporter.stage("read", pair.window.height, "rows") as stage:
            for block in pair.strips():
                stage.advance(block.window.height)
        return time.perf_counter() - began


# ---------------------------------------------------------------- memory
def reset_peak_rss() -> None:
    """Starts the peak of resident memory anew, where the system can (Linux); elsewhere it is of the whole process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_rss_mb() -> float | None:
    """Peak of resident memory in MB (10^6 bytes); None where the system does not tell (Windows)."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) * 1024 / 1e6, 1)
    if sys.platform == "win32":
        return None
    import resource

    # Bytes on macOS, kibibytes elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


# ---------------------------------------------------------------- text
def as_text(answer: dict[str, Any]) -> str:
    """The answer for people."""
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in answer["stages_s"].items())
    rows = [
        ("device", f"{answer['device_name']} ({answer['device']}, {answer['precision']}, {answer['threads']} threads)"),
        ("network", f"{answer['architecture']}, batches of {answer['batch']}"),
        ("pair", f"{answer['scene_rows']} x {answer['scene_columns']} px, {answer['tiles']} tiles"),
        ("raw forward", f"{answer['raw_forward_mpx_s']:.2f} Mpx/s of tiles, in memory"),
        ("detect", f"{answer['detect_mpx_s']:.2f} Mpx/s of tiles, files to files ({answer['polygons']:,} polygons)"),
        ("ratio", f"{answer['ratio']:.3f} (rounds: {', '.join(f'{one:.3f}' for one in answer['ratio_rounds'])})"),
        ("reading alone", f"{answer['read_mpx_s']:.1f} Mpx/s, both dates"),
        ("stages", stages),
        ("peak memory", "not known here" if answer["peak_rss_mb"] is None else f"{answer['peak_rss_mb']:.0f} MB"),
    ]
    return "\n".join(f"{name:<15}{value}" for name, value in rows)
