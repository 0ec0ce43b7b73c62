"""`bench`: the whole of `detect` against the bare network in memory, on the same tiles, precision and threads.

The network is a small reference one, or that of a model file.
"""

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
from cdengine.errors import ModelTaskError, UnknownModelError, UsageError
from cdengine.events import Event, Reporter

if TYPE_CHECKING:
    from cdengine.inference.options import DetectOptions
    from cdengine.models.card import ModelCard
    from cdengine.models.modelfile import LoadedModel

Bands = dict[str, str]  # "before", "after" → the numbers that `--bands-…` takes
SHARE = 0.04  # of the pixels that the benchmark's model calls changed: a usual scene has a few per cent
RESIDENT = 16  # tiles that the raw forward turns round; enough that no cache holds them
TILE = 512
SAMPLE = 256  # side of the tiles from which the model takes its statistics


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `bench`."""
    parser.add_argument("--model", metavar="FILE", help="a model file (.safetensors) in place of the reference network")
    parser.add_argument("--size", type=int, default=4096, metavar="N", help="rows and columns of the pair")
    parser.add_argument(
        "--tile", type=int, metavar="N", help=f"side of a tile (default: the model file's, else {TILE})"
    )
    parser.add_argument("--overlap", type=int, default=64, metavar="N", help="pixels that neighbouring tiles share")
    parser.add_argument("--batch-size", type=int, default=1, metavar="N", help="tiles at a time, on both sides")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda[:N] or mps")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], default="auto", help="arithmetic")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="rounds; the median counts")
    parser.add_argument("--json", action="store_true", help="print the answer as one JSON object")


def run(args: argparse.Namespace, reporter: Reporter) -> Result:
    """Measures and answers."""
    from cdengine.inference.options import DetectOptions

    model = None if args.model is None else _model_file(args.model)
    if args.tile is None:
        from cdengine.models.container import read_card

        args.tile = TILE if model is None else read_card(model).tile
    for name, least in (("size", args.tile), ("batch_size", 1), ("repeats", 1)):
        if getattr(args, name) < least:
            raise UsageError(f"--{name.replace('_', '-')} {getattr(args, name)}: {least} or more")
    shared = {name: getattr(args, name) for name in ("tile", "overlap", "batch_size", "device", "precision")}
    DetectOptions.of("cva", shared)  # refuses what is wrong before anything is written
    folder = Path(tempfile.mkdtemp(prefix="cdengine-bench-"))
    try:
        with reporter.cancellation.cleanup(lambda: shutil.rmtree(folder, ignore_errors=True)):
            answer = measure(folder, args.size, shared, args.repeats, reporter, model)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    numbers = {name: value for name, value in answer.items() if isinstance(value, (int, float))}
    return Result(stats=numbers, text=as_text(answer), answer=answer)


def _model_file(given: str) -> Path:
    """The file of weights that is meant.

    Raises:
        UnknownModelError: neither a file nor a shipped model.
        ModelTaskError: an exported model.
        ModelError: a file that is no model; see `container.read_card`.
    """
    from cdengine.models.container import read_card
    from cdengine.models.names import ARCHITECTURE_NAMES
    from cdengine.models.onnxfile import SUFFIX
    from cdengine.models.shipped import model_path

    path = model_path(given)
    if not path.is_file():
        what = "is an architecture, not a file" if given in ARCHITECTURE_NAMES else "no such model file"
        raise UnknownModelError(f"--model {given}: {what}; give a .safetensors file or a shipped model's name")
    if path.suffix.lower() == SUFFIX:
        raise ModelTaskError(f"--model {given}: an exported model has no bare network; give the .safetensors file")
    read_card(path)
    return path


def measure(
    folder: Path, size: int, shared: dict[str, Any], repeats: int, reporter: Reporter, given: Path | None = None
) -> dict[str, Any]:
    """The figures, units in their names; `*_mpx_s` of raw forward and detect count tile pixels, overlaps included.

    The raw forward is the network as it was loaded, in the memory layout that suits it; detection folds its batch
    normalisation into the convolutions first, which is a part of what it is measured by.
    """
    from cdengine.inference.device import choose_device, choose_precision
    from cdengine.inference.options import DetectOptions
    from cdengine.inference.tiles import Tiling
    from cdengine.models.devices import facts
    from cdengine.models.modelfile import load_model

    device = choose_device(shared["device"])
    precision = choose_precision(shared["precision"], device)
    before, after, path, bands = pair_and_model(folder, size, given, reporter)
    model = load_model(path)
    tiling = Tiling.of(size, size, shared["tile"], shared["overlap"], model.card.margin)
    tiles = len(tiling.rows.starts) * len(tiling.cols.starts)
    transitions = {"transitions": str(folder / "transitions.tif")} if model.card.classes else {}
    polygons = str(folder / "change.gpkg")
    options = DetectOptions.of(
        str(path),
        {
            **shared,
            **transitions,
            **{f"bands_{date}": numbers for date, numbers in bands.items()},
            "precision": precision,
            "polygons": polygons,
            "overwrite": True,
        },
    )
    arithmetic = {"device": device.torch_device, "precision": precision, "batch": shared["batch_size"]}
    rounds = []
    for _ in range(repeats):
        # Detection first: the peak of memory is that of the first round, before the raw forward has held anything.
        detected = detect_s(folder, before, after, options, reporter)
        rounds.append(
            Round(*detected, raw_forward_s(model, before, after, shared["tile"], tiles, arithmetic, reporter, bands))
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
        "architecture": _architecture(model.card),
        "model": model.card.name,
        "classes": len(model.card.classes),
        "device": device.label,
        "device_name": device.name,
        "precision": precision,
        "threads": facts()["threads"],
        "repeats": repeats,
    }


def pair_and_model(folder: Path, size: int, given: Path | None, reporter: Reporter) -> tuple[str, str, Path, Bands]:
    """A pair, the model file to run on it, and which bands of the pair each date of the model takes."""
    from cdengine.models.container import read_card
    from cdengine.synthesis.texture import write_texture_pair

    if given is None:
        before, after = (str(path) for path in write_texture_pair(folder, size, size, reporter))
        path = folder / "bench.safetensors"
        write_model(path, before, after)
        return before, after, path, {}
    card = read_card(given)
    counts = {"before": card.before.count, "after": card.after.count}
    pair = write_texture_pair(folder, size, size, reporter, bands=max(counts.values()))
    chosen = {name: ",".join(str(band) for band in range(1, count + 1)) for name, count in counts.items()}
    return str(pair[0]), str(pair[1]), given, chosen


def _architecture(card: ModelCard) -> str:
    """With its backbone, where it has one to choose."""
    backbone = card.arguments.get("backbone")
    return card.architecture if backbone is None else f"{card.architecture}, {backbone}"


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

    save_model(path, *reference_network(*_corner_tiles(before, after, SAMPLE, 4, {}), SHARE))


def raw_forward_s(
    model: LoadedModel,
    before: str,
    after: str,
    tile: int,
    tiles: int,
    arithmetic: dict[str, Any],
    reporter: Reporter,
    bands: Bands,
) -> float:
    """Seconds of the network alone for as many tiles as the detection has."""
    from cdengine.models.speed import forward_seconds

    resident = _corner_tiles(before, after, tile, max(RESIDENT, arithmetic["batch"]), bands)
    return forward_seconds(model, *resident, tiles=tiles, reporter=reporter, **arithmetic)


def _corner_tiles(before: str, after: str, side: int, count: int, bands: Bands) -> tuple[Any, Any]:
    """`count` tiles (N, C, side, side) of both dates from the top of the pair, used again where it has fewer."""
    import numpy as np

    from cdengine.raster.grid import Window
    from cdengine.raster.pair import Pair

    with Pair.open(before, after, bands_before=bands.get("before"), bands_after=bands.get("after")) as pair:
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
def _network(answer: dict[str, Any]) -> str:
    classes = f", {answer['classes']} classes" if answer["classes"] else ""
    return f"{answer['architecture']} ({answer['model']}{classes})"


def as_text(answer: dict[str, Any]) -> str:
    """The answer for people."""
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in answer["stages_s"].items())
    rows = [
        ("device", f"{answer['device_name']} ({answer['device']}, {answer['precision']}, {answer['threads']} threads)"),
        ("network", f"{_network(answer)}, batches of {answer['batch']}"),
        ("pair", f"{answer['scene_rows']} x {answer['scene_columns']} px, {answer['tiles']} tiles"),
        ("raw forward", f"{answer['raw_forward_mpx_s']:.2f} Mpx/s of tiles, in memory"),
        ("detect", f"{answer['detect_mpx_s']:.2f} Mpx/s of tiles, files to files ({answer['polygons']:,} polygons)"),
        ("ratio", f"{answer['ratio']:.3f} (rounds: {', '.join(f'{one:.3f}' for one in answer['ratio_rounds'])})"),
        ("reading alone", f"{answer['read_mpx_s']:.1f} Mpx/s, both dates"),
        ("stages", stages),
        ("peak memory", "not known here" if answer["peak_rss_mb"] is None else f"{answer['peak_rss_mb']:.0f} MB"),
    ]
    return "\n".join(f"{name:<15}{value}" for name, value in rows)
