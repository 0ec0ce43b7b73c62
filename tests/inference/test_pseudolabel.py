"""Pseudo labels of a folder: what is kept, what is voted on, what is told, and that an interrupted run goes on."""

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from model_files import card_for, trained
from pairs import write_raster
from PIL import Image

from cdengine.cli.main import main
from cdengine.errors import Cancelled, ModelTaskError, OutputExistsError, ResumeMismatchError, UsageError
from cdengine.events import CollectSink, Reporter
from cdengine.inference import pseudolabel
from cdengine.inference.evaluatemodel import Output
from cdengine.inference.pseudolabel import PseudoLabelOptions, pseudo_label
from cdengine.models.modelfile import save_model
from cdengine.raster.grid import Grid

NAMES = ("low vegetation", "ground", "tree", "water", "building", "playground")
SIZE = 32


@pytest.fixture
def pairs(tmp_path):
    """Three pairs of SECOND's layout; the upper left quarter changed from tree (3) to building (5)."""
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        label = np.zeros((SIZE, SIZE), np.uint8)
        label[:16, :16] = 1
        layers = {"im1": rng.integers(0, 255, (SIZE, SIZE, 3)), "im2": rng.integers(0, 255, (SIZE, SIZE, 3))}
        for folder, pixels in {**layers, "label1": label * 3, "label2": label * 5}.items():
            path = tmp_path / "set" / "train" / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path / "set"


class Told:
    """Stands for `ModelRun`: says the class that its name tells, "before-after", everywhere."""

    calls = 0

    def __init__(self, models, *_):
        (self.label,) = (self.name,) = models
        self.detector = self
        self.classes = NAMES

    def describe(self):
        return {"model_sha256": self.name}

    def run(self, _files):
        type(self).calls += 1
        layers = np.zeros((13, SIZE, SIZE), np.float32)
        before, after = map(int, self.name.split("-"))
        layers[1 + before] = layers[7 + after] = 1
        valid = np.ones((SIZE, SIZE), bool)
        valid[-1] = False
        return Output(layers, valid, 0.5, Grid(None, Affine.identity(), SIZE, SIZE))


@pytest.fixture
def told(monkeypatch):
    Told.calls = 0
    monkeypatch.setattr(pseudolabel, "ModelRun", Told)


def options(pairs, *models, **more):
    return PseudoLabelOptions(str(pairs), str(pairs.parent / "out"), models, **more)


def read(path):
    return np.asarray(Image.open(path))


def raster(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def test_real_labels_stay_and_the_rest_is_voted_on(pairs, told):
    done = pseudo_label(options(pairs, "0-0", "3-3"))
    assert done.totals.pseudo_share == 0  # a tie
    done = pseudo_label(options(pairs, "0-0", "3-3", "0-1", overwrite=True))
    assert done.totals.pseudo_share == 0  # the third one's dates disagree
    done = pseudo_label(options(pairs, "3-3", "0-1", overwrite=True, min_confidence=0.5))
    assert done.totals.pseudo_share == 0  # one vote, one abstained
    done = pseudo_label(options(pairs, "3-3", overwrite=True))
    for folder, real in (("label1", 3), ("label2", 5)):
        found = read(done.folder / folder / "a.png")
        assert (found[:16, :16] == real).all()
        assert (found[16:-1] == 4).all() and (found[:-1, 16:] == 4).all()
        assert (found[-1] == 0).all()  # no data
    voted = SIZE * (SIZE - 1) - 256
    assert done.stats["pairs"] == 3 and done.stats["unchanged_labelled_share"] == 1 and done.stats["agreement"] == 1
    assert done.stats["labelled_share"] == pytest.approx(1)
    facts = json.loads((done.folder / "pseudo-labels.json").read_text())
    assert (
        facts["classes"] == list(NAMES) and facts["class_share"]["water"] == 1 and facts["pixels"] == 3 * (voted + 256)
    )
    assert facts["members"] == [{"name": "3-3", "abstained_share": 0, "followed_share": 1}]


def test_members_are_told_apart(pairs, told):
    done = pseudo_label(options(pairs, "2-2", "02-2", "4-4"))  # "02" is 2 under another name
    facts = json.loads((done.folder / "pseudo-labels.json").read_text())
    assert facts["class_share"]["tree"] == 1
    assert [member["followed_share"] for member in facts["members"]] == [1, 1, 0]
    assert done.stats["agreement"] == pytest.approx(1 / 3)
    page = (done.folder / "report.html").read_text()
    assert "100.0 % of the unchanged pixels" in page and "33.3 %" in page and "data:image/jpeg" in page
    with Image.open(done.folder / "pictures.jpg") as picture:
        assert picture.size[0] > 500


def test_an_interrupted_run_goes_on(pairs, told, monkeypatch):
    whole = pseudo_label(options(pairs, "1-1", "01-1"))
    expected = {path.name: read(path) for path in (whole.folder / "label1").iterdir()}
    run = Told.run

    def stopped(self, files):
        if files.name == "b":
            raise Cancelled
        return run(self, files)

    monkeypatch.setattr(Told, "run", stopped)
    with pytest.raises(Cancelled):
        pseudo_label(options(pairs, "1-1", "01-1", overwrite=True))
    assert not (whole.folder / "pseudo-labels.json").exists()
    monkeypatch.setattr(Told, "run", run)
    Told.calls = 0
    sink = CollectSink()
    again = pseudo_label(options(pairs, "1-1", "01-1", resume=True), Reporter(sink))
    assert Told.calls == 2 * 2 and again.stats["pairs"] == 3
    first = next(e for e in sink.events if e["event"] == "progress" and e["stage"] == "pseudo-label")
    assert (first["done"], first["total"]) == (1, 3)
    assert again.totals.figures() == whole.totals.figures()
    assert {path.name: read(path).tolist() for path in (again.folder / "label1").iterdir()} == {
        name: pixels.tolist() for name, pixels in expected.items()
    }
    with pytest.raises(ResumeMismatchError, match="another models"):
        pseudo_label(options(pairs, "2-2", resume=True))
    with pytest.raises(ResumeMismatchError, match="min_confidence"):
        pseudo_label(options(pairs, "1-1", "01-1", min_confidence=0.5, resume=True))


def test_a_folder_of_something_else_is_left_alone(pairs, told):
    (pairs.parent / "out").mkdir()
    (pairs.parent / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputExistsError, match="not a folder of pseudo labels"):
        pseudo_label(options(pairs, "1-1", overwrite=True))
    (pairs.parent / "out" / "thesis.txt").unlink()
    pseudo_label(options(pairs, "1-1"))
    with pytest.raises(OutputExistsError, match="--resume"):
        pseudo_label(options(pairs, "1-1"))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"min_confidence": 1.0}, "--min-confidence"),
        ({"resume": True, "overwrite": True}, "--resume"),
        ({"tta": "twelve"}, "--tta 'twelve'"),
    ],
)
def test_wrong_options(pairs, more, says):
    with pytest.raises(UsageError, match=says):
        options(pairs, "1-1", **more)


