"""Scenes with their files open: images and labels on one grid, codings settled, blocks given to splits."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cdengine.data.codings import IGNORE
from cdengine.data.prepare.blocks import Block, assign, choose_block, cut_blocks
from cdengine.data.prepare.classes import ClassTable, attribute_values, class_polygons, settle_classes
from cdengine.data.prepare.options import PrepareOptions
from cdengine.data.prepare.scenes import LABELS, Scene, check_apart
from cdengine.data.prepare.sources import (
    Images,
    Label,
    PairImages,
    RasterLabel,
    SingleImage,
    change_polygons,
    is_vector,
    settle_change_coding,
)
from cdengine.errors import UsageError
from cdengine.events import Reporter
from cdengine.raster.grid import Window
from cdengine.vector.aoi import Aoi, load_aoi

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass
class OpenScene:
    """One scene, ready to be cut.

    Attributes:
        scene: what the user said of it.
        images: its dates.
        labels: role → label.
        area: what was labelled; None: everything.
        window: of the grid, where there may be patches.
        blocks: that it is cut into; one where the whole scene is of one split.
        owners: place of each block → split.
    """

    scene: Scene
    images: Images
    labels: dict[str, Label]
    area: Aoi | None
    window: Window
    blocks: list[Block]
    owners: dict[tuple[int, int], str]

    @property
    def single(self) -> bool:
        """Whether it is one image with classes."""
        return self.scene.after is None

    def read_labels(self, window: Window) -> dict[str, Array]:
        """Role → uint8 (h, w), 255 where nothing is known; outside the labelled area too."""
        found = {role: label.read(window) for role, label in self.labels.items()}
        inside = np.zeros((window.height, window.width), bool)
        inner = window.intersect(self.window)
        if inner.pixels:
            inside[inner.within(window).slices] = True if self.area is None else self.area.mask(self.images.grid, inner)
        for label in found.values():
            label[~inside] = IGNORE
        if not self.single and "change" not in found:  # what did not change has no class, as in SECOND
            known = (found["before_classes"] != IGNORE) | (found["after_classes"] != IGNORE)
            found["change"] = np.where(inside, known, IGNORE).astype(np.uint8)
        return found

    @property
    def deciding(self) -> str:
        """The role of the label that says what is labelled and what changed."""
        return "before_classes" if self.single else "change"


def open_scenes(
    scenes: Sequence[Scene], options: PrepareOptions, stack: ExitStack, reporter: Reporter
) -> tuple[list[OpenScene], ClassTable | None]:
    """Opens everything and settles what must be common to all scenes.

    Args:
        scenes: with unique names.
        options: see there.
        stack: closes the files.
        reporter: takes notes and progress.

    Returns:
        The scenes without blocks, and the classes of their class labels.

    Raises:
        InputError: a subclass names the file and what is wrong with it.
    """
    opened = []
    for scene in scenes:
        if len(scenes) > 1:
            reporter.info(f"scene {scene.name}")
        images: Images
        if scene.after is None:
            images = SingleImage(scene.before, options.bands[0], reporter)
        else:
            images = PairImages(scene.before, scene.after, options.bands, options.align, reporter)
        stack.callback(images.close)
        area = None if scene.aoi is None else load_aoi(scene.aoi)
        window = images.window if area is None else area.on(images.grid, images.window)
        opened.append(OpenScene(scene, images, {}, area, window, [], {}))
    check_apart(scenes, [item.images.grid for item in opened])
    _check_alike(opened)
    table = _open_labels(opened, options, stack, reporter)
    return opened, table


def share_out(opened: Sequence[OpenScene], options: PrepareOptions, reporter: Reporter) -> None:
    """Cuts scenes into blocks and gives each a split; scenes with a split of their own stay whole.

    Raises:
        UsageError: there are fewer blocks than splits.
    """
    shared = [item for item in opened if item.scene.split is None]
    for item in opened:
        if item.scene.split is not None:
            item.blocks, item.owners = [Block(0, 0, item.window)], {(0, 0): item.scene.split}
    if not shared:
        return
    side = options.block or choose_block([item.window for item in shared], options.patch, options.gap, options.shares)
    for item in shared:
        item.blocks = cut_blocks(item.window, side)
    pieces = [(item, block) for item in shared for block in item.blocks]
    amounts = np.zeros((2, len(pieces)))
    with reporter.stage("survey of labels", len(pieces), "blocks") as stage:
        for number, (item, block) in enumerate(pieces):
            for strip in block.window.split(512):
                label = item.read_labels(strip)[item.deciding]
                amounts[:, number] += (label != IGNORE).sum(), (label == 1).sum() * (not item.single)
                reporter.check()
            stage.advance()
    owners = assign(amounts[0], amounts[1], options.shares, options.seed)
    for (item, block), owner in zip(pieces, owners, strict=True):
        item.owners[block.row, block.col] = owner


def _check_alike(opened: Sequence[OpenScene]) -> None:
    """All scenes of a set have one form: bands, type, and kinds of labels."""
    first = opened[0]
    for item in opened[1:]:
        for date, info in item.images.dates.items():
            other = first.images.dates[date]
            if (info.count, info.dtype) != (other.count, other.dtype):
                raise UsageError(
                    f"scene {item.scene.name} has {info.count} band(s) of {info.dtype.name} {date}, scene "
                    f"{first.scene.name} {other.count} of {other.dtype.name}: choose common bands, or make two sets"
                )
        if set(item.scene.labels) != set(first.scene.labels):
            raise UsageError(
                f"scenes {first.scene.name} and {item.scene.name} have different kinds of labels; make two sets"
            )


def _open_labels(
    opened: Sequence[OpenScene], options: PrepareOptions, stack: ExitStack, reporter: Reporter
) -> ClassTable | None:
    rasters: dict[str, list[RasterLabel]] = {role: [] for role in LABELS}
    table = options.classes
    vectors = [
        path for item in opened for role, path in item.scene.labels.items() if role != "change" and is_vector(path)
    ]
    if vectors and table is None:
        if options.class_field is None:
            raise UsageError(f"{vectors[0]}: name the attribute that holds the class (--class-field)")
        found = sorted({value for path in vectors for value in attribute_values(path, options.class_field)})
        table = ClassTable(tuple(found), tuple(found))
    for item in opened:
        grid = item.images.grid
        for role, path in item.scene.labels.items():
            label: Label
            if not is_vector(path):
                label = RasterLabel(path, grid, reporter)
                rasters[role].append(label)
            elif role == "change":
                label = change_polygons(path, grid, reporter)
            else:
                assert table is not None
                label = class_polygons(path, options.class_field or "class", table, grid, reporter)
            stack.callback(label.close)
            item.labels[role] = label
    if rasters["change"]:
        settle_change_coding(rasters["change"], options.coding, reporter)
    of_classes = rasters["before_classes"] + rasters["after_classes"]
    return settle_classes(of_classes, table, reporter) if of_classes else table


def with_split(scenes: Sequence[Scene], split: str | None) -> list[Scene]:
    """The scenes with one split for all that have none."""
    return [replace(scene, split=scene.split or split) for scene in scenes]
