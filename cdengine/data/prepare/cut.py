"""Scenes to a data set: patches, index, manifest and picture, in a folder that appears whole."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cdengine import __version__
from cdengine.data.codings import IGNORE
from cdengine.data.indexfile import write_index
from cdengine.data.manifest import write_manifest
from cdengine.data.prepare.blocks import TRAIN, Patch, cut_patches, interior
from cdengine.data.prepare.classes import ClassTable
from cdengine.data.prepare.folder import DatasetFolder
from cdengine.data.prepare.opened import OpenScene, open_scenes, share_out, with_split
from cdengine.data.prepare.options import PrepareOptions
from cdengine.data.prepare.picture import Placed, draw_splits
from cdengine.data.prepare.scenes import Scene
from cdengine.data.prepare.writer import check_format, write_image, write_label, write_world
from cdengine.errors import DatasetError
from cdengine.events import Reporter
from cdengine.raster.alignment import pixel_metres
from cdengine.raster.diskerrors import writing
from cdengine.raster.grid import Window
from cdengine.raster.source import members

Array = np.ndarray[Any, np.dtype[Any]]

# Role → folder: for plain change the layout `pairs`, with classes `second`, for single images their own.
BINARY = {"before": "A", "after": "B", "change": "label"}
SEMANTIC = {"before": "im1", "after": "im2", "before_classes": "label1", "after_classes": "label2", "change": "label"}
SINGLE = {"image": "image", "before_classes": "label"}
LEAST_FRESH = 0.25  # of a training patch's side
RUN_PIXELS = 4 << 20  # neighbouring patches that are read at a time


@dataclass
class SplitCount:
    """What one split got.

    Attributes:
        patches: number.
        pixels: valid and labelled ones.
        changed: changed ones among them.
    """

    patches: int = 0
    pixels: int = 0
    changed: int = 0

    @property
    def change_share(self) -> float:
        """Share of changed pixels; 0 where there are none at all."""
        return self.changed / max(1, self.pixels)


@dataclass(frozen=True)
class PrepareResult:
    """What was made.

    Attributes:
        output: the data set's folder.
        layout: that `find_pairs` reads it with; "" for single images.
        counts: split → what it got.
        invalid: patches left out because too little of them was valid and labelled.
        unchanged: training patches left out because nothing changed in them.
        classes: names, of class labels.
        picture: of the splits, None where there is none.
        seconds: wall-clock time.
        contradicting_pairs: pairs of a download that have a class at one date only somewhere.
        contradicting_pixels: where they do.
        treatment: what becomes of those pixels.
    """

    output: str
    layout: str
    counts: dict[str, SplitCount]
    invalid: int = 0
    unchanged: int = 0
    classes: tuple[str, ...] = ()
    picture: str | None = None
    seconds: float = 0.0
    contradicting_pairs: int = 0
    contradicting_pixels: int = 0
    treatment: str = ""

    @property
    def patches(self) -> int:
        """Of all splits."""
        return sum(count.patches for count in self.counts.values())

    def summary(self) -> str:
        """What a person reads at the end."""
        width = max(map(len, self.counts))
        lines = [f"{self.output}: {self.patches:,} " + ("patches" if self.picture else "pairs")]
        for split, count in self.counts.items():
            share = f"{count.change_share:7.2%} changed" if count.pixels else "unlabelled"
            change = f"  {share}" if self.layout else ""
            lines.append(f"  {split:<{width}}  {count.patches:7,}{change}")
        if self.invalid or self.unchanged:
            lines.append(f"  left out: {self.invalid:,} too little valid or labelled, {self.unchanged:,} unchanged")
        if self.contradicting_pairs:
            lines.append(
                f"  a class at one date only: {self.contradicting_pixels:,} pixels of {self.contradicting_pairs:,} "
                f"pairs; {self.treatment}"
            )
        if self.classes:
            lines.append(f"  classes: {', '.join(self.classes)}")
        if self.layout:
            lines.append(f"train on it with data.root={self.output} data.layout={self.layout}")
        return "\n".join(lines)


@dataclass
class _Tally:
    counts: dict[str, SplitCount]
    rows: list[dict[str, object]] = field(default_factory=list)
    placed: dict[str, list[Placed]] = field(default_factory=dict)
    invalid: int = 0
    unchanged: int = 0


def prepare_scenes(
    scenes: Sequence[Scene], output: Path, options: PrepareOptions, reporter: Reporter | None = None
) -> PrepareResult:
    """Makes a data set of patches.

    Args:
        scenes: pairs, or single images, with their labels.
        output: folder to make.
        options: see there.
        reporter: takes progress, notes and the cancel.

    Raises:
        InputError: images or labels cannot be used; the message names file and remedy.
        UsageError: options do not fit the scenes.
        OutputError: the folder cannot be written.
    """
    reporter, began = reporter or Reporter(), time.monotonic()
    inputs = [file for scene in scenes for path in scene.inputs for file in _files(path)]
    with (
        ExitStack() as stack,
        DatasetFolder(output, inputs=inputs, overwrite=options.overwrite, reporter=reporter) as folder,
    ):
        if len(options.shares) == 1:  # nothing to share out: scenes stay whole
            scenes = with_split(scenes, next(iter(options.shares)))
        opened, table = open_scenes(scenes, options, stack, reporter)
        check_format(options.format, opened[0].images.dates)
        folder.require_space(sum(_bytes(item) for item in opened))
        share_out(opened, options, reporter)
        names = list(dict.fromkeys(split for item in opened for split in item.owners.values()))
        order = [*(name for name in options.shares if name in names), *(n for n in names if n not in options.shares)]
        tally = _Tally({name: SplitCount() for name in order})
        roles = SINGLE if opened[0].single else SEMANTIC if table else BINARY
        _cut_all(opened, options, roles, folder.path, tally, reporter)
        _check_counts(tally, options, reporter)
        _finish(opened, options, roles, table, folder.path, tally, reporter)
        folder.commit()
    layout = "" if roles is SINGLE else "second" if roles is SEMANTIC else "pairs"
    return PrepareResult(
        str(output),
        layout,
        tally.counts,
        tally.invalid,
        tally.unchanged,
        table.names if table else (),
        str(output / "splits.png"),
        round(time.monotonic() - began, 3),
    )


def _cut_all(
    opened: Sequence[OpenScene],
    options: PrepareOptions,
    roles: dict[str, str],
    root: Path,
    tally: _Tally,
    reporter: Reporter,
) -> None:
    with writing(root):
        for split in tally.counts:
            for place in roles.values():
                (root / split / place).mkdir(parents=True)
    runs = [(item, split, run) for item in opened for split, run in _runs(item, options)]
    with reporter.stage("patches", sum(len(run) for _, _, run in runs), "patches") as stage:
        for item, split, run in runs:
            outer = _around([patch.window for patch in run])
            images, valid = item.images.read(outer)
            labels = item.read_labels(outer)
            for patch in run:
                rows, cols = patch.window.within(outer).slices
                _one_patch(
                    item,
                    split,
                    patch,
                    {role: pixels[:, rows, cols] for role, pixels in images.items()},
                    valid[rows, cols],
                    {role: label[rows, cols].copy() for role, label in labels.items() if role in roles},
                    (options, roles, root, tally),
                )
                stage.advance()


def _runs(item: OpenScene, options: PrepareOptions) -> Iterator[tuple[str, list[Patch]]]:
    """Neighbouring patches of one row of one block, few enough to be read together."""
    most = max(1, RUN_PIXELS // options.patch**2)
    beyond = tuple(max(getattr(block, axis) for block in item.blocks) == 0 for axis in ("row", "col"))
    for block in item.blocks:
        inner, split = interior(block, item.owners, options.gap), item.owners[block.row, block.col]
        # for training a patch that shows little new is not worth its time; what is scored is scored wholly
        fresh = LEAST_FRESH if split == TRAIN else 0.0
        patches = list(cut_patches(inner, options.patch, (beyond[0], beyond[1]), fresh))
        for row in dict.fromkeys(patch.window.row for patch in patches):
            alike = [patch for patch in patches if patch.window.row == row]
            for first in range(0, len(alike), most):
                yield split, alike[first : first + most]


def _one_patch(
    item: OpenScene,
    split: str,
    patch: Patch,
    images: dict[str, Array],
    valid: Array,
    labels: dict[str, Array],
    job: tuple[PrepareOptions, dict[str, str], Path, _Tally],
) -> None:
    options, roles, root, tally = job
    for label in labels.values():
        label[~valid] = IGNORE
    known = labels[item.deciding] != IGNORE
    changed = np.zeros(known.shape, bool) if item.single else labels["change"] == 1
    place = patch.window
    name = f"{item.scene.name}_{place.row:05d}_{place.col:05d}"
    kept = known.mean() >= options.min_valid
    if not kept:
        tally.invalid += 1
    elif split == TRAIN and not item.single and not changed.any() and not _kept_by_chance(name, options):
        tally.unchanged += 1
        kept = False
    if not kept:
        tally.placed.setdefault(item.scene.name, []).append(Placed(place, split, False))
        return
    if split != TRAIN:  # what an earlier patch shows is not scored twice
        again = np.ones(known.shape, bool)
        again[patch.fresh.within(place).slices] = False
        for label in labels.values():
            label[again] = IGNORE
        known, changed = known & ~again, changed & ~again
    paths = _write(item, place, images, valid, labels, root / split, name, options, roles)
    count = tally.counts[split]
    count.patches += 1
    count.pixels += int(known.sum())
    count.changed += int(changed.sum())
    shares = {"valid": round(float(valid.mean()), 4), "changed": round(float(changed.sum() / max(1, known.sum())), 5)}
    tally.rows.append(
        {"name": f"{split}/{name}", "split": split, "scene": item.scene.name, "row": place.row, "col": place.col}
        | shares
        | {role: path.relative_to(root).as_posix() for role, path in paths.items()}
    )
    tally.placed.setdefault(item.scene.name, []).append(Placed(place, split, True))


def _write(
    item: OpenScene,
    place: Window,
    images: dict[str, Array],
    valid: Array,
    labels: dict[str, Array],
    folder: Path,
    name: str,
    options: PrepareOptions,
    roles: dict[str, str],
) -> dict[str, Path]:
    grid = item.images.grid.crop(place)
    paths = {role: folder / roles[role] / f"{name}.{options.format}" for role in (*images, *labels)}
    for role, pixels in images.items():
        write_image(paths[role], pixels, valid, grid, item.images.dates[role].names)
        if options.world_files:
            write_world(paths[role], grid)
    for role, label in labels.items():
        is_change = role == "change"
        # classes are stored from 1 on, as in SECOND: 0 is unlabelled
        stored = label if is_change else np.where(label == IGNORE, 0, label + 1).astype(np.uint8)
        write_label(paths[role], stored, grid, IGNORE if is_change else 0)
    return paths


def _finish(
    opened: Sequence[OpenScene],
    options: PrepareOptions,
    roles: dict[str, str],
    table: ClassTable | None,
    root: Path,
    tally: _Tally,
    reporter: Reporter,
) -> None:
    """Index, picture, and the manifest last."""
    columns = {role: {"change": "label", "before_classes": "label1", "after_classes": "label2"}.get(role, role)
               for role in roles}  # fmt: skip
    if roles is SINGLE:
        columns["before_classes"] = "label"
    rows = [{columns.get(key, key): value for key, value in row.items()} for row in tally.rows]
    with writing(root):
        order = ["name", *columns.values(), "split", "scene", "row", "col", "valid", "changed"]
        write_index(root / "index.csv", rows, order)
    draw_splits(root / "splits.png", opened, tally.placed, tally.counts, reporter)
    info = next(iter(opened[0].images.dates.values()))
    metres = pixel_metres(opened[0].images.grid)
    facts: dict[str, Any] = {
        "version": __version__,
        "change": "0/1",
        "classes": list(table.names) if table else [],
        "bands": [name or f"band{number}" for number, name in enumerate(info.names, 1)],
        "dtype": info.dtype.name,
        "ground_sample_distance": None if metres != metres else round(metres, 4),
        "patch": options.patch,
        "buffer": options.gap,
        "seed": options.seed,
        "scenes": [
            {"name": item.scene.name, "split": item.scene.split, "before": item.scene.before, "after": item.scene.after}
            for item in opened
        ],
        "splits": {name: {"patches": c.patches, "change_share": c.change_share} for name, c in tally.counts.items()},
    }
    with writing(root):
        write_manifest(root, facts)


def _check_counts(tally: _Tally, options: PrepareOptions, reporter: Reporter) -> None:
    if not tally.rows:
        raise DatasetError(
            f"no patch of {options.patch} pixels has {options.min_valid:.0%} of valid and labelled pixels: "
            "give a smaller --patch or --min-valid, and check labels, nodata and the area of interest"
        )
    for split, count in tally.counts.items():
        if count.patches == 0:
            reporter.warning(f"split {split} got no patch; give it a larger share, or a smaller --min-valid or --patch")
        elif count.changed == 0 and tally.rows[0].get("change"):
            reporter.warning(f"split {split} has no changed pixel; another --seed may share change out better")


def _kept_by_chance(name: str, options: PrepareOptions) -> bool:
    chance = np.random.default_rng([options.seed, zlib.crc32(name.encode())]).random()
    return bool(chance < options.keep_unchanged)


def _around(windows: Sequence[Window]) -> Window:
    row, col = min(w.row for w in windows), min(w.col for w in windows)
    return Window(row, col, max(w.row_stop for w in windows) - row, max(w.col_stop for w in windows) - col)


def _bytes(item: OpenScene) -> int:
    pixel = sum(info.count * info.dtype.itemsize for info in item.images.dates.values()) + len(item.labels)
    return item.window.pixels * pixel


def _files(path: str) -> list[Path]:
    plain = path.partition("|")[0]
    return list(members(plain)) if Path(plain).suffix.lower() == ".vrt" else [Path(plain)]
