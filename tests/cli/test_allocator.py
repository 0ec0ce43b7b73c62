"""The engine's process keeps freed memory for the next tile."""

import subprocess
import sys

import pytest

PROBE = """
import resource, sys
from cdengine.cli.allocator import keep_freed_memory
assert keep_freed_memory() or "keep" not in sys.argv
def fill():
    bytearray(b"1") * (40 << 20)
fill()
began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - began)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="concerns the C library of Linux")
def test_a_block_that_comes_and_goes_is_not_mapped_anew():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    faults = int(done.stdout)
    assert faults < 20 * (40 << 20) / 4096 / 10
