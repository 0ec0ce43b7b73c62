"""Files that strangers made: refused by their header, fast, in little memory, and never executed."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from model_files import card_for, container, raw

from cdengine.errors import (
    ModelCorruptError,
    ModelMetadataError,
    NotSafetensorsError,
    UnknownModelError,
)
from cdengine.models.container import read_card, read_header


class Canary:
    """Leaves a file behind when somebody unpickles it."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_a_good_file(model_file):
    header = read_header(model_file)
    assert header.tensors["head.weight"].shape == (1, 16, 1, 1)
    assert header.tensors["head.weight"].dtype == "F32"
    assert read_card(model_file) == card_for()


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".pkl", ".safetensors"])
@pytest.mark.parametrize("maker", ["torch", "pickle"])
def test_pickles_are_refused_unread(tmp_path, suffix, maker):
    canary, path = tmp_path / "canary", tmp_path / f"m{suffix}"
    if maker == "torch":
        torch.save(Canary(canary), path)
    else:
        path.write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(NotSafetensorsError) as caught:
        read_card(path)
    assert str(path) in str(caught.value)
    assert not canary.exists()


@pytest.mark.parametrize("content", [b"", b"short", b"\x89HDF\r\n\x1a\n" + bytes(100), b"GIF89a" * 10])
def test_other_files(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(NotSafetensorsError):
        read_card(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UnknownModelError, match="no such model file"):
        read_card(tmp_path / "none.safetensors")
    with pytest.raises(NotSafetensorsError, match="is a folder"):
        read_card(tmp_path)


@pytest.mark.parametrize("share", [0.00005, 0.5, 0.999999])
def test_truncated(model_file, tmp_path, share):
    whole = model_file.read_bytes()
    path = tmp_path / "m.safetensors"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelCorruptError, match="truncated"):
        read_card(path)


def test_bytes_behind_the_end(model_file, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(model_file.read_bytes() + b"x")
    with pytest.raises(ModelCorruptError, match="behind its last tensor"):
        read_card(path)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, "'b' overlaps"),
        ({"a": entry([2], 0, 8), "b": entry([1], 0, 4)}, "overlaps"),
        ({"a": entry([1], 4, 8), "b": entry([1], 8, 12)}, "'a' leaves a hole"),
        ({"a": entry([4], 0, 16)}, "truncated"),
        ({"a": entry([2], 0, 12)}, "'a': dtype, shape or offsets"),
        ({"a": entry([2**40, 2**40], 0, 12)}, "'a': dtype, shape or offsets"),
        ({"a": entry([-1, -3], 0, 12)}, "'a': dtype, shape or offsets"),
        ({"a": entry([3.0], 0, 12)}, "'a': dtype, shape or offsets"),
        ({"a": entry([True, 3], 0, 12)}, "'a': dtype, shape or offsets"),
        ({"a": entry([1] * 100 + [3], 0, 12)}, "'a': dtype, shape or offsets"),
        ({"a": entry([3], 0, 12, "F1")}, "'a': dtype, shape or offsets"),
        ({"a": entry([3], 0, 12, ["F32"])}, "'a': dtype, shape or offsets"),
        ({"a": [1]}, "'a': dtype, shape or offsets"),
        ('{"a": 1, "a": 2}', "'a' is given twice"),
        ('{"a": ' + "[" * 100_000, "nested too deeply|not valid JSON"),
        ('{"a": ', "not valid JSON"),
        (b'{"\xff": 1}', "not valid JSON"),
        ({f"t{number}": 0 for number in range(60_000)}, "60,000 tensors"),
    ],
)
def test_damaged_headers(tmp_path, header, said):
    path = raw(header, bytes(12), tmp_path / "m.safetensors")
    with pytest.raises(ModelCorruptError, match=said):
        read_header(path)


def test_metadata_must_be_texts(tmp_path):
    with pytest.raises(ModelMetadataError, match="__metadata__"):
        read_header(raw({"__metadata__": {"cdengine": {}}}, b"", tmp_path / "m.safetensors"))


def test_weights_without_a_card(tmp_path):
    path = container({"a": torch.zeros(1)}, None, tmp_path / "m.safetensors")
    with pytest.raises(ModelMetadataError, match="no model card"):
        read_card(path)


def test_a_card_of_extreme_depth_inside_a_file(tmp_path):
    path = container({"a": torch.zeros(1)}, '{"schema":' * 40_000, tmp_path / "m.safetensors")
    with pytest.raises(ModelMetadataError, match="nested too deeply"):
        read_card(path)


def hostile(kind, path):
    """The largest headers of their kinds."""
    tensors = {f"tensor.{number}": entry([0], 0, 0) for number in range(100_000)}
    if kind == "100k tensors":
        return raw(tensors, b"", path)
    if kind == "90 MB header":
        return raw(b'{"a":' + b" " * 90_000_000 + b"1}", b"", path)
    few = dict(list(tensors.items())[:14_000])
    assert len(json.dumps(few)) < 1_000_000 < 1.2 * len(json.dumps(few))
    return raw(few, b"", path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its peak memory from Linux's /proc")
@pytest.mark.parametrize("kind", ["100k tensors", "90 MB header", "fullest header that is parsed"])
def test_hostile_headers_cost_little(tmp_path, kind):
    """Less than a second and 200 MB, measured in a process of its own."""
    path = hostile(kind, tmp_path / "m.safetensors")
    # VmHWM and not ru_maxrss: the latter starts at what the forking process had.
    code = """
import sys, time
from cdengine.errors import ModelCorruptError
from cdengine.models.container import read_card

began = time.process_time()
try:
    read_card(sys.argv[1])
except ModelCorruptError:
    peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(time.process_time() - began, peak)
"""
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    seconds, kilobytes = map(float, done.stdout.split())
    assert seconds < 1
    assert kilobytes < 200_000
