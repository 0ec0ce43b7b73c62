"""How much memory a network's forward takes: its operations are followed on tensors that have shapes and no storage."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cdengine.models.card import ModelCard
from cdengine.models.zoo import build_meta


def forward_bytes(card: ModelCard, height: int, width: int) -> int:
    """Most bytes that are alive at a time in one tile's forward in fp32, inputs and output included, weights not.

    Convolutions and matrix products take some more for their own use; half precision takes less.

    Args:
        card: of the model; its architecture is built without storage.
        height: rows of the tile; brought to a multiple of the network's stride.
        width: columns of the tile.

    Raises:
        ModelArchitectureError: the card's architecture cannot be built.
    """
    module = build_meta(card.architecture, card.constructor_arguments()).eval()
    stride = int(getattr(module, "stride", 32))
    rows, cols = (-(-side // stride) * stride for side in (height, width))
    living = _Living()
    with torch.inference_mode(), torch.device("meta"), living:
        before, after = (torch.empty(1, date.count, rows, cols) for date in (card.before, card.after))
        module(before, after)
    return living.peak


class _Living(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that operations make, as long as these are alive.

    Attributes:
        peak: the most at a time.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak: int = 0
        self._now: int = 0
        self._storages: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 (whatever the operation gives)
        """Runs an operation and looks at what it made."""
        made = func(*args, **(kwargs or {}))
        for item in tree_leaves(made):
            if isinstance(item, Tensor):
                self._count(item.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._storages:
            return
        size = storage.nbytes()
        self._storages.add(storage)
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._gone, size)

    def _gone(self, size: int) -> None:
        self._now -= size
