"""The recipe of a chain: one of `train` with a section `chain` besides, read strictly.

What stands outside of `chain` holds for every member; each member says what is its own. What can only be told with the
data at hand is the business of `chaincheck`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from cdengine.errors import ConfigError
from cdengine.models.shipped import SHIPPED
from cdengine.training.config import TrainConfig, check, completed, first_difference
from cdengine.training.strict import Tree, apply_sets, fill, read_yaml

SECTION = "chain"
TOGETHER = "students-together"  # in tables: the mean of the students' probabilities
TAKEN = ("chain", "report")  # files of the chain itself; each network has NAME.json and NAME.html beside them
# The pairs that teachers label are those that students learn and that all are measured on, in the same arithmetic.
EVERYBODYS = (
    *(f"data.{key}" for key in ("root", "layout", "train", "validation", "bands_before", "bands_after", "classes")),
    *("data.coding", "trainer.device", "trainer.precision"),
)


@dataclass(frozen=True)
class PseudoLabelConfig:
    """How the teachers vote.

    Attributes:
        tta: test-time augmentation of each teacher.
        min_confidence: probability that a class must have at both dates, or the teacher abstains.
        label_shift: estimate how common each class is on unchanged ground, and vote accordingly.
    """

    tta: Literal["none", "flip", "six", "d4"] = "six"
    min_confidence: float = 0.0
    label_shift: bool = False


@dataclass(frozen=True)
class ChainEvaluation:
    """On what all networks are measured.

    Attributes:
        split: of the data set; none: the validation pairs.
        tta: test-time augmentation.
    """

    split: str | None = None
    tta: Literal["none", "flip", "six", "d4"] = "six"


@dataclass(frozen=True)
class ChainConfig:
    """The section `chain` of a recipe.

    Attributes:
        teachers: what each teacher has of its own, such as name, model, optimiser; at least one.
        students: the same of the students.
        pseudo_labels: how the teachers vote.
        evaluation: on what all are measured.
        compare: train every student without pseudo labels too, to see what they are worth.
    """

    teachers: list[dict[str, Any]]
    students: list[dict[str, Any]]
    pseudo_labels: PseudoLabelConfig = field(default_factory=PseudoLabelConfig)
    evaluation: ChainEvaluation = field(default_factory=ChainEvaluation)
    compare: bool = False


@dataclass(frozen=True)
class Member:
    """A network of the chain.

    Attributes:
        role: "teacher", "student", or "student without pseudo labels".
        config: of its training; its output is the member's folder.
    """

    role: str
    config: TrainConfig


@dataclass(frozen=True)
class Chain:
    """A checked recipe.

    Attributes:
        tree: as read, settings put in, files named in full; what `chain.yaml` keeps.
        config: the section.
        members: teachers, then students, in order.
        output: the folder.
    """

    tree: Tree
    config: ChainConfig
    members: tuple[Member, ...]
    output: Path

    @property
    def pseudo_labels(self) -> Path:
        """Folder of the pseudo labels."""
        return self.output / "pseudo-labels"

    def of(self, role: str) -> list[Member]:
        """Members of a role."""
        return [member for member in self.members if member.role == role]


def load_chain(path: str | os.PathLike[str], sets: Sequence[str] = ()) -> Chain:
    """Reads a chain's recipe and checks every member.

    Raises:
        ConfigError: one line that names the file and the key.
    """
    tree, where = apply_sets(read_yaml(path), list(sets)), str(path)
    shared = {key: value for key, value in tree.items() if key != SECTION}
    section = tree.get(SECTION)
    if not isinstance(section, dict):
        raise ConfigError(f"{where}: {SECTION} is a section: put teachers and students under it")
    config = fill(ChainConfig, section, f"{where}: {SECTION}")
    if not 0 <= config.pseudo_labels.min_confidence < 1:
        raise ConfigError(f"{where}: chain.pseudo_labels.min_confidence: must be from 0 to less than 1")
    name = shared.get("name", "chain")
    if not isinstance(name, str):
        raise ConfigError(f"{where}: name: must be a text, not {name!r}: give one, or leave it out")
    output = Path(str(shared.get("output") or Path("runs") / name))
    members: list[Member] = []
    for role, listed in (("teacher", config.teachers), ("student", config.students)):
        if not listed:
            raise ConfigError(f"{where}: chain.{role}s: name one at least")
        for number, own in enumerate(listed, 1):
            if "output" in own:
                raise ConfigError(
                    f"{where}: chain.{role}s: output: members lie in the chain's own folder; leave it out"
                )
            named = {"name": f"{role}-{number}", **own}
            members.append(_member(role, _merged(shared, named), output / f"{role}s", f"{where}: chain.{role}s"))
    members = _completed(members, config.compare, output)
    _check_names([member.config.name for member in members], where)
    _check_common(members, where)
    _check_twins(members, where)
    return Chain(_portable(tree), config, tuple(members), output)


def _member(role: str, tree: Tree, folder: Path, where: str) -> Member:
    if not isinstance(tree["name"], str):
        raise ConfigError(f"{where}: name: must be a text, not {tree['name']!r}: give one, or leave it out")
    config = fill(TrainConfig, {**tree, "output": str(folder / tree["name"])}, where)
    check(config, where)
    if config.trainer.devices > 1:
        raise ConfigError(f"{where}: trainer.devices: a chain trains on one device; give members recipes of their own")
    if config.data.pseudo_labels is not None:
        raise ConfigError(f"{where}: data.pseudo_labels: the chain makes them itself; leave it out")
    if config.procedure != "supervised":
        raise ConfigError(f"{where}: procedure: teachers label pairs, so a chain is supervised; leave it out")
    return Member(role, completed(config))


def _completed(members: list[Member], compare: bool, output: Path) -> list[Member]:
    """With pseudo labels for the students, and the same students without where these are to be compared."""
    labels, plain = str(output / "pseudo-labels"), output / "students-without"
    without = [
        Member("student without pseudo labels", replace(one.config, name=name, output=str(plain / name)))
        for one in members
        if compare and one.role == "student"
        for name in [f"{one.config.name}-without"]
    ]
    return [
        Member(one.role, replace(one.config, data=replace(one.config.data, pseudo_labels=labels)))
        if one.role == "student"
        else one
        for one in members
    ] + without


def _check_names(names: list[str], where: str) -> None:
    """Each network has files of its name; some file systems do not tell upper from lower case."""
    for at, name in enumerate(names):
        if name.casefold() in (other.casefold() for other in names[:at]):
            raise ConfigError(f"{where}: chain: two members are named {name}: give each a name of its own")
        if name.casefold() in TAKEN or name.startswith("."):
            raise ConfigError(f"{where}: chain: {name} would name files of the chain itself; take another name")
        if name.casefold() == TOGETHER:
            raise ConfigError(f"{where}: chain: {TOGETHER} names the mean of all students; take another name")


def _check_common(members: list[Member], where: str) -> None:
    for key in EVERYBODYS:
        section, name = key.split(".")
        values = [getattr(getattr(member.config, section), name) for member in members]
        other = next((member for member, value in zip(members, values, strict=True) if value != values[0]), None)
        if other is not None:
            raise ConfigError(
                f"{where}: chain: {other.config.name}: {key} holds for all members; give it outside of chain"
            )


def _check_twins(members: list[Member], where: str) -> None:
    """Two of one recipe become one network, which would vote, or count in a mean, twice."""
    for at, member in enumerate(members):
        for other in members[:at]:
            alike = first_difference(member.config, other.config, ("name", "output")) is None
            if alike and member.role == other.role:
                raise ConfigError(
                    f"{where}: chain: {member.config.name} differs from {other.config.name} in name only, so it would "
                    "count twice: give it a seed or a model of its own"
                )


def _portable(tree: Tree) -> Tree:
    """The same recipe with its files named in full, so that it can go on from any folder (as `config.portable`)."""
    section = tree[SECTION]
    members = {role: [_in_full(member) for member in section[role]] for role in ("teachers", "students")}
    return {**_in_full(tree), SECTION: {**section, **members}}


def _in_full(tree: Tree) -> Tree:
    made = dict(tree)
    for section, names in (("data", ("root",)), ("model", ("weights", "pretrained"))):
        inner = made.get(section)
        if isinstance(inner, dict):
            files = {name: inner[name] for name in names if inner.get(name) not in (None, "timm", *SHIPPED)}
            made[section] = {**inner, **{name: str(Path(file).absolute()) for name, file in files.items()}}
    return made


def _merged(shared: Any, own: Any) -> Any:  # noqa: ANN401
    """`own` laid over `shared`, section by section."""
    if not (isinstance(shared, dict) and isinstance(own, dict)):
        return own
    return {**shared, **{key: _merged(shared.get(key), value) for key, value in own.items()}}
