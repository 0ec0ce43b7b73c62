"""SenseEarth2020's self-distillation on rendered scenes: students with pseudo labels against the same without.

    python -m benchmarks.senseearth [--seeds 0 1 2] [--output TABLE.md] [--label-shift] [--set KEY=VALUE …]

Rendered pairs of known classes in SECOND's form: classes are labelled on changed pixels alone. For every seed the
chain `configs/senseearth/scenes.yaml` trains teachers, lets them vote, and trains each student twice, with pseudo
labels and without, same seed and same number of steps. A split of its own is scored, which chose nothing. With
`--label-shift` the same teachers vote once more, corrected for how common the classes are, and teach another student.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from cdengine.data.manifest import write_manifest
from cdengine.synthesis.scenes import render_pair
from cdengine.synthesis.scenes.classes import CLASS_NODATA
from cdengine.synthesis.scenes.style import TYPICAL
from cdengine.training.chain import run_chain
from cdengine.training.chainconfig import load_chain

Array = np.ndarray[Any, np.dtype[Any]]
RECIPE = Path("configs/senseearth/scenes.yaml")
BUILD = Path("build/senseearth")
SIDE, GSD, CHANGES = 256, 1.0, 3.0
SPLITS = {"train": (20_000, 192), "val": (30_000, 40), "test": (40_000, 96)}  # first seed, pairs
# Rendered classes → those of the set: roads are paved areas, sport grounds are low vegetation.
NAMES = ("bare ground", "building", "paved area", "low vegetation", "field", "tree", "water")
MERGED = np.array([0, 1, 2, 2, 3, 4, 5, 6, 3], np.uint8)
FIGURES = ("score", "miou", "sek", "fscd")


def scene(seed: int) -> tuple[list[Array], list[Array], Array]:
    """Images (H, W, 3) and classes (H, W) of both dates, 0 unknown, class + 1; bool (H, W): what changed."""
    pair = render_pair(seed, SIDE, SIDE, gsd=GSD, changes=TYPICAL.scaled(CHANGES))
    known = (pair.before_classes != CLASS_NODATA) & (pair.after_classes != CLASS_NODATA)
    ids = (pair.before_classes, pair.after_classes)
    before, after = (np.where(known, MERGED[np.where(known, some, 0)] + 1, 0).astype(np.uint8) for some in ids)
    changed = known & ((before != after) | pair.replaced)
    return [np.moveaxis(image, 0, -1) for image in (pair.before, pair.after)], [before, after], changed


def write_pair(folder: Path, seed: int) -> None:
    """One pair in the layout `second`: im1, im2, label1, label2; 0 unchanged."""
    images, classes, changed = scene(seed)
    labels = [np.where(changed, some, 0).astype(np.uint8) for some in classes]
    layers = dict(zip(("im1", "im2", "label1", "label2"), [*images, *labels], strict=True))
    for name, pixels in layers.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name / f"{seed}.png")


def rendered() -> Path:
    """The data set, made once."""
    root = BUILD / "scenes"
    if not (root / "dataset.json").is_file():
        with ProcessPoolExecutor(2) as pool:
            for split, (first, count) in SPLITS.items():
                list(pool.map(partial(write_pair, root / split), range(first, first + count)))
        write_manifest(root, {"classes": list(NAMES)})
    return root


def chain_folder(seed: int, label_shift: bool = False) -> Path:
    """Where the chain of a seed lies."""
    return BUILD / f"{'shift' if label_shift else 'seed'}{seed}"


def chained(root: Path, seed: int, sets: Iterable[str]) -> dict[str, dict[str, float]]:
    """Figures of every network of one seed's chain; a chain that was interrupted goes on."""
    output = chain_folder(seed)
    chain = load_chain(RECIPE, [*sets, f"seed={seed}", f"data.root={root}", f"output={output}"])
    return run_chain(chain, resume=True).figures


def shifted(seed: int) -> dict[str, dict[str, float]]:
    """Figures of the chain of the same teachers, whose votes are corrected for label shift."""
    first, output = chain_folder(seed), chain_folder(seed, label_shift=True)
    if not (output / "chain.yaml").is_file():
        for folder in ("teachers", "students-without"):
            shutil.copytree(first / folder, output / folder, dirs_exist_ok=True)
        recipe = yaml.safe_load((first / "chain.yaml").read_text(encoding="utf-8"))
        recipe["chain"]["pseudo_labels"] = {"label_shift": True}
        (output / "chain.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    return run_chain(load_chain(output / "chain.yaml", [f"output={output}"]), resume=True).figures


def table(runs: dict[int, dict[str, dict[str, float]]]) -> str:
    """Markdown: every network's figures over seeds, then the paired differences."""
    names = list(next(iter(runs.values())))
    lines = ["| network | role | " + " | ".join(FIGURES) + " |", "|---" * (2 + len(FIGURES)) + "|"]
    for name in names:
        cells = [_spread([float(run[name][figure]) for run in runs.values()]) for figure in FIGURES]
        lines.append(f"| {name} | {next(iter(runs.values()))[name]['role']} | " + " | ".join(cells) + " |")
    lines += ["", "Differences, student with pseudo labels minus the same student without, by seed:", ""]
    lines += ["| student | figure | " + " | ".join(f"seed {seed}" for seed in runs) + " | mean | standard error |"]
    lines.append("|---" * (4 + len(runs)) + "|")
    for name in [name for name in names if f"{name}-without" in names]:
        for figure in FIGURES:
            gains = [float(run[name][figure]) - float(run[f"{name}-without"][figure]) for run in runs.values()]
            error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
            cells = [f"{gain:+.4f}" for gain in gains]
            lines.append(
                f"| {name} | {figure} | " + " | ".join(cells) + f" | {statistics.mean(gains):+.4f} | {error:.4f} |"
            )
    return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values) if len(values) > 1 else float('nan'):.4f}"


def main() -> None:
    """Renders, trains, scores, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--label-shift", action="store_true", help="needs the chains without it, and makes them first")
    args = parser.parse_args()
    root, runs = rendered(), {}
    for seed in args.seeds:
        runs[seed] = chained(root, seed, args.set)
        if args.label_shift:
            runs[seed] = shifted(seed)
        print(json.dumps({"seed": seed, **{name: row["score"] for name, row in runs[seed].items()}}), flush=True)
    text = table(runs)
    print(text)
    if args.output:
        args.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
