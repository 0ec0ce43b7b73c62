"""Composites: the same number gives the same pair, truth follows the convention, files are whole and resumable."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdengine.events import Reporter
from cdengine.synthesis.composites.buildings import Easel, sample_building
from cdengine.synthesis.composites.compose import KINDS, SIDE, Composer
from cdengine.synthesis.composites.cutouts import cut_out, placed
from cdengine.synthesis.composites.light import Light
from cdengine.synthesis.composites.scenepool import REPLACED, Scene
from cdengine.synthesis.composites.sources import UNKNOWN, Library, Source, fill
from cdengine.synthesis.composites.writing import read_truth, write_pairs


def _source(kind: str, seed: int, label: np.ndarray) -> Source:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(40, 200, (16, 16, 3), dtype=np.uint8))
    picture = coarse.resize((label.shape[1], label.shape[0]), Image.Resampling.BICUBIC)
    return Source(f"{kind}/{seed}", kind, picture, Image.fromarray(label), 0.3)


@pytest.fixture(scope="module")
def library() -> Library:
    nothing = np.zeros((256, 256), np.uint8)
    built = nothing.copy()
    built[40:80, 60:130] = 1
    built[150:190, 20:50] = 1
    unknown = np.full((256, 256), UNKNOWN, np.uint8)
    kinds = ("forest", "golfcourse", "beach")
    grounds = {kind: [_source(kind, i, nothing) for i in range(2)] for kind in kinds}
    labelled = [_source("oam_banepa", i, built) for i in range(2)]
    towns = {"oam_banepa": labelled, "mediumresidential": [_source("mediumresidential", 9, unknown)]}
    return Library(grounds, towns, labelled)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    rng = np.random.default_rng(3)
    pictures = rng.integers(0, 255, (2, 512, 512, 3), dtype=np.uint8)
    before, after = np.zeros((2, 512, 512), np.uint8)
    before[100:300, 100:300] = after[100:300, 250:400] = 1
    before[400:500, 400:500] = after[400:500, 400:500] = 1 | REPLACED
    return [Scene(pictures[0], pictures[1], before, after)]


def test_same_number_same_pair(library: Library, scenes: list[Scene]) -> None:
    one, two = Composer(library, scenes, 5), Composer(library, scenes, 5)
    two.compose(3)  # what was made before does not matter
    a, b = one.compose(7), two.compose(7)
    for name in ("before", "after", "change", "before_building", "after_building"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert not np.array_equal(a.before, one.compose(8).before)


@pytest.mark.parametrize("kind", KINDS)
def test_truth_follows_the_convention(
    kind: str, library: Library, scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in KINDS:
        monkeypatch.setitem(KINDS, other, float(other == kind))
    composer = Composer(library, scenes, 1)
    changed = 0
    for index in range(5):
        pair = composer.compose(index)
        assert pair.kind == kind
        assert pair.before.shape == pair.after.shape == (SIDE, SIDE, 3)
        assert pair.before.dtype == pair.after.dtype == np.uint8
        assert set(np.unique(pair.change)) <= {0, 1, UNKNOWN}
        one, two = pair.before_building, pair.after_building
        known = (one != UNKNOWN) & (two != UNKNOWN)
        # A change is always a building on exactly one date.
        assert (one[pair.change == 1] != two[pair.change == 1]).all()
        assert known[pair.change == 1].all()
        if kind in ("scene", "swap"):  # elsewhere the same building may lean to another side
            assert (pair.change[known & (one != two)] == 1).all()
        changed += int((pair.change == 1).sum())
    assert (changed == 0) == (kind == "unchanged")


def test_without_scenes_their_share_goes_to_the_others(library: Library) -> None:
    composer = Composer(library, [], 1)
    assert "scene" not in {composer.compose(index).kind for index in range(12)}


def test_cutout_lies_where_and_how_it_was_asked_to(library: Library) -> None:
    pieces = cut_out(library.labelled[0])
    assert sorted((round(p.length), round(p.width)) for p in pieces) == [(40, 30), (70, 40)]
    wide = max(pieces, key=lambda piece: piece.length)
    _, alpha = placed(wide, 35.0, np.pi / 2, mirrored=False)
    inside = alpha >= 0.5
    assert inside.any(1).sum() == pytest.approx(35, abs=2)
    assert inside.any(0).sum() == pytest.approx(20, abs=2)


def test_fill_keeps_label_and_picture_together() -> None:
    label = np.zeros((64, 64), np.uint8)
    label[:, 32:] = 1
    picture = np.repeat(np.where(label[..., None] == 1, 200, 20), 3, 2).astype(np.uint8)
    source = Source("x", "x", Image.fromarray(picture), Image.fromarray(label), 0.3)
    pixels, labels = fill([source], np.random.default_rng(0), 0.7, 100, turn=False)
    assert pixels.shape == (100, 100, 3)
    agree = (pixels[..., 0] > 110) == (labels == 1)
    assert agree.mean() > 0.97


def test_lit_slope_faces_the_sun() -> None:
    light = Light(sun=(0.8, 0.0, 0.6), ambient=0.5, shade=(0.4, 0.4, 0.4), lean=(0.0, 0.0), overcast=False)
    assert light.brightness(0, 0) == pytest.approx(1)
    assert light.brightness(0.5, 0) > 1 > light.brightness(-0.5, 0)  # falls towards the sun: lit
    assert light.reach[0] == pytest.approx(-0.8 / 0.6)


def test_roof_leans_away_and_shadow_falls_from_the_sun() -> None:
    light = Light(sun=(0.0, -0.6, 0.8), ambient=0.5, shade=(0.4, 0.4, 0.4), lean=(0.5, 0.0), overcast=False)
    house = sample_building(np.random.default_rng(0), 50, 50, (20, 20), 0.0, 10.0, 1.0)
    easel = Easel(100, light)
    easel.building(house)
    roof = np.asarray(easel.roof.reduce(2)) > 127
    cols = np.nonzero(roof)[1]
    assert cols.mean() > 53  # 10 px high, half a pixel each
    shadow = np.asarray(easel.shadow.reduce(2)) > 127
    assert np.nonzero(shadow)[0].max() > np.nonzero(roof)[0].max()  # the sun stands above: shadow falls down


def test_writing_resumes(tmp_path: Path, library: Library) -> None:
    composer = Composer(library, [], 2)
    assert write_pairs(tmp_path, composer, 3, 0, 1, Reporter()) == 3
    (tmp_path / "truth" / "000001.png").unlink()
    stamp = (tmp_path / "A" / "000000.jpg").stat().st_mtime_ns
    assert write_pairs(tmp_path, composer, 4, 0, 1, Reporter()) == 2
    assert (tmp_path / "A" / "000000.jpg").stat().st_mtime_ns == stamp
    pair = composer.compose(3)
    change, before, after = read_truth(tmp_path / "truth" / "000003.png")
    np.testing.assert_array_equal(change, pair.change)
    np.testing.assert_array_equal(before, pair.before_building)
    np.testing.assert_array_equal(after, pair.after_building)
    label = np.asarray(Image.open(tmp_path / "label" / "000003.png"))
    assert set(np.unique(label)) <= {0, 255}
    np.testing.assert_array_equal(label == 255, change == 1)
