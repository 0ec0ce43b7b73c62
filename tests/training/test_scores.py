"""Validation figures gathered on the device are those of the metrics' own counting."""

import numpy as np
import pytest
import torch

from cdengine.assess import semantic
from cdengine.assess.curves import Curves
from cdengine.models.logits import Logits
from cdengine.training.scores import LEVELS, Scores


@pytest.fixture
def batches(rng):
    made = []
    for _ in range(3):
        change = rng.choice([0, 0, 0, 1, 255], (1, 16, 16)).astype(np.uint8)
        classes = [np.where(rng.random((1, 16, 16)) < 0.8, rng.integers(0, 3, (1, 16, 16)), 255) for _ in range(2)]
        batch = {
            "change": torch.from_numpy(change),
            "valid": torch.from_numpy(rng.random((1, 16, 16)) < 0.9),
            "before_classes": torch.from_numpy(classes[0]),
            "after_classes": torch.from_numpy(classes[1]),
        }
        logits = [torch.from_numpy(rng.normal(size=(1, k, 16, 16)).astype(np.float32)) for k in (1, 3, 3)]
        made.append((Logits(*logits), batch))
    return made


def test_change(batches):
    scores, curves = Scores(0, torch.device("cpu")), Curves()
    for output, batch in batches:
        scores.add(output.change, batch, torch.tensor(0.5))
        curves.add(torch.sigmoid(output.change[0, 0]).numpy(), batch["change"][0].numpy(), batch["valid"][0].numpy())
    found = scores.finish()
    best = curves.best_threshold()
    assert found.threshold == best.threshold
    assert found.figures == {"loss": 0.5, **best.confusion.figures(), "ap": curves.average_precision(),
                             "ece": curves.calibration().ece}  # fmt: skip


def test_classes(batches):
    scores, table = Scores(3, torch.device("cpu")), semantic.SemanticScore(3)
    for output, batch in batches:
        scores.add(output, batch, torch.tensor(1.0))
    found = scores.finish()
    assert found.threshold * LEVELS == round(found.threshold * LEVELS)
    for output, batch in batches:
        change = (torch.sigmoid(output.change[0, 0]) >= found.threshold).numpy().astype(np.uint8)
        predicted = [semantic.codes(change, layer[0].argmax(0).numpy()) for layer in (output.before, output.after)]
        truth = [
            semantic.codes(batch["change"][0].numpy(), batch[name][0].numpy())
            for name in ("before_classes", "after_classes")
        ]
        table.add(tuple(predicted), tuple(truth), batch["valid"][0].numpy())
    expected = table.figures()
    assert {name: found.figures[name] for name in ("miou", "sek", "fscd", "score")} == pytest.approx(
        {name: expected[name] for name in ("miou", "sek", "fscd", "score")}
    )


def test_nothing_labelled_gives_figures_all_the_same():
    scores = Scores(0, torch.device("cpu"))
    batch = {"change": torch.full((1, 4, 4), 255), "valid": torch.ones(1, 4, 4, dtype=torch.bool)}
    scores.add(torch.zeros(1, 1, 4, 4), batch, torch.tensor(0.0))
    found = scores.finish()
    assert found.threshold == 0.5 and all(np.isfinite(value) for value in found.figures.values())
