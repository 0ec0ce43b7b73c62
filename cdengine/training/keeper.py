"""What a run keeps: a row of figures, a picture and a checkpoint per epoch, and the best model so far."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from cdengine import __version__
from cdengine.events import Reporter
from cdengine.inference.evaluatetruth import colours_of
from cdengine.models.card import ModelCard
from cdengine.models.modelfile import save_model
from cdengine.training.checkpoint import write_checkpoint, write_whole
from cdengine.training.loaders import Batches
from cdengine.training.optimisers import learning_rate
from cdengine.training.pictures import Shown, picture
from cdengine.training.runfolder import Row, RunFolder
from cdengine.training.scores import Validation
from cdengine.training.supervised import SupervisedChange

TOLD = ("train_loss", "loss", "precision", "recall", "f1", "iou", "ap", "miou", "sek", "fscd", "score", "threshold")
SAVE_S = 300.0  # at most so much work is done again after a kill within a long epoch


class Keeper(pl.Callback):
    """Closes each epoch: figures, picture, best model, checkpoint, and whether it was the last one.

    Every process decides alike; the first alone writes.

    Attributes:
        rows: figures of the epochs so far.
        best: best value of the monitored figure; None before the first epoch ended.
        best_epoch: when, from 1.
    """

    def __init__(self, run: RunFolder, card: ModelCard, batches: Batches, reporter: Reporter, writes: bool) -> None:
        """Takes what it keeps and where.

        Args:
            run: the folder.
            card: of the model, complete but for threshold and figures.
            batches: whose epoch it moves on.
            reporter: figures go there too.
            writes: whether this process writes files.
        """
        self._run, self._card, self._batches, self._reporter, self._writes = run, card, batches, reporter, writes
        self.rows: list[Row] = []
        self.best: float | None = None
        self.best_epoch = 0
        self.stopped = False
        self._began = self._saved = time.monotonic()
        self._seconds = 0.0  # of the epoch, before an interruption
        self._shown: list[tuple[int, int, Shown]] = []
        self._events: SummaryWriter | None = None

    # ------------------------------------------------------------ going on
    def state(self) -> dict[str, Any]:
        """What a resumed run must know."""
        seconds = self._seconds + time.monotonic() - self._began
        return {"best": self.best, "best_epoch": self.best_epoch, "stopped": self.stopped, "seconds": seconds}

    def restore(self, state: dict[str, Any], epoch: int) -> None:
        """Takes such a state and the rows of the epochs that are done."""
        self.best, self.best_epoch, self.stopped = state["best"], state["best_epoch"], state["stopped"]
        self._seconds = state["seconds"]
        self.rows = self._run.rows(before_epoch=epoch + 1)

    def save(self, module: SupervisedChange) -> None:
        """Writes `last.ckpt` unless the weights are spoilt."""
        module.assert_sound()
        if self._writes:
            state = {"module": module.state(), "keeper": self.state()}
            write_checkpoint(self._run.checkpoint, state, self._reporter.cancellation.cleanup)
        self._saved = time.monotonic()

    # ------------------------------------------------------------ hooks
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the event file; of a resumed run it hides what the stopped one wrote beyond its checkpoint."""
        assert isinstance(pl_module, SupervisedChange)
        self._began = self._saved = time.monotonic()
        if self._writes:
            self._events = SummaryWriter(str(self._run.path), purge_step=pl_module.step + 1)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Saves before a stop that was asked for, and now and then in a long epoch."""
        assert isinstance(pl_module, SupervisedChange)
        whole_step = pl_module.batch % pl_module.config.trainer.accumulate == 0
        last = pl_module.batch >= self._batches.per_epoch  # its end is saved after validation
        asked = self._reporter.cancellation.cancelled
        if whole_step and not last and (asked or time.monotonic() - self._saved > SAVE_S):
            self.save(pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets the pictures of the last epoch."""
        self._shown = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the pairs with the most change for the picture: the same ones in every epoch."""
        assert isinstance(pl_module, SupervisedChange)
        most = pl_module.config.trainer.pictures
        if not self._writes or most == 0 or pl_module.shown is None:
            return
        changed = int((batch["change"] == 1).sum())
        if len(self._shown) >= most and changed <= self._shown[-1][0]:
            return
        classes = None
        if self._card.classes and pl_module.shown_classes is not None:
            labels = torch.stack([batch[f"{date}_classes"][0] for date in ("before", "after")]).byte()
            classes = _array(labels), _array(pl_module.shown_classes)
        before, after, change = (_array(batch[name][0]) for name in ("before", "after", "change"))
        pair = Shown(batch["name"][0], before, after, change, _array(pl_module.shown), classes)
        self._shown = sorted([*self._shown, (changed, -batch_idx, pair)], key=lambda item: item[:2], reverse=True)[
            :most
        ]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Closes the epoch."""
        assert isinstance(pl_module, SupervisedChange) and pl_module.validation is not None
        pl_module.assert_sound()
        validation, number = pl_module.validation, pl_module.epoch + 1
        self._add_row(pl_module, validation, number)
        value = validation.figures[pl_module.config.trainer.monitor]
        if self.best is None or value > self.best:
            self.best, self.best_epoch = value, number
            if self._writes:
                save_model(self._run.model, pl_module.final_network, self._described(validation, number))
        patience = pl_module.config.trainer.early_stopping
        self.stopped = patience > 0 and number - self.best_epoch >= patience
        if self._writes:
            self._write_picture(validation, number)
        pl_module.next_epoch()
        self._batches.epoch, self._batches.start = pl_module.epoch, 0
        self._seconds, self._began = 0.0, time.monotonic()
        self.save(pl_module)
        if self.stopped:
            self._reporter.info(f"no better {pl_module.config.trainer.monitor} for {patience} epochs: stopped early")
            trainer.should_stop = True

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Closes the event file."""
        self._close_events()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Closes the event file."""
        self._close_events()

    # ------------------------------------------------------------ parts
    def _add_row(self, module: SupervisedChange, validation: Validation, number: int) -> None:
        training = module.training_figures()
        row: Row = {"epoch": number, "step": module.step}
        row["seconds"] = round(self._seconds + time.monotonic() - self._began, 2)
        row["learning_rate"] = learning_rate(module.config.optimiser, module.step - 1, module.steps)
        row["train_loss"] = training.pop("loss")
        row |= {f"train_{name}": value for name, value in training.items()} if len(training) > 1 else {}
        row |= {**validation.figures, "threshold": validation.threshold}
        self.rows.append(row)
        for name, value in row.items():
            if name in TOLD:
                self._reporter.metric(name, value, epoch=number)
            if self._events is not None:
                self._events.add_scalar(name, value, module.step)
        if self._events is not None:
            self._events.flush()
        if self._writes:
            self._run.write_rows(self.rows, self._reporter.cancellation.cleanup)

    def _described(self, validation: Validation, number: int) -> ModelCard:
        """The card with what this epoch gave."""
        figures = {name: round(value, 6) for name, value in validation.figures.items()}
        training = {**self._card.training, "epoch": number, "version": __version__}
        return dataclasses.replace(
            self._card, threshold=validation.threshold, training=training, metrics={"validation": figures}
        )

    def _write_picture(self, validation: Validation, number: int) -> None:
        if self._shown:
            bands = (self._card.before.bands, self._card.after.bands)
            names = self._card.classes
            colours = self._batches.colours or colours_of(names, None)
            legend = dict(zip(names, colours, strict=True)) if names else {}
            drawn = picture([pair for _, _, pair in self._shown], validation.threshold, bands, legend)
            write_whole(self._run.samples / f"epoch_{number:03d}.png", drawn)

    def _close_events(self) -> None:
        if self._events is not None:
            self._events.close()
            self._events = None


def _array(layer: Tensor) -> np.ndarray[Any, np.dtype[Any]]:
    found: np.ndarray[Any, np.dtype[Any]] = layer.detach().cpu().numpy()
    return found
