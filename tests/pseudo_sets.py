"""Folders of pseudo labels for tests, as `pseudo-label` makes them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from cdengine.data.pseudo import MANIFEST


def write_pseudo(folder, classes, labels):
    """`labels`: name → (before, after), (H, W) indices, 0 unlabelled, 1 … K classes."""
    for name, dates in labels.items():
        for date, label in zip(("label1", "label2"), dates, strict=True):
            path = Path(folder) / date / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.asarray(label, np.uint8)).save(path)
    (Path(folder) / MANIFEST).write_text(json.dumps({"classes": list(classes)}), encoding="utf-8")
    return Path(folder)


def filled(root, split, fill):
    """Pseudo labels of a split in layout second: its own labels, and `fill` where they name no class."""
    found = {}
    for path in sorted((Path(root) / split / "label1").rglob("*.png")):
        name = path.relative_to(Path(root) / split / "label1").with_suffix("")
        dates = []
        for date in ("label1", "label2"):
            with Image.open(Path(root) / split / date / f"{name}.png") as picture:
                label = np.asarray(picture)
            dates.append(np.where(label == 0, fill, label))
        found[name.as_posix()] = tuple(dates)
    return found
