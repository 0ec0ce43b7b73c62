"""The shipped RGB model does what its card says: on rendered scenes, and on real pairs where they are at hand."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from PIL import Image

import cdengine
from cdengine.assess.binary import BinaryConfusion
from cdengine.data.layouts import find_pairs
from cdengine.events import CollectSink, Reporter
from cdengine.models.container import read_card
from cdengine.models.shipped import WEIGHTS, shipped_path
from cdengine.raster.quiet import opened
from cdengine.synthesis.composites.appearance import jittered
from cdengine.synthesis.scenes import render_pair, write_pair
from cdengine.synthesis.scenes.classes import BUILDING

NAME = "rgb-vhr-v1"


def changed(before, after, folder, **options):
    """(H, W) uint8, and what the log said."""
    sink = CollectSink()
    output = folder / "change.tif"
    cdengine.detect(before, after, output, reporter=Reporter(sink), overwrite=True, **options)
    with opened(output) as file:  # PNG pairs have no place on earth, and rasterio would warn
        return file.read(1), [event.get("message", "") for event in sink.events]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A rendered pair that no training saw: seeds of training are the numbers from 0 on."""
    folder = tmp_path_factory.mktemp("scene")
    pair = render_pair(987_654, 512, 512, gsd=0.5)
    return pair, write_pair(folder, pair)


def test_size_and_card():
    assert shipped_path(NAME).stat().st_size < 10e6 and sum(f.stat().st_size for f in WEIGHTS.iterdir()) < 10e6
    card = read_card(shipped_path(NAME))
    assert card.before.bands == card.after.bands == ("red", "green", "blue")
    told = card.training
    assert "Open Database Licence" in told["data"] and "no real change pair" in told["how"] and told["pairs"] > 0
    assert {"pooled F1", "pooled AP", "levir1024 AP"} <= card.metrics.keys()


def test_default_is_the_model_for_three_bands_and_finds_buildings(scene, tmp_path):
    pair, files = scene
    found, said = changed(files["before"], files["after"], tmp_path)
    assert any(NAME in line for line in said)
    building = (pair.before_classes == BUILDING) != (pair.after_classes == BUILDING)
    wanted = (pair.change == 1) & building
    assert wanted.sum() > 1000
    scored = (found != 255) & (building | (pair.change == 0))
    ours = BinaryConfusion.of(found == 1, wanted.astype(np.uint8), scored)
    plain, _ = changed(files["before"], files["after"], tmp_path, model="cva")
    assert ours.f1 > 0.3 and ours.f1 > 2 * BinaryConfusion.of(plain == 1, wanted.astype(np.uint8), scored).f1


def test_red_green_blue_of_four_bands(scene, tmp_path):
    _, files = scene
    four = {}
    for date in ("before", "after"):
        with rasterio.open(files[date]) as source:
            profile = {**source.profile, "count": 4, "photometric": "MINISBLACK"}
            pixels = source.read()
        four[date] = tmp_path / f"{date}4.tif"
        with rasterio.open(four[date], "w", **profile) as file:
            file.write(np.concatenate([255 - pixels[:1], pixels[::-1]]))
            file.descriptions = ("nir", "blue", "green", "red")
    found, _ = changed(four["before"], four["after"], tmp_path)
    expected, _ = changed(files["before"], files["after"], tmp_path)
    assert np.array_equal(found, expected)


def test_quiet_where_only_the_picture_changed(scene, tmp_path):
    _, files = scene
    with rasterio.open(files["before"]) as source:
        profile, pixels = source.profile, np.moveaxis(source.read(), 0, -1)
    copy = tmp_path / "copy.tif"
    with rasterio.open(copy, "w", **profile) as file:
        file.write(np.moveaxis(jittered(np.ascontiguousarray(pixels), np.random.default_rng(3)), -1, 0))
    found, _ = changed(files["before"], copy, tmp_path)
    assert (found[found != 255] == 1).mean() < 0.005


def test_ten_metre_pixels_are_told(scene, tmp_path):
    _, files = scene
    coarse = {}
    for date in ("before", "after"):
        with rasterio.open(files[date]) as source:
            profile = {**source.profile, "transform": source.transform * rasterio.Affine.scale(20)}
            pixels = source.read()
        coarse[date] = tmp_path / f"{date}.tif"
        with rasterio.open(coarse[date], "w", **profile) as file:
            file.write(pixels)
    _, said = changed(coarse["before"], coarse["after"], tmp_path)
    assert any("pixels of 10 m" in line and NAME in line for line in said)


def test_real_pairs_it_never_saw(shared_data, tmp_path):
    """LEVIR and Beijing, without the largest tiles; the whole of it is `benchmarks/default_model.py`."""
    total = BinaryConfusion(0, 0, 0, 0)
    for source in ("levir256", "beijing500"):
        for pair in find_pairs(shared_data / "vhr_building" / source, "pairs", "all"):
            found, _ = changed(pair.before, pair.after, tmp_path, model=NAME)
            with Image.open(pair.change) as file:
                label = np.asarray(file.convert("L")) > 127
            total += BinaryConfusion.of(found == 1, label.astype(np.uint8))
    assert total.f1 >= 0.6, total
