"""The engine's process keeps freed memory for a network's next tile, and gives it back otherwise."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="concerns the C library of Linux")

PROBE = """
import resource
from pathlib import Path
from cdengine.inference.allocator import keep_freed, own_process, release_freed
def fill(size=40 << 20):
    bytearray(b"1") * size
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])
def faults():
    began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        fill()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - began
"""
PAGES = (40 << 20) // 4096


def told(code):
    done = subprocess.run([sys.executable, "-c", PROBE + code], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


def test_for_networks_a_block_that_comes_and_goes_is_not_mapped_anew():
    (faults,) = told("assert own_process() and keep_freed()\nfill()\nprint(faults())")
    assert faults < 20 * PAGES / 10


def test_else_it_goes_back_to_the_system_however_often_it_came():
    before, after = told("assert own_process()\nbefore = resident()\nfaults()\nprint(before, resident())")
    assert after < before + PAGES / 10


def test_what_was_kept_can_be_released():
    kept, after = told(
        "own_process(), keep_freed()\nfill()\nkept = resident()\nrelease_freed()\nprint(kept, resident())"
    )
    assert after < kept - PAGES / 2


def test_another_programs_allocator_is_left_alone():
    assert told("print(int(keep_freed()))") == [0]
