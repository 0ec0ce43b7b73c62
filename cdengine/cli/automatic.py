"""Options that take `auto` or a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cdengine.errors import UsageError


def auto_or(number: Callable[[str], Any], flag: str) -> Callable[[str], Any]:
    """A parser of an option's text.

    Args:
        number: int or float.
        flag: the option, for the message.
    """

    def parse(text: str) -> Any:  # noqa: ANN401
        try:
            return text if text == "auto" else number(text)
        except ValueError as error:
            raise UsageError(f"{flag} {text!r}: auto or a number") from error

    return parse
