"""Supervised training of a change network on labelled pairs, as a Lightning module."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn import functional

from cdengine.errors import ConfigError, DivergedError
from cdengine.models.card import DateInput
from cdengine.models.logits import Logits
from cdengine.models.normalise import Normaliser
from cdengine.training.averaging import AveragedNetwork
from cdengine.training.config import TrainConfig
from cdengine.training.losses.combined import CombinedLoss
from cdengine.training.losses.sums import alone
from cdengine.training.optimisers import build_optimiser, learning_rate, set_learning_rate
from cdengine.training.scores import Scores, Validation, exact_type

LARGEST_SIDE = 1024  # of what passes through the network at once in validation
ASK_EVERY = 10  # steps between looks at the loss on an accelerator, each of which waits for it


class SupervisedChange(pl.LightningModule):
    """Trains `network` on batches of `data.pairs`, keeps its average, validates the average.

    Every step draws its random numbers (dropout and the like) from a generator seeded by seed, step and process, and
    the learning rate follows from the step: a run that goes on after a stop therefore needs no state of either.

    Attributes:
        network: what is trained.
        averaged: its average; None if the recipe keeps none.
        epoch: of the run, from 0.
        batch: of the epoch, how many were trained (the one under way included).
        step: optimiser steps of the run.
        validation: figures of the last look at the validation split.
    """

    def __init__(
        self,
        network: nn.Module,
        before: DateInput,
        after: DateInput,
        classes: tuple[str, ...],
        config: TrainConfig,
        loss: CombinedLoss,
        steps: int,
    ) -> None:
        """Takes the parts.

        Args:
            network: of the zoo.
            before: values of the first date.
            after: values of the second.
            classes: land-cover names.
            config: of the run, completed.
            loss: what is minimised.
            steps: optimiser steps of the whole run.
        """
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.network = network
        self.averaged = AveragedNetwork(network, config.trainer.ema) if config.trainer.ema > 0 else None
        self.normalise_before, self.normalise_after = Normaliser(before), Normaliser(after)
        self.classes, self.config, self.loss, self.steps = classes, config, loss, steps
        self.stride = int(getattr(network, "stride", 1))
        self.epoch, self.batch, self.step = 0, 0, 0
        self.validation: Validation | None = None
        self.shown: Tensor | None = None  # probability of the pair validated last, for pictures
        self.shown_classes: Tensor | None = None  # (2, H, W), its likeliest classes at both dates
        self._sums: dict[str, Tensor] = {}
        self._scores: Scores | None = None
        self._unsound: Tensor | None = None
        self._optimiser_state: dict[str, Any] | None = None
        crop = config.data.augmentation.crop
        if crop % self.stride:
            raise ConfigError(
                f"data.augmentation.crop: {crop} is no multiple of {self.stride}, which the network needs"
            )

    # ------------------------------------------------------------ training
    def training_step(self, batch: dict[str, Any], _index: int) -> Tensor:
        """The loss of one batch."""
        loss, terms = self.loss(self.forward_pair(self.network, batch), batch)
        detached = loss.detach()
        unsound = ~torch.isfinite(detached)
        self._unsound = unsound if self._unsound is None else self._unsound | unsound
        for name, value in {"loss": detached, **terms}.items():
            self._sums[name] = self._sums.get(name, 0) + value.to(exact_type(self.device))
        self.batch += 1
        return loss

    def forward_pair(self, network: nn.Module, batch: dict[str, Any]) -> Tensor | Logits:
        """The network's answer to stored values: normalised here, on the device."""
        valid = batch["valid"]
        output: Tensor | Logits = network(
            self.normalise_before(batch["before"], valid), self.normalise_after(batch["after"], valid)
        )
        return output

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        """Random numbers of this batch."""
        torch.manual_seed(_mixed(self.config.seed, self.epoch, self.batch, self.global_rank))

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        """Looks at the loss now and then."""
        if self.device.type == "cpu" or self.batch % ASK_EVERY == 0:
            self.assert_sound()

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer | LightningOptimizer,
        optimizer_closure: Any = None,  # noqa: ANN401
    ) -> None:
        """One step at its own learning rate, then into the average."""
        inner = optimizer.optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        set_learning_rate(inner, learning_rate(self.config.optimiser, self.step, self.steps))
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.step += 1
        if self.averaged is not None:
            self.averaged.update(self.network)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Of the network's parameters."""
        return build_optimiser(self.network, self.config.optimiser)

    def on_train_start(self) -> None:
        """Puts back the optimiser's state of a run that goes on; by now the weights are where they stay."""
        if self._optimiser_state is not None:
            optimiser = self.trainer.optimizers[0]
            groups = optimiser.state_dict()["param_groups"]
            state = {int(number): values for number, values in self._optimiser_state.items()}
            optimiser.load_state_dict({"state": state, "param_groups": groups})
            self._optimiser_state = None

    def assert_sound(self) -> None:
        """Stops a run whose loss is no number any more.

        Raises:
            DivergedError: says where, and what to try.
        """
        if self._unsound is not None and bool(self._unsound):
            raise DivergedError(
                f"the loss is no longer a number (epoch {self.epoch + 1}, step {self.step}); the last good model is "
                f"kept: lower optimiser.learning_rate ({self.config.optimiser.learning_rate:g}), lengthen "
                "optimiser.warmup, or use trainer.precision=fp32"
            )

    def training_figures(self) -> dict[str, float]:
        """Mean loss and its terms of the epoch so far."""
        return {name: float(value) / max(1, self.batch) for name, value in self._sums.items()}

    def next_epoch(self) -> None:
        """Closes the books of an epoch."""
        self.epoch, self.batch, self._sums = self.epoch + 1, 0, {}

    # ------------------------------------------------------------ validation
    def on_validation_epoch_start(self) -> None:
        """Empties the figures."""
        self._scores = Scores(len(self.classes), self.device)

    def validation_step(self, batch: dict[str, Any], _index: int) -> None:
        """One whole pair through the averaged network."""
        assert self._scores is not None
        output = self.whole(batch)
        loss, _ = self.local_loss(output, batch)
        change = output.change if isinstance(output, Logits) else output
        if not bool(torch.isfinite(change).all()):
            self._unsound = torch.ones((), dtype=torch.bool, device=self.device)
            self.assert_sound()
        self._scores.add(output, batch, loss)
        self.shown = torch.sigmoid(change[0, 0])
        if isinstance(output, Logits):
            self.shown_classes = torch.stack([date[0].argmax(0) for date in (output.before, output.after)]).byte()

    def on_validation_epoch_end(self) -> None:
        """All figures of all processes."""
        assert self._scores is not None
        self.validation, self._scores = self._scores.finish(), None

    def local_loss(self, output: Tensor | Logits, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of this process alone: in validation processes may have unlike numbers of pairs."""
        with alone():
            return self.loss(output, batch)

    def whole(self, batch: dict[str, Any]) -> Tensor | Logits:
        """The final network's answer to pairs of any size: padded to its stride, in blocks where they are large."""
        network = self.final_network
        height, width = batch["valid"].shape[-2:]
        padded = dict(batch)
        bottom, right = -height % self.stride, -width % self.stride
        if bottom or right:
            for name in ("before", "after", "valid"):
                padded[name] = functional.pad(batch[name], (0, right, 0, bottom))
        side = max(self.stride, LARGEST_SIDE // self.stride * self.stride)
        rows = []
        for row in range(0, height, side):
            blocks = []
            for col in range(0, width, side):
                part = {
                    name: padded[name][..., row : row + side, col : col + side] for name in ("before", "after", "valid")
                }
                blocks.append(_map(lambda layer: layer.float(), self.forward_pair(network, part)))
            rows.append(_joined(blocks, 3))
        return _map(lambda layer: layer[..., :height, :width], _joined(rows, 2))

    @property
    def final_network(self) -> nn.Module:
        """What is validated and saved: the average where one is kept."""
        return self.averaged.network if self.averaged is not None else self.network

    # ------------------------------------------------------------ going on
    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on, as `checkpoint.write_checkpoint` takes it."""
        moments = self.trainer.optimizers[0].state_dict()["state"]
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "step": self.step,
            "sums": dict(self._sums),
            "weights": self.state_dict(),
            "optimiser": {str(number): values for number, values in moments.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Takes such a state; before the fit begins."""
        self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]
        self.load_state_dict(state["weights"])
        self._sums = dict(state["sums"])
        self._optimiser_state = state["optimiser"]

    def on_fit_start(self) -> None:
        """Moves sums to the device that the run goes on with."""
        self._sums = {name: value.to(self.device) for name, value in self._sums.items()}


def _mixed(*numbers: int) -> int:
    """One seed of several numbers, unlike for unlike ones."""
    seed = 0
    for number in numbers:
        seed = (seed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return seed


def _map(action: Any, output: Tensor | Logits) -> Tensor | Logits:  # noqa: ANN401
    return Logits(*map(action, output)) if isinstance(output, Logits) else action(output)


def _joined(parts: list[Any], axis: int) -> Any:  # noqa: ANN401
    if isinstance(parts[0], Logits):
        return Logits(*(torch.cat(layers, axis) for layers in zip(*parts, strict=True)))
    return torch.cat(parts, axis)
