"""Label shift: estimates against known shares, Bayes' rule, and votes that follow from them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from told_models import SIZE, Told, options, write_set

from cdengine.errors import Cancelled, CorruptError, DatasetError, ResumeMismatchError
from cdengine.events import CollectSink, Reporter
from cdengine.inference import labelshift, pseudolabel
from cdengine.inference.labelshift import ClassShift, LabelShift, corrected
from cdengine.inference.pseudolabel import pseudo_label

# P(predicted | true), columns are true classes
CONFUSION = np.array([[0.8, 0.1, 0.2], [0.1, 0.7, 0.2], [0.1, 0.2, 0.6]])


def counted(among, ground, confusion=CONFUSION, pixels=100_000, kinds=3):
    """Labelled pixels by their shares, and unchanged ones; every pixel is told as its class is on average."""
    count = LabelShift(kinds)
    true = np.repeat(np.arange(kinds), np.round(np.array(among) * pixels).astype(int))
    count.add(confusion[:, true][:, None], (true + 1)[None].astype(np.uint8), np.zeros((1, len(true)), bool))
    hidden = np.repeat(np.arange(kinds), np.round(np.array(ground) * pixels).astype(int))
    unlabelled = np.zeros((1, len(hidden)), np.uint8)
    count.add(confusion[:, hidden][:, None], unlabelled, np.ones((1, len(hidden)), bool))
    return count


def test_shares_of_unchanged_ground_are_found():
    among, ground = [0.5, 0.3, 0.2], [0.1, 0.3, 0.6]
    count = counted(among, ground)
    assert count.known and count.labelled_share == pytest.approx(among)
    assert count.ratios() == pytest.approx([0.2, 1, 3], rel=1e-6)
    assert count.weights() == pytest.approx(np.sqrt([0.2, 1, 3]), rel=1e-6)
    shift = ClassShift.of("m", ("a", "b", "c"), count)
    assert list(shift.unchanged.values()) == pytest.approx(ground, abs=1e-5)
    assert list(shift.labelled.values()) == pytest.approx(among)
    assert ClassShift.read(json.loads(json.dumps(shift.figures())), ("a", "b", "c")) == shift


def test_no_shift_changes_nothing():
    assert counted([0.5, 0.3, 0.2], [0.5, 0.3, 0.2]).ratios() == pytest.approx([1, 1, 1], rel=1e-6)


def test_a_class_without_enough_labels_gains_on_none():
    count = counted([0.6, 0.3999, 0.0001], [0.2, 0.8, 0])
    assert count.labelled.tolist() == [60_000, 39_990, 10]
    ratios = count.ratios()
    assert ratios[2] == ratios[:2].min()
    assert ratios[:2] == pytest.approx([1 / 3, 2], rel=1e-2)


def test_estimates_are_bounded():
    ratios = counted([0.98, 0.01, 0.01], [0, 0, 1]).ratios()
    assert ratios.tolist() == [1 / labelshift.MOST, 1 / labelshift.MOST, labelshift.MOST]


def test_nothing_to_compare():
    assert not LabelShift(3).known and LabelShift(3).weights().tolist() == [1, 1, 1]
    assert not counted([0.5, 0.3, 0.2], [0, 0, 0]).known
    assert not counted([0, 0, 0], [0.5, 0.3, 0.2]).known


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(5, 60), min_size=3, max_size=3), st.lists(st.integers(5, 60), min_size=3, max_size=3))
def test_any_shares(among, ground):
    one, other = (np.array(parts) / sum(parts) for parts in (among, ground))
    ratios = counted(one, other).ratios()
    expected = np.clip(other / one, 1 / labelshift.MOST, labelshift.MOST)
    if np.allclose(expected, other / one):  # a bound on one class leaves the rest where least squares puts them
        assert ratios == pytest.approx(expected, rel=0.02)
    assert (ratios >= 1 / labelshift.MOST).all() and (ratios <= labelshift.MOST).all()


def test_whole_correction_is_bayes_rule():
    rng = np.random.default_rng(0)
    likelihood = rng.random((3, 4, 5))
    before, now = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])
    told, expected = (likelihood * shares[:, None, None] for shares in (before, now))
    told, expected = told / told.sum(0), expected / expected.sum(0)
    found = corrected(told.astype(np.float32), (now / before).astype(np.float32))
    assert found.dtype == np.float32 and np.allclose(found, expected, atol=1e-6)


def test_pixels_without_data_stay_empty_and_sums_stay():
    told = np.zeros((3, 2, 2), np.float32)
    told[:, 0] = 0.2
    found = corrected(told, np.array([1, 2, 3], np.float32))
    assert (found[:, 1] == 0).all() and np.allclose(found[:, 0].sum(0), 0.6)


# ------------------------------------------------------------- a run
class Confused(Told):
    """Trees and buildings look alike: where labels are it is right by a little, elsewhere it sees more trees."""

    def run(self, files):
        output = super().run(files)
        layers = np.zeros((2, 6, SIZE, SIZE), np.float32)
        layers[:, 2], layers[:, 4] = 0.55, 0.45
        layers[:, 2, :, : SIZE // 2], layers[:, 4, :, : SIZE // 2] = 0.46, 0.54
        for date, (tree, building) in enumerate(((0.6, 0.4), (0.4, 0.6))):
            layers[date, 2, :16, :16], layers[date, 4, :16, :16] = tree, building
        output.probability[1:] = layers.reshape(12, SIZE, SIZE)
        return output


@pytest.fixture
def pairs(tmp_path):
    return write_set(tmp_path / "set")


@pytest.fixture(autouse=True)
def confused(monkeypatch):
    Confused.calls = 0
    monkeypatch.setattr(pseudolabel, "ModelRun", Confused)


def test_votes_follow_the_shares(pairs):
    plain = pseudo_label(options(pairs, "0-0"))
    facts = json.loads((plain.folder / "pseudo-labels.json").read_text())
    assert facts["class_share"]["building"] > 0.3 and facts["shifts"] == [] and not facts["label_shift"]
    sink = CollectSink()
    done = pseudo_label(options(pairs, "0-0", overwrite=True, label_shift=True), Reporter(sink))
    facts = json.loads((done.folder / "pseudo-labels.json").read_text())
    assert facts["class_share"]["tree"] == 1 and facts["label_shift"]
    (shift,) = facts["shifts"]
    assert shift["labelled"]["tree"] == shift["labelled"]["building"] == 0.5
    mean = (0.46 * 240 + 0.55 * 496) / 736  # of trees, on the 15 x 16 + 31 x 16 unchanged pixels with data
    assert shift["unchanged"]["tree"] == pytest.approx((mean - 0.4) / 0.2, abs=1e-4)
    assert shift["weights"]["water"] == min(shift["weights"].values()) < 1, "nobody knows, so it gains on none"
    assert any("3 pairs tell" in event.get("message", "") for event in sink.events)
    assert {event.get("stage") for event in sink.events} >= {"label shift", "pseudo-label"}
    page = (done.folder / "report.html").read_text()
    assert "How common the classes are" in page and f"{100 * shift['unchanged']['tree']:.1f} %" in page


def test_an_interrupted_run_keeps_its_estimate(pairs, monkeypatch):
    whole = pseudo_label(options(pairs, "0-0", "00-0", label_shift=True))
    expected = {path.name: np.asarray(Image.open(path)) for path in (whole.folder / "label2").iterdir()}
    count = Confused.calls
    assert count == 2 * 3 * 2, "both members see the pairs twice"
    run = Confused.run

    def stopped(self, files):
        if files.name == "b" and Confused.calls >= 2 * 3 + 2:
            raise Cancelled
        return run(self, files)

    Confused.calls = 0
    monkeypatch.setattr(Confused, "run", stopped)
    with pytest.raises(Cancelled):
        pseudo_label(options(pairs, "0-0", "00-0", label_shift=True, overwrite=True))
    monkeypatch.setattr(Confused, "run", run)
    Confused.calls = 0
    with pytest.raises(ResumeMismatchError, match="label_shift True"):
        pseudo_label(options(pairs, "0-0", "00-0", resume=True))
    again = pseudo_label(options(pairs, "0-0", "00-0", label_shift=True, resume=True))
    assert Confused.calls == 2 * 2, "two pairs were left, and nothing is estimated again"
    for name, pixels in expected.items():
        assert np.array_equal(np.asarray(Image.open(again.folder / "label2" / name)), pixels)
    assert json.loads((again.folder / "pseudo-labels.json").read_text())["shifts"]


@pytest.mark.parametrize("damage", ["{", "[]", '[{"model": "0-0"}]', "[3]", '[{"weights": {"tree": "x"}}]'])
def test_a_damaged_estimate(pairs, damage):
    done = pseudo_label(options(pairs, "0-0", label_shift=True))
    (done.folder / "label-shift.json").write_text(damage)
    (done.folder / "label1" / "b.png").unlink()
    with pytest.raises(CorruptError, match=r"label-shift\.json.*--overwrite"):
        pseudo_label(options(pairs, "0-0", label_shift=True, resume=True))


def test_without_labels_there_is_nothing_to_estimate(pairs):
    for folder in ("label1", "label2"):
        for path in (pairs / "train" / folder).iterdir():
            Image.fromarray(np.zeros((SIZE, SIZE), np.uint8)).save(path)
    with pytest.raises(DatasetError, match="--label-shift"):
        pseudo_label(options(pairs, "0-0", label_shift=True))
