"""The table of architectures, and the one way to build one from a name and arguments that a stranger may have written.

To add an architecture: one file beside this one, one line in `ARCHITECTURES`, its name in `names.py`. It joins the
shared tests by being in the table. Constructors take `bands_before` and `bands_after` (and `classes` where they tell
classes) and defaults for everything else, work under `torch.device("meta")`, have an attribute `stride` (heights and
widths must be multiples of it), and `forward(before, after)` gives a (B, 1, H, W) tensor or `Logits`.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from cdengine.errors import ModelArchitectureError
from cdengine.models.bisrnet import BiSRNet
from cdengine.models.bit import BIT
from cdengine.models.btc import BTC
from cdengine.models.changeformer import ChangeFormer
from cdengine.models.changer import ChangerEx
from cdengine.models.changestar import ChangeStar
from cdengine.models.container import MAX_TENSORS
from cdengine.models.fc_ef import FCEF
from cdengine.models.fc_siam_conc import FCSiamConc
from cdengine.models.fc_siam_diff import FCSiamDiff
from cdengine.models.lightcdnet import LightCDNet
from cdengine.models.senseearth import SenseEarth
from cdengine.models.snunet import SNUNet
from cdengine.models.stanet import STANet
from cdengine.models.tinycd import tinycd

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "bisrnet": BiSRNet,
    "bit": BIT,
    "btc": BTC,
    "changeformer": ChangeFormer,
    "changer": ChangerEx,
    "changestar": ChangeStar,
    "fc-ef": FCEF,
    "fc-siam-conc": FCSiamConc,
    "fc-siam-diff": FCSiamDiff,
    "lightcdnet": LightCDNet,
    "senseearth": SenseEarth,
    "snunet": SNUNet,
    "stanet": STANet,
    "tinycd": tinycd,
}

MAX_PARAMETERS = 1_000_000_000  # 4 GB in fp32; the largest networks of the field have a third of it
MAX_ARGUMENT = 65_536  # no width, depth or count of a real network is larger
MAX_ITEMS = 256


def build(architecture: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Builds a network with random weights.

    It is built without storage first: that checks the arguments and the size at no cost.

    Args:
        architecture: a key of `ARCHITECTURES`.
        arguments: of its constructor, as JSON gives them (lists stand for tuples).

    Raises:
        ModelArchitectureError: unknown name or argument, refused arguments, or too many parameters.
    """
    build_meta(architecture, arguments)
    return _construct(architecture, arguments)


def build_meta(architecture: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The same network without storage, for names, shapes and counts.

    Raises:
        ModelArchitectureError: see `build`.
    """
    constructor = _constructor(architecture)
    _check_names(architecture, constructor, arguments)
    for name, value in arguments.items():
        _check_value(architecture, name, value)
    with torch.device("meta"), _limited(architecture):
        return _construct(architecture, arguments)


def _constructor(architecture: str) -> Callable[..., nn.Module]:
    if architecture not in ARCHITECTURES:
        near = get_close_matches(architecture, ARCHITECTURES, 1, 0.3)
        hint = f"nearest is {near[0]!r}" if near else f"known are {', '.join(ARCHITECTURES)}"
        raise ModelArchitectureError(f"unknown architecture {architecture[:60]!r}: {hint}")
    return ARCHITECTURES[architecture]


def _check_names(architecture: str, constructor: Callable[..., nn.Module], arguments: Mapping[str, Any]) -> None:
    known = list(inspect.signature(constructor).parameters)
    for name in arguments:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"nearest is {near[0]!r}" if near else f"known are {', '.join(known)}"
            raise ModelArchitectureError(f"{architecture} has no argument {name[:60]!r}: {hint}")


def _check_value(architecture: str, name: str, value: Any) -> None:  # noqa: ANN401 -- whatever JSON gave
    """Plain values and flat lists of them, within bounds: a huge depth would loop long before it took memory."""
    items = value if isinstance(value, (list, tuple)) else [value]
    absurd = len(items) > MAX_ITEMS
    for item in items:
        if isinstance(item, (int, float)):
            absurd |= not abs(item) <= MAX_ARGUMENT
        elif isinstance(item, str):
            absurd |= len(item) > 200
        elif item is not None:
            absurd = True
    if absurd:
        raise ModelArchitectureError(f"{architecture}: argument {name} makes no sense: {str(value)[:60]}")


def _construct(architecture: str, arguments: Mapping[str, Any]) -> nn.Module:
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
    try:
        return ARCHITECTURES[architecture](**plain)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelArchitectureError(f"{architecture}: its arguments do not fit: {reason[:200]}") from error


@contextmanager
def _limited(architecture: str) -> Iterator[None]:
    """Stops a construction in this thread as soon as a parameter is empty or all of them pass the limits."""
    thread, count, elements = threading.get_ident(), 0, 0

    def limit(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count, elements
        if threading.get_ident() != thread or parameter is None:
            return
        if parameter.numel() == 0:
            raise ModelArchitectureError(f"{architecture}: its arguments give a layer without weights ({name})")
        count, elements = count + 1, elements + parameter.numel()
        if count > MAX_TENSORS or elements > MAX_PARAMETERS:
            raise ModelArchitectureError(
                f"{architecture}: its arguments ask for more than {MAX_PARAMETERS:,} parameters "
                f"or {MAX_TENSORS:,} tensors"
            )

    handle = register_module_parameter_registration_hook(limit)
    try:
        yield
    finally:
        handle.remove()
