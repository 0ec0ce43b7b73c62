"""Training throughput: pairs per second of `train` against a plain PyTorch loop with the same network, in one run.

    python -m benchmarks.training [--steps N] [--rounds N] [--threads N] [--output build/bench]

Both read the same pairs in memory, normalise them on the device, minimise the same loss with AdamW and clipped
gradients. `train` also averages the weights, checks the loss, reports progress and can be stopped; the plain loop does
none of that. Rounds alternate, so that a busy machine slows both; the ratio of the CPU time that each took is told
beside that of the wall clock. Wanted: a ratio of 0.95 or more.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.run import machine, table
from cdengine.data.pairs import Draw, collate
from cdengine.events import Event, Reporter
from cdengine.inference.device import choose_device
from cdengine.models.card import DateInput
from cdengine.models.normalise import Normaliser
from cdengine.models.zoo import build
from cdengine.training.config import (
    DataConfig,
    ModelConfig,
    OptimiserConfig,
    TrainConfig,
    TrainerConfig,
    completed,
)
from cdengine.training.datasets import TrainingData
from cdengine.training.fit import train
from cdengine.training.losses.combined import CombinedLoss
from cdengine.training.optimisers import build_optimiser

MODELS = {
    "fc-ef": ("fc-ef", {}),
    "btc resnet18": ("btc", {"backbone": "resnet18"}),
    "fc-siam-diff resnet18": ("fc-siam-diff", {}),
}
BATCH, CROP, EVERY = 8, 128, 10  # `train` tells a figure every ten steps; time is taken between the first and the last


class Pairs(Dataset):
    """Sixteen pairs in memory."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.samples = [
            {
                "before": torch.from_numpy(rng.integers(0, 256, (3, CROP, CROP), np.uint8)),
                "after": torch.from_numpy(rng.integers(0, 256, (3, CROP, CROP), np.uint8)),
                "change": torch.from_numpy((rng.random((CROP, CROP)) < 0.1).astype(np.uint8)),
                "valid": torch.ones(CROP, CROP, dtype=torch.bool),
                "name": str(number),
            }
            for number in range(16)
        ]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, item: int | Draw) -> dict:
        return dict(self.samples[item.pair if isinstance(item, Draw) else item])


class Clock:
    """Takes the time at the figures that `train` tells."""

    def __init__(self) -> None:
        self.marks: list[tuple[int, float, float]] = []

    def emit(self, event: Event) -> None:
        """Takes an event of `train`."""
        if event["event"] == "metric" and event.get("name") == "train_loss" and "step" in event:
            self.mark(event["step"])

    def mark(self, step: int) -> None:
        """Takes the time."""
        self.marks.append((step, time.perf_counter(), time.process_time()))

    def figures(self) -> tuple[float, float]:
        """Pairs per second, and CPU seconds per pair."""
        (first, began, used), (last, ended, spent) = self.marks[0], self.marks[-1]
        pairs = (last - first) * BATCH
        return pairs / (ended - began), (spent - used) / pairs


def recipe(name: str, steps: int, folder: Path) -> TrainConfig:
    architecture, arguments = MODELS[name]
    return completed(
        TrainConfig(
            data=DataConfig(root=".", batch_size=BATCH, workers=0),
            output=str(folder),
            model=ModelConfig(architecture, dict(arguments)),
            optimiser=OptimiserConfig(),
            trainer=TrainerConfig(epochs=1, epoch_batches=steps, precision="fp32", pictures=0),
        )
    )


def ours(name: str, steps: int, pairs: Pairs, date: DateInput) -> tuple[float, float]:
    data = TrainingData(pairs, [pairs[0]], date, date, (), 0.1, len(pairs), None, {})
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        train(recipe(name, steps, Path(folder) / "run"), Reporter(clock), data=data)
    return clock.figures()


def plain(name: str, steps: int, pairs: Pairs, date: DateInput) -> tuple[float, float]:
    """The loop that one writes by hand."""
    device = choose_device("auto").torch_device
    config = recipe(name, steps, Path())
    network = build(config.model.architecture, {**config.model.arguments, "bands_before": 3, "bands_after": 3})
    memory = torch.channels_last if device.type == "cuda" else torch.contiguous_format
    network = network.to(device, memory_format=memory).train()
    normalise = Normaliser(date).to(device)
    optimiser, loss = build_optimiser(network, config.optimiser), CombinedLoss(config.loss, 0.1)
    order = [number % len(pairs) for number in range(steps * BATCH)]
    clock = Clock()
    for step, batch in enumerate(DataLoader(pairs, BATCH, sampler=order, collate_fn=collate), 1):
        batch = {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
        output = network(normalise(batch["before"], batch["valid"]), normalise(batch["after"], batch["valid"]))
        value, _ = loss(output, batch)
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.optimiser.clip)
        optimiser.step()
        if step % EVERY == 0:
            value.item()
            clock.mark(step)
    return clock.figures()


def measure(steps: int, rounds: int) -> dict:
    pairs = Pairs()
    date = DateInput(("red", "green", "blue"), (0.5,) * 3, (0.3,) * 3, 1 / 255)
    found = {}
    for name in MODELS:
        both = [(ours(name, steps, pairs, date), plain(name, steps, pairs, date)) for _ in range(rounds)]
        found[name] = {
            "train_pairs_s": round(statistics.median(one[0] for one, _ in both), 2),
            "plain_pairs_s": round(statistics.median(other[0] for _, other in both), 2),
            "ratio": round(statistics.median(one[0] / other[0] for one, other in both), 3),
            "cpu_ratio": round(statistics.median(other[1] / one[1] for one, other in both), 3),
            "ratios": [round(one[0] / other[0], 3) for one, other in both],
        }
        print(name, found[name], flush=True)
    return found


def main() -> int:
    """Measures, prints a table, writes training.json and training.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.output.mkdir(parents=True, exist_ok=True)
    setting = {"batch": BATCH, "crop": CROP, "steps": args.steps, "rounds": args.rounds, "threads": args.threads}
    figures = {"machine": machine(), "setting": setting, "training": measure(args.steps, args.rounds)}
    (args.output / "training.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    (args.output / "training.md").write_text(table(figures))
    print(table({"training": figures["training"]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
