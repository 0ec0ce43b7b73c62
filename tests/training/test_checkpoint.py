"""Checkpoints come whole or not at all, hold data only, and damage is told."""

import os
import signal
import subprocess
import sys

import pytest
import torch

from cdengine.errors import CorruptError, NotFoundInputError, OutputError
from cdengine.training.checkpoint import read_checkpoint, write_checkpoint

STATE = {
    "numbers": {"epoch": 3, "best": 0.1 + 0.2, "none": None, "yes": True},
    "weights": {"a.b": torch.arange(6.0).view(2, 3), "scalar": torch.tensor(7), "empty": torch.zeros(0)},
    "list": [1, torch.ones(2, dtype=torch.bfloat16)],
}


def test_round_trip(tmp_path):
    write_checkpoint(tmp_path / "last.ckpt", STATE)
    found = read_checkpoint(tmp_path / "last.ckpt")
    assert found["numbers"] == STATE["numbers"] and found["list"][0] == 1
    assert all(torch.equal(found["weights"][name], value) for name, value in STATE["weights"].items())
    assert found["list"][1].dtype == torch.bfloat16
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_tied_and_strided_tensors(tmp_path):
    one = torch.arange(12.0).view(3, 4)
    write_checkpoint(tmp_path / "c", {"a": one, "b": one, "t": one.t()})
    found = read_checkpoint(tmp_path / "c")
    assert torch.equal(found["a"], found["b"]) and torch.equal(found["t"], one.t())


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"PK" + b, lambda b: b[:9] + b"x" + b[10:]]
)
def test_damage_is_told(tmp_path, damage):
    path = tmp_path / "last.ckpt"
    write_checkpoint(path, STATE)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CorruptError, match=r"last\.ckpt"):
        read_checkpoint(path)


def test_missing(tmp_path):
    with pytest.raises(NotFoundInputError):
        read_checkpoint(tmp_path / "last.ckpt")


def test_a_pickle_is_not_run(tmp_path):
    canary = tmp_path / "canary"
    torch.save({"x": _Trap(str(canary))}, tmp_path / "last.ckpt")
    with pytest.raises(CorruptError):
        read_checkpoint(tmp_path / "last.ckpt")
    assert not canary.exists()


class _Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_failed_writing_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    write_checkpoint(path, STATE)
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(OutputError, match="Input/output error"):
        write_checkpoint(path, {"other": 1})
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["last.ckpt"]


KILLED = """
import sys, torch
from pathlib import Path
from cdengine.training.checkpoint import write_checkpoint
torch.set_num_threads(1)
path = Path(sys.argv[1])
for number in range(10**6):
    write_checkpoint(path, {"number": number, "weights": torch.full((500_000,), float(number))})
    print(number, flush=True)
"""


def test_kill_in_the_middle_of_writing(tmp_path):
    """Killed again and again without warning, the file under the name is always a whole one, and the newest or next."""
    path = tmp_path / "last.ckpt"
    with subprocess.Popen([sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE, text=True) as process:
        last = [int(process.stdout.readline()) for _ in range(3)][-1]
        process.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in process.stdout.read().split())])
    found = read_checkpoint(path)
    assert found["number"] in (last, last + 1)
    assert bool((found["weights"] == found["number"]).all())
