"""What pseudo labels of `benchmarks.senseearth` are worth: votes against the truth of the rendered scenes.

    python -m benchmarks.senseearth_votes [--seed 0] [--every 8] [--label-shift] [--picture FILE]

Needs the chain of that seed. Truth is the class of the rendered ground before, on pixels that carry no label.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.senseearth import NAMES, SPLITS, chain_folder, rendered, scene
from cdengine.raster.spec import class_colours

Array = np.ndarray[Any, np.dtype[Any]]
SHOWN = 2  # pairs in the picture


def read(folder: Path, seed: int) -> Array:
    """A label (H, W) uint8, 0 where there is none, class + 1."""
    return np.asarray(Image.open(folder / f"{seed}.png"))


def main() -> None:
    """Counts, prints the table, makes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=8, help="every so manieth training pair")
    parser.add_argument("--label-shift", action="store_true", help="votes of the chain that corrects for it")
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    root, kinds = rendered() / "train", len(NAMES)
    votes = chain_folder(args.seed, args.label_shift) / "pseudo-labels"
    colours = np.array([(235, 235, 235), *(colour[:3] for colour in class_colours(NAMES))], np.uint8)
    counts, learnt = np.zeros((kinds, kinds + 1), np.int64), np.zeros(kinds, np.int64)
    rows: list[Array] = []
    first, number = SPLITS["train"]
    for seed in range(first, first + number, args.every):
        images, classes, changed = scene(seed)
        true = classes[0]
        given, found = read(root / "label1", seed), read(votes / "label1", seed)
        for label in ("label1", "label2"):
            learnt += np.bincount(read(root / label, seed).ravel(), minlength=kinds + 1)[1:]
        unchanged = ~changed & (true > 0)
        np.add.at(counts, (true[unchanged] - 1, found[unchanged]), 1)
        if len(rows) < SHOWN and changed.any():
            rows.append(np.hstack([images[0], colours[true], colours[given], colours[found]]))
    print(table(counts, learnt))
    if args.picture:
        Image.fromarray(np.vstack(rows)).save(args.picture, quality=82)


def table(counts: Array, learnt: Array) -> str:
    """Markdown.

    Args:
        counts: (K, K + 1) unchanged pixels by true class and vote, the first of them none.
        learnt: (K,) labelled pixels of both dates, which the teachers learnt from.
    """
    labelled, right = counts[:, 1:].sum(1), np.diagonal(counts[:, 1:])
    lines = [
        f"{labelled.sum() / counts.sum():.0%} labelled, of which {right.sum() / labelled.sum():.0%} right.",
        "",
        "| true class | of unchanged ground | of the labels | labelled | right, of the labelled | most votes |",
        "|---" * 6 + "|",
    ]
    for kind, name in enumerate(NAMES):
        share, taught = counts[kind].sum() / counts.sum(), learnt[kind] / learnt.sum()
        told, true = labelled[kind] / max(counts[kind].sum(), 1), right[kind] / max(labelled[kind], 1)
        most = NAMES[counts[kind, 1:].argmax()] if labelled[kind] else "none"
        lines.append(f"| {name} | {share:.0%} | {taught:.1%} | {told:.0%} | {true:.0%} | {most} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
