"""The model card: what a model file says about itself, as frozen data classes and as JSON. Loads no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cdengine.errors import ModelMetadataError
from cdengine.models.fields import Fields, unique_keys

SCHEMA = 1
TASKS = ("binary", "semantic", "hetero")
MAX_CLASSES = 254  # class rasters are uint8 and 255 is nodata


@dataclass(frozen=True)
class DateInput:
    """What the model expects of one date's image.

    A stored value x becomes (x * scale - mean) / std before the network sees it.

    Attributes:
        bands: names of the bands in order ("red", "green", "blue").
        mean: of the training set, one per band, after `scale`.
        std: standard deviation, likewise.
        scale: factor that brings stored values to the units of `mean` (1/255 for 8-bit imagery, say).
        ground_sample_distance: metres per pixel that the model was trained at; None where it does not matter.
    """

    bands: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1.0
    ground_sample_distance: float | None = None

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.bands)


@dataclass(frozen=True)
class ModelCard:
    """Everything needed to run a model years later.

    Attributes:
        name: what the user calls it.
        task: "binary" (change), "semantic" (change and classes of both dates), "hetero" (dates of different sensors).
        architecture: a name of the zoo.
        arguments: of the architecture's constructor, apart from the band and class counts, which follow from the rest.
        before, after: what each date must look like.
        classes: land-cover names of a semantic model, else ().
        threshold: change = probability >= threshold.
        tile: side of a tile in pixels, a multiple of 32.
        margin: pixels at a tile's inner edges that are not trusted.
        training: data, seed, version: free form.
        metrics: figures with their names: free form.
        license: of the weights, as an SPDX expression where there is one.
        citation: what to cite.
    """

    name: str
    task: str
    architecture: str
    before: DateInput
    after: DateInput
    arguments: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    threshold: float = 0.5
    tile: int = 512
    margin: int = 16
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    license: str = ""
    citation: str = ""

    def constructor_arguments(self) -> dict[str, Any]:
        """Arguments of the architecture together with the counts that follow from inputs and classes."""
        counts = {"bands_before": self.before.count, "bands_after": self.after.count}
        if self.classes:
            counts["classes"] = len(self.classes)
        return {**self.arguments, **counts}

    def to_dict(self) -> dict[str, Any]:
        """The card as plain JSON values, keys as in the file."""
        flat = asdict(self)
        inputs = {}
        for date in ("before", "after"):
            values = flat.pop(date)
            inputs[date] = {"bands": values.pop("bands"), "count": getattr(self, date).count, **values}
        plain: dict[str, Any] = json.loads(json.dumps({"schema": SCHEMA, **flat, "inputs": inputs}, allow_nan=False))
        return plain

    def to_json(self) -> str:
        """The text that lies in the model file; keys are sorted, so equal cards give equal bytes."""
        return json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False, allow_nan=False)


def parse_card(text: str, where: str) -> ModelCard:
    """Reads and checks a card.

    Args:
        text: JSON.
        where: the file's name, for messages.

    Raises:
        ModelMetadataError: not JSON, too deep, of another schema, or a field is missing, unknown or senseless; the
            message names the field.
    """
    try:
        card = json.loads(text, object_pairs_hook=unique_keys, parse_constant=_refuse_constant)
    except RecursionError:
        raise ModelMetadataError(f"{where}: the model card is nested too deeply; export the model again") from None
    except ValueError as error:
        raise ModelMetadataError(
            f"{where}: the model card is not valid JSON ({error}); export the model again"
        ) from None
    fields = Fields(where, "", card)
    _check_schema(fields)
    inputs = fields.section("inputs")
    parsed = ModelCard(
        name=fields.text("name", least=1),
        task=fields.text("task", among=TASKS),
        architecture=fields.text("architecture", least=1),
        arguments=fields.mapping("arguments", reserved=("bands_before", "bands_after", "classes")),
        before=_date(inputs.section("before")),
        after=_date(inputs.section("after")),
        classes=fields.texts("classes", most=MAX_CLASSES),
        threshold=fields.number("threshold", 0, 1),
        tile=fields.integer("tile", 32, 8192, multiple=32),
        margin=fields.integer("margin", 0, 4096, default=16),
        training=fields.mapping("training", default={}),
        metrics=fields.mapping("metrics", default={}),
        license=fields.text("license", default=""),
        citation=fields.text("citation", default=""),
    )
    inputs.finish()
    fields.finish()
    if parsed.task == "semantic" and len(parsed.classes) < 2:
        raise fields.error("classes", "must name at least two classes, since the task is semantic")
    if parsed.task == "binary" and parsed.classes:
        raise fields.error("classes", "must be empty, since the task is binary")
    if 2 * parsed.margin >= parsed.tile:
        raise fields.error("margin", f"is {parsed.margin}, which leaves nothing of a tile of {parsed.tile} px")
    return parsed


def _check_schema(fields: Fields) -> None:
    schema = fields.integer("schema", 1, 10**6)
    if schema > SCHEMA:
        raise ModelMetadataError(
            f"{fields.where}: the model card has schema {schema}, this cdengine reads up to {SCHEMA}: update cdengine"
        )


def _date(fields: Fields) -> DateInput:
    bands = fields.texts("bands", least=1, most=10_000, unique=False)
    count = fields.integer("count", 1, 10_000)
    if count != len(bands):
        raise fields.error("count", f"is {count}, but bands has {len(bands)} names")
    parsed = DateInput(
        bands=bands,
        mean=fields.numbers("mean", len(bands)),
        std=fields.numbers("std", len(bands), positive=True),
        scale=fields.number("scale", 1e-30, 1e30),
        ground_sample_distance=fields.optional_number("ground_sample_distance", 1e-6, 1e6),
    )
    fields.finish()
    return parsed


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
