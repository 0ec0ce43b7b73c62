"""The folder of a run: its files by name, when it may be made, and the table of figures in it."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

from cdengine import __version__
from cdengine.errors import ConfigError, OutputExistsError, OutputFolderError, UnknownModelError
from cdengine.raster.lock import OutputLock
from cdengine.training.checkpoint import Guard, write_whole
from cdengine.training.config import TrainConfig, dump_config, portable

Row = dict[str, float]


class RunFolder:
    """Files of a training run.

    Attributes:
        path: the folder.
        config: the complete configuration.
        survey: what a look at all training pairs told.
        metrics: a row per epoch.
        checkpoint: to go on from.
        model: the best model so far.
        samples: folder of pictures.
        report: of the finished run.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.survey = self.path / "survey.json"
        self.metrics = self.path / "metrics.csv"
        self.checkpoint = self.path / "last.ckpt"
        self.model = self.path / "model.safetensors"
        self.samples = self.path / "samples"
        self.report = self.path / "report.html"
        self._lock = OutputLock(self.path.absolute())

    def refuse_lost_model(self, best: float | None, remedy: str) -> None:
        """Sees that a run that has had a best epoch still has its network: going on would not make it again.

        Args:
            best: what the checkpoint holds of the best epoch; None before the first one ended.
            remedy: besides putting it back.

        Raises:
            UnknownModelError: it is gone.
        """
        if best is not None and not self.model.is_file():
            raise UnknownModelError(f"{self.model} is gone, of a network that was trained: put it back, or {remedy}")

    def claim(self, overwrite: bool) -> None:
        """Sees that a new run may go there; nothing of an earlier one is touched yet.

        Raises:
            OutputExistsError: it has something in it and `overwrite` is not given, or what is in it is no run.
            OutputFolderError: it cannot be made.
            LockedError: another run is writing there.
        """
        if self.path.is_dir() and any(self.path.iterdir()):
            if not overwrite:
                raise OutputExistsError(
                    f"{self.path} exists already: give --overwrite, another --output, or --resume {self.path} to go on"
                )
            if not self.config.is_file():
                raise OutputExistsError(f"{self.path} is not the folder of a run: give another --output")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputFolderError(f"{self.path}: the run folder cannot be made ({error.strerror})") from error
        self._lock.acquire()

    def begin(self, config: TrainConfig, survey: str | None) -> None:
        """Empties an earlier run's folder and writes the configuration: from here on it can be resumed."""
        self._clear()
        self.samples.mkdir(exist_ok=True)
        if survey is not None:
            write_whole(self.survey, survey.encode())
        heading = f"complete configuration of a run of cdengine {__version__}"
        write_whole(self.config, dump_config(portable(config), heading).encode())

    def open(self) -> None:
        """Takes up an existing run.

        Raises:
            ConfigError: the folder holds none.
            LockedError: it is still running.
        """
        if not self.config.is_file():
            raise ConfigError(f"--resume {self.path}: no config.yaml there, so it is not the folder of a run")
        self._lock.acquire()
        self.samples.mkdir(exist_ok=True)

    def close(self) -> None:
        """Lets other runs in; a folder that got nothing goes."""
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()
        self._lock.release()

    def _clear(self) -> None:
        """Removes what an earlier run left; files of others stay."""
        events = self.path.glob("events.out.tfevents.*")
        for file in (self.survey, self.metrics, self.checkpoint, self.model, self.report, *events):
            file.unlink(missing_ok=True)
        shutil.rmtree(self.samples, ignore_errors=True)

    def rows(self, before_epoch: int | None = None) -> list[Row]:
        """The table of figures, at most up to the named epoch (exclusive, from 1); empty where there is none."""
        if not self.metrics.is_file():
            return []
        with self.metrics.open(encoding="utf-8", newline="") as file:
            rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
        return [row for row in rows if before_epoch is None or row["epoch"] < before_epoch]

    def write_rows(self, rows: list[Row], guard: Guard | None = None) -> None:
        """Writes the table anew: it is small, and so it is never half a line."""
        names = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows([{name: _plain(value) for name, value in row.items()} for row in rows])
        write_whole(self.metrics, text.getvalue().encode(), guard)


def _plain(value: float) -> str:
    """Whole numbers without a point; others so that they read back exactly."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
