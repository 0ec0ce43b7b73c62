"""`last.ckpt`: what a run needs to go on as if it had not stopped. Appears whole or not at all, and holds data only.

It is a safetensors container like the model file, so nothing in it can run when it is read: tensors, and in the
header's metadata the nested dicts around them as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cdengine.errors import CorruptError, NotFoundInputError
from cdengine.raster.whole import Guard as Guard  # passed on: a run's other files are written in the same way
from cdengine.raster.whole import write_whole as write_whole

FORMAT = 1
KEY = "cdengine-run"


def write_checkpoint(path: Path, state: dict[str, Any], guard: Guard | None = None) -> None:
    """Writes under a temporary name and to the disk itself, then renames: killed at any moment it leaves old or new.

    Args:
        path: of the checkpoint.
        state: nested dicts with texts as keys; tensors, numbers, texts, lists of them, and None.
        guard: `Cancellation.cleanup`; what it is given takes the temporary file away if the process is ended by force.

    Raises:
        DiskFullError, OutputError: it cannot be written; an older one stays.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps({"format": FORMAT, "state": _taken_apart(state, tensors)})
    write_whole(path, safetensors.torch.save(tensors, {KEY: text}), guard)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint.

    Raises:
        NotFoundInputError: there is none.
        CorruptError: it is damaged or of another format.
    """
    if not path.is_file():
        raise NotFoundInputError(f"{path}: this run has no checkpoint to go on from: start it anew")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            text = (file.metadata() or {}).get(KEY, "")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- no mapping
        content = json.loads(text)
    except (SafetensorError, OSError, ValueError) as error:
        raise CorruptError(f"{path}: no whole checkpoint ({str(error)[:120]}): start the run anew") from error
    if content.get("format") != FORMAT:
        raise CorruptError(f"{path}: a checkpoint of another version of cdengine: start the run anew")
    state: dict[str, Any] = _put_together(content["state"], tensors)
    return state


def _taken_apart(value: Any, tensors: dict[str, Tensor]) -> Any:  # noqa: ANN401 -- a tree of plain values
    """The tree with a reference in place of each tensor, which goes to `tensors`."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()  # one storage each, as the container asks
        return {"tensor": name}
    if isinstance(value, dict):
        return {"items": {key: _taken_apart(item, tensors) for key, item in value.items()}}
    if isinstance(value, (list, tuple)):
        return [_taken_apart(item, tensors) for item in value]
    return value


def _put_together(value: Any, tensors: dict[str, Tensor]) -> Any:  # noqa: ANN401
    if isinstance(value, list):
        return [_put_together(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    return {key: _put_together(item, tensors) for key, item in value["items"].items()}
