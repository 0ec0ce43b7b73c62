"""A whole run: what its folder holds, that it learns, and that stops, kills and resumption change nothing."""

import csv
import dataclasses
import json
import logging
import math
import os
import signal
import threading
import time

import pytest
import small_training as small
import torch
from PIL import Image

from cdengine.errors import (
    Cancelled,
    ConfigError,
    CorruptError,
    DivergedError,
    ModelArchitectureError,
    ResourceError,
    ResumeMismatchError,
    UnknownModelError,
)
from cdengine.events import Cancellation, CollectSink, Reporter
from cdengine.models.container import read_card
from cdengine.models.modelfile import load_model
from cdengine.models.shipped import shipped_path
from cdengine.training.config import load_config
from cdengine.training.datasets import open_data
from cdengine.training.fit import train
from cdengine.training.keeper import Keeper


def rows(run, *apart):
    with open(run / "metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k not in ("seconds", *apart)} for row in csv.DictReader(file)]


def checkpoint(run):
    from cdengine.training.checkpoint import read_checkpoint

    return read_checkpoint(run / "last.ckpt")["module"]


def assert_same_run(one, other):
    assert rows(one) == rows(other)
    assert small.same(small.weights(one / "model.safetensors"), small.weights(other / "model.safetensors"))
    left, right = checkpoint(one), checkpoint(other)
    assert small.same(left["weights"], right["weights"])
    for number, moments in left["optimiser"].items():
        assert small.same(moments, right["optimiser"][number])


class CancelAt(torch.utils.data.Dataset):
    """Asks for a stop when a certain sample is read."""

    def __init__(self, inner, cancellation, epoch, turn):
        self.inner, self.cancellation, self.at = inner, cancellation, (epoch, turn)

    def __len__(self):
        return len(self.inner)

    def __getitem__(self, draw):
        if (draw.epoch, draw.turn) == self.at:
            self.cancellation.cancel()
        return self.inner[draw]


class KillAt(CancelAt):
    """Kills the process that reads a certain sample."""

    def __getitem__(self, draw):
        if (draw.epoch, draw.turn) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.inner[draw]


def interrupted(config, epoch, turn):
    cancellation = Cancellation()
    data = open_data(config, None, Reporter())
    data = dataclasses.replace(data, train=CancelAt(data.train, cancellation, epoch, turn))
    with pytest.raises(Cancelled, match="--resume"):
        train(config, Reporter(cancellation=cancellation), data=data)


def test_the_run_folder_is_complete(finished):
    config, result, _ = finished
    names = {path.name for path in result.run.iterdir()}
    assert {"config.yaml", "metrics.csv", "last.ckpt", "model.safetensors", "report.html", "samples"} <= names
    assert any(name.startswith("events.out.tfevents.") for name in names)
    assert sorted(path.name for path in (result.run / "samples").iterdir()) == [f"epoch_00{n}.png" for n in (1, 2, 3)]
    assert load_config(result.run / "config.yaml") == config
    assert os.listdir(result.run.parent) == ["run"]  # no lightning_logs, no lock left
    with Image.open(result.run / "samples" / "epoch_001.png") as shown:
        assert shown.width > 1000


def test_the_card_says_where_the_model_comes_from(finished):
    _, result, _ = finished
    card = read_card(result.model)
    assert (card.name, card.architecture, card.task) == ("small", "tiny-bn", "binary")
    assert card.before.bands == ("red", "green", "blue") and card.before.scale == pytest.approx(1 / 255)
    assert card.training["train_pairs"] == 6 and card.training["validation_pairs"] == 2
    assert card.training["seed"] == 0 and card.training["version"] and card.training["epoch"] == result.metrics["epoch"]
    assert card.threshold == result.metrics["threshold"]
    assert card.metrics["validation"]["f1"] == pytest.approx(result.metrics["f1"], abs=1e-6)
    best = max(rows(result.run), key=lambda row: float(row["f1"]))
    assert float(best["f1"]) == result.metrics["f1"]


def test_the_model_is_the_average_of_the_best_epoch(pairs, tmp_path):
    config = small.config(pairs, tmp_path / "run", trainer={"epochs": 1})
    result = train(config)
    averaged = {
        name.removeprefix("averaged.network."): value
        for name, value in checkpoint(result.run)["weights"].items()
        if name.startswith("averaged.network.")
    }
    assert small.same(averaged, small.weights(result.model))
    assert not small.same(small.weights(result.model), {
        name.removeprefix("network."): value for name, value in checkpoint(result.run)["weights"].items()
        if name.startswith("network.")
    })  # fmt: skip


def test_figures_are_events(finished):
    _, _, events = finished
    stages = [event["stage"] for event in events if event["event"] == "progress"]
    assert [name for name in dict.fromkeys(stages) if name.startswith("epoch")] == [
        "epoch 1/3",
        "epoch 2/3",
        "epoch 3/3",
    ]
    last = [event for event in events if event["event"] == "progress"][-1]
    assert last["done"] == last["total"] == 3 * (4 + 2)
    by_epoch = {event["name"] for event in events if event["event"] == "metric" and event.get("epoch") == 2}
    assert {"train_loss", "loss", "f1", "iou", "ap", "threshold"} <= by_epoch
    assert json.dumps(events)


def test_the_report_stands_alone(finished):
    text = (finished[1].run / "report.html").read_text()
    assert text.count("<svg") == 2 and text.count("data:image/png;base64,") >= 2
    assert "<script" not in text and "http" not in text.split("</head>")[1]
    assert "small" in text and "learning_rate" in text


def test_nothing_is_printed_or_left_over(pairs, tmp_path, capfd, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    state, threads = torch.random.get_rng_state(), threading.active_count()
    with caplog.at_level(logging.INFO):
        train(small.config(pairs, tmp_path / "run", trainer={"epochs": 1}))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert os.listdir(tmp_path) == ["run"]
    assert torch.equal(torch.random.get_rng_state(), state)
    time.sleep(0.6)  # the heartbeat ends by itself
    assert threading.active_count() <= threads + 1


def test_it_learns(pairs, tmp_path):
    result = train(
        small.config(pairs, tmp_path / "run", trainer={"epochs": 12}, data={"augmentation": {"photometric": None}})
    )
    assert result.metrics["f1"] > 0.9
    loaded = load_model(result.model)
    from cdengine.inference.network import NetworkDetector  # the file runs where models run

    assert loaded.card.threshold == result.metrics["threshold"] and NetworkDetector is not None


def test_same_seed_same_run_whatever_the_workers(pairs, tmp_path):
    one, other = (tmp_path / name for name in ("one", "other"))
    train(small.config(pairs, one, trainer={"epochs": 1}))
    train(small.config(pairs, other, trainer={"epochs": 1}, data={"workers": 2}))
    assert_same_run(one, other)
    third = tmp_path / "third"
    train(small.config(pairs, third, trainer={"epochs": 1}, seed=1))
    assert rows(third) != rows(one)


# ------------------------------------------------------------ stopping and going on
@pytest.mark.parametrize(
    ("epoch", "turn", "mid"),
    [(0, 3, True), (1, 3, True), (1, 0, True), (2, 7, False)],
    ids=["before any epoch ended", "mid-epoch", "first batch", "last batch"],
)
def test_going_on_after_a_stop_is_exact(finished, pairs, tmp_path, epoch, turn, mid):
    config = dataclasses.replace(finished[0], output=str(tmp_path / "run"))
    interrupted(config, epoch, turn)
    if mid and turn:  # saved at the stop, within the epoch
        assert (checkpoint(tmp_path / "run")["epoch"], checkpoint(tmp_path / "run")["batch"]) == (epoch, 2)
    result = train(config, resume=True)
    assert_same_run(finished[1].run, result.run)
    assert result.metrics == finished[1].metrics


def test_going_on_twice_and_with_other_workers(finished, pairs, tmp_path):
    config = dataclasses.replace(finished[0], output=str(tmp_path / "run"))
    interrupted(config, 0, 3)
    cancellation = Cancellation()
    data = open_data(config, None, Reporter())
    data = dataclasses.replace(data, train=CancelAt(data.train, cancellation, 1, 7))
    with pytest.raises(Cancelled):
        train(config, Reporter(cancellation=cancellation), resume=True, data=data)
    assert_same_run(finished[1].run, train(small.replaced(config, data={"workers": 1}), resume=True).run)


def test_a_finished_run_says_so(finished):
    config, result, _ = finished
    before = (result.run / "last.ckpt").stat().st_mtime_ns
    sink = CollectSink()
    again = train(config, Reporter(sink), resume=True)
    assert again == result and (result.run / "last.ckpt").stat().st_mtime_ns == before
    assert any("finished already" in event.get("message", "") for event in sink.events)
    kept = result.model.rename(result.run / "kept")
    with pytest.raises(UnknownModelError, match=r"model\.safetensors is gone.*put it back"):
        train(config, resume=True)
    kept.rename(result.model)


def test_cancel_is_quick(pairs, tmp_path):
    cancellation, moment = Cancellation(), []

    def stop():
        moment.append(time.monotonic())
        cancellation.cancel()

    timer = threading.Timer(2.0, stop)
    timer.start()
    with pytest.raises(Cancelled):
        config = small.config(pairs, tmp_path / "run", trainer={"epochs": 5000})
        train(config, Reporter(cancellation=cancellation))
    assert time.monotonic() - moment[0] < 2
    checkpoint(tmp_path / "run")


def test_a_reading_process_that_is_killed(pairs, tmp_path):
    config = small.config(pairs, tmp_path / "run", data={"workers": 1})
    data = open_data(config, None, Reporter())
    data = dataclasses.replace(data, train=KillAt(data.train, None, 1, 3))
    with pytest.raises(ResourceError, match=r"data\.workers.*--resume"):
        train(config, data=data)
    assert checkpoint(tmp_path / "run")["epoch"] == 1


def test_a_reading_process_that_is_killed_while_we_are_in_code_with_errors_of_its_own(pairs, tmp_path, monkeypatch):
    """While workers start, torch tells of it from its signal handler, which may interrupt anything."""

    def interrupted(*_):
        raise ModelArchitectureError(
            "tiny: its arguments do not fit: DataLoader worker (pid 7) is killed by signal: 9."
        )

    monkeypatch.setattr(Keeper, "on_train_epoch_end", interrupted)
    with pytest.raises(ResourceError, match=r"data\.workers.*--resume"):
        train(small.config(pairs, tmp_path / "a"))

    cancellation = Cancellation()

    def stopped(*_):
        cancellation.cancel()
        interrupted()

    monkeypatch.setattr(Keeper, "on_train_epoch_end", stopped)
    with pytest.raises(Cancelled):
        train(small.config(pairs, tmp_path / "b"), Reporter(cancellation=cancellation))


def test_early_stopping(pairs, tmp_path):
    config = small.config(
        pairs, tmp_path / "run", trainer={"epochs": 50, "early_stopping": 2, "ema": 0}, optimiser={"learning_rate": 0.0}
    )
    sink = CollectSink()
    result = train(config, Reporter(sink))
    assert len(rows(result.run)) == 3 and result.metrics["epoch"] == 1
    assert any("stopped early" in event.get("message", "") for event in sink.events)
    assert train(config, resume=True).metrics == result.metrics  # and stays stopped


# ------------------------------------------------------------ what goes wrong
def test_a_loss_that_is_no_number_keeps_the_last_good_model(pairs, tmp_path, monkeypatch):
    config = small.config(pairs, tmp_path / "run")
    forward = small.TinyNet.forward

    def spoilt(self, before, after):
        output = forward(self, before, after)
        spoilt.calls += self.training
        return output * float("nan") if spoilt.calls > 6 else output

    spoilt.calls = 0
    monkeypatch.setattr(small.TinyNet, "forward", spoilt)
    with pytest.raises(DivergedError, match=r"epoch 2, step.*learning_rate") as caught:
        train(config)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2
    assert len(rows(tmp_path / "run")) == 1
    load_model(tmp_path / "run" / "model.safetensors")
    monkeypatch.setattr(small.TinyNet, "forward", forward)
    train(config, resume=True)  # and the checkpoint is a good one
    reference = small.config(pairs, tmp_path / "reference")
    train(reference)
    assert_same_run(tmp_path / "run", tmp_path / "reference")


def test_resume_of_other_pairs_or_damage(finished, tmp_path):
    config = dataclasses.replace(finished[0], output=str(tmp_path / "run"))
    interrupted(config, 1, 3)
    other = small.make_pairs(tmp_path / "other", train=5)
    with pytest.raises(ResumeMismatchError, match="not those the run began with"):
        train(small.replaced(config, data={"root": str(other)}), resume=True)
    (tmp_path / "run" / "last.ckpt").write_bytes(b"torn")
    with pytest.raises(CorruptError, match=r"last\.ckpt"):
        train(config, resume=True)
    with pytest.raises(ConfigError, match="not the folder of a run"):
        train(dataclasses.replace(config, output=str(tmp_path)), resume=True)


def test_start_from_a_model_file(finished, pairs, tmp_path):
    _, result, _ = finished
    model = {"architecture": "tiny-bn", "weights": str(result.model)}
    config = small.config(
        pairs, tmp_path / "run", model=model, optimiser={"learning_rate": 0.0}, trainer={"epochs": 1, "ema": 0}
    )
    again = train(config)
    first, second = small.weights(result.model), small.weights(again.model)
    assert all(torch.equal(first[name], second[name]) for name in first if "running" not in name and "num_" not in name)
    assert read_card(again.model).before == read_card(result.model).before
    with pytest.raises(ConfigError, match=r"model\.weights"):
        train(small.replaced(config, model={"arguments": {"width": 4}}), overwrite=True)


def test_semantic(tmp_path):
    root = small.make_pairs(tmp_path / "pairs", classes=True)
    config = small.config(
        root,
        tmp_path / "run",
        data={"layout": "second"},
        loss={"bce": 1.0, "similarity": 1.0},
        trainer={"monitor": "score"},
    )
    result = train(config)
    card = read_card(result.model)
    assert card.task == "semantic" and len(card.classes) == 6
    assert {"miou", "sek", "fscd", "score"} <= set(result.metrics)
    assert 0 <= result.metrics["score"] <= 1


def test_a_backbone_from_a_file(pairs, tmp_path):
    from safetensors.torch import save_file

    from cdengine.models.zoo import build

    network = build("btc", {"backbone": "resnet18", "bands_before": 3, "bands_after": 3})
    backbone = next(module for module in network.modules() if type(module).__name__ == "Backbone")
    weights = {name: value.clone() for name, value in backbone.features.state_dict().items()}
    save_file(weights, tmp_path / "resnet18.safetensors")
    still = {"optimiser": {"learning_rate": 0.0}, "trainer": {"epochs": 1, "epoch_batches": 1, "ema": 0}}
    model = {"architecture": "btc", "arguments": {"backbone": "resnet18"}}
    model["pretrained"] = str(tmp_path / "resnet18.safetensors")
    result = train(small.config(pairs, tmp_path / "run", model=model, **still))
    trained = small.weights(result.model)
    convolutions = [name for name, value in weights.items() if value.ndim == 4]
    for name in convolutions:
        assert any(key.endswith(name) and torch.equal(trained[key], weights[name]) for key in trained), name


def test_the_backbone_of_the_shipped_model(pairs, tmp_path):
    still = {"optimiser": {"learning_rate": 0.0}, "trainer": {"epochs": 1, "epoch_batches": 1, "ema": 0}}
    arguments = {"backbone": "efficientnet_lite0", "levels": 5, "width": 16}
    model = {"architecture": "btc", "arguments": arguments, "pretrained": "rgb-vhr-v1"}
    result = train(small.config(pairs, tmp_path / "run", model=model, **still))
    trained, shipped = small.weights(result.model), small.weights(shipped_path("rgb-vhr-v1"))
    kernels = [name for name, value in shipped.items() if "backbone" in name and value.ndim == 4]
    assert len(kernels) > 40
    assert all(torch.equal(trained[name], shipped[name].float()) for name in kernels)
    train(load_config(tmp_path / "run" / "config.yaml"), resume=True)  # its name, not a path, stands in the folder


def test_a_run_goes_on_from_any_folder(pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(pairs.parent)
    config = small.config(pairs.name, tmp_path / "run", trainer={"epochs": 2})
    interrupted(config, 1, 3)
    monkeypatch.chdir(tmp_path)
    train(load_config(tmp_path / "run" / "config.yaml"), resume=True)
    assert len(rows(tmp_path / "run")) == 2


def test_half_precision_and_strict_determinism(pairs, tmp_path):
    options = {"epochs": 1, "precision": "bf16", "deterministic": True}
    result = train(small.config(pairs, tmp_path / "run", trainer=options))
    assert all(map(math.isfinite, result.metrics.values()))
    assert all(value.dtype != torch.bfloat16 for value in small.weights(result.model).values())
    assert not torch.are_deterministic_algorithms_enabled()
    other = train(small.config(pairs, tmp_path / "other", trainer={"epochs": 1}))
    assert rows(other.run) != rows(result.run)
