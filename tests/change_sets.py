"""Small data sets of pairs with labels, as they lie on disk."""

import numpy as np
from pairs import ground, write_raster
from PIL import Image

BOXES = ((20, 30, 24, 40), (50, 10, 30, 20), None, (5, 60, 60, 30))  # (row, col, height, width); None: no change


def scene(seed, box, size=(90, 110), bands=3):
    """before, after (bands, H, W) uint8 and truth (H, W) bool."""
    rng = np.random.default_rng(seed)
    before = ground(rng, bands, *size)
    after = np.clip(before.astype(np.int16) + rng.normal(0, 3, before.shape), 1, 255)
    truth = np.zeros(size, bool)
    if box is not None:
        row, col, height, width = box
        truth[row : row + height, col : col + width] = True
        after[:, truth] = np.clip(245 - 0.4 * after[:, truth], 1, 255)
    return before, after.astype(np.uint8), truth


def write_pairs(root, *, boxes=BOXES, seed=0, labelled=True, coding=255, georeferenced=False, size=(90, 110)):
    """Layout `pairs` in `root`; returns the truths by name."""
    truths = {}
    for folder in ("A", "B", *(["label"] if labelled else [])):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, box in enumerate(boxes):
        before, after, truth = scene(seed + number, box, size)
        name = f"p{number}"
        for folder, pixels in (("A", before), ("B", after)):
            if georeferenced:
                write_raster(root / folder / f"{name}.tif", pixels)
            else:
                Image.fromarray(np.moveaxis(pixels, 0, -1)).save(root / folder / f"{name}.png")
        if labelled:
            Image.fromarray((truth * coding).astype(np.uint8)).save(root / "label" / f"{name}.png")
        truths[name] = truth
    return truths


def write_second(root, codes, *, seed=0):
    """Layout `second` in `root`: codes is name → (before, after), index-coded, 0 unchanged."""
    for folder in ("im1", "im2", "label1", "label2"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, (name, dates) in enumerate(codes.items()):
        before, after, _ = scene(seed + number, None, dates[0].shape)
        for folder, pixels in (("im1", before), ("im2", after)):
            Image.fromarray(np.moveaxis(pixels, 0, -1)).save(root / folder / f"{name}.png")
        write_masks(root / "label1", {name: dates[0]})
        write_masks(root / "label2", {name: dates[1]})


def write_masks(folder, masks):
    """Name → (H, W) array: PNG for whole numbers, GeoTIFF without a place for floats."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, mask in masks.items():
        if mask.dtype.kind == "f":
            write_raster(folder / f"{name}.tif", mask[None], crs=None)
        else:
            Image.fromarray(mask.astype(np.uint8)).save(folder / f"{name}.png")
