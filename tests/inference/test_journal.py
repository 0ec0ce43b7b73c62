"""What a killed or damaged run leaves in its journal is believed only where it is whole."""

import numpy as np
import pytest

from cdengine.errors import ResumeMismatchError
from cdengine.events import CollectSink, Reporter
from cdengine.inference.journal import Journal

BAND = {"probability": np.arange(12, dtype=np.uint8).reshape(3, 4)}
FOUND = {"mean": np.array([1.5, 2.5])}


@pytest.fixture
def folder(tmp_path):
    journal = Journal(tmp_path / "j", {"model": "cva"}, resume=False)
    journal.store("prepared", FOUND)
    journal.write(0, BAND)
    journal.write(1, BAND)
    return tmp_path / "j"


def again(folder):
    return Journal(folder, {"model": "cva"}, resume=True)


def test_whole_parts_come_back(folder):
    journal = again(folder)
    assert journal.first_missing(3, Reporter(CollectSink())) == 2
    assert np.array_equal(journal.read(1)["probability"], BAND["probability"])
    assert np.array_equal(journal.stored("prepared")["mean"], FOUND["mean"])


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_damaged_statistics_are_gathered_again(folder, damage):
    path = folder / "prepared.npz"
    path.write_bytes(path.read_bytes()[:-20] if damage is None else damage)
    assert again(folder).stored("prepared") is None


def test_a_torn_last_line_never_counted(folder):
    path = folder / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-30] + b"\xff\xfe")
    assert again(folder).first_missing(3, Reporter(CollectSink())) == 1


def test_another_device_would_give_other_pixels(folder):
    again(folder).agree(device="cuda:0", precision="bf16")
    again(folder).agree(device="cuda:0", precision="bf16")
    with pytest.raises(ResumeMismatchError, match="device cuda:0 and this one has cpu"):
        again(folder).agree(device="cpu", precision="fp32")
