"""Files that appear whole: what is there after a failure at any step."""

import errno
import os

import pytest

from cdengine.errors import DiskFullError, OutputError
from cdengine.raster import whole
from cdengine.raster.whole import append_line, move_whole, write_whole


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize(("code", "kind"), [(errno.ENOSPC, DiskFullError), (errno.EIO, OutputError)])
def test_an_older_file_stays_where_the_new_one_cannot_be_written(tmp_path, monkeypatch, step, code, kind):
    path = tmp_path / "facts.json"
    write_whole(path, b"old")

    def fails(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(whole.os, step, fails)
    with pytest.raises(kind, match=r"facts\.json: .* run again"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["facts.json"]


def test_a_line_is_added_and_nothing_else_touched(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    append_line(path, "one")
    append_line(path, "zwölf")
    assert path.read_bytes() == "one\nzwölf\n".encode()

    def full(_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(whole.os, "fsync", full)
    with pytest.raises(DiskFullError):
        append_line(path, "three")
    assert path.read_bytes().startswith("one\nzwölf\n".encode()) and len(path.read_bytes()) < 100, "no probe is left"


def test_a_finished_file_takes_its_name(tmp_path):
    (tmp_path / "part").write_bytes(b"new")
    (tmp_path / "whole").write_bytes(b"old")
    move_whole(tmp_path / "part", tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == b"new" and os.listdir(tmp_path) == ["whole"]
