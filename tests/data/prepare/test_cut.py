import csv
import json

import geopandas
import numpy as np
import pytest
import shapely
from pairs import ground, make_pair, write_raster
from PIL import Image

from cdengine.data.images import read_image
from cdengine.data.layouts import find_pairs
from cdengine.data.manifest import label_format
from cdengine.data.pairs import ChangePairs
from cdengine.data.prepare.classes import ClassTable
from cdengine.data.prepare.cut import prepare_scenes
from cdengine.data.prepare.options import PrepareOptions
from cdengine.data.prepare.scenes import Scene
from cdengine.errors import Cancelled, DatasetError, UsageError
from cdengine.events import CollectSink, Reporter
from cdengine.raster.quiet import opened

SPLITS = ("train", "val", "test")


@pytest.fixture
def scene(tmp_path):
    """A pair of 200 x 240 pixels with a changed rectangle, and its label."""
    before, after, truth = make_pair(tmp_path / "s", size=(200, 240))
    label = write_raster(tmp_path / "s" / "label.tif", truth[None].astype(np.uint8))
    return Scene("s", before, after, {"change": label}), truth


def small(**options):
    return PrepareOptions(**{"patch": 32, "buffer": 8, **options})


def rows_of(folder):
    with open(folder / "index.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def test_patches_are_windows_of_the_scene(tmp_path, scene):
    scene, truth = scene
    done = prepare_scenes([scene], tmp_path / "d", small())
    rows = rows_of(tmp_path / "d")
    assert done.patches == len(rows) > 25 and set(done.counts) == set(SPLITS)
    with opened(scene.before) as dataset:
        before, transform = dataset.read(), dataset.transform
    for row in rows:
        r, c = int(row["row"]), int(row["col"])
        pixels, valid = read_image(tmp_path / "d" / row["before"])
        np.testing.assert_array_equal(pixels, before[:, r : r + 32, c : c + 32])
        assert valid.all()
        with opened(tmp_path / "d" / row["label"]) as dataset:
            label = dataset.read(1)
            assert dataset.transform.almost_equals(
                transform.translation(0, 0) @ transform @ transform.translation(c, r)
            )
        known = label != 255
        assert known.all() or row["split"] != "train"
        np.testing.assert_array_equal(label[known], truth[r : r + 32, c : c + 32][known])


def test_both_layouts_read_it(tmp_path, scene):
    done = prepare_scenes([scene[0]], tmp_path / "d", small())
    for split, count in done.counts.items():
        files = find_pairs(tmp_path / "d", "pairs", split)
        assert len(files) == count.patches == len(find_pairs(tmp_path / "d", "index", split))
        pairs = ChangePairs(files, labels=label_format(tmp_path / "d", "pairs"))
        total = sum(int((pairs[i]["change"] == 1).sum()) for i in range(len(pairs)))
        assert total == count.changed
    facts = json.loads((tmp_path / "d" / "dataset.json").read_text())
    assert facts["change"] == "0/1" and facts["patch"] == 32 and facts["ground_sample_distance"] == 10
    by_index = {pair.name for pair in find_pairs(tmp_path / "d", "index", "all")}
    assert by_index == {pair.name for pair in find_pairs(tmp_path / "d", "pairs", "all")}


def test_splits_are_apart_and_share_change(tmp_path, scene):
    done = prepare_scenes([scene[0]], tmp_path / "d", small(seed=2))
    places = [(row["split"], int(row["row"]), int(row["col"])) for row in rows_of(tmp_path / "d")]
    for i, (split, r, c) in enumerate(places):
        for other, r2, c2 in places[:i]:
            assert split == other or max(abs(r - r2), abs(c - c2)) >= 32 + 8
    total = sum(count.changed for count in done.counts.values())
    assert all(count.changed > 0.04 * total for count in done.counts.values())


def test_scored_pixels_are_scored_once(tmp_path, scene):
    """A whole scene as test: patches overlap at the end of rows, labels do not, and nothing is left out."""
    scene, truth = scene
    done = prepare_scenes([scene], tmp_path / "d", small(shares={"test": 1.0}, patch=64))
    assert done.counts["test"].pixels == truth.size and done.counts["test"].changed == truth.sum()
    seen = np.zeros(truth.shape, int)
    for row in rows_of(tmp_path / "d"):
        label, _ = read_image(tmp_path / "d" / row["label"])
        r, c = int(row["row"]), int(row["col"])
        seen[r : r + 64, c : c + 64] += label[0] != 255
    assert (seen == 1).all()


def test_same_seed_same_set(tmp_path, scene):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        prepare_scenes([scene[0]], tmp_path / name, small(seed=seed, keep_unchanged=0.5))
    one, two, other = ((tmp_path / name / "index.csv").read_text() for name in "abc")
    assert one == two != other


def test_unchanged_patches_leave_training_only(tmp_path, scene):
    kept = prepare_scenes([scene[0]], tmp_path / "a", small())
    done = prepare_scenes([scene[0]], tmp_path / "b", small(keep_unchanged=0.0))
    assert done.unchanged > 0 and done.counts["train"].patches + done.unchanged == kept.counts["train"].patches
    assert done.counts["test"] == kept.counts["test"] and done.counts["val"] == kept.counts["val"]
    assert all(float(row["changed"]) > 0 for row in rows_of(tmp_path / "b") if row["split"] == "train")


def test_validity_decides(tmp_path):
    before, after, truth = make_pair(tmp_path / "s", size=(128, 128), nodata=0)
    with opened(after, "r+") as dataset:
        pixels = dataset.read()
        pixels[:, :, :70] = 0
        dataset.write(pixels)
    label = write_raster(tmp_path / "label.tif", np.zeros((1, 128, 128), np.uint8))
    scene = Scene("s", before, after, {"change": label}, split="train")
    assert truth.shape == (128, 128)
    done = prepare_scenes([scene], tmp_path / "d", small(min_valid=0.7))
    assert {int(row["col"]) for row in rows_of(tmp_path / "d")} == {64, 96} and done.invalid == 8
    pixels, valid = read_image(tmp_path / "d" / "train" / "B" / "s_00000_00064.tif")
    assert not valid[:, :6].any() and valid[:, 6:].all()
    label, known = read_image(tmp_path / "d" / "train" / "label" / "s_00000_00064.tif")
    np.testing.assert_array_equal(known, valid)
    with pytest.raises(DatasetError, match=r"no patch of 128 pixels.*--min-valid"):
        prepare_scenes([scene], tmp_path / "e", small(patch=128, min_valid=0.9))
    assert not (tmp_path / "e").exists()


def test_area_of_interest_limits_what_is_labelled(tmp_path, scene):
    scene, _ = scene
    box = shapely.box(500_000, 5_300_000 - 1600, 500_000 + 1600, 5_300_000)
    geopandas.GeoDataFrame(geometry=[box], crs="EPSG:32632").to_file(tmp_path / "aoi.gpkg")
    inside = Scene("s", scene.before, scene.after, scene.labels, str(tmp_path / "aoi.gpkg"), "train")
    prepare_scenes([inside], tmp_path / "d", small())
    rows = rows_of(tmp_path / "d")
    assert len(rows) == 25 and max(int(row["row"]) for row in rows) == 128


def test_vector_labels_and_png(tmp_path):
    before, after, _ = make_pair(tmp_path / "s", bands=3, size=(200, 200))
    box = shapely.box(500_200, 5_298_800, 500_800, 5_299_600)
    geopandas.GeoDataFrame(geometry=[box], crs="EPSG:32632").to_file(tmp_path / "l.gpkg")
    scene = Scene("s", before, after, {"change": str(tmp_path / "l.gpkg")}, split="test")
    done = prepare_scenes([scene], tmp_path / "d", small(format="png", world_files=True))
    assert done.counts["test"].changed == 60 * 80
    names = {path.suffix for path in (tmp_path / "d" / "test" / "A").iterdir()}
    assert names == {".png", ".pgw", ".prj"}
    assert len(find_pairs(tmp_path / "d", "pairs", "test")) == done.patches


def test_dates_on_different_grids_end_on_the_first_one_s(tmp_path, shared_data):
    city = shared_data / "oscd" / "abudhabi"
    scene = Scene(
        "a", *(str(city / f"{name}.tif") for name in ("before", "after")), {"change": str(city / "label.tif")}
    )
    prepare_scenes([scene], tmp_path / "d", small(shares={"test": 1.0}, patch=64))
    row = rows_of(tmp_path / "d")[5]
    with opened(tmp_path / "d" / row["before"]) as one, opened(tmp_path / "d" / row["after"]) as two:
        assert one.transform == two.transform and one.shape == two.shape == (64, 64)


def test_whole_cities_and_shared_ones_in_one_set(tmp_path, shared_data):
    cities = {"bercy": None, "nantes": "test", "saclay_e": None, "beihai": "test"}
    scenes = []
    for city, split in cities.items():
        place = shared_data / "oscd" / city
        files = [str(place / f"{name}.tif") for name in ("before", "after")]
        scenes.append(Scene(city, *files, {"change": str(place / "label.tif")}, None, split))
    done = prepare_scenes(scenes, tmp_path / "d", small(patch=64, shares={"train": 0.75, "val": 0.25}))
    split_of = {}
    for row in rows_of(tmp_path / "d"):
        split_of.setdefault(row["scene"], set()).add(row["split"])
    assert split_of["nantes"] == split_of["beihai"] == {"test"}
    assert split_of["bercy"] | split_of["saclay_e"] == {"train", "val"}
    assert list(done.counts) == ["train", "val", "test"]


def test_semantic_pairs_become_the_layout_second(tmp_path):
    before, after, truth = make_pair(tmp_path / "s", size=(128, 160))
    classes = np.zeros((2, *truth.shape), np.uint8)
    classes[0][truth], classes[1][truth] = 10, 20
    paths = [write_raster(tmp_path / f"{i}.tif", array[None]) for i, array in enumerate(classes)]
    scene = Scene("s", before, after, {"before_classes": paths[0], "after_classes": paths[1]}, split="train")
    table = ClassTable.parse("field=10,house=20")
    done = prepare_scenes([scene], tmp_path / "d", small(classes=table))
    assert done.layout == "second" and done.classes == ("field", "house")
    labels = label_format(tmp_path / "d", "second")
    pairs = ChangePairs(find_pairs(tmp_path / "d", "second", "train"), labels=labels)
    assert pairs.classes == ("field", "house")
    samples = [pairs[i] for i in range(len(pairs))]
    assert sum(int((s["change"] == 1).sum()) for s in samples) == done.counts["train"].changed > 0
    for sample in samples:
        changed = sample["change"] == 1
        assert (sample["before_classes"][changed] == 0).all() and (sample["after_classes"][changed] == 1).all()
        assert (sample["before_classes"][~changed] == 255).all()


def test_single_images_with_classes(tmp_path, rng):
    image = write_raster(tmp_path / "i.tif", ground(rng, 3, 200, 240))
    labels = np.zeros((1, 200, 240), np.uint8)
    labels[0, :, :120], labels[0, :, 120:200] = 2, 5
    path = write_raster(tmp_path / "l.tif", labels)
    done = prepare_scenes(
        [Scene("i", image, None, {"before_classes": path})], tmp_path / "d", small(shares={"train": 0.8, "val": 0.2})
    )
    assert done.layout == "" and done.classes == ("class 2", "class 5") and done.invalid > 0
    rows = rows_of(tmp_path / "d")
    assert set(rows[0]) == {"name", "image", "label", "split", "scene", "row", "col", "valid", "changed"}
    stored = set()
    for row in rows:
        stored |= set(np.unique(read_image(tmp_path / "d" / row["label"])[0]).tolist())
    assert stored == {0, 1, 2}


def test_the_picture_shows_the_splits(tmp_path, scene):
    done = prepare_scenes([scene[0]], tmp_path / "d", small())
    picture = np.asarray(Image.open(done.picture))
    for colour in ((33, 113, 181), (230, 126, 34), (39, 153, 90), (255, 222, 0)):
        assert (picture == colour).all(-1).sum() > 100


def test_a_cancel_leaves_nothing(tmp_path, scene):
    class Stopper(CollectSink):
        def emit(self, event):
            super().emit(event)
            if event.get("stage") == "patches":
                reporter.cancellation.cancel()

    reporter = Reporter(Stopper())
    with pytest.raises(Cancelled):
        prepare_scenes([scene[0]], tmp_path / "d", small(), reporter)
    assert not [path.name for path in tmp_path.iterdir() if "d" in path.name.split(".")]


def test_scenes_of_unlike_form(tmp_path, scene):
    other = make_pair(tmp_path / "o", bands=3)
    label = write_raster(tmp_path / "o" / "l.tif", other[2][None].astype(np.uint8))
    scenes = [Scene("a", scene[0].before, scene[0].after, scene[0].labels, None, "train"),
              Scene("o", other[0], other[1], {"change": label}, None, "train")]  # fmt: skip
    with pytest.raises(UsageError, match="scene o has 3 band"):
        prepare_scenes(scenes, tmp_path / "d", small())


def test_options_that_make_no_sense():
    for options, says in (
        ({"patch": 4}, "--patch"), ({"block": 20}, "--block"), ({"min_valid": 0}, "--min-valid"),
        ({"buffer": -1}, "--buffer"),
        ({"keep_unchanged": 2}, "--keep-unchanged"), ({"world_files": True}, "--world-files"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=says):
            small(**options)
