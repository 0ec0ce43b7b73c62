"""The folder of a chain: who may use it, what is taken up again, and what goes when a chain begins anew."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from cdengine import __version__
from cdengine.errors import (
    ConfigError,
    OutputError,
    OutputExistsError,
    OutputFolderError,
    ResumeMismatchError,
)
from cdengine.inference.pseudolabel import JOB
from cdengine.raster.lock import OutputLock
from cdengine.training.chainconfig import TOGETHER, Chain, Member
from cdengine.training.checkpoint import read_checkpoint, write_whole
from cdengine.training.config import first_difference, load_config, portable
from cdengine.training.runfolder import RunFolder
from cdengine.training.strict import Tree, read_yaml

RECIPE, FIGURES, REPORT, TABLE, PAIRS = "chain.yaml", "chain.json", "report.html", "chain.csv", "validation.txt"
MEMBERS = ("teachers", "students", "students-without")
LABELS = "pseudo-labels"
REMOVED = ".removed-"  # a stage's folder on its way out: renamed first, so that no half of it is taken for a whole
# What may differ when a chain goes on: where things are and what computes.
MACHINE = ("output", "data.root", "data.workers", "trainer.device", "model.weights", "model.pretrained")
# What a stage that was killed before the file that makes it its own (value) has left at most.
UNBEGUN_RUN = ("samples", "survey.json", ".survey.json.part", ".config.yaml.part")
UNBEGUN_LABELS = (f".{JOB}.part",)


class ChainFolder:
    """Where a chain lies, locked from `claim` to `close`."""

    def __init__(self, chain: Chain) -> None:
        self.chain, self.path = chain, chain.output
        self._lock = OutputLock(Path(os.path.abspath(chain.output)))

    def claim(self, *, resume: bool, overwrite: bool) -> None:
        """Sees that the chain may go there; nothing of an earlier one is touched yet.

        Raises:
            OutputExistsError: it holds a chain and neither `resume` nor `overwrite` is given, or something else.
            ResumeMismatchError: it holds a chain of another recipe, or a member trained by another one.
            UnknownModelError: a member's network was trained and is gone.
            OutputFolderError: it cannot be made.
            LockedError: another run is writing there.
        """
        if resume and overwrite:
            raise ConfigError("a chain is either resumed or overwritten: give one of both")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputFolderError(f"{self.path}: the chain's folder cannot be made ({error.strerror})") from error
        self._lock.acquire()
        try:
            self._check(resume, overwrite)
        except BaseException:
            self.close()
            raise

    def begin(self, overwrite: bool) -> None:
        """Writes the recipe, from where on the chain can be resumed; with `overwrite` an earlier chain goes first."""
        try:
            for entry in self.path.glob(f"{REMOVED}*"):
                _remove(entry)
            if overwrite:
                self._clear()
            for folder, mark, own in self._stages():
                _sweep(folder, mark, own)
        except OSError as error:
            raise OutputError(
                f"{error.filename}: cannot be removed ({error.strerror}): check its permissions"
            ) from error
        heading = f"# a chain of cdengine {__version__}\n"
        text = yaml.safe_dump(self.chain.tree, sort_keys=False, allow_unicode=True)
        write_whole(self.path / RECIPE, (heading + text).encode())

    def close(self) -> None:
        """Lets others in; a folder that got nothing goes."""
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()
        self._lock.release()

    def _check(self, resume: bool, overwrite: bool) -> None:
        kept = self.path / RECIPE
        there = [entry.name for entry in self.path.iterdir() if entry.name != f".{RECIPE}.part"]
        if not there:
            return
        if not kept.is_file():
            raise OutputExistsError(f"{self.path} is not the folder of a chain: give another --output")
        if overwrite:
            return
        if not resume:
            raise OutputExistsError(
                f"{self.path} exists already: give --overwrite, another --output, or --resume {self.path} to go on"
            )
        refuse_other(read_yaml(kept), self.chain.tree, str(self.path))
        for member in self.chain.members:
            _refuse_other_run(member)
            _refuse_lost_model(member)
        for folder, mark, own in self._stages():
            _unbegun(folder, mark, own)

    def _stages(self) -> list[tuple[Path, str, tuple[str, ...]]]:
        """Each stage's folder, the file that makes it one, and what it has before that."""
        runs = [(Path(str(member.config.output)), "config.yaml", UNBEGUN_RUN) for member in self.chain.members]
        return [*runs, (self.path / LABELS, JOB, UNBEGUN_LABELS)]

    def _clear(self) -> None:
        """Removes what an earlier chain made; files of others stay. Its recipe stays until there is the new one."""
        names = {entry.name for folder in MEMBERS for entry in (self.path / folder).glob("*")} | {TOGETHER}
        files = [FIGURES, REPORT, TABLE, PAIRS, *(f"{name}{end}" for name in names for end in (".json", ".html"))]
        for name in files:
            (self.path / name).unlink(missing_ok=True)
        for name in (LABELS, *MEMBERS):
            if os.path.lexists(self.path / name):
                gone = self.path / f"{REMOVED}{name}"
                (self.path / name).rename(gone)
                _remove(gone)


