"""`demo`: renders a pair of scenes with known changes, runs the main job on it, and says how well that went."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdengine.cli.result import Result
from cdengine.errors import OutputExistsError, OutputFolderError, UsageError
from cdengine.events import Reporter

if TYPE_CHECKING:
    from cdengine.synthesis.scenes import ScenePair

SEED, SIZE = 4711, 1024  # a number far from those that the shipped model was trained on
MIN_SIZE, MAX_SIZE = 128, 8192
SMALLEST_M2 = 20.0  # polygons of less than a garden shed or two are left out
SCENE_FILES = ("before.tif", "after.tif", "before_classes.tif", "after_classes.tif", "change_truth.tif")
RESULTS = {
    "change": "change.tif",
    "probability": "probability.tif",
    "polygons": "change.gpkg",
    "quicklook": "quicklook.png",
    "report": "report.html",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `demo`."""
    parser.add_argument("--output", default="demo", metavar="DIR", help="folder for the scenes and results")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help="another number, another scene")
    parser.add_argument("--size", type=int, default=SIZE, metavar="N", help="pixels of the scene's side, 0.5 m each")
    parser.add_argument("--model", default="default", metavar="M", help="model or method, as for detect")
    parser.add_argument("--overwrite", action="store_true", help="replace the files of an earlier demo")


def run(args: argparse.Namespace, reporter: Reporter) -> Result:
    """Renders, detects, compares with the truth."""
    folder = _folder(args)
    from cdengine.inference.detect import detect
    from cdengine.synthesis.scenes import render_pair

    pair = render_pair(args.seed, args.size, args.size, gsd=0.5, reporter=reporter)
    scenes = _write_scenes(folder, pair, reporter)
    targets: dict[str, Any] = {name: str(folder / file) for name, file in RESULTS.items()}
    found = detect(
        str(scenes["before"]),
        str(scenes["after"]),
        targets.pop("change"),
        model=args.model,
        align="register",
        min_area=SMALLEST_M2,
        overwrite=True,
        reporter=reporter,
        **targets,
    )
    scores = _scores(found.outputs["change"], pair)
    outputs = {**{name: str(path) for name, path in scenes.items()}, **found.outputs}
    return Result(outputs=outputs, stats={**found.stats, **scores}, text=_text(outputs, found.model, scores, args.seed))


def _folder(args: argparse.Namespace) -> Path:
    """The output folder, checked before any work is done."""
    if not MIN_SIZE <= args.size <= MAX_SIZE:
        raise UsageError(f"--size {args.size}: from {MIN_SIZE} to {MAX_SIZE} pixels")
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}: 0 or more")
    folder = Path(args.output)
    existing = [name for name in (*SCENE_FILES, *RESULTS.values()) if (folder / name).exists()]
    if existing and not args.overwrite:
        raise OutputExistsError(f"{folder / existing[0]} exists already; give --overwrite, or another --output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputFolderError(f"--output {folder}: the folder cannot be made ({error.strerror})") from error
    return folder


def _write_scenes(folder: Path, pair: ScenePair, reporter: Reporter) -> dict[str, Path]:
    """The pair's files: written in a hidden folder, in place only once all are whole."""
    from cdengine.raster.diskerrors import writing
    from cdengine.synthesis.scenes import write_pair

    hidden = folder / ".scenes.part"

    def discard() -> None:
        shutil.rmtree(hidden, ignore_errors=True)

    with reporter.cancellation.cleanup(discard), reporter.stage("write scenes", 1, "pair") as stage:
        try:
            with writing(hidden / SCENE_FILES[0]):
                written = write_pair(hidden, pair)
                stage.advance()
                return {name: path.replace(folder / path.name) for name, path in written.items()}
        finally:
            discard()


def _scores(change: str, pair: ScenePair) -> dict[str, float | None]:
    """Precision, recall and F1 against the truth of the rendered scene: of all changes, and of buildings alone."""
    import numpy as np

    from cdengine.raster.quiet import opened
    from cdengine.synthesis.scenes.classes import BUILDING

    with opened(change) as file:
        found = file.read(1)
    compared, real = found != 255, pair.change == 1
    building = (pair.before_classes == BUILDING) != (pair.after_classes == BUILDING)

    def agreement(prefix: str, truth: Any, scored: Any) -> dict[str, float | None]:  # noqa: ANN401 (NumPy comes late)
        claimed, true = (int(np.count_nonzero(part & scored)) for part in (found == 1, truth))
        hits = int(np.count_nonzero((found == 1) & truth & scored))
        return {
            f"{prefix}precision": hits / claimed if claimed else None,
            f"{prefix}recall": hits / true if true else None,
            f"{prefix}f1": 2 * hits / (claimed + true) if claimed + true else None,
        }

    share = 100 * int(np.count_nonzero(real & compared)) / max(1, int(np.count_nonzero(compared)))
    scores = agreement("", real, compared)
    # a tree that was felled is neither a hit nor a false alarm for one who looks for buildings
    return {
        **scores,
        **agreement("building_", real & building, compared & (building | ~real)),
        "true_changed_percent": share,
    }


def _text(outputs: dict[str, str], model: str, scores: dict[str, float | None], seed: int) -> str:
    def shown(name: str) -> str:
        value = scores[name]
        return "none" if value is None else f"{value:.2f}"

    lines = [
        f"scene {seed}, {scores['true_changed_percent']:.1f} % of it really changed; found by {model}:",
        f"  precision {shown('precision')}, recall {shown('recall')}, F1 {shown('f1')} (pixels, against the truth)",
        f"  buildings that came or went: precision {shown('building_precision')}, recall {shown('building_recall')}, "
        f"F1 {shown('building_f1')}",
    ]
    width = max(map(len, outputs)) + 2
    lines += [f"  {name + ':':<{width}}{path}" for name, path in outputs.items()]
    return "\n".join(lines)
