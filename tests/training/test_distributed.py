"""Two processes on one machine (gloo) learn what one process with the doubled batch learns."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import small_training as small
import torch

MAIN = Path(small.__file__)
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(MAIN.parents[1]), "GLOO_SOCKET_IFNAME": "lo"}


def rows(run):
    with open(run / "metrics.csv", newline="") as file:
        return [
            {name: float(value) for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)
        ]


def command(launcher, recipe, *argv):
    done = subprocess.run(
        [sys.executable, *launcher, MAIN, "train", "--config", recipe, "--debug", *argv],
        capture_output=True, text=True, env=ENV, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done


# dropout draws other numbers in each process; every loss here is a sum, so the gradients must agree
SUMS = {"bce": 1.0, "dice": 1.0, "focal": 1.0, "tversky": 0.5, "contrastive": 0.1}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["lightning", "torchrun"])
def test_two_processes_are_one_with_the_doubled_batch(tmp_path, launcher):
    pairs = small.make_pairs(tmp_path / "pairs", train=8, val=3)
    shape = {"loss": SUMS, "model": {"architecture": "tiny", "arguments": {"dropout": 0.0}}}
    both = {"epochs": 3, "epoch_batches": 4}
    one = small.recipe(pairs, tmp_path / "one", data={"batch_size": 4}, trainer=both, **shape)
    two = small.recipe(pairs, tmp_path / "two", data={"batch_size": 2}, trainer={**both, "devices": 2}, **shape)
    command([], small.write_recipe(tmp_path / "one.yaml", one))
    flags = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if launcher == "torchrun" else []
    done = command(flags, small.write_recipe(tmp_path / "two.yaml", two))
    assert done.stdout.count("best epoch") == 1  # one process speaks
    for alone, together in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        assert together == pytest.approx(alone, rel=1e-4, abs=1e-5)
    left, right = (small.weights(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-3, atol=1e-4)
