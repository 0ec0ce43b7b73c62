"""Writes composites to disk in the `pairs` layout: A/, B/, label/, and truth/ with what that layout cannot hold."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from cdengine.events import Reporter
from cdengine.synthesis.composites.compose import SIDE, Composer, Composite

FOLDERS = ("A", "B", "label", "truth")


def write_pairs(folder: Path, composer: Composer, count: int, first: int, step: int, reporter: Reporter) -> int:
    """Writes pairs first, first + step, … below count that are not there yet; several processes share the work so.

    A/ and B/ hold JPEGs of quality 95, label/ a mask of 0 and 255 (what is not known counts as unchanged), truth/ one
    PNG with change, building before, building after below each other: 0, 1, and 255 where it is not known.

    Returns:
        number of pairs written.
    """
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    # truth/ is written last, so it tells which pairs are complete.
    wanted = [n for n in range(first, count, step) if not (folder / "truth" / f"{n:06d}.png").exists()]
    for number in reporter.each(wanted, "compose pairs", len(wanted), "pairs"):
        _write(folder, f"{number:06d}", composer.compose(number))
    return len(wanted)


def _write(folder: Path, name: str, pair: Composite) -> None:
    for date, pixels in (("A", pair.before), ("B", pair.after)):
        Image.fromarray(pixels).save(folder / date / f"{name}.jpg", quality=95, subsampling=0)
    mask = np.where(pair.change == 1, 255, 0).astype(np.uint8)
    Image.fromarray(mask).save(folder / "label" / f"{name}.png")
    truth = np.concatenate([pair.change, pair.before_building, pair.after_building])
    temporary = folder / "truth" / f".{name}.png"
    Image.fromarray(truth).save(temporary)
    os.replace(temporary, folder / "truth" / f"{name}.png")


def read_truth(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Change, building before, building after, each (SIDE, SIDE) uint8."""
    truth = np.asarray(Image.open(path))
    return truth[:SIDE], truth[SIDE : 2 * SIDE], truth[2 * SIDE :]
