"""Recipes of small chains, and stages that take no time: folders and files as the real ones leave them, no networks."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import small_training as small

from cdengine.training import chain as chains
from cdengine.training import chainfigures
from cdengine.training.runfolder import RunFolder

SEMANTIC = {
    "data": {"layout": "second", "augmentation": {"crop": 32}},
    "loss": {"bce": 2.0, "positive_weight": 2.0, "classes": 2.0},
    "trainer": {"monitor": "score", "epochs": 2, "epoch_batches": 2},
}
CHAIN = {
    "teachers": [{"name": "wide", "model": {"arguments": {"width": 16}}}, {}],
    "students": [{"name": "small-one", "optimiser": {"learning_rate": 0.01}}],
    "compare": True,
}
NETWORKS = ["wide", "teacher-2", "small-one", "small-one-without"]


def recipe(data, folder, **chain):
    tree = small.recipe(data, folder / "run", **SEMANTIC)
    tree["chain"] = {**CHAIN, **chain}
    return small.write_recipe(folder / "chain.yaml", tree)


class Stages:
    """Takes the place of training, voting and measuring.

    Attributes:
        done: what was asked for, in order: ("train", name, resume), ("label", options), ("measure", name, options).
        fail: called with each of them; may raise.
    """

    def __init__(self, patch):
        self.done, self.fail = [], lambda *_: None
        patch.setattr(chains, "train", self.train)
        patch.setattr(chains, "pseudo_label", self.pseudo_label)
        patch.setattr(chainfigures, "evaluate", self.evaluate)

    def named(self, kind):
        return [name for found, name, *_ in self.done if found == kind]

    def train(self, config, reporter, *, resume):
        run = RunFolder(config.output)
        if resume:
            run.open()
        else:
            run.claim(False)
            run.begin(config, "{}")
        run.close()
        self.fail("train", config.name)
        self.done.append(("train", config.name, resume))
        if not run.model.is_file():
            run.model.write_text(f"{config.name} of seed {config.seed}")

    def pseudo_label(self, options, reporter):
        folder = Path(options.output)
        assert options.resume == folder.is_dir()
        folder.mkdir(exist_ok=True)
        (folder / "job.json").write_text("{}")
        self.fail("label", options)
        self.done.append(("label", options))
        models = [{"sha256": hashlib.sha256(Path(name).read_bytes()).hexdigest()} for name in options.model]
        facts = {"models": models, "class_share": {}, "labelled_share_of_unchanged": 0.5}
        (folder / "pseudo-labels.json").write_text(json.dumps(facts))

    def evaluate(self, data, layout, split, models, **options):
        name = Path(options["output"]).stem
        self.fail("measure", name)
        self.done.append(("measure", name, {"split": split, **options}))
        for key in ("output", "report"):
            Path(options[key]).write_text(name)
        return SimpleNamespace(pooled=dict.fromkeys(chainfigures.SHOWN, 0.5))
