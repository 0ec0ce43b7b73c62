"""Trains the shipped RGB model on composites that are made while it trains; stops and goes on anywhere.

    python -m tools.train_default ../shared/data --until 60000 [--threads 2] [--workers 1] [--cool 12000]

Everything lies in build/default: scenes/ (from tools.make_default_pairs), last.ckpt (every three minutes), log.csv.
The learning rate is constant until the last `--cool` pairs, over which it falls to nothing; so a run that was cooled
can be continued from warm.ckpt, which is kept when cooling begins: give a larger --until. Pair n of the run is pair n
of the composer, whatever was interrupted. tools.finish_default makes the model file of a checkpoint.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from cdengine.models.btc import BTC
from cdengine.models.layers import upsample
from cdengine.models.pretrained import load_backbone
from cdengine.models.zoo import build
from cdengine.synthesis.composites.compose import Composer
from cdengine.synthesis.composites.scenepool import read_scenes
from cdengine.synthesis.composites.sources import UNKNOWN, read_library
from cdengine.training.averaging import AveragedNetwork
from cdengine.training.checkpoint import read_checkpoint, write_checkpoint

FOLDER = Path("build/default")
OUTLINES = Path("configs/rgb-vhr-v1.outlines.json")
BACKBONE = FOLDER / "efficientnet_lite0.safetensors"  # of tools.backbone_weights
ARCHITECTURE, ARGUMENTS = "btc", {"backbone": "efficientnet_lite0", "levels": 5, "width": 64}
INPUTS = {"bands_before": 3, "bands_after": 3}
MEAN, STD = 127.0, 128.0  # what the backbone's ImageNet weights know; counts of 0..255, all bands alike
SEED, BATCH = 1, 8
RATE, BACKBONE_RATE, DECAY, CLIP = 1e-3, 3e-4, 0.02, 5.0
FROZEN_STAGES = 2  # those of strides 2 and 4 see edges and colours, need no training, and cost half of its time
WARM = 1_500  # pairs over which the learning rate rises
AVERAGE = 0.998
DICE, BUILDINGS = 0.5, 0.5  # weights of the Dice loss and of the buildings of a date
SCENES_HELD_OUT = 16


class Stream(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Pairs by number; each worker process reads the images once."""

    def __init__(self, data: Path, first: int, count: int) -> None:
        self.data, self.first, self.count = data, first, count
        self._composer: Composer | None = None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        if self._composer is None:
            torch.set_num_threads(1)
            library = read_library(self.data / "single", outlines=OUTLINES)
            self._composer = Composer(library, read_scenes(FOLDER / "scenes")[SCENES_HELD_OUT:], SEED)
        pair = self._composer.compose(self.first + index)
        dates = [torch.from_numpy(pixels.copy()).permute(2, 0, 1) for pixels in (pair.before, pair.after)]
        labels = (pair.change, pair.before_building, pair.after_building)
        return dates[0], dates[1], torch.stack([torch.from_numpy(label.copy()) for label in labels])


