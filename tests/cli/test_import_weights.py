"""`import-weights` from its options to the model file's card."""

import pytest
import torch

from cdengine.cli.main import main
from cdengine.models.container import read_card
from cdengine.models.zoo import build


@pytest.fixture
def state(tmp_path):
    """Weights of a small network, saved as anybody would."""
    torch.manual_seed(2)
    path = tmp_path / "net.pth"
    torch.save(build("fc-ef", {"bands_before": 4, "bands_after": 4, "widths": [8, 8, 16, 16]}).state_dict(), path)
    return path


OPTIONS = (
    "--bands",
    "blue,green,red,nir",
    "--mean",
    "0.1,0.2,0.3,0.4",
    "--std",
    "1,1,1,2",
    "--set",
    "widths=[8,8,16,16]",
)


def run(*arguments):
    return main(["import-weights", *map(str, arguments)])


def test_writes_a_model_file_with_its_card(state, capsys):
    assert run(state, "--architecture", "fc-ef", *OPTIONS, "--scale", "0.0001", "--license", "CC0-1.0") == 0
    card = read_card(state.with_suffix(".safetensors"))
    assert (card.name, card.architecture, card.arguments) == ("net", "fc-ef", {"widths": [8, 8, 16, 16]})
    assert card.before.bands == ("blue", "green", "red", "nir")
    assert (card.before.std, card.after.scale, card.license) == ((1, 1, 1, 2), 0.0001, "CC0-1.0")
    assert "matched: 124 of 124" in capsys.readouterr().out


def test_an_output_is_replaced_only_when_asked(state, capsys):
    assert run(state, "--architecture", "fc-ef", *OPTIONS) == 0
    assert run(state, "--architecture", "fc-ef", *OPTIONS) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(state, "--architecture", "fc-ef", *OPTIONS, "--overwrite") == 0
    written = state.with_suffix(".safetensors")
    assert run(written, "--architecture", "fc-ef", *OPTIONS, "--overwrite") == 2


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), 4, "--set"),  # three bands and other widths: nothing fits
        (("--bands", "a,b,c,d"), 2, "--mean and --std are needed for 4 bands"),
        (("--mean", "1,2"), 2, "--mean has 2 numbers"),
        (("--std", "x,y,z"), 2, "--std x,y,z"),
        (("--set", "widths"), 2, "KEY=VALUE"),
        (("--set", "width=3"), 4, "nearest is 'widths'"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(state, options, code, said, capsys):
    assert run(state, "--architecture", "fc-ef", *options) == code
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not state.with_suffix(".safetensors").exists()


def test_unknown_architectures_and_files(state, capsys):
    assert run(state, "--architecture", "fc-eff") == 4
    assert run(state.with_name("none.pth"), "--architecture", "fc-ef") == 4
    assert "no such file" in capsys.readouterr().err
