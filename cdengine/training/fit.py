"""`train`: from a configuration to a run folder with a model in it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import DDPStrategy, Strategy
from torch import nn

from cdengine import __version__
from cdengine.errors import CDEngineError, ConfigError, ResourceError
from cdengine.events import Reporter
from cdengine.inference.allocator import keep_freed
from cdengine.inference.device import Device, choose_device
from cdengine.models.card import ModelCard
from cdengine.models.modelfile import load_model
from cdengine.models.pretrained import fetch_backbone, load_backbone
from cdengine.models.shipped import model_path
from cdengine.models.zoo import ARCHITECTURES, build
from cdengine.training.checkpoint import read_checkpoint
from cdengine.training.config import TrainConfig, check, completed, load_config
from cdengine.training.datasets import TrainingData, open_data, survey_text
from cdengine.training.keeper import Keeper
from cdengine.training.loaders import Batches
from cdengine.training.losses.combined import CombinedLoss
from cdengine.training.progress import Progress
from cdengine.training.quiet import quiet_lightning
from cdengine.training.report import write_report
from cdengine.training.runfolder import RunFolder
from cdengine.training.single_temporal import SingleTemporalChange, open_singles
from cdengine.training.supervised import SupervisedChange

SEMANTIC = ("miou", "sek", "fscd", "score")
SHOWN = ("f1", "iou", "precision", "recall", "ap", *SEMANTIC)


@dataclass(frozen=True)
class TrainResult:
    """What a finished run gave.

    Attributes:
        run: the folder.
        model: the best model.
        metrics: its figures on the validation split, its `threshold` and `epoch`.
    """

    run: Path
    model: Path
    metrics: dict[str, float]


def train(
    config: TrainConfig | str | os.PathLike[str],
    reporter: Reporter | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    data: TrainingData | None = None,
) -> TrainResult:
    """Trains a network and writes the run folder `config.output`.

    Args:
        config: what to do, or the path of a recipe.
        reporter: where progress and figures go, and what stops the run.
        overwrite: replace an earlier run in the folder.
        resume: go on with the run in the folder.
        data: pairs of the caller's own making, in place of those of `config.data`.

    Raises:
        ConfigError: the configuration cannot be meant.
        OutputExistsError: the folder holds something.
        InputError, ModelError: data or starting weights cannot be used.
        DivergedError: the loss is no number any more; the last good model is kept.
        Cancelled: the user stopped; `resume` goes on.
    """
    config = completed(config) if isinstance(config, TrainConfig) else load_config(config)
    check(config)
    reporter = reporter or Reporter()
    run, writes = RunFolder(str(config.output)), _rank() == 0
    device = choose_device(config.trainer.device)
    if writes:
        run.open() if resume else run.claim(overwrite)
    try:
        with quiet_lightning(), _torch_as_it_was(device):
            return _Run(config, run, device, reporter, writes).go(data, resume)
    finally:
        if writes:
            run.close()


class _Run:
    """One run, step by step."""

    def __init__(self, config: TrainConfig, run: RunFolder, device: Device, reporter: Reporter, writes: bool) -> None:
        self.config, self.run, self.device, self.reporter, self.writes = config, run, device, reporter, writes

    def go(self, data: TrainingData | None, resume: bool) -> TrainResult:
        config, reporter = self.config, self.reporter
        # read first, so that a damaged checkpoint is told before any work
        state = read_checkpoint(self.run.checkpoint) if resume and self.run.checkpoint.is_file() else None
        single = config.procedure == "single-temporal"
        kept = self.run.survey if resume else None
        data = data or (open_singles if single else open_data)(config, kept, reporter)
        torch.manual_seed(config.seed)
        network, data, classes = self._network(data, fresh=state is None)
        if self.writes and not resume:
            self.run.begin(config, survey_text(data.survey) if data.survey is not None else None)
        world = config.trainer.devices * _nodes()
        batches = Batches(data, config, world, _rank(), self.device.kind == "cuda")
        steps_per_epoch = -(-batches.per_epoch // config.trainer.accumulate)
        steps = steps_per_epoch * config.trainer.epochs
        loss = CombinedLoss(config.loss, data.changed_share)
        procedure = SingleTemporalChange if single else SupervisedChange
        module = procedure(network, data.before, data.after, classes, config, loss, steps)
        keeper = Keeper(self.run, self._card(data, classes), batches, reporter, self.writes)
        if state is not None:
            self.run.refuse_lost_model(state["keeper"]["best"], "train anew into another folder")
            module.restore(state["module"])
            keeper.restore(state["keeper"], module.epoch)
            batches.epoch, batches.start = module.epoch, module.batch
        left = 0 if keeper.stopped else config.trainer.epochs - module.epoch
        with reporter.cancellation.resumable(f"--resume {self.run.path}"):
            if left > 0:
                self._announce(module, batches, loss, resumed=state is not None)
                self._fit(module, batches, keeper, left)
            else:
                reporter.info("this run is finished already; nothing was done")
            return self._finish(keeper)

    def _network(self, data: TrainingData, fresh: bool) -> tuple[nn.Module, TrainingData, tuple[str, ...]]:
        """The network with its first weights, the data in the values it knows, and the classes it tells."""
        model = self.config.model
        classes = data.classes if _tells_classes(model.architecture) else ()
        if not classes and _needs_classes(model.architecture):
            raise ConfigError(f"model.architecture: {model.architecture} tells classes, but the data have none: "
                              "name them in data.classes, or take another architecture")  # fmt: skip
        if self.config.trainer.monitor in SEMANTIC and not classes:
            raise ConfigError(
                f"trainer.monitor: {self.config.trainer.monitor} is of networks that tell classes: take f1"
            )
        if self.config.data.pseudo_labels is not None and not classes:
            raise ConfigError(
                f"data.pseudo_labels: {model.architecture} tells no classes, so it learns nothing from them: "
                "leave them out, or take a network that tells classes"
            )
        weights = self.config.loss.class_weights
        if weights and len(weights) != len(classes):
            raise ConfigError(
                f"loss.class_weights: {len(weights)} numbers for {len(classes)} classes ({', '.join(classes)}): "
                "give one each, in this order"
            )
        counts: dict[str, Any] = {"bands_before": data.before.count, "bands_after": data.after.count}
        arguments = {**model.arguments, **counts, **({"classes": len(classes)} if classes else {})}
        network = build(model.architecture, arguments)
        if model.weights is not None:
            loaded = load_model(model_path(model.weights))
            card = loaded.card
            if (card.architecture, card.constructor_arguments()) != (model.architecture, arguments):
                raise ConfigError(
                    f"model.weights: {model.weights} holds {card.architecture} with {card.constructor_arguments()}, "
                    f"this run asks for {model.architecture} with {arguments}: make them equal"
                )
            network.load_state_dict(loaded.module.state_dict())
            data = replace(data, before=card.before, after=card.after)
        if fresh and model.pretrained == "timm":
            self.reporter.info("looking for timm's weights of the backbone, in its cache or over the network")
            fetch_backbone(network)
        elif fresh and model.pretrained is not None:
            load_backbone(network, model_path(model.pretrained))
        if self.device.kind == "cuda":
            network = network.to(memory_format=torch.channels_last)
        return network, data, classes

    def _card(self, data: TrainingData, classes: tuple[str, ...]) -> ModelCard:
        config = self.config
        hetero = config.data.layout == "gold"
        training = {**data.facts, "seed": config.seed, "procedure": config.procedure, "version": __version__}
        return ModelCard(
            name=config.name,
            task="semantic" if classes else "hetero" if hetero else "binary",
            architecture=config.model.architecture,
            arguments=dict(config.model.arguments),
            before=data.before,
            after=data.after,
            classes=classes,
            training=training,
            license=config.license,
            citation=config.citation,
        )

    def _announce(self, module: SupervisedChange, batches: Batches, loss: CombinedLoss, resumed: bool) -> None:
        parameters = sum(value.numel() for value in module.network.parameters())
        where = f"epoch {module.epoch + 1}, batch {module.batch}" if resumed else "the start"
        self.reporter.info(
            f"{self.config.model.architecture} with {parameters / 1e6:.2f} M parameters on {self.device.name}; "
            f"{batches.per_epoch} batches an epoch; from {where}"
        )
        if self.config.loss.bce and self.config.loss.positive_weight == "auto":
            self.reporter.info(f"changed pixels count {loss.positive_weight:.2f} times in bce (loss.positive_weight)")
        if self.device.kind != "cpu" and not self.config.trainer.deterministic:
            self.reporter.info("kernels of this device are not deterministic; trainer.deterministic=true makes them so")

    def _fit(self, module: SupervisedChange, batches: Batches, keeper: Keeper, epochs: int) -> None:
        trainer = self._trainer(epochs, [keeper, Progress(batches, self.reporter)])
        try:
            keep_freed()
            with self.reporter.cancellation.cleanup(lambda: _end_children(trainer)):
                trainer.fit(module, datamodule=batches)
        except torch.OutOfMemoryError as error:
            raise ResourceError(
                "the device's memory is too small: lower data.batch_size (and raise trainer.accumulate as much), or "
                "data.augmentation.crop"
            ) from error
        except Exception as error:
            self.reporter.check()  # a signal to the whole group of processes ends those that read, too
            # torch says so where a batch is asked for, or the queue fails first, in many ways; while workers start, it
            # says so out of a signal handler, so in the middle of anything, whose own error may then quote it
            ours = isinstance(error, CDEngineError)
            if "DataLoader worker" in str(error) or (not ours and batches.reader_died()):
                said = " ".join(str(error).split())[:90]
                raise ResourceError(
                    f"a process that reads pairs was killed ({said}), perhaps for lack of "
                    f"memory: lower data.workers, then {self.reporter.cancellation.resume}"
                ) from error
            raise
        finally:
            batches.close()
            _end_children(trainer)

    def _trainer(self, epochs: int, callbacks: list[pl.Callback]) -> pl.Trainer:
        options, kind = self.config.trainer, self.device.kind
        strategy: Strategy | str = "auto"
        devices: int | list[int] = options.devices
        if options.devices * _nodes() > 1:
            strategy = DDPStrategy(process_group_backend="nccl" if kind == "cuda" else "gloo")
        elif kind == "cuda":
            devices = [self.device.torch_device.index or 0]
        return pl.Trainer(
            accelerator={"cuda": "gpu"}.get(kind, kind),
            devices=devices,
            num_nodes=_nodes(),
            strategy=strategy,
            precision="bf16-mixed" if self._precision() == "bf16" else "32-true",
            max_epochs=epochs,
            accumulate_grad_batches=options.accumulate,
            gradient_clip_val=self.config.optimiser.clip or None,
            deterministic=True if options.deterministic else None,
            benchmark=kind == "cuda" and not options.deterministic,
            sync_batchnorm=kind == "cuda" and options.devices * _nodes() > 1,
            reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=str(self.run.path),
        )

    def _precision(self) -> str:
        """bf16 where the hardware multiplies it and training profits: CUDA from Ampere on; else fp32."""
        asked = self.config.trainer.precision
        if asked != "auto":
            return asked
        modern = self.device.kind == "cuda" and torch.cuda.get_device_capability(self.device.torch_device)[0] >= 8
        return "bf16" if modern else "fp32"

    def _finish(self, keeper: Keeper) -> TrainResult:
        best = next(row for row in keeper.rows if row["epoch"] == keeper.best_epoch)
        if self.writes:
            from cdengine.models.container import read_card

            samples = sorted(self.run.samples.glob("epoch_*.png"))
            write_report(self.run.report, self.config, keeper.rows, read_card(self.run.model), samples)
        metrics = {name: best[name] for name in (*SHOWN, "threshold", "epoch") if name in best}
        return TrainResult(self.run.path, self.run.model, metrics)


def _tells_classes(architecture: str) -> bool:
    constructor = ARCHITECTURES.get(architecture)
    return constructor is not None and "classes" in inspect.signature(constructor).parameters


def _needs_classes(architecture: str) -> bool:
    """Whether the network has class heads even if nobody asks for them."""
    return _tells_classes(architecture) and bool(
        inspect.signature(ARCHITECTURES[architecture]).parameters["classes"].default
    )


def _rank() -> int:
    """Number of this process in a distributed run, as torchrun or Lightning tells it to those that they start."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))


def _nodes() -> int:
    """Machines of a run that torchrun started; 1 for all others."""
    return int(os.environ.get("GROUP_WORLD_SIZE", "1"))


@contextmanager
def _torch_as_it_was(device: Device) -> Iterator[None]:
    """Leaves torch's random numbers and switches as they were: the caller may have plans of his own."""
    strict, fastest = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    devices = [device.torch_device.index or 0] if device.kind == "cuda" else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        torch.use_deterministic_algorithms(strict)
        torch.backends.cudnn.benchmark = fastest


def _end_children(trainer: pl.Trainer) -> None:
    """Ends the other processes of this machine that Lightning started; they would wait for this one for ever."""
    for process in getattr(trainer.strategy.launcher, "procs", []):
        with suppress(OSError):
            process.terminate()