class Learner(nn.Module):
    """The network, and a head that finds the buildings of one date, for training only.

    A date's buildings are what the decoder makes of its features against nothing: so features learn to be zero where
    no building stands, and their differences to be those of buildings (the idea of ChangeStar, Zheng et al. 2021, with
    the decoder shared instead of a second one).
    """

    def __init__(self) -> None:
        super().__init__()
        network = build(ARCHITECTURE, {**ARGUMENTS, **INPUTS})
        assert isinstance(network, BTC)
        self.network = network
        features: Any = network.encoder.backbone.features
        self.frozen = [features.conv_stem, features.bn1, *list(features.blocks)[:FROZEN_STAGES]]
        for part in self.frozen:
            part.requires_grad_(False)
        self.buildings = nn.Conv2d(network.head.in_channels, 1, 1)

    def train(self, mode: bool = True) -> Learner:
        """Training mode for all but the frozen stages, whose batch norms keep ImageNet's statistics."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def forward(self, before: Tensor, after: Tensor, later: bool) -> tuple[Tensor, Tensor]:
        """Logits of change, and of the buildings of one date (the later one or the earlier), each (B, 1, H, W)."""
        net = self.network
        first, second = (levels[net.first :] for levels in net.encoder(before, after))
        doubles = [torch.cat([torch.abs(b - a), b if later else a]) for a, b in zip(first, second, strict=True)]
        change, one = net.decoder(doubles).chunk(2)
        return upsample(net.head(change), net.factor), upsample(self.buildings(one), net.factor)


def normalised(image: Tensor) -> Tensor:
    """uint8 to what the network sees."""
    return ((image.float() - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy over what is known."""
    known = (target != UNKNOWN).float()
    each = functional.binary_cross_entropy_with_logits(logits[:, 0], (target == 1).float(), reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """1 - 2 |P ∩ Y| / (|P| + |Y|) over the batch, smoothed by one pixel (Milletari et al. 2016)."""
    share = torch.sigmoid(logits[:, 0]) * (target != UNKNOWN)
    truth = (target == 1).float()
    return 1 - (2 * (share * truth).sum() + 1) / (share.sum() + truth.sum() + 1)


def rate(seen: int, until: int, cool: int) -> float:
    """Factor on the learning rate after so many pairs."""
    return min(1.0, (seen + 1) / WARM, max(0.01, (until - seen) / max(cool, 1)))


class Run:
    """A training that can be stopped anywhere."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(SEED)
        self.folder = folder
        learner = Learner()
        load_backbone(learner.network, BACKBONE)
        self.learner = learner.to(memory_format=torch.channels_last)
        self.average = AveragedNetwork(self.learner, AVERAGE)
        settings = []
        for trained, rate in ((True, BACKBONE_RATE), (False, RATE)):
            values = [v for n, v in self.learner.named_parameters() if ("backbone" in n) == trained and v.requires_grad]
            settings += [
                {"params": [v for v in values if v.ndim >= 2], "weight_decay": DECAY, "full_rate": rate},
                {"params": [v for v in values if v.ndim < 2], "weight_decay": 0.0, "full_rate": rate},  # norms, biases
            ]
        self.optimiser = torch.optim.AdamW(settings, RATE)
        self.seen = 0

    def averaged(self) -> nn.Module:
        """The network with averaged weights, ready to predict."""
        learner = self.average.network
        assert isinstance(learner, Learner)
        return learner.network.eval()

    def load(self, path: Path) -> None:
        """Goes on from a checkpoint."""
        state = read_checkpoint(path)
        self.learner.load_state_dict(state["learner"])
        self.average.load_state_dict(state["average"])
        for name, value in state["moments"].items():
            index, key = name.split(".")
            parameter = list(self.learner.parameters())[int(index)]
            self.optimiser.state[parameter][key] = value
        self.seen = state["seen"]

    def save(self, name: str) -> None:
        """Writes a checkpoint."""
        moments = {
            f"{index}.{key}": value
            for index, parameter in enumerate(self.learner.parameters())
            for key, value in self.optimiser.state[parameter].items()
        }
        state = {"learner": self.learner.state_dict(), "average": self.average.state_dict()}
        write_checkpoint(self.folder / name, {**state, "moments": moments, "seen": self.seen})

    def step(self, before: Tensor, after: Tensor, labels: Tensor, factor: float) -> tuple[float, float, float]:
        """One batch; returns the parts of the loss."""
        self.learner.train()
        for group in self.optimiser.param_groups:
            group["lr"] = group["full_rate"] * factor
        later = self.seen // BATCH % 2 == 0
        change, buildings = self.learner(normalised(before), normalised(after), later)
        parts = (
            entropy(change, labels[:, 0]),
            dice(change, labels[:, 0]),
            entropy(buildings, labels[:, 2 if later else 1]),
        )
        loss = parts[0] + DICE * parts[1] + BUILDINGS * parts[2]
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.learner.parameters(), CLIP)
        self.optimiser.step()
        self.average.update(self.learner)
        self.seen += len(before)
        return tuple(float(part.detach()) for part in parts)  # type: ignore[return-value]


def main() -> None:
    """Trains on from where it stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--until", type=int, required=True, help="pairs in all, those of earlier stretches included")
    parser.add_argument("--cool", type=int, default=8_000, help="pairs over which the learning rate falls; 0: never")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so long; go on by the same command")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--start", type=Path, help="a checkpoint other than last.ckpt")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.folder.mkdir(parents=True, exist_ok=True)
    run, last = Run(args.folder), args.folder / "last.ckpt"
    if args.start or last.exists():
        run.load(args.start or last)
    stream = Stream(args.data, run.seen, max(0, args.until - run.seen))
    loader = DataLoader(stream, BATCH, num_workers=args.workers, prefetch_factor=4 if args.workers else None)
    began = saved = time.monotonic()
    sums, count = [0.0, 0.0, 0.0], 0
    with (args.folder / "log.csv").open("a", newline="") as file:
        log = csv.writer(file)
        for batch in loader:
            cooling = args.cool and run.seen >= args.until - args.cool
            if cooling and run.seen < args.until - args.cool + BATCH:
                run.save("warm.ckpt")
            before, after, labels = batch
            parts = run.step(before, after, labels, rate(run.seen, args.until, args.cool))
            sums, count = [a + b for a, b in zip(sums, parts, strict=True)], count + 1
            if count == 50:
                row = [run.seen, *(round(total / count, 4) for total in sums), round(time.monotonic() - began)]
                log.writerow(row)
                file.flush()
                print(json.dumps(row), flush=True)
                sums, count = [0.0, 0.0, 0.0], 0
            if time.monotonic() - saved > 180:
                run.save("last.ckpt")
                saved = time.monotonic()
            if time.monotonic() - began > 60 * args.minutes:
                break
    run.save("last.ckpt")


if __name__ == "__main__":
    main()
