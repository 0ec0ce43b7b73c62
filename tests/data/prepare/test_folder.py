import pytest

from cdengine.data.manifest import write_manifest
from cdengine.data.prepare.folder import DatasetFolder
from cdengine.errors import (
    Cancelled,
    DiskFullError,
    LockedError,
    OutputError,
    OutputExistsError,
    OutputFolderError,
    OutputIsInputError,
)
from cdengine.events import Reporter


def folder(target, *, inputs=(), overwrite=False, reporter=None):
    return DatasetFolder(target, inputs=inputs, overwrite=overwrite, reporter=reporter or Reporter())


def make(target, text, **options):
    with folder(target, **options) as made:
        (made.path / "a.txt").write_text(text)
        write_manifest(made.path, {})
        made.commit()


def left(path):
    return sorted(entry.name for entry in path.iterdir())


def test_the_folder_appears_at_the_end_only(tmp_path):
    with folder(tmp_path / "d") as made:
        assert not (tmp_path / "d").exists() and made.path.is_dir()
        write_manifest(made.path, {})
        made.commit()
    assert left(tmp_path) == ["d"] and left(tmp_path / "d") == ["dataset.json"]


def test_what_fails_leaves_nothing_and_the_old_set_whole(tmp_path):
    make(tmp_path / "d", "old")
    with pytest.raises(ZeroDivisionError), folder(tmp_path / "d", overwrite=True) as made:
        (made.path / "a.txt").write_text("new")
        raise ZeroDivisionError
    with pytest.raises(OutputError, match="not finished"), folder(tmp_path / "d", overwrite=True) as made:
        made.commit()
    assert left(tmp_path) == ["d"] and (tmp_path / "d" / "a.txt").read_text() == "old"
    make(tmp_path / "d", "new", overwrite=True)
    assert left(tmp_path) == ["d"] and (tmp_path / "d" / "a.txt").read_text() == "new"


def test_a_cancel_before_the_end(tmp_path):
    reporter = Reporter()
    with pytest.raises(Cancelled), folder(tmp_path / "d", reporter=reporter) as made:
        write_manifest(made.path, {})
        reporter.cancellation.cancel()
        made.commit()
    assert left(tmp_path) == []


def test_the_watchdog_removes_what_was_begun(tmp_path):
    reporter = Reporter()
    with folder(tmp_path / "d", reporter=reporter) as made:
        (made.path / "x").write_text("x")
        reporter.cancellation.run_cleanups()
        assert not made.path.exists()
    assert left(tmp_path) == []


def test_only_data_sets_are_replaced(tmp_path):
    (tmp_path / "d").mkdir()
    make(tmp_path / "d", "into an empty folder")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        make(tmp_path / "d", "again")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_text("")
    with pytest.raises(OutputExistsError, match="did not make"):
        make(tmp_path / "photos", "x", overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputExistsError, match="is a file"):
        make(tmp_path / "file", "x", overwrite=True)
    with pytest.raises(OutputFolderError, match="does not exist"):
        make(tmp_path / "no" / "d", "x")


def test_inputs_are_not_overwritten(tmp_path):
    make(tmp_path / "d", "x")
    with pytest.raises(OutputIsInputError, match=r"a\.txt"):
        make(tmp_path / "d", "y", inputs=[tmp_path / "d" / "a.txt"], overwrite=True)
    with pytest.raises(OutputIsInputError):
        make(tmp_path / "d", "y", inputs=[tmp_path / "d"], overwrite=True)


def test_two_runs_and_what_a_dead_one_left(tmp_path):
    with folder(tmp_path / "d"), pytest.raises(LockedError):
        make(tmp_path / "d", "x")
    (tmp_path / ".d.0123abcd.part").mkdir()
    (tmp_path / ".d.0123abcd.part" / "half.tif").write_text("")
    (tmp_path / ".d.mine").mkdir()
    make(tmp_path / "d", "x")
    assert left(tmp_path) == [".d.mine", "d"]


def test_too_small_a_disk_is_told_beforehand(tmp_path):
    with folder(tmp_path / "d") as made, pytest.raises(DiskFullError, match="GB free"):
        made.require_space(10**18)
