"""Scene pairs: the same seed gives the same pixels, the truth is true, and pictures behave like pictures."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
import scipy.ndimage

from cdengine.events import CollectSink, Reporter
from cdengine.synthesis.scenes import (
    CLASSES,
    TYPICAL,
    ChangeRates,
    DateStyle,
    SceneStyle,
    pair,
    render_pair,
    write_pair,
)
from cdengine.synthesis.scenes.classes import BARE, BUILDING, FIELD, LOW, TREE, WATER
from cdengine.synthesis.scenes.style import MAX_SHIFT_PX


def place(seed=3, **of):
    return replace(SceneStyle.sample(np.random.default_rng(seed)), **of)


def clear(**of):
    """A clean summer date: what is seen is what is there."""
    date = DateStyle.sample(np.random.default_rng(0))
    plain = {"sun_azimuth": 150.0, "sun_elevation": 55.0, "green": 0.8, "leaf": 1.0, "autumn": 0.0, "haze": 0.0,
             "noise": 0.0, "jpeg": 0, "lean": (0.0, 0.0), "shift": (0.0, 0.0), "sharpen": 0.0}  # fmt: skip
    return replace(date, **{**plain, **of})


def test_same_seed_same_pixels():
    one, two, other = (render_pair(seed, 120, 150) for seed in (5, 5, 6))
    for name in ("before", "after", "before_classes", "after_classes", "change"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert one.style == two.style
    assert (one.before != other.before).mean() > 0.5


@pytest.mark.parametrize("gsd", [0.3, 0.5, 1.0, 2.0])
def test_truth_is_difference_of_classes_or_replacement(gsd):
    for seed in range(3):
        made = render_pair(seed, 112, 112, gsd, changes=TYPICAL.scaled(2))
        differ = made.before_classes != made.after_classes
        np.testing.assert_array_equal(made.change == 1, differ | made.replaced)
        assert not (differ & made.replaced).any()
        assert (made.before_classes[made.replaced] == BUILDING).all()
        assert set(np.unique(made.before_classes)) <= {c.id for c in CLASSES}
        assert sum(made.transitions().values()) == made.change.sum()


def test_no_change_means_no_truth_but_other_pictures():
    for seed in range(6):
        made = render_pair(seed, 96, 96, changes=None)
        assert not made.change.any()
        np.testing.assert_array_equal(made.before_classes, made.after_classes)
        assert (made.before != made.after).mean() > 0.5


@pytest.mark.parametrize(
    ("bands", "dtype"),
    [(("red", "green", "blue"), np.uint8), (("blue", "green", "red", "nir"), np.uint16), (("nir",), np.float32)],
)
def test_shapes_and_types(bands, dtype):
    made = render_pair(1, 70, 101, bands=bands, dtype=dtype)
    for pixels in (made.before, made.after):
        assert pixels.shape == (len(bands), 70, 101)
        assert pixels.dtype == dtype
        assert np.isfinite(pixels).all()
        assert pixels.std() > 0
    assert made.change.shape == made.before_classes.shape == (70, 101)
    assert made.change.dtype == made.after_classes.dtype == np.uint8


def test_bands_come_in_the_order_asked_for():
    style = place(before=clear(), after=clear())
    rgb = render_pair(2, 64, 64, bands=("red", "green", "blue"), style=style, dtype=np.float32)
    bgr = render_pair(2, 64, 64, bands=("blue", "green", "red"), style=style, dtype=np.float32)
    np.testing.assert_allclose(rgb.before, bgr.before[::-1], atol=1e-6)


def test_drawn_shifts_stay_within_two_pixels():
    shifts = [SceneStyle.sample(np.random.default_rng(seed)).after.shift for seed in range(300)]
    sizes = np.hypot(*np.transpose(shifts))
    assert sizes.max() <= MAX_SHIFT_PX
    assert sizes.max() > 1.2
    assert all(SceneStyle.sample(np.random.default_rng(seed)).before.shift == (0.0, 0.0) for seed in range(20))


def test_picture_is_shifted_as_told_and_truth_is_not():
    still = place(before=clear(), after=clear())
    moved = replace(still, after=clear(shift=(1.5, -0.75)))
    at_rest = render_pair(4, 128, 128, style=still, dtype=np.float32, changes=None)
    after = render_pair(4, 128, 128, style=moved, dtype=np.float32, changes=None)
    np.testing.assert_array_equal(at_rest.after_classes, after.after_classes)
    inner = (slice(8, -8), slice(8, -8))

    def error(dx, dy):
        return np.abs(scipy.ndimage.shift(at_rest.after[0], (dy, dx), order=3) - after.after[0])[inner].mean()

    tried = {(dx, dy): error(dx, dy) for dx in (-1.5, 0, 0.75, 1.5, 2.25) for dy in (-1.5, -0.75, 0, 0.75)}
    assert min(tried, key=tried.get) == (1.5, -0.75)


def test_near_infrared_tells_plants_from_water():
    found = {LOW: [], TREE: [], WATER: []}
    for seed in range(6):
        style = place(seed, urban=0.25, river=True, before=clear(), after=clear())
        made = render_pair(seed, 128, 128, 1.0, ("red", "nir"), style, np.float32, changes=None)
        for land, ratios in found.items():
            pixels = made.before[:, made.before_classes == land]
            if pixels.shape[1] > 200:
                ratios.append((np.median(pixels[0]), np.median(pixels[1])))
    assert all(found.values())
    assert all(nir > 1.8 * red for red, nir in [*found[LOW], *found[TREE]])
    assert all(nir < 0.09 for _, nir in found[WATER])


def test_rates_bring_their_kind_of_change():
    def transitions(urban, rates):
        total = {}
        for seed in range(5):
            style = place(seed, urban=urban, spread=0.05)
            for key, count in render_pair(seed, 160, 160, 1.0, style=style, changes=rates).transitions().items():
                total[key] = total.get(key, 0) + count
        return total

    def only(**rates):
        return ChangeRates(**{**dict.fromkeys(vars(TYPICAL), 0.0), **rates})

    def share(found, wanted):
        return sum(count for key, count in found.items() if wanted(*key)) / sum(found.values())

    # Ground is worked on around a building that comes or goes, hence not all of it is building.
    assert share(transitions(0.6, only(demolished=0.8)), lambda old, new: old == BUILDING) > 0.4
    assert share(transitions(0.6, only(built=0.8)), lambda old, new: new == BUILDING) > 0.4
    assert share(transitions(0.0, only(felled=0.9)), lambda old, new: old == TREE) > 0.8
    assert share(transitions(0.1, only(flooded=0.9)), lambda old, new: WATER in (old, new)) == 1
    assert share(transitions(0.6, only(replaced=0.8)), lambda old, new: old == new == BUILDING) > 0.5


def test_every_class_occurs():
    seen = set()
    for seed in range(20):
        seen |= set(np.unique(render_pair(seed, 96, 96, 2.0).before_classes))
        if len(seen) == len(CLASSES):
            break
    assert seen == {c.id for c in CLASSES}
    assert len({c.name for c in CLASSES}) == len({c.colour for c in CLASSES}) == len(CLASSES)
    assert (BARE, FIELD) == (0, 5)  # ids are written into files: they stay


def test_pieces_of_a_large_scene_join_without_a_seam(monkeypatch):
    style = place(8, urban=0.7, before=clear(), after=clear(lean=(0.1, 0.05)))
    monkeypatch.setattr(pair, "EDGE_REACH_M", pair.MAX_REACH_M)
    whole = render_pair(8, 200, 200, style=style, dtype=np.float32)
    monkeypatch.setattr(pair, "CHUNK", 100)
    pieces = render_pair(8, 200, 200, style=style, dtype=np.float32)
    np.testing.assert_array_equal(whole.before_classes, pieces.before_classes)
    np.testing.assert_array_equal(whole.change, pieces.change)
    for name in ("before", "after"):
        apart = np.abs(getattr(whole, name) - getattr(pieces, name)).max(axis=0)
        assert (apart > 0.02).mean() < 0.002


def test_progress_is_told():
    sink = CollectSink()
    render_pair(1, 64, 64, reporter=Reporter(sink))
    assert {event["stage"] for event in sink.events if event["event"] == "progress"} == {"render"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"height": 0}, "0 × 64"),
        ({"gsd": 60.0}, "gsd 60.0"),
        ({"bands": ("red", "swir")}, "swir"),
        ({"dtype": np.int16}, "int16"),
    ],
)
def test_what_cannot_be_rendered_is_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        render_pair(**{"seed": 1, "height": 64, "width": 64, **arguments})


def test_files_carry_place_names_and_values(tmp_path):
    made = render_pair(9, 80, 90, 0.5, ("red", "green", "blue", "nir"))
    paths = write_pair(tmp_path / "scene", made, "EPSG:32633", (500000.0, 5300000.0))
    assert sorted(path.name for path in paths.values()) == [
        "after.tif", "after_classes.tif", "before.tif", "before_classes.tif", "change_truth.tif"
    ]  # fmt: skip
    with rasterio.open(paths["before"]) as file:
        assert file.crs.to_epsg() == 32633
        assert tuple(file.transform)[:6] == (0.5, 0, 500000, 0, -0.5, 5300000)
        assert file.descriptions == ("red", "green", "blue", "nir")
        np.testing.assert_array_equal(file.read(), made.before)
    with rasterio.open(paths["change_truth"]) as file:
        np.testing.assert_array_equal(file.read(1), made.change)
    with rasterio.open(paths["after_classes"]) as file:
        assert file.tags(1)["CLASS_7"] == "water"
        assert file.colormap(1)[7][:3] == CLASSES[7].colour
