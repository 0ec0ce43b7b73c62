"""Pseudo labels of a folder: what is kept, what is voted on, what is told, and that an interrupted run goes on."""

import gc
import json
import weakref

import numpy as np
import pytest
import rasterio
from affine import Affine
from model_files import card_for, trained
from pairs import write_raster
from PIL import Image
from told_models import NAMES, SIZE, Told, options, write_set

from cdengine.assess.errorpictures import GAP, PANEL
from cdengine.cli.main import main
from cdengine.data.codings import FORMATS
from cdengine.errors import ModelTaskError, OutputExistsError, OutputIsInputError, UsageError
from cdengine.events import CollectSink, Reporter
from cdengine.inference import pseudolabel
from cdengine.inference.pseudolabel import pseudo_label
from cdengine.models.modelfile import save_model


@pytest.fixture
def pairs(tmp_path):
    return write_set(tmp_path / "set")


@pytest.fixture
def told(monkeypatch):
    Told.calls = 0
    monkeypatch.setattr(pseudolabel, "ModelRun", Told)


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
        with Image.open(done.folder / folder / "a.png") as picture:
            assert picture.getpalette()[:21] == FORMATS["second"].classes.colours.ravel().tolist(), (
                "SECOND's own colours"
            )
    voted = SIZE * (SIZE - 1) - 256
    assert done.stats["pairs"] == 3 and done.stats["labelled_share_of_unchanged"] == 1 and done.stats["agreement"] == 1
    assert done.stats["labelled_share_of_pixels"] == pytest.approx(1)
    facts = json.loads((done.folder / "pseudo-labels.json").read_text())
    for name in ("labelled_share_of_unchanged", "labelled_share_of_pixels"):
        assert facts[name] == pytest.approx(done.stats[name]), "one figure has one name"
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
    assert "to abstain both counts as the same" in page
    assert "100.0 % of the unchanged pixels" in page and "33.3 %" in page and "data:image/jpeg" in page


def test_pictures_show_what_was_given_beside_what_was_voted(pairs, told):
    done = pseudo_label(options(pairs, "3-3"))
    with Image.open(done.folder / "pictures.jpg") as picture:
        sheet = np.asarray(picture).astype(int)
    panel = PANEL // SIZE * SIZE
    assert sheet.shape[:2] == (6 * (panel + GAP) - GAP, 3 * (panel + GAP) - GAP), "two rows a pair, three columns"
    palette = FORMATS["second"].classes.colours[1:].astype(int)
    for row, real in enumerate((3, 5)):
        changed, rest = (row * (panel + GAP) + panel // 4 * at for at in (1, 3))
        given, voted = (column * (panel + GAP) for column in (1, 2))
        for left in (given, voted):
            assert abs(sheet[changed, left + panel // 4] - palette[real - 1]).max() < 12, "SECOND's own colours"
        assert abs(sheet[rest, given + panel // 4] - (235, 235, 235)).max() < 12, "no label was given here"
        assert abs(sheet[rest, voted + panel // 4] - palette[3]).max() < 12
    assert "labels as they were given" in (done.folder / "report.html").read_text()


def test_one_members_probabilities_at_a_time(pairs, told, monkeypatch):
    run, made = Told.run, []

    def watched(self, files):
        gc.collect()
        assert not any(earlier() is not None for earlier in made), "they are hundreds of times as large as votes"
        output = run(self, files)
        made.append(weakref.ref(output.probability))
        return output

    monkeypatch.setattr(Told, "run", watched)
    pseudo_label(options(pairs, "3-3", "0-1", "2-2"))
    assert len(made) == 9


def test_dates_that_contradict_each_other_are_told(pairs, told):
    path = pairs / "train" / "label2" / "b.png"
    label = read(path).copy()
    label[20:22, 20:25] = 1  # a class after, none before
    Image.fromarray(label).save(path)
    sink = CollectSink()
    done = pseudo_label(options(pairs, "3-3"), Reporter(sink))
    (warning,) = [event["message"] for event in sink.events if event.get("level") == "warning"]
    assert "10 pixel(s) of 1 pair(s)" in warning and "class at one date only" in warning
    assert json.loads((done.folder / "pseudo-labels.json").read_text())["contradicting_label_px"] == 10
    assert "10 pixels have a real label at one date only" in (done.folder / "report.html").read_text()
    assert (read(done.folder / "label1" / "b.png")[20:22, 20:25] == 0).all(), "nobody votes there"
    sink = CollectSink()
    pseudo_label(options(pairs, "3-3", resume=True), Reporter(sink))
    assert warning in [event.get("message") for event in sink.events], "a resumed run has not forgotten"


def test_real_labels_without_names_are_not_dropped(pairs, told):
    rows = ["name,before,after,label,label1,label2"]
    rows += ["a,train/im1/a.png,train/im2/a.png,c.png,train/label1/a.png,train/label2/a.png"]
    Image.fromarray((read(pairs / "train" / "label1" / "a.png") > 0).astype(np.uint8)).save(pairs / "c.png")
    (pairs / "index.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(UsageError, match="--classes"):
        pseudo_label(options(pairs, "3-3", layout="index", split="all"))


def test_a_folder_that_the_data_set_needs_is_not_replaced(pairs, told):
    done = pseudo_label(options(pairs, "3-3"))
    (pairs / "index.csv").write_text(
        "name,before,after,label1,label2\n"
        f"a,train/im1/a.png,train/im2/a.png,{done.folder}/label1/a.png,{done.folder}/label2/a.png\n"
    )
    with pytest.raises(OutputIsInputError, match="of the data set"):
        pseudo_label(options(pairs, "3-3", layout="index", split="all", classes=NAMES, overwrite=True))
    assert (done.folder / "label1" / "a.png").is_file()


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


def test_one_model_by_two_paths_has_one_vote(pairs, told, tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).write_bytes(b"the same network")
    with pytest.raises(UsageError, match="same network"):
        pseudo_label(options(pairs, str(tmp_path / "one"), str(tmp_path / "other")))


def test_a_wrong_batch_size_is_told_as_detect_tells_it(capsys):
    words = ["pseudo-label", "--data", "d", "--model", "m", "--output", "o", "--batch-size", "abc"]
    assert main(words) == 2
    assert "--batch-size 'abc': auto or a number" in capsys.readouterr().err


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
        assert first.descriptions == ("class",), "classes of all ground, not of changed pixels"
    assert "<Category>unlabelled</Category>" in (out / "label1" / "b.tif.aux.xml").read_text()
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
