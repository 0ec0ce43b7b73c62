"""What ends a run unforeseen: the system's refusals have a class and a remedy, only the rest is a bug."""

import errno
import os

import pytest

from cdengine.cli import main as command
from cdengine.cli.failures import known
from cdengine.errors import CorruptError


def refusal(number, name=None):
    return OSError(number, os.strerror(number), name)


@pytest.mark.parametrize(
    ("error", "slug", "code", "says"),
    [
        (CorruptError("a.tif: broken"), "corrupt", 3, "a.tif: broken"),
        (KeyboardInterrupt(), "cancelled", 130, "nothing was written"),
        (MemoryError(), "oom", 5, "--tile"),
        (refusal(errno.ENOMEM), "oom", 5, "--tile"),
        (refusal(errno.EMFILE, "a.tif"), "oom", 5, "ulimit -n"),
        (refusal(errno.ENOSPC), "disk-full", 6, "no space"),
        (refusal(errno.EDQUOT, "/data/x"), "disk-full", 6, "/data/x"),
        (refusal(errno.EFBIG, "/data/x"), "disk-full", 6, "/data/x"),
        (refusal(errno.ENAMETOOLONG, "n" * 300), "usage", 2, "n" * 60),
        (refusal(errno.EACCES, "/nowhere/out.tif"), "output-folder", 6, "/nowhere/out.tif: no permission to write"),
        (refusal(errno.EROFS, b"/nowhere/out.tif"), "output-folder", 6, "/nowhere/out.tif"),
        (refusal(errno.EPERM), "output-folder", 6, "the output"),
        (refusal(errno.EIO), "output", 6, "check the disk"),
        (refusal(errno.ESTALE, __file__), "input", 3, "reading failed"),
        (refusal(errno.EBADF), "bug", 1, "this is a bug"),
        (OSError("a library's own"), "bug", 1, "a library's own"),
        (ZeroDivisionError("division by zero"), "bug", 1, "ZeroDivisionError"),
    ],
)
def test_every_end_has_a_class(error, slug, code, says):
    told = known(error)
    assert (told.slug, told.exit_code) == (slug, code)
    assert says in str(told)


def test_a_file_that_may_not_be_read_is_an_input(tmp_path, monkeypatch):
    path = tmp_path / "secret.tif"
    path.touch()
    monkeypatch.setattr(os, "access", lambda name, mode: mode != os.R_OK)  # root may read everything
    told = known(refusal(errno.EACCES, str(path)))
    assert (told.slug, told.exit_code) == ("permission", 3) and str(path) in str(told)


def test_it_ends_the_run_in_one_line(tmp_path, monkeypatch, capsys):
    def fails(args, reporter):
        raise refusal(errno.EIO, str(tmp_path))

    monkeypatch.setattr("cdengine.cli.models.run", fails)
    assert command.main(["models", "--progress", "none"]) == 3
    err = capsys.readouterr().err
    assert err.startswith(f"error: {tmp_path}: reading failed") and err.count("\n") == 1


@pytest.mark.parametrize("argv", [["demo", "--output"], ["models"]])
def test_a_name_of_300_letters_is_no_bug(tmp_path, monkeypatch, capsys, argv):
    monkeypatch.chdir(tmp_path)
    assert command.main([*argv, "n" * 300]) in (2, 4)
    assert "bug" not in capsys.readouterr().err
