"""How the engine's process keeps memory that it freed: a network's activations come and go tile after tile.

glibc gives every thread an arena of its own and hands large freed blocks back to the system, so that each tile would
have its tens of thousands of pages mapped and cleared anew: about a tenth of a forward on a CPU.
"""

from __future__ import annotations

import ctypes
import sys

# Parameters of mallopt(3), from malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGEST = 1 << 30  # blocks up to this size, and as much free memory at the heap's end, are kept for the next tile


def keep_freed_memory() -> bool:
    """One arena for all threads that keeps what was freed; only before threads start, and only in a process of ours.

    Returns:
        False where the C library is not glibc: its allocator is left alone.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    settings = ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, LARGEST), (M_TRIM_THRESHOLD, LARGEST))
    done = [bool(libc.mallopt(*setting)) for setting in settings]
    return all(done)
