"""A pool of rendered scene pairs on disk: slow to render, so drawn once and cropped many times."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cdengine.events import Reporter
from cdengine.synthesis.scenes import TYPICAL, ScenePair, SceneStyle, render_pair
from cdengine.synthesis.scenes.classes import BUILDING

Array = np.ndarray[Any, np.dtype[Any]]
SIDE = 512
FINEST_M, COARSEST_M = 0.3, 1.3
REPLACED = 2  # bit of a label: the building gave way to another one
# Estates on open ground are what people look for, and what the usual rates give too rarely.
RATES = replace(TYPICAL, built=0.12, demolished=0.08, replaced=0.02, developed=0.6, paved=0.2)


@dataclass(frozen=True)
class Scene:
    """One rendered pair: RGB pictures (H, W, 3) uint8 and labels (H, W) uint8.

    Attributes:
        before, after: the pictures.
        before_label, after_label: bit 0: building; bit 1 (`REPLACED`): stands on the spot of another building.
    """

    before: Array
    after: Array
    before_label: Array
    after_label: Array


def render_scene(seed: int) -> ScenePair:
    """The pair of a number: its pixel size is drawn from the same number, evenly in the logarithm."""
    rng = np.random.default_rng([seed, 77])
    gsd = math.exp(rng.uniform(math.log(FINEST_M), math.log(COARSEST_M)))
    style = SceneStyle.sample(np.random.default_rng([seed, 0]))
    if rng.random() < 0.5:  # housing on open land: between the village and the suburb
        style = replace(style, urban=float(rng.uniform(0.15, 0.55)))
    return render_pair(seed, SIDE, SIDE, round(gsd, 3), style=style, changes=RATES)


def write_scenes(folder: Path, count: int, first: int, step: int, reporter: Reporter) -> int:
    """Renders scenes first, first + step, … below count that are not there yet; several processes share the work so.

    Returns:
        number of scenes rendered.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [n for n in range(first, count, step) if not _path(folder, n, "label").exists()]
    for number in reporter.each(wanted, "render scenes", len(wanted), "scenes"):
        pair = render_scene(number)
        for date in ("before", "after"):
            picture = Image.fromarray(np.ascontiguousarray(getattr(pair, date).transpose(1, 2, 0)))
            _save(picture, _path(folder, number, date), quality=95, subsampling=0)
        bits = pair.replaced.astype(np.uint8) * REPLACED
        labels = [(classes == BUILDING) | bits for classes in (pair.before_classes, pair.after_classes)]
        # Last, and under its name only when whole: it tells that the scene is complete.
        _save(Image.fromarray(np.concatenate(labels)), _path(folder, number, "label"))
    return len(wanted)


def read_scenes(folder: Path, limit: int | None = None) -> list[Scene]:
    """All complete scenes of a folder, in order."""
    scenes = []
    for path in sorted(folder.glob("*_label.png"))[:limit]:
        label = np.asarray(Image.open(path))
        number = int(path.name.split("_")[0])
        before, after = (np.asarray(Image.open(_path(folder, number, date))) for date in ("before", "after"))
        half = label.shape[0] // 2
        scenes.append(Scene(before, after, label[:half], label[half:]))
    return scenes


def _path(folder: Path, number: int, what: str) -> Path:
    return folder / f"{number:05d}_{what}.{'png' if what == 'label' else 'jpg'}"


def _save(image: Image.Image, path: Path, **options: int) -> None:
    temporary = path.with_name(f".{path.name}")
    image.save(temporary, format="PNG" if path.suffix == ".png" else "JPEG", **options)
    os.replace(temporary, path)
