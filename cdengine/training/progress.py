"""What a run tells while it trains: a stage named by its epoch, which estimates the whole run, and figures."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from typing import Any

import lightning.pytorch as pl

from cdengine.events import Reporter, Stage
from cdengine.training.loaders import Batches
from cdengine.training.supervised import SupervisedChange

LEAST_STEPS = 10  # between two figures, of which an epoch has about four


class Progress(pl.Callback):
    """Turns Lightning's hooks into stages, `metric` events and a prompt stop."""

    def __init__(self, batches: Batches, reporter: Reporter) -> None:
        """Takes what it looks at.

        Args:
            batches: how many there are.
            reporter: where events go.
        """
        self._batches, self._reporter = batches, reporter
        self._every = max(LEAST_STEPS, batches.per_epoch // 4)
        self._stage: Stage | None = None
        self._open = ExitStack()
        self._on_sigterm = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the stage; what counts are batches of the whole run, validation included."""
        assert isinstance(pl_module, SupervisedChange)
        if threading.current_thread() is threading.main_thread():
            # Lightning put a handler of its own in front, which ends the run in its own way, and by a broadcast from
            # within the handler where there are several processes. A cancelled run ends in ours.
            signal.signal(signal.SIGTERM, self._on_sigterm)
        each = self._batches.per_epoch + self._batches.validation_batches
        total, done = pl_module.config.trainer.epochs * each, pl_module.epoch * each + pl_module.batch
        stage = self._reporter.stage(self._name(pl_module), total, "batches", done)
        self._stage = self._open.enter_context(stage)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The stage is told by its epoch, but goes on: its estimate is of the whole run."""
        assert isinstance(pl_module, SupervisedChange) and self._stage is not None
        name = self._name(pl_module)
        if name != self._stage.name:
            self._stage.name = name
            self._reporter.emit(self._stage.event())  # an epoch shorter than the ticks between events is told too

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """One batch further."""
        assert isinstance(pl_module, SupervisedChange)
        self._advance()
        if pl_module.batch % self._every == 0:
            self._reporter.metric("train_loss", float(outputs["loss"]), step=pl_module.step)

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
        """One validation pair further."""
        self._advance()

    def _advance(self) -> None:
        self._reporter.check()
        if self._stage is not None:
            self._stage.advance()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Closes the stage."""
        self._open.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Closes the stage of a run that ends early."""
        self._open.close()

    @staticmethod
    def _name(module: SupervisedChange) -> str:
        return f"epoch {module.epoch + 1}/{module.config.trainer.epochs}"
