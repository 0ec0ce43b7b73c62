"""What would end a chain after days, told before its first stage: networks that cannot be built, splits that are not.

Nothing is written here, so a chain that is to be replaced is still whole when its successor is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import timm.models

from cdengine.data.codings import ChangeCoding
from cdengine.data.images import read_image
from cdengine.data.layouts import PairFiles, find_pairs
from cdengine.data.lists import pick
from cdengine.data.manifest import label_format
from cdengine.errors import ConfigError, DatasetError, ModelArchitectureError
from cdengine.events import Reporter
from cdengine.inference.device import choose_device
from cdengine.models.backbones import OWN_NAMES, Backbone
from cdengine.models.container import read_card, read_header
from cdengine.models.shipped import model_path
from cdengine.models.zoo import ARCHITECTURES, build_meta
from cdengine.training.chainconfig import Chain, Member
from cdengine.training.chainfolder import PAIRS
from cdengine.training.config import DataConfig
from cdengine.training.datasets import KEPT, find_splits


@dataclass(frozen=True)
class Measure:
    """On what the networks are measured.

    Attributes:
        split: of the data set, or a list file.
        listed: lines of that list file, which is the chain's own; () where the data set has the split.
        pairs: how many.
        chose: of them, how many chose epochs and thresholds of the networks.
        learnt: of them, how many the networks learnt from.
    """

    split: str
    listed: tuple[str, ...]
    pairs: int
    chose: int
    learnt: int


def check_chain(chain: Chain, reporter: Reporter | None = None) -> Measure:
    """Looks at the data and at every network, without its weights.

    Args:
        chain: of `load_chain`.
        reporter: may stop it.

    Raises:
        ConfigError: the labels have no classes, or a member cannot be trained on them.
        DatasetError, InputError: a split is missing, unlabelled, or its first pair cannot be read.
        ModelArchitectureError: the zoo has no such network.
        DeviceError: there is no such device.
    """
    data, trainer = chain.members[0].config.data, chain.members[0].config.trainer
    choose_device(trainer.device)
    coding = ChangeCoding.parse(data.coding) if data.coding else None
    labels = label_format(data.root, data.layout, classes=data.classes, coding=coding)
    if labels.classes is None:
        raise ConfigError(
            f"data: {data.root} names no classes, which teachers and students need: name them in data.classes, or take "
            "a layout of classes such as second"
        )
    train, validation = find_splits(data, lambda root, split, _: find_pairs(root, data.layout, split), True)
    for pair in (*train, *validation):
        _check_labelled(pair, "data.train and data.validation")
    bands_before, bands_after = (
        len(read_image(path, bands or None)[0])
        for path, bands in ((train[0].before, data.bands_before), (train[0].after, data.bands_after))
    )
    for member in (*chain.of("teacher"), *chain.of("student")):  # those without pseudo labels are the students again
        (reporter or Reporter()).check()
        _check_network(member, {"bands_before": bands_before, "bands_after": bands_after}, labels.classes.names)
    return _measure(chain, data, train, validation)


def _check_labelled(pair: PairFiles, key: str) -> None:
    if pair.before_classes is None:
        raise DatasetError(f"{pair.before} has no class labels: name splits that have them in {key}")


def _check_network(member: Member, bands: dict[str, int], classes: Sequence[str]) -> None:
    config = member.config
    model, where = config.model, f"chain: {config.name}"
    constructor = ARCHITECTURES.get(model.architecture)
    if constructor is not None and "classes" not in inspect.signature(constructor).parameters:
        raise ConfigError(
            f"{where}: model.architecture: {model.architecture} tells no classes, which teachers and students must: "
            "take bisrnet or senseearth"
        )
    arguments = {**model.arguments, **bands, "classes": len(classes)}
    try:
        network = build_meta(model.architecture, arguments)
    except ModelArchitectureError as error:
        raise ModelArchitectureError(f"{where}: {error}") from error
    weights = config.loss.class_weights
    if weights and len(weights) != len(classes):
        raise ConfigError(
            f"{where}: loss.class_weights: {len(weights)} numbers for {len(classes)} classes ({', '.join(classes)}): "
            "give one each, in this order, or [] for all alike"
        )
    stride = int(getattr(network, "stride", 1))
    if config.data.augmentation.crop % stride:
        raise ConfigError(f"{where}: data.augmentation.crop: must be a multiple of {stride}, which the network needs")
    if model.weights is not None:
        card = read_card(model_path(model.weights))
        if (card.architecture, card.constructor_arguments()) != (model.architecture, arguments):
            raise ConfigError(
                f"{where}: model.weights: {model.weights} holds {card.architecture} with "
                f"{card.constructor_arguments()}, not {model.architecture} with {arguments}: make them equal"
            )
    if not (Path(str(config.output)) / "last.ckpt").is_file():  # else its backbone has been trained on already
        _check_pretrained(model.pretrained, [part for part in network.modules() if isinstance(part, Backbone)], where)


def _check_pretrained(pretrained: str | None, backbones: Sequence[Backbone], where: str) -> None:
    if pretrained is None:
        return
    if not backbones:
        raise ConfigError(f"{where}: model.pretrained: the network has no backbone of timm's; set it to null")
    if pretrained != "timm":
        read_header(model_path(pretrained))
        return
    if len({part.timm_name for part in backbones}) > 1:
        raise ConfigError(f"{where}: model.pretrained: timm's weights are for networks of one backbone; set it to null")
    for part in backbones:
        if part.name in OWN_NAMES or not timm.models.is_model_pretrained(part.timm_name):
            raise ConfigError(
                f"{where}: model.pretrained: timm offers no weights for {part.name}; give a file, or null"
            )


def _measure(chain: Chain, data: DataConfig, train: Sequence[PairFiles], validation: Sequence[PairFiles]) -> Measure:
    named = chain.config.evaluation.split
    split, pairs = named or data.validation, list(validation)
    listed: tuple[str, ...] = ()
    if named is not None:
        pairs = [pair for pair in find_pairs(data.root, data.layout, named) if pair.labelled]
        if not pairs:
            raise DatasetError(f"{data.root}: split {named} has no labels: name another in chain.evaluation.split")
        for pair in pairs:
            _check_labelled(pair, "chain.evaluation.split")
    elif data.validation in KEPT:  # no split of the data set: the chain lists its pairs
        split = str((chain.output / PAIRS).absolute())
        listed = _names_in_whole(data, validation)
    learnt, chose = ({pair.before for pair in those} for those in (train, validation))
    return Measure(
        split,
        listed,
        len(pairs),
        sum(pair.before in chose for pair in pairs),
        sum(pair.before in learnt for pair in pairs),
    )


def _names_in_whole(data: DataConfig, pairs: Sequence[PairFiles]) -> tuple[str, ...]:
    """Names of pairs as a list file has them: those that they have in all of the data set.

    Raises:
        DatasetError: a list cannot name them, or would mean other ones.
    """
    whole = find_pairs(data.root, data.layout, "all")
    names = {pair.before: pair.name for pair in whole}
    lines = [names.get(pair.before, "") for pair in pairs]
    plain = all(line and line == line.strip() and not line.startswith("#") for line in lines)
    if not plain or [pair.before for pair in pick(whole, lines, None)] != [pair.before for pair in pairs]:
        raise DatasetError(
            f"{data.root}: the validation pairs cannot be listed by name among all of it: name a split of the data set "
            "in chain.evaluation.split"
        )
    return tuple(lines)
