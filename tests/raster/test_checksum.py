"""Checksums: sidecars are believed, and a good file passes."""

import hashlib
import threading
import time

import pytest

from cdengine.errors import ChecksumError
from cdengine.events import CollectSink, Reporter
from cdengine.raster.checksum import Checksums, check_sidecars


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_sidecar(tmp_path, algorithm):
    path = tmp_path / "a.tif"
    path.write_bytes(b"pixels" * 1000)
    sidecar = tmp_path / f"a.tif.{algorithm}"
    sidecar.write_text(f"{hashlib.new(algorithm, path.read_bytes()).hexdigest().upper()}  a.tif\n")
    check_sidecars([path], Reporter(CollectSink()))
    path.write_bytes(b"pixelz" * 1000)
    with pytest.raises(ChecksumError, match=r"a\.tif"):
        check_sidecars([path], Reporter(CollectSink()))


def test_a_sidecar_without_a_sum_is_told_of(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"x")
    (tmp_path / "a.tif.md5").write_text("nonsense")
    sink = CollectSink()
    check_sidecars([tmp_path / "a.tif"], Reporter(sink))
    assert "was not checked" in sink.events[0]["message"]


def test_sums_beside_the_work(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    sums = Checksums({"before": [tmp_path / "a", tmp_path / "gone"]}, Reporter(CollectSink()))
    assert sums.result() == {"before": hashlib.sha256(b"one").hexdigest()}
    sums.close()


def test_an_end_before_the_sums_leaves_no_thread(tmp_path):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(2 << 30)
    sums = Checksums({"before": [tmp_path / "large"]}, Reporter(CollectSink()))
    began = time.monotonic()
    sums.close()
    assert time.monotonic() - began < 1
    assert not any(thread.name.startswith("cdengine-checksum") for thread in threading.enumerate())
