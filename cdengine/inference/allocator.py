"""How the engine's own process treats memory that it freed. A program that imports cdengine keeps its own ways.

glibc gives every thread an arena of its own and hands large freed blocks back to the system. For a network that is bad:
each tile would have its tens of thousands of pages mapped and cleared anew, about a tenth of a forward on a CPU. For
everything else it is good, if only blocks of every size are handed back: left to itself, glibc stops doing so for sizes
that it has seen before, and the heap grows with a raster's height.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

# Parameters of mallopt(3), from malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGEST = 1 << 30  # blocks up to this size, and as much free memory at the heap's end, are kept for the next tile
RETURNED = 1 << 23  # blocks from this size on go back to the system when freed

_own = False


def own_process() -> bool:
    """One arena for all threads, and large blocks go back when freed; only before threads start, in a process of ours.

    Returns:
        False where the C library is not glibc: its allocator is left alone.
    """
    global _own
    _own = _set((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, RETURNED))
    return _own


def keep_freed() -> bool:
    """Freed memory stays with the process, for networks; nothing happens in a process that is not our own."""
    return _own and _set((M_MMAP_THRESHOLD, LARGEST), (M_TRIM_THRESHOLD, LARGEST))


def release_freed() -> None:
    """Hands what is free now back to the system; nothing happens in a process that is not our own.

    Between two steps of which the first is done with what it held: the pieces that it leaves are seldom of a size that
    suits the second.
    """
    libc = _glibc()
    if _own and libc is not None:
        libc.malloc_trim(0)


def _set(*settings: tuple[int, int]) -> bool:
    libc = _glibc()
    return libc is not None and all(bool(libc.mallopt(*setting)) for setting in settings)


def _glibc() -> Any:  # noqa: ANN401 -- ctypes has no better type for a library
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
