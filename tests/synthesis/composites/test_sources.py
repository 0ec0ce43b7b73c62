"""Sources: what the folders' labels mean, outlines drawn by hand, held-out images; copies of nothing changed."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdengine.errors import NotFoundInputError
from cdengine.synthesis.composites.appearance import jittered
from cdengine.synthesis.composites.sources import UNKNOWN, read_library


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    picture = np.full((64, 64, 3), 90, np.uint8)
    for name in ("forest03", "mediumresidential01", "mediumresidential02"):
        _write(tmp_path / "unlabelled" / "ucmerced" / f"{name}.jpg", picture)
    mask = np.zeros((64, 64), np.uint8)
    mask[:20], mask[20:40] = 1, 2
    for folder in ("dubai_hitl", "oam_banepa"):
        _write(tmp_path / "labelled" / folder / "images" / "t1_001.jpg", picture)
        _write(tmp_path / "labelled" / folder / "masks" / "t1_001.png", mask)
    return tmp_path


def test_meaning_of_labels(root: Path) -> None:
    library = read_library(root)
    (forest,) = library.grounds["forest"]
    assert not np.asarray(forest.label).any()
    assert (np.asarray(library.towns["mediumresidential"][0].label) == UNKNOWN).all()
    dubai = np.asarray(library.towns["dubai_hitl"][0].label)  # loose plots and what is unlabelled: not known
    assert [int(dubai[row, 0]) for row in (10, 30, 50)] == [UNKNOWN, 0, UNKNOWN]
    banepa = np.asarray(library.towns["oam_banepa"][0].label)
    assert [int(banepa[row, 0]) for row in (10, 30, 50)] == [1, 0, 0]
    assert [source.kind for source in library.labelled] == ["oam_banepa"]


def test_outlines_make_an_image_labelled(root: Path) -> None:
    outlines = root / "outlines.json"
    drawn = {"buildings": [[10, 10, 30, 10, 30, 30, 10, 30]], "unknown": [[40, 40, 60, 40, 60, 60, 40, 60]]}
    outlines.write_text(json.dumps({"mediumresidential01": drawn}))
    library = read_library(root, outlines=outlines)
    (source,) = library.towns["mediumresidential outlined"]
    label = np.asarray(source.label)
    assert (label[20, 20], label[50, 50], label[5, 5]) == (1, UNKNOWN, 0)
    assert source in library.labelled


def test_no_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFoundInputError, match="single-date"):
        read_library(tmp_path)


def test_held_out_images_are_others(shared_data: Path) -> None:
    outlines = Path(__file__).parents[3] / "configs/rgb-vhr-v1.outlines.json"
    drawn = json.loads(outlines.read_text())
    folder = shared_data / "single/unlabelled/ucmerced"
    assert all((folder / f"{name}.jpg").exists() for name in drawn)
    held = read_library(shared_data / "single", held_out=True, outlines=outlines)
    names = {source.name for kinds in (held.grounds, held.towns) for group in kinds.values() for source in group}
    assert all("t8_" in name for name in names if "dubai" in name)
    assert 80 < len([name for name in names if "ucmerced" in name]) < 130
    assert held.labelled


def test_jittered_copy_is_alike_but_not_the_same() -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(40, 200, (12, 12, 3), dtype=np.uint8))
    picture = np.asarray(coarse.resize((96, 96), Image.Resampling.BICUBIC))
    copy = jittered(picture, np.random.default_rng(1))
    assert copy.shape == picture.shape
    assert copy.dtype == np.uint8
    assert not np.array_equal(copy, picture)
    alike = np.corrcoef(copy.mean(2).ravel(), picture.mean(2).ravel())[0, 1]
    assert alike > 0.9