def refuse_other(kept: Tree, asked: Tree, folder: str) -> None:
    """Sees that two recipes are of one chain.

    Raises:
        ResumeMismatchError: it names the first key that differs.
    """
    one, other = dict(_flat(kept)), dict(_flat(asked))
    for key in [*one, *other]:
        if one.get(key) != other.get(key) and not key.endswith(MACHINE):
            raise ResumeMismatchError(
                f"{folder} holds a chain with another {key}: leave it out, or give --overwrite or another --output"
            )


def _flat(value: Any, path: str = "") -> list[tuple[str, Any]]:  # noqa: ANN401
    if isinstance(value, dict) and value:
        return [pair for key, inner in value.items() for pair in _flat(inner, f"{path}.{key}" if path else key)]
    if isinstance(value, list) and value:
        return [pair for at, inner in enumerate(value) for pair in _flat(inner, f"{path}[{at}]")]
    return [(path, value)]


def _refuse_other_run(member: Member) -> None:
    """Sees that a run that is there was trained by the recipe that its member has now."""
    folder = Path(str(member.config.output))
    if not (folder / "config.yaml").is_file():
        return
    kept, asked = load_config(folder / "config.yaml"), portable(member.config)
    if None not in (kept.data.pseudo_labels, asked.data.pseudo_labels):  # where they lie is the machine's
        kept = replace(kept, data=replace(kept.data, pseudo_labels=asked.data.pseudo_labels))
    differs = first_difference(kept, asked, MACHINE)
    if differs is not None:
        raise ResumeMismatchError(
            f"{folder} was trained with another {differs}: remove it to train it again, or give --overwrite to begin "
            "the whole chain anew"
        )


def _refuse_lost_model(member: Member) -> None:
    """Sees that a member that was trained still has its network.

    Raises:
        UnknownModelError: it is gone.
        CorruptError: the run's checkpoint is damaged.
    """
    run = RunFolder(str(member.config.output))
    if run.model.is_file() or not (run.config.is_file() and run.checkpoint.is_file()):
        return
    best = read_checkpoint(run.checkpoint)["keeper"]["best"]
    run.refuse_lost_model(best, f"remove {run.path}, and --resume trains it again")


def _unbegun(folder: Path, mark: str, own: tuple[str, ...]) -> list[Path]:
    """What a stage that was killed before it began has left.

    Raises:
        OutputExistsError: there is something else, which no stage has left.
    """
    if not folder.is_dir() or (folder / mark).is_file():
        return []
    found = sorted(folder.iterdir())
    for entry in found:
        if entry.name not in own or (entry.is_dir() and any(entry.iterdir())):
            raise OutputExistsError(f"{entry} is not of the chain, which has no {mark} there: move it elsewhere")
    return found


def _sweep(folder: Path, mark: str, own: tuple[str, ...]) -> None:
    for entry in _unbegun(folder, mark, own):
        _remove(entry)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
