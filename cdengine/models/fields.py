"""Typed, strict reading of a JSON object's fields, with errors that name the field. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from cdengine.errors import ModelMetadataError


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads(object_pairs_hook=…)`: a key given twice is an error, since readers disagree which one counts."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key[:60]!r} is given twice")
        found[key] = value
    return found


class Fields:
    """One JSON object of a model card, read field by field.

    Attributes:
        where: the file, for messages.
        path: of this object in the card ("inputs.before."), "" for the card itself.
    """

    def __init__(self, where: str, path: str, values: Any) -> None:  # noqa: ANN401 -- whatever JSON gave
        self.where, self.path = where, path
        if not isinstance(values, dict):
            raise self.error("", "must be a JSON object")
        self._values: dict[str, Any] = values
        self._asked: list[str] = []

    def error(self, key: str, fact: str) -> ModelMetadataError:
        """The error for one field."""
        name = (self.path + key).strip(".") or "the card"
        return ModelMetadataError(f"{self.where}: model card: {name} {fact}; export the model again")

    def _get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401
        self._asked.append(key)
        if key in self._values:
            return self._values[key]
        if default is None:
            raise self.error(key, "is missing")
        return default

    def finish(self) -> None:
        """Refuses what nobody asked for: a field with a misspelt name must not pass unnoticed."""
        for key in self._values:
            if key not in self._asked:
                near = get_close_matches(key, self._asked, 1)
                raise self.error(key[:60], "is unknown" + (f" (nearest: {near[0]})" if near else ""))

    def section(self, key: str) -> Fields:
        """A nested object."""
        return Fields(self.where, f"{self.path}{key}.", self._get(key))

    def mapping(
        self, key: str, default: Mapping[str, Any] | None = None, reserved: Sequence[str] = ()
    ) -> dict[str, Any]:
        """A free-form object without the `reserved` keys."""
        value = self._get(key, default)
        if not isinstance(value, dict):
            raise self.error(key, "must be a JSON object")
        for name in reserved:
            if name in value:
                raise self.error(f"{key}.{name}", "must not be given: it follows from inputs and classes")
        return value

    def text(self, key: str, *, least: int = 0, among: Sequence[str] = (), default: str | None = None) -> str:
        """A string of one line or more, at most 10,000 characters."""
        value = self._get(key, default)
        if not isinstance(value, str) or not least <= len(value) <= 10_000:
            raise self.error(key, "must be a text" + (" that is not empty" if least else ""))
        if among and value not in among:
            raise self.error(key, f"is {value[:60]!r}, but must be one of {', '.join(among)}")
        return value

    def texts(self, key: str, *, least: int = 0, most: int, unique: bool = True) -> tuple[str, ...]:
        """A list of strings."""
        value = self._get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(key, "must be a list of texts")
        if not least <= len(value) <= most:
            raise self.error(key, f"has {len(value)} entries, allowed are {least} to {most}")
        if unique and len(set(value)) != len(value):
            raise self.error(key, "names something twice")
        return tuple(value)

    def integer(self, key: str, low: int, high: int, *, multiple: int = 1, default: int | None = None) -> int:
        """A whole number within [low, high]."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high or value % multiple:
            of = f" and a multiple of {multiple}" if multiple > 1 else ""
            raise self.error(key, f"must be a whole number from {low} to {high}{of}")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        """A finite number within [low, high]."""
        value = self._get(key)
        if not _is_number(value) or not low <= value <= high:
            raise self.error(key, f"must be a number from {low:g} to {high:g}")
        return float(value)

    def optional_number(self, key: str, low: float, high: float) -> float | None:
        """The same, or null, or absent."""
        if self._values.get(key) is None:
            self._asked.append(key)
            return None
        return self.number(key, low, high)

    def numbers(self, key: str, count: int, *, positive: bool = False) -> tuple[float, ...]:
        """A list of `count` finite numbers."""
        value = self._get(key)
        if not isinstance(value, list) or not all(_is_number(item) for item in value):
            raise self.error(key, "must be a list of finite numbers")
        if len(value) != count:
            raise self.error(key, f"has {len(value)} numbers for {count} bands")
        if positive and min(value) <= 0:
            raise self.error(key, "must be greater than 0 everywhere")
        return tuple(float(item) for item in value)


def _is_number(value: Any) -> bool:  # noqa: ANN401
    # The bound also keeps whole numbers that no float can hold from raising OverflowError further on.
    return (
        not isinstance(value, bool) and isinstance(value, (int, float)) and abs(value) < 1e300 and not math.isnan(value)
    )
