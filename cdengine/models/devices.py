"""Which devices torch can compute on, as plain facts for `doctor` and `bench`."""

from __future__ import annotations

import torch

GIB = 2**30


def accelerators() -> list[dict[str, str | float]]:
    """Every accelerator that this build of torch can use; empty on a machine with a CPU only.

    Returns:
        One entry each: `device` as `--device` takes it, `name`, `memory_gib`, and for CUDA `compute_capability`.
        MPS shares the machine's memory and gives none of its own.
    """
    found: list[dict[str, str | float]] = []
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        found.append(
            {
                "device": f"cuda:{index}",
                "name": facts.name,
                "memory_gib": round(facts.total_memory / GIB, 1),
                "compute_capability": f"{facts.major}.{facts.minor}",
            }
        )
    if torch.backends.mps.is_available():
        found.append({"device": "mps", "name": "Apple GPU"})
    return found


def facts() -> dict[str, object]:
    """What one look at torch tells: its version, the CUDA it was built for, its threads, its accelerators."""
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "accelerators": accelerators(),
    }