def test_a_model_named_twice_is_refused(pairs):
    with pytest.raises(UsageError, match="twice"):
        options(pairs, "1-1", "1-1")


def test_models_must_tell_the_sets_classes(pairs, told, monkeypatch):
    monkeypatch.setattr(Told, "__init__", lambda self, models, *_: vars(self).update(detector=self, classes=("a", "b")))
    with pytest.raises(ModelTaskError, match="low vegetation"):
        pseudo_label(options(pairs, "1-1"))


# ------------------------------------------------------------ real networks
@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for head in ("fcn", "psp"):
        card = card_for("senseearth", classes=NAMES, arguments={"backbone": "hrnet_w18_small", "head": head})
        save_model(folder / f"{head}.safetensors", trained(card), card)
    return [str(folder / f"{head}.safetensors") for head in ("fcn", "psp")]


def test_the_command_on_georeferenced_pairs(pairs, models, tmp_path, capsys):
    place = {"crs": "EPSG:32631", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000)}
    for path in sorted(pairs.glob("train/*/*.png")):
        pixels = np.atleast_3d(np.asarray(Image.open(path))).transpose(2, 0, 1)
        profile = {"driver": "GTiff", "count": len(pixels), "height": SIZE, "width": SIZE, "dtype": "uint8", **place}
        with rasterio.open(path.with_suffix(".tif"), "w", **profile) as dataset:
            dataset.write(pixels)
        path.unlink()
    out = tmp_path / "labels"
    argv = ["pseudo-label", "--data", str(pairs), "--model", *models, "--output", str(out), "--device", "cpu"]
    assert main(argv) == 0, capsys.readouterr().err
    told, _ = capsys.readouterr()
    assert "3 pairs" in told and str(out / "report.html") in told
    with rasterio.open(out / "label1" / "b.tif") as first, rasterio.open(out / "label2" / "b.tif") as second:
        assert first.crs.to_epsg() == 32631 and first.transform == place["transform"]
        one, two = first.read(1), second.read(1)
    assert (one[:16, :16] == 3).all() and (two[:16, :16] == 5).all()
    rest = np.ones((SIZE, SIZE), bool)
    rest[:16, :16] = False
    assert (one[rest] == two[rest]).all() and one.max() <= 6
    assert main(argv) == 2 and "--resume" in capsys.readouterr().err


def test_more_bands_than_the_models_take_and_labels_of_another_coding(models, tmp_path, capsys):
    rng = np.random.default_rng(1)
    label = np.zeros((SIZE, SIZE), np.uint8)
    label[:16, :16] = 1
    for date in ("one", "two"):
        write_raster(tmp_path / f"{date}.tif", rng.integers(1, 255, (4, SIZE, SIZE)).astype(np.uint8))
    for name, pixels in {"change": label + 1, "from": label * 3, "to": label * 5}.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    index = tmp_path / "index.csv"
    index.write_text("name,before,after,label,label1,label2\nx,one.tif,two.tif,change.png,from.png,to.png\n")
    out = tmp_path / "labels"
    argv = ["pseudo-label", "--data", str(index), "--layout", "index", "--split", "all", "--output", str(out)]
    argv += ["--model", models[0], "--classes", *NAMES, "--tta", "none", "--device", "cpu"]
    argv += ["--label-coding", "unchanged=1,changed=2", "--bands-before", "3,2,1", "--bands-after", "3,2,1"]
    assert main(argv) == 0, capsys.readouterr().err
    assert (raster(out / "label1" / "x.tif")[:16, :16] == 3).all()
    facts = json.loads((out / "pseudo-labels.json").read_text())
    assert facts["bands_before"] == "3,2,1" and facts["label_coding"] == "unchanged=1,changed=2"


def test_a_coding_that_cannot_be_is_refused_at_once(pairs):
    with pytest.raises(UsageError, match="label coding"):
        options(pairs, "1-1", label_coding="yes/no")
