"""`bench`: figures that belong together, and nothing left behind."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from model_files import card_for, trained

from cdengine.cli import bench
from cdengine.errors import DeviceError, ModelTaskError, UnknownModelError, UsageError
from cdengine.events import CollectSink, Reporter
from cdengine.models.modelfile import save_model
from cdengine.synthesis.texture import write_texture_pair


def options(**changed) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench.configure(parser)
    args = parser.parse_args([])
    vars(args).update(changed)
    return args


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder for temporary files of its own: another benchmark may be running on this machine."""
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def small(place) -> tuple[dict, list]:
    sink = CollectSink()
    args = options(size=480, tile=256, overlap=64, repeats=1, device="cpu", precision="fp32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(place))
        answer = bench.run(args, Reporter(sink)).answer
    assert answer is not None
    return answer, sink.events


def test_figures_belong_together(small):
    answer, _ = small
    assert answer["tiles"] == 9  # 480 = 256 + 192 + 32: starts 0, 192, 224 in both directions
    assert answer["ratio"] == pytest.approx(answer["detect_mpx_s"] / answer["raw_forward_mpx_s"], rel=0.01)
    assert answer["detect_mpx_s"] == pytest.approx(9 * 256**2 / 1e6 / answer["detect_s"], rel=0.01)
    assert sum(answer["stages_s"].values()) <= answer["detect_s"] * 1.01
    assert answer["peak_rss_mb"] > 50
    assert answer["read_mpx_s"] > 0


def test_the_reference_network_finds_patches_not_noise(small):
    answer, _ = small
    assert 1 <= answer["polygons"] < 1000


def test_progress_of_every_part_is_reported(small):
    _, events = small
    stages = {event["stage"] for event in events if event["event"] == "progress"}
    assert {"inputs", "raw forward", "detect", "read"} <= stages


def test_nothing_is_left_behind(small, place):
    assert list(place.iterdir()) == []


def test_text_names_both_rates(small):
    text = bench.as_text(small[0])
    assert "raw forward" in text and "Mpx/s" in text and "ratio" in text


@pytest.mark.parametrize("wrong", [{"size": 100}, {"repeats": 0}, {"batch_size": 0}, {"tile": 500}, {"overlap": 512}])
def test_senseless_options_are_refused(wrong):
    with pytest.raises(UsageError, match="--"):
        bench.run(options(**wrong), Reporter())


def test_an_absent_device_is_refused():
    with pytest.raises(DeviceError):
        bench.run(options(device="cuda:99"), Reporter())


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux can start the peak anew")
def test_peak_memory_is_of_what_came_after_the_reset():
    """In a process of its own: what other tests hold, or let go of, would show in the figures."""
    code = """
from cdengine.cli.bench import peak_rss_mb, reset_peak_rss
held = bytearray(200_000_000); full = peak_rss_mb(); del held
reset_peak_rss(); empty = peak_rss_mb()
held = bytearray(40_000_000); print(full, empty, peak_rss_mb())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    full, empty, half = map(float, done.stdout.split())
    assert full > 200
    assert full - 150 > empty
    assert half - empty == pytest.approx(40, abs=10)


def test_texture_pairs_are_reproducible_and_mostly_unchanged(tmp_path):
    import rasterio

    pixels = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        paths = write_texture_pair(tmp_path / name, 600, 700, Reporter())
        for path in paths:
            with rasterio.open(path) as file:
                assert file.profile["compress"] == "deflate" and file.profile["blockxsize"] == 512
                pixels.append(file.read())
    before, after, again, _ = pixels
    assert before.shape == (3, 600, 700)
    assert np.array_equal(before, again)
    expected = before.astype(int) * 15 // 16 + 12
    share = (np.abs(after.astype(int) - expected) > 12).any(0).mean()
    assert 0.005 < share < 0.1


@pytest.mark.parametrize(("bands", "first"), [(1, "gray"), (3, "red"), (4, "gray")])
def test_no_band_of_the_textures_is_taken_for_alpha(tmp_path, bands, first):
    import rasterio

    for path in write_texture_pair(tmp_path, 64, 64, Reporter(), bands=bands):
        with rasterio.open(path) as file:
            assert file.colorinterp[0].name == first
            assert "alpha" not in [colour.name for colour in file.colorinterp]


# ---------------------------------------------------------------- a model file
def measured(place, path, **changed):
    args = options(model=str(path), size=160, repeats=1, device="cpu", precision="fp32", overlap=32, **changed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(place))
        return bench.run(args, Reporter(CollectSink())).answer


def test_a_semantic_model_file_of_its_own_bands(tmp_path, place):
    arguments = {"backbone": "resnet18", "width": 16, "change_depth": 1}
    card = card_for("bisrnet", bands=(4, 4), classes=("wood", "water"), tile=96, margin=8, arguments=arguments)
    save_model(tmp_path / "m.safetensors", trained(card), card)
    answer = measured(place, tmp_path / "m.safetensors")
    assert (answer["architecture"], answer["model"], answer["classes"]) == ("bisrnet, resnet18", "a model", 2)
    assert (answer["tile_px"], answer["tiles"]) == (96, 4)  # the card's tile, which begins at 0 and 64
    assert answer["ratio"] == pytest.approx(answer["detect_mpx_s"] / answer["raw_forward_mpx_s"], rel=0.01)
    assert answer["raw_forward_mpx_s"] > 0 and answer["polygons"] >= 0
    assert "bisrnet, resnet18 (a model, 2 classes)" in bench.as_text(answer)
    assert list(place.iterdir()) == []


def test_a_model_whose_dates_have_other_bands(tmp_path, place):
    card = card_for("fc-siam-conc", bands=(3, 1), tile=64, margin=8)
    save_model(tmp_path / "m.safetensors", trained(card), card)
    answer = measured(place, tmp_path / "m.safetensors", tile=96)
    assert (answer["tile_px"], answer["classes"]) == (96, 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [("bisrnet", "bisrnet: is an architecture, not a file"), ("gone.safetensors", "no such model file")],
)
def test_only_files_are_measured(given, said):
    with pytest.raises(UnknownModelError, match=said) as caught:
        bench.run(options(model=given), Reporter())
    assert caught.value.exit_code == 4


def test_an_exported_model_is_refused(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(ModelTaskError, match="no bare network"):
        bench.run(options(model=str(tmp_path / "m.onnx")), Reporter())


def test_raw_forward_ends_in_probabilities_of_every_head():
    import torch

    from cdengine.models.logits import Logits
    from cdengine.models.speed import _probabilities

    heads = torch.randn(2, 1, 4, 4), torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    change, before, after = _probabilities(Logits(*heads))
    assert torch.equal(change, torch.sigmoid(heads[0]))
    assert torch.allclose(before.sum(1), torch.ones(2, 4, 4)) and torch.equal(after, heads[2].softmax(1))
    assert torch.equal(_probabilities(heads[0])[0], change)
