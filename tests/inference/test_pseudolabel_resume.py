"""`pseudo-label --resume`: what an interrupted run keeps, what makes it another job, and folders that are damaged."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from told_models import SIZE, Told, options, write_set

from cdengine.errors import Cancelled, CorruptError, DatasetError, LabelError, OutputError, ResumeMismatchError
from cdengine.events import Cancellation, CollectSink, Reporter
from cdengine.inference import pseudolabel, pseudolabelfolder
from cdengine.inference.pseudolabel import pseudo_label
from cdengine.raster import whole


@pytest.fixture
def pairs(tmp_path):
    return write_set(tmp_path / "set")


@pytest.fixture(autouse=True)
def told(monkeypatch):
    Told.calls = 0
    monkeypatch.setattr(pseudolabel, "ModelRun", Told)


def read(path):
    return np.asarray(Image.open(path))


def warnings(sink):
    return [event["message"] for event in sink.events if event.get("level") == "warning"]


def repaint(path):
    """Another picture of the same size, a second later."""
    state = path.stat()
    Image.fromarray(255 - read(path)).save(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))


def relabel(path):
    """Another class where there is one, a second later."""
    state = path.stat()
    Image.fromarray(np.where(read(path), 6, 0).astype(np.uint8)).save(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))


def stop_at(monkeypatch, name):
    """The run is cancelled at the pair of this name."""
    run = Told.run

    def stopped(self, files):
        if files.name == name:
            raise Cancelled
        return run(self, files)

    monkeypatch.setattr(Told, "run", stopped)
    return lambda: monkeypatch.setattr(Told, "run", run)


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


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"min_confidence": 0.5}, "min_confidence 0.0, now it is 0.5"),
        ({"tile": 64}, "tile None, now it is 64"),
        ({"precision": "bf16"}, "precision 'auto', now it is 'bf16'"),
        ({"bands_before": "3,2,1"}, "bands_before"),
        ({"bands_after": "3,2,1"}, "bands_after"),
        ({"label_coding": "0/255"}, "label"),
        ({"tta": "none"}, "tta"),
    ],
)
def test_other_options_are_another_job(pairs, more, says):
    pseudo_label(options(pairs, "1-1"))
    with pytest.raises(ResumeMismatchError, match=says):
        pseudo_label(options(pairs, "1-1", resume=True, **more))


def test_other_models_are_told_by_name(pairs):
    pseudo_label(options(pairs, "1-1", "01-1"))
    with pytest.raises(ResumeMismatchError, match=r"other models \(1-1 1-1, 01-1 01-1; now 2-2 2-2\)"):
        pseudo_label(options(pairs, "2-2", resume=True))


@pytest.mark.parametrize("folder", ["im1", "im2", "label1", "label2"])
def test_pairs_whose_files_changed_are_done_again(pairs, folder):
    done = pseudo_label(options(pairs, "1-1"))
    path = pairs / "train" / folder / "b.png"
    repaint(path) if folder.startswith("im") else relabel(path)
    Told.calls, sink = 0, CollectSink()
    again = pseudo_label(options(pairs, "1-1", resume=True), Reporter(sink))
    assert Told.calls == 1 and "files of 1 finished pair(s) changed" in warnings(sink)[0]
    if folder.startswith("label"):
        assert (read(again.folder / folder / "b.png")[:16, :16] == 6).all(), "the label that is there now"
    fresh = pseudo_label(options(pairs, "1-1", overwrite=True))
    assert fresh.totals.figures() == again.totals.figures() == done.totals.figures()


def test_labels_that_are_read_otherwise_are_another_job(pairs):
    pseudo_label(options(pairs, "1-1"))
    job = pairs.parent / "out" / "job.json"
    job.write_text(job.read_text().replace('"reading_sha256": "', '"reading_sha256": "0'))
    with pytest.raises(ResumeMismatchError, match=r"how the labels of .*set are read changed"):
        pseudo_label(options(pairs, "1-1", resume=True))


def test_a_bad_label_is_told_before_the_first_vote(pairs):
    path = pairs / "train" / "label2" / "c.png"
    good, bad = read(path), read(path).copy()
    bad[0, 0] = 99
    Image.fromarray(bad).save(path)
    with pytest.raises(LabelError, match=r"c\.png.*99"):
        pseudo_label(options(pairs, "1-1"))
    assert Told.calls == 0 and not (pairs.parent / "out").exists()
    Image.fromarray(good[:-1]).save(path)
    with pytest.raises(LabelError, match="differ in size"):
        pseudo_label(options(pairs, "1-1"))
    for folder in ("label1", "label2"):
        Image.fromarray(good[:-1]).save(pairs / "train" / folder / "c.png")
    with pytest.raises(DatasetError, match=r"c\.png is 32 x 32 pixels but its label is 32 x 31"):
        pseudo_label(options(pairs, "1-1"))
    for folder in ("label1", "label2"):
        Image.fromarray(good).save(pairs / "train" / folder / "c.png")
    image = pairs / "train" / "im2" / "c.png"
    Image.fromarray(read(image)[:, :-1]).save(image)  # `train` would refuse it, after all the votes
    with pytest.raises(DatasetError, match=r"im2.*c\.png is 31 x 32 pixels but its label is 32 x 32"):
        pseudo_label(options(pairs, "1-1"))
    assert Told.calls == 0


def test_a_fault_on_the_way_costs_nothing_that_is_done(pairs, monkeypatch):
    run = Told.run

    def torn(self, files):
        if files.name == "c":
            raise CorruptError(f"{files.after} is torn")
        return run(self, files)

    monkeypatch.setattr(Told, "run", torn)
    with pytest.raises(CorruptError):
        pseudo_label(options(pairs, "1-1"))
    monkeypatch.setattr(Told, "run", run)
    repaint(pairs / "train" / "im2" / "c.png")  # it is mended, so it is another file
    Told.calls = 0
    assert pseudo_label(options(pairs, "1-1", resume=True)).stats["pairs"] == 3 and Told.calls == 1


def test_a_stop_says_how_to_go_on(pairs, monkeypatch):
    cancellation = Cancellation()
    run = Told.run

    def stopped(self, files):
        if files.name == "b":
            cancellation.cancel()
        return run(self, files)

    monkeypatch.setattr(Told, "run", stopped)
    with pytest.raises(Cancelled, match=r"^cancelled: go on with --resume$"):
        pseudo_label(options(pairs, "1-1"), Reporter(cancellation=cancellation))
    assert cancellation.resume is None


def test_fewer_pairs_are_another_job(pairs):
    pseudo_label(options(pairs, "1-1"))
    for path in pairs.glob("train/*/c.png"):
        path.unlink()
    with pytest.raises(ResumeMismatchError, match=r"other pairs \(3, now 2\)"):
        pseudo_label(options(pairs, "1-1", resume=True))


def test_another_version_is_another_job_as_of_detect(pairs, monkeypatch):
    pseudo_label(options(pairs, "1-1"))
    monkeypatch.setattr(pseudolabel, "__version__", "99.0")
    with pytest.raises(ResumeMismatchError, match=r"begun with cdengine .*, this is 99\.0"):
        pseudo_label(options(pairs, "1-1", resume=True))


def test_a_data_set_that_moved_is_the_same(pairs, monkeypatch, tmp_path):
    go_on = stop_at(monkeypatch, "b")
    with pytest.raises(Cancelled):
        pseudo_label(options(pairs, "1-1"))
    go_on()
    moved = pairs.rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    Told.calls = 0
    again = pseudo_label(options(Path("elsewhere"), "1-1", resume=True))
    assert Told.calls == 2 and again.stats["pairs"] == 3
    assert json.loads((again.folder / "pseudo-labels.json").read_text())["data"] == str(moved)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"version": 1', b'{"inputs": [], "models": 3}'])
def test_a_damaged_job_is_one_line(pairs, content):
    done = pseudo_label(options(pairs, "1-1"))
    (done.folder / "job.json").write_bytes(content)
    with pytest.raises((CorruptError, ResumeMismatchError), match="give --overwrite") as caught:
        pseudo_label(options(pairs, "1-1", resume=True))
    assert "\n" not in str(caught.value)
    assert pseudo_label(options(pairs, "1-1", overwrite=True)).stats["pairs"] == 3


@pytest.mark.parametrize("line", [b"{", b"\xff\xfe\x00", b"[]", b'{"name": "b"}', b'{"name": 3, "classes": 1}'])
def test_damaged_rows_are_done_again(pairs, line):
    done = pseudo_label(options(pairs, "1-1"))
    rows = done.folder / "pairs.jsonl"
    lines = rows.read_bytes().splitlines()
    rows.write_bytes(b"\n".join([lines[0], line, lines[2], b'{"name": "torn']))
    Told.calls, sink = 0, CollectSink()
    again = pseudo_label(options(pairs, "1-1", resume=True), Reporter(sink))
    assert Told.calls == 1 and again.totals.figures() == done.totals.figures()
    assert "1 damaged line(s)" in warnings(sink)[0]
    assert sorted(json.loads(line)["name"] for line in rows.read_bytes().splitlines()) == ["a", "b", "c"]


def test_a_row_with_a_list_of_another_length_is_damaged(pairs):
    done = pseudo_label(options(pairs, "1-1"))
    rows = done.folder / "pairs.jsonl"
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    found[1]["classes"].append(7)
    rows.write_text("".join(json.dumps(row) + "\n" for row in found))
    Told.calls = 0
    pseudo_label(options(pairs, "1-1", resume=True))
    assert Told.calls == 1


def test_pairs_whose_label_images_are_gone_are_done_again(pairs):
    done = pseudo_label(options(pairs, "1-1"))
    (done.folder / "label1" / "a.png").unlink()
    (done.folder / "label2" / "c.png").write_bytes(b"")
    Told.calls, sink = 0, CollectSink()
    again = pseudo_label(options(pairs, "1-1", resume=True), Reporter(sink))
    assert Told.calls == 2 and again.totals.figures() == done.totals.figures()
    assert "label images of 2 finished pair(s) are gone" in warnings(sink)[0]
    assert read(done.folder / "label1" / "a.png").shape == (SIZE, SIZE)


def test_a_folder_that_loses_its_labels_is_no_finished_one(pairs, monkeypatch):
    done = pseudo_label(options(pairs, "1-1"))

    def killed(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(pseudolabelfolder.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        pseudo_label(options(pairs, "2-2", overwrite=True))
    assert not (done.folder / "pseudo-labels.json").exists() and not (done.folder / "pairs.jsonl").exists()
    monkeypatch.undo()
    monkeypatch.setattr(pseudolabel, "ModelRun", Told)
    again = pseudo_label(options(pairs, "2-2", resume=True))  # nothing is finished, so nothing is another job's
    assert read(again.folder / "label1" / "a.png")[-2, -1] == 3


def test_pairs_made_again_leave_no_mark_of_a_whole_folder_meanwhile(pairs, monkeypatch):
    done = pseudo_label(options(pairs, "1-1"))
    shutil.rmtree(done.folder / "label2")
    go_on = stop_at(monkeypatch, "a")
    with pytest.raises(Cancelled):
        pseudo_label(options(pairs, "1-1", resume=True))
    assert not (done.folder / "pseudo-labels.json").exists()
    go_on()
    assert pseudo_label(options(pairs, "1-1", resume=True)).stats["pairs"] == 3


def test_a_run_killed_at_its_first_file_is_not_stuck(pairs):
    out = pairs.parent / "out"
    out.mkdir()
    (out / ".job.json.part").write_text("{")
    assert pseudo_label(options(pairs, "1-1")).stats["pairs"] == 3
    assert not (out / ".job.json.part").exists()


@pytest.mark.parametrize("name", ["pictures.jpg", "report.html", "pseudo-labels.json"])
def test_files_appear_whole_or_stay(pairs, monkeypatch, name):
    done = pseudo_label(options(pairs, "1-1"))
    before, replace = (done.folder / name).read_bytes(), os.replace

    def full(source, target):
        if os.path.basename(target) == name:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(whole.os, "replace", full)
    with pytest.raises(OutputError, match=f"{name}: no space left"):
        pseudo_label(options(pairs, "1-1", resume=True))
    assert (done.folder / name).read_bytes() == before
    assert not list(done.folder.glob(".*.part"))
