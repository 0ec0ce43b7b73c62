"""What a user relies on: old files survive every failure, nothing half-written appears, refusals come first."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cdengine.errors import (
    Cancelled,
    DiskFullError,
    LockedError,
    OutputError,
    OutputExistsError,
    OutputFolderError,
    OutputIsInputError,
    UsageError,
)
from cdengine.events import Cancellation, Reporter
from cdengine.raster.publish import Publication


def publication(folder: Path, *names: str, inputs=(), overwrite=True, job="j1", reporter=None) -> Publication:
    names = names or ("change.tif",)
    targets = {Path(name).stem: folder / name for name in names}
    return Publication(targets, inputs=inputs, overwrite=overwrite, job=job, reporter=reporter or Reporter())


def files(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def run_child(code: str, *args: object) -> subprocess.CompletedProcess:
    start = "from pathlib import Path\nfrom cdengine.raster.publish import Publication\n"
    start += "from cdengine.events import Reporter\nimport os, signal, sys\nfolder = Path(sys.argv[1])\n"
    start += "common = {'inputs': [], 'overwrite': True, 'reporter': Reporter()}\n"
    return subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(code), *map(str, args)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_files_appear_at_commit_only_and_nothing_else_stays(tmp_path):
    with publication(tmp_path, "polygons.gpkg", "change.tif") as outputs:
        for name in ("change", "polygons"):
            outputs.temporary(name).write_text(name)
        Path(f"{outputs.temporary('change')}.aux.xml").write_text("pam")
        assert not (tmp_path / "change.tif").exists()
        assert outputs.temporary("change").suffix == ".tif"
        assert outputs.commit() == {"polygons": tmp_path / "polygons.gpkg", "change": tmp_path / "change.tif"}
    assert files(tmp_path) == ["change.tif", "change.tif.aux.xml", "polygons.gpkg"]
    assert (tmp_path / "change.tif.aux.xml").read_text() == "pam"


def test_main_output_is_renamed_last(tmp_path, monkeypatch):
    order = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append(Path(b).name), replace(a, b)))
    with publication(tmp_path, "change.tif", "probability.tif", "polygons.gpkg") as outputs:
        for name in outputs.targets:
            outputs.temporary(name).write_text(name)
        outputs.commit()
    assert order == ["probability.tif", "polygons.gpkg", "change.tif"]


def test_failure_leaves_the_old_file_and_its_sidecars(tmp_path):
    (tmp_path / "change.tif").write_text("old")
    (tmp_path / "change.tif.aux.xml").write_text("old pam")
    with pytest.raises(ValueError), publication(tmp_path) as outputs:
        outputs.temporary("change").write_text("half")
        raise ValueError
    assert files(tmp_path) == ["change.tif", "change.tif.aux.xml"]
    assert (tmp_path / "change.tif").read_text() == "old"


def test_stale_sidecars_go_but_the_users_style_stays(tmp_path):
    for suffix in ("", ".aux.xml", ".ovr", ".msk"):
        (tmp_path / f"change.tif{suffix}").write_text("old")
    (tmp_path / "change.qml").write_text("my colours")
    with publication(tmp_path) as outputs:
        outputs.temporary("change").write_text("new")
        outputs.commit()
    assert files(tmp_path) == ["change.qml", "change.tif"]


def test_a_rename_that_fails_takes_the_earlier_ones_back(tmp_path, monkeypatch):
    for name in ("change.tif", "probability.tif", "probability.tif.ovr"):
        (tmp_path / name).write_text("old")
    replace = os.replace

    def held_open(source, target):
        if Path(target).name == "change.tif" and Path(source).suffix != ".old":
            raise PermissionError(13, "sharing violation", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", held_open)
    with (
        pytest.raises(LockedError, match="held open"),
        publication(tmp_path, "change.tif", "probability.tif", "fresh.tif") as outputs,
    ):
        for name in outputs.targets:
            outputs.temporary(name).write_text("new")
        outputs.commit()
    assert files(tmp_path) == ["change.tif", "probability.tif", "probability.tif.ovr"]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"old"}


def test_cancel_before_the_renames_leaves_nothing(tmp_path):
    cancellation = Cancellation()
    with pytest.raises(Cancelled), publication(tmp_path, reporter=Reporter(None, cancellation)) as outputs:
        outputs.temporary("change").write_text("all")
        cancellation.cancel()
        outputs.commit()
    assert files(tmp_path) == []


def test_watchdog_cleanup_removes_temporaries_and_locks(tmp_path):
    cancellation = Cancellation()
    with publication(tmp_path, reporter=Reporter(None, cancellation)) as outputs:
        outputs.temporary("change").write_text("half")
        Path(f"{outputs.temporary('change')}-journal").write_text("half")
        cancellation.run_cleanups()
        assert files(tmp_path) == []


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_sigkill_keeps_the_old_file_and_the_next_run_sweeps(tmp_path, moment):
    (tmp_path / "change.tif").write_text("old")
    child = run_child(
        """
        def die(*args): os.kill(os.getpid(), signal.SIGKILL)
        if sys.argv[2] != "write": setattr(os, sys.argv[2], die)
        with Publication({"change": folder / "change.tif"}, job="dead", **common) as p:
            p.temporary("change").write_text("half")
            if sys.argv[2] == "write": die()
            p.commit()
        """,
        tmp_path,
        moment,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert (tmp_path / "change.tif").read_text() == "old"
    assert len(files(tmp_path)) >= 3  # lock and temporary of the dead run
    with publication(tmp_path, job="next") as outputs:
        outputs.temporary("change").write_text("new")
        outputs.commit()
    assert files(tmp_path) == ["change.tif"]
    assert (tmp_path / "change.tif").read_text() == "new"


def test_sweep_spares_other_targets(tmp_path):
    other = [".change.b.tif.j2.part.tif", ".change.gpkg.j2.part.gpkg", ".change.tif.cdengine", "change.tif.bak"]
    for name in [*other, ".change.tif.j0.part.tif", ".change.tif.j0.part.tif.aux.xml"]:
        (tmp_path / name).write_text("x")
    with publication(tmp_path):
        pass
    assert files(tmp_path) == sorted(other)


# ---------------------------------------------------------------- preflight
def test_existing_output_needs_overwrite(tmp_path):
    (tmp_path / "change.tif").write_text("old")
    with pytest.raises(OutputExistsError, match="--overwrite"), publication(tmp_path, overwrite=False):
        pass
    assert files(tmp_path) == ["change.tif"]


def test_folder_missing_or_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder, words in ((tmp_path / "none", "does not exist"), (tmp_path / "file", "not a folder")):
        with pytest.raises(OutputFolderError, match=words), publication(folder):
            pass
    (tmp_path / "change.tif").mkdir()
    with pytest.raises(OutputFolderError, match="is a folder"), publication(tmp_path):
        pass


def test_folder_without_permission(tmp_path):
    if os.geteuid() == 0:
        child = run_child(
            """
            os.setgid(65534); os.setuid(65534)
            from cdengine.errors import OutputFolderError
            try:
                with Publication({"change": folder / "c.tif"}, job="x", **common): pass
            except OutputFolderError as error: print("refused")
            """,
            "/proc/self",
        )
        assert child.stdout == "refused\n", child.stderr
        return
    tmp_path.chmod(0o500)
    with pytest.raises(OutputFolderError, match="may not write"), publication(tmp_path):
        pass


@pytest.mark.parametrize("way", ["path", "dots", "symlink", "hardlink", "folder-link", "zip"])
def test_output_that_is_an_input(tmp_path, way):
    source = tmp_path / "in.tif"
    source.write_text("pixels")
    given, target = source, tmp_path / "out.tif"
    if way == "path":
        target = source
    elif way == "dots":
        (tmp_path / "d").mkdir()
        target = tmp_path / "d" / ".." / "in.tif"
    elif way == "symlink":
        target.symlink_to(source)
    elif way == "hardlink":
        target.hardlink_to(source)
    elif way == "folder-link":
        (tmp_path / "link").symlink_to(tmp_path)
        target = tmp_path / "link" / "in.tif"
    else:
        given, target = Path(f"/vsizip/{source}/member.tif"), source
    with (
        pytest.raises(OutputIsInputError),
        Publication({"change": target}, inputs=[Path("/nowhere"), given], overwrite=True, job="x", reporter=Reporter()),
    ):
        pass
    assert source.read_text() == "pixels"


def test_two_outputs_with_one_name(tmp_path):
    targets = {"change": tmp_path / "a.tif", "probability": tmp_path / "." / "a.tif"}
    with (
        pytest.raises(UsageError, match="two outputs"),
        Publication(targets, inputs=[], overwrite=True, job="x", reporter=Reporter()),
    ):
        pass
    with (
        pytest.raises(UsageError, match="local"),
        Publication({"change": Path("/vsimem/a.tif")}, inputs=[], overwrite=True, job="x", reporter=Reporter()),
    ):
        pass


def test_name_too_long(tmp_path):
    with pytest.raises(UsageError, match="longer than"), publication(tmp_path, "n" * 256 + ".tif"):
        pass


def test_space(tmp_path):
    with publication(tmp_path) as outputs:
        outputs.require_space(1000)
        with pytest.raises(DiskFullError, match="GB free"):
            outputs.require_space(10**18)


def test_output_link_is_written_through(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "change.tif").symlink_to(tmp_path / "disk" / "real.tif")
    with publication(tmp_path) as outputs:
        outputs.temporary("change").write_text("new")
        outputs.commit()
    assert (tmp_path / "change.tif").is_symlink()
    assert files(tmp_path / "disk") == ["real.tif"]


def test_output_never_written(tmp_path):
    with pytest.raises(OutputError, match="was not written"), publication(tmp_path) as outputs:
        outputs.commit()


@pytest.mark.parametrize(
    "name", ["é x'q&;$(id).tif", "n" * 246 + ".tif", "ü" * 123 + ".tif", "no_suffix", "p%20q#.tif"]
)
def test_awkward_names(tmp_path, name):
    with publication(tmp_path, name, job="a/b c") as outputs:
        temporary = outputs.temporary(Path(name).stem)
        temporary.write_text("x")
        Path(f"{temporary}.aux.xml").write_text("x")
        outputs.commit()
    assert name in files(tmp_path)
    assert not [other for other in files(tmp_path) if other.startswith(".")]


# ---------------------------------------------------------------- locks
def test_second_run_of_the_same_output_is_refused(tmp_path):
    with publication(tmp_path), pytest.raises(LockedError, match=f"process {os.getpid()}"), publication(tmp_path):
        pass
    with publication(tmp_path), publication(tmp_path, "other.tif"):
        pass
    assert files(tmp_path) == []


def lock_text(pid, host=None, started="1"):
    return json.dumps({"pid": pid, "host": host or socket.gethostname(), "started": started})


def test_stale_lock_is_taken_over(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    for text in (lock_text(child.pid), lock_text(os.getpid(), started="0"), ""):
        lock = tmp_path / ".change.tif.lock"
        lock.write_text(text)
        os.utime(lock, (1, 1))
        with publication(tmp_path):
            assert json.loads(lock.read_text())["pid"] == os.getpid()
        assert files(tmp_path) == []


def test_lock_of_another_host_and_a_torn_one_are_refused(tmp_path):
    lock = tmp_path / ".change.tif.lock"
    lock.write_text(lock_text(1, "elsewhere"))
    with pytest.raises(LockedError, match=r"elsewhere.*delete"), publication(tmp_path):
        pass
    lock.write_text("")
    with pytest.raises(LockedError, match="starting"), publication(tmp_path):
        pass
    assert files(tmp_path) == [".change.tif.lock"]


def test_many_runs_at_once_leave_one_whole_file(tmp_path):
    code = """
        import os, sys, time
        from pathlib import Path
        from cdengine.errors import LockedError
        from cdengine.events import Reporter
        from cdengine.raster.publish import Publication
        targets = {"change": Path(sys.argv[1]) / "change.tif"}
        try:
            with Publication(targets, inputs=[], overwrite=True, job=f"j{os.getpid()}", reporter=Reporter()) as p:
                p.temporary("change").write_text(str(os.getpid()))
                time.sleep(1.5)
                p.commit()
            print("won", os.getpid())
        except LockedError:
            print("refused")
    """
    (tmp_path / ".change.tif.lock").write_text(lock_text(2**22 + 7))  # of a process that cannot exist
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    root = Path(__file__).parents[2]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(4)]
    said = [run.communicate(timeout=60)[0].split() for run in runs]
    winners = [words[1] for words in said if words[0] == "won"]
    assert winners  # late starters may find the lock free again and win after the first
    assert (tmp_path / "change.tif").read_text() in winners
    assert files(tmp_path) == ["change.tif"]


def test_inputs_are_untouched(tmp_path):
    source = tmp_path / "in.tif"
    source.write_bytes(os.urandom(1000))
    before = hashlib.sha256(source.read_bytes()).hexdigest()
    with publication(tmp_path, inputs=[source]) as outputs:
        outputs.temporary("change").write_text("x")
        outputs.commit()
    assert hashlib.sha256(source.read_bytes()).hexdigest() == before
