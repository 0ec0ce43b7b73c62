"""Self-distillation from one recipe: teachers, pseudo labels for the unchanged, students, and how well all of them do.

Source: SenseEarth 2020 (Yang, Xia & others): several large networks learn from labels of changed pixels alone, vote on
classes of unchanged ones, and a smaller network learns from both.

A recipe of a chain is one of `train` with a section `chain` besides: what stands outside holds for every member, and
each member says what is its own. Stages lie in folders of their own, and one that is done is not done again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cdengine.errors import ResumeMismatchError
from cdengine.events import Event, Reporter
from cdengine.inference.pseudolabel import PseudoLabelOptions, pseudo_label
from cdengine.training.chaincheck import Measure, check_chain
from cdengine.training.chainconfig import Chain, Member, load_chain
from cdengine.training.chainfigures import Figures, measure_all, model_file, read_labels, reading, voters
from cdengine.training.chainfolder import PAIRS, RECIPE, REPORT, ChainFolder, refuse_other
from cdengine.training.checkpoint import write_whole
from cdengine.training.fit import train
from cdengine.training.strict import read_yaml

T = TypeVar("T")


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


def run_chain(
    chain: Chain, reporter: Reporter | None = None, *, resume: bool = False, overwrite: bool = False
) -> ChainResult:
    """Does every stage that is not done yet.

    Args:
        chain: of `load_chain`.
        reporter: stages are named after the member: "teacher-1 (1 of 5): epoch 3".
        resume: go on with the chain that the folder holds, or begin one where there is none; stages that are done stay.
        overwrite: remove the chain that the folder holds, once this one is found sound, and begin anew.

    Raises:
        OutputExistsError: the folder holds a chain and neither is given, or something that is no chain.
        ResumeMismatchError: it holds a chain, or a network, of another recipe.
        CDEngineError: of the stages; those that are done stay done.
        Cancelled: the user stopped; `resume` goes on.
    """
    reporter, folder = reporter or Reporter(), ChainFolder(chain)
    folder.claim(resume=resume, overwrite=overwrite)
    try:
        reporter.info("looking at the data and at every network")
        measure = check_chain(chain, reporter)
        folder.begin(overwrite)
        if measure.listed:
            write_whole(chain.output / PAIRS, ("\n".join(measure.listed) + "\n").encode())
        if measure.learnt:
            split = f"{measure.learnt} of {measure.pairs} pairs of split {measure.split}"
            reporter.warning(f"{split}, on which all are measured, are learnt from: the figures will flatter")
        with reporter.cancellation.resumable(f"--resume {chain.output}"):
            return _Run(chain, measure, reporter).go()
    finally:
        folder.close()


def resumed_chain(folder: str | os.PathLike[str], asked: str | None, sets: Sequence[str]) -> Chain:
    """The chain that a folder holds, moved to this machine.

    Raises:
        ResumeMismatchError: `asked` or a setting is another job's.
    """
    own = Path(folder) / RECIPE
    settings = [*sets, f"output={json.dumps(str(folder))}"]
    chain = load_chain(asked or own, settings)
    refuse_other(read_yaml(own), chain.tree, str(folder))
    return chain


class _Run:
    """The stages of one chain."""

    def __init__(self, chain: Chain, measure: Measure, reporter: Reporter) -> None:
        self.chain, self.measure, self.reporter = chain, measure, reporter
        self._stages = len(chain.members) + 2
        self._stage = 0

    def go(self) -> ChainResult:
        chain = self.chain
        for member in chain.of("teacher"):
            self._train(member)
        labels = self._label()
        for member in chain.members:
            if member.role != "teacher":
                self._train(member)

        def action(reporter: Reporter) -> Figures:
            return measure_all(chain, self.measure, labels, reporter)

        figures = self._next("evaluation", action)
        students = {name: row for name, row in figures.items() if row["role"] == "student"}
        best = max(students, key=lambda name: students[name]["score"])
        model = model_file(next(member for member in chain.of("student") if member.config.name == best))
        return ChainResult(chain.output, Path(model), chain.output / REPORT, figures, best)

    def _next(self, name: str, action: Callable[[Reporter], T]) -> T:
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
        resume = (Path(str(config.output)) / "config.yaml").is_file()

        def action(reporter: Reporter) -> None:
            train(config, reporter, resume=resume)

        self._next(config.name, action)

    def _label(self) -> dict[str, Any]:
        chain, votes = self.chain, self.chain.config.pseudo_labels
        data, trainer = chain.members[0].config.data, chain.members[0].config.trainer
        options = PseudoLabelOptions(
            data=data.root,
            output=str(chain.pseudo_labels),
            model=tuple(model_file(member) for member in chain.of("teacher")),
            layout=data.layout,
            split=data.train,
            tta=votes.tta,
            min_confidence=votes.min_confidence,
            label_shift=votes.label_shift,
            device=trainer.device,
            precision=trainer.precision,
            resume=chain.pseudo_labels.is_dir(),
            **reading(data),
        )

        def action(reporter: Reporter) -> dict[str, Any]:
            done = read_labels(chain)
            if done is None:
                pseudo_label(options, reporter)
                done = read_labels(chain)
                assert done is not None
            elif [model["sha256"] for model in done["models"]] != voters(chain):
                raise ResumeMismatchError(
                    f"{chain.pseudo_labels}: other teachers voted than are here now: remove it and the folders of "
                    "students, then --resume, or give --overwrite to begin anew"
                )
            else:
                reporter.info("the pseudo labels are there already")
            return done

        return self._next("pseudo labels", action)


class _Named:
    """A sink that puts the stage's name before those of its parts."""

    def __init__(self, reporter: Reporter, name: str) -> None:
        self._reporter, self._name = reporter, name

    def emit(self, event: Event) -> None:
        """Passes the event on."""
        if "stage" in event:
            event = {**event, "stage": f"{self._name}: {event['stage']}"}
        self._reporter.emit(event)
