"""Self-distillation from one recipe: teachers, pseudo labels for the unchanged, students, and how well all of them do.

Source: SenseEarth 2020 (Yang, Xia & others): several large networks learn from labels of changed pixels alone, vote on
classes of unchanged ones, and a smaller network learns from both.

A recipe of a chain is one of `train` with a section `chain` besides: what stands outside holds for every member, and
each member says what is its own. Stages lie in folders of their own, and one that is done is not done again.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from cdengine import __version__
from cdengine.data.layouts import find_pairs
from cdengine.errors import OutputExistsError, ResumeMismatchError
from cdengine.events import Event, Reporter
from cdengine.inference.evaluate import evaluate
from cdengine.inference.pseudolabel import FACTS, PseudoLabelOptions, pseudo_label
from cdengine.raster.lock import OutputLock
from cdengine.training.chainconfig import TOGETHER, Chain, Member, load_chain
from cdengine.training.chainreport import write_chain_report
from cdengine.training.checkpoint import write_whole
from cdengine.training.config import portable
from cdengine.training.datasets import find_splits
from cdengine.training.fit import train
from cdengine.training.strict import Tree, read_yaml

RECIPE, FIGURES, REPORT, TABLE = "chain.yaml", "chain.json", "report.html", "chain.csv"
# What may differ when a chain goes on: where things are and what computes.
MACHINE = ("output", "data.root", "data.workers", "trainer.device")
SHOWN = ("score", "miou", "sek", "fscd", "f1", "iou", "kappa")


@dataclass(frozen=True)
class ChainResult:
    """What a chain made.

    Attributes:
        run: its folder.
        model: the best student's file.
        report: the page.
        figures: member's name → role and figures.
        best: name of the best student.
    """

    run: Path
    model: Path
    report: Path
    figures: dict[str, dict[str, Any]]
    best: str


def run_chain(chain: Chain, reporter: Reporter | None = None, *, overwrite: bool = False) -> ChainResult:
    """Does every stage that is not done yet.

    Args:
        chain: of `load_chain`.
        reporter: stages are named after the member: "teacher-1 (1 of 5): epoch 3".
        overwrite: begin an earlier chain of the same folder anew; without it the chain goes on where it was.

    Raises:
        OutputExistsError: the folder holds something that is no chain.
        ResumeMismatchError: it holds a chain of another recipe.
        CDEngineError: of the stages; those that are done stay done.
        Cancelled: the user stopped; run again to go on.
    """
    reporter = reporter or Reporter()
    kept = chain.output / RECIPE
    _check_folder(chain, overwrite)
    chain.output.mkdir(parents=True, exist_ok=True)
    lock = OutputLock(Path(os.path.abspath(chain.output)))
    lock.acquire()
    try:
        write_whole(kept, _text(chain.tree).encode())
        if overwrite:
            (chain.output / FIGURES).unlink(missing_ok=True)
        return _Run(chain, reporter, overwrite).go()
    finally:
        lock.release()


def resumed_chain(folder: str | os.PathLike[str], asked: str | None, sets: Sequence[str]) -> Chain:
    """The chain that a folder holds, moved to this machine.

    Raises:
        ResumeMismatchError: `asked` or a setting is another job's.
    """
    own = Path(folder) / RECIPE
    settings = [*sets, f"output={json.dumps(str(folder))}"]
    chain = load_chain(asked or own, settings)
    _refuse_other(read_yaml(own), chain.tree, str(folder))
    return chain


def _check_folder(chain: Chain, overwrite: bool) -> None:
    kept = chain.output / RECIPE
    if not chain.output.is_dir() or not any(chain.output.iterdir()):
        return
    if not kept.is_file():
        raise OutputExistsError(f"{chain.output} is not the folder of a chain: give another --output")
    if not overwrite:
        _refuse_other(read_yaml(kept), chain.tree, str(chain.output))


def _refuse_other(kept: Tree, asked: Tree, folder: str) -> None:
    one, other = dict(_flat(kept)), dict(_flat(asked))
    for key in [*one, *other]:
        if one.get(key) != other.get(key) and key not in MACHINE:
            raise ResumeMismatchError(
                f"{folder} holds a chain with another {key}: leave it out, or give --overwrite or another --output"
            )


def _flat(value: Any, path: str = "") -> list[tuple[str, Any]]:  # noqa: ANN401
    if isinstance(value, dict) and value:
        return [pair for key, inner in value.items() for pair in _flat(inner, f"{path}.{key}" if path else key)]
    if isinstance(value, list) and value:
        return [pair for at, inner in enumerate(value) for pair in _flat(inner, f"{path}[{at}]")]
    return [(path, value)]


def _text(tree: Tree) -> str:
    return f"# a chain of cdengine {__version__}\n" + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


class _Run:
    """The stages of one chain."""

    def __init__(self, chain: Chain, reporter: Reporter, overwrite: bool) -> None:
        self.chain, self.reporter, self._overwrite = chain, reporter, overwrite
        self._stages = len(chain.members) + 2
        self._stage = 0

    def go(self) -> ChainResult:
        chain = self.chain
        for member in chain.of("teacher"):
            self._train(member)
        self._label()
        for member in chain.members:
            if member.role != "teacher":
                self._train(member)
        figures = self._next("evaluation", self._figures)
        students = {name: row for name, row in figures.items() if row["role"] == "student"}
        best = max(students, key=lambda name: students[name]["score"])
        model = Path(str(next(m for m in chain.of("student") if m.config.name == best).config.output))
        return ChainResult(chain.output, model / "model.safetensors", chain.output / REPORT, figures, best)

    def _next(self, name: str, action: Callable[[Reporter], Any]) -> Any:  # noqa: ANN401
        """Runs a stage with a reporter that puts its name before those of its parts."""
        self._stage += 1
        self.reporter.info(f"stage {self._stage} of {self._stages}: {name}")
        inner = Reporter(_Named(self.reporter, f"{name} ({self._stage} of {self._stages})"), self.reporter.cancellation)
        try:
            return action(inner)
        finally:
            inner.close()

    def _train(self, member: Member) -> None:
        config = member.config
        resume = (Path(str(config.output)) / "config.yaml").is_file() and not self._overwrite

        def action(reporter: Reporter) -> None:
            train(config, reporter, resume=resume, overwrite=self._overwrite)

        self._next(config.name, action)

    def _label(self) -> None:
        chain, votes = self.chain, self.chain.config.pseudo_labels
        data, trainer = chain.members[0].config.data, chain.members[0].config.trainer
        begun = chain.pseudo_labels.is_dir()
        options = PseudoLabelOptions(
            data=data.root,
            output=str(chain.pseudo_labels),
            model=tuple(_model(member) for member in chain.of("teacher")),
            layout=data.layout,
            split=data.train,
            tta=votes.tta,
            min_confidence=votes.min_confidence,
            classes=tuple(data.classes),
            device=trainer.device,
            resume=begun and not self._overwrite,
            overwrite=begun and self._overwrite,
        )

        def action(reporter: Reporter) -> None:
            if (chain.pseudo_labels / FACTS).is_file() and not self._overwrite:
                reporter.info("the pseudo labels are there already")
            else:
                pseudo_label(options, reporter)

        self._next("pseudo labels", action)

    def _figures(self, reporter: Reporter) -> dict[str, dict[str, Any]]:
        kept = self.chain.output / FIGURES  # written last
        if kept.is_file():
            reporter.info("the figures are there already")
            found: dict[str, dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8"))["figures"]
            return found
        return self._evaluate(reporter)

    def _evaluate(self, reporter: Reporter) -> dict[str, dict[str, Any]]:
        chain, first = self.chain, self.chain.members[0].config
        split = chain.config.evaluation.split or self._validation()
        figures: dict[str, dict[str, Any]] = {}
        measured = [(member.config.name, member.role, [_model(member)]) for member in chain.members]
        students = [_model(member) for member in chain.of("student")]
        if len(students) > 1:
            measured.append((TOGETHER, "mean of the students' probabilities", students))
        for name, role, models in measured:
            done = evaluate(
                first.data.root,
                first.data.layout,
                split,
                models,
                ensemble=len(models) > 1,
                classes=first.data.classes,
                tta=chain.config.evaluation.tta,
                device=first.trainer.device,
                output=str(chain.output / f"{name}.json"),
                report=str(chain.output / f"{name}.html"),
                overwrite=True,
                reporter=reporter,
            )
            figures[name] = {"role": role, **{key: done.pooled[key] for key in SHOWN if key in done.pooled}}
            for key in ("score", "miou", "sek", "fscd"):
                reporter.metric(f"{name}_{key}", float(figures[name][key]), step=0)
        labels = json.loads((chain.pseudo_labels / FACTS).read_text(encoding="utf-8"))
        facts = {"version": __version__, "split": split, "figures": figures, "pseudo_labels": labels}
        write_whole(chain.output / TABLE, _csv(figures).encode())
        page = write_chain_report(figures, labels, asdict(portable(first)))
        write_whole(chain.output / REPORT, page.encode())
        write_whole(chain.output / FIGURES, json.dumps(facts, indent=2, ensure_ascii=False).encode())
        return figures

    def _validation(self) -> str:
        """A list file of the validation pairs, which need not be a split of their own."""
        data = self.chain.members[0].config.data

        def find(root: str, split: str, _classes: bool) -> list[Any]:
            return find_pairs(root, data.layout, split)

        _, pairs = find_splits(data, find, True)
        lines = [pair.name if data.layout == "index" else str(Path(pair.before).absolute()) for pair in pairs]
        path = self.chain.output / "validation.txt"
        write_whole(path, ("\n".join(lines) + "\n").encode())
        return str(path.absolute())


class _Named:
    """A sink that puts the stage's name before those of its parts."""

    def __init__(self, reporter: Reporter, name: str) -> None:
        self._reporter, self._name = reporter, name

    def emit(self, event: Event) -> None:
        """Passes the event on."""
        if "stage" in event:
            event = {**event, "stage": f"{self._name}: {event['stage']}"}
        self._reporter.emit(event)


def _model(member: Member) -> str:
    return str(Path(str(member.config.output)) / "model.safetensors")


def _csv(figures: dict[str, dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "role", *SHOWN])
    writer.writerows([name, row["role"], *(row.get(key, "") for key in SHOWN)] for name, row in figures.items())
    return text.getvalue()
