"""`split` from the command line."""

import numpy as np
import pytest
from PIL import Image

from cdengine.cli.main import main


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("A", "B", "label"):
        (tmp_path / "train" / folder).mkdir(parents=True)
        for i in range(20):
            array = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8) if folder != "label" else np.zeros((8, 8), np.uint8)
            Image.fromarray(array).save(tmp_path / "train" / folder / f"{i}.png")
    return tmp_path


def test_lists_lie_in_the_data_set(data, capsys):
    assert main(["split", "--data", str(data), "--percent", "5,10,20"]) == 0
    assert [len(path.read_text().splitlines()) for path in sorted((data / "list").iterdir())] == [3, 5, 2]
    assert main(["split", "--data", str(data)]) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--percent", "few"], 2, "--percent"),
        (["--percent", "0"], 2, "--percent 0"),
        (["--layout", "paris"], 2, "paris"),
        (["--split", "nope"], 3, "no split 'nope'"),
        (["--seed", "-1"], 2, "--seed"),
    ],
)
def test_wrong_use(data, capsys, arguments, code, says):
    assert main(["split", "--data", str(data), *arguments]) == code
    assert says in capsys.readouterr().err
