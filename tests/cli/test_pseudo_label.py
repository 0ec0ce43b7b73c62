"""What `pseudo-label` prints when it is done."""

import pytest
from told_models import Told, write_set

from cdengine.cli.main import main
from cdengine.inference import pseudolabel


@pytest.mark.parametrize(
    ("models", "says"),
    [
        (["3-3"], "3 pairs: 100.0 % of the unchanged pixels labelled; 100.0 % of all pixels have a class now"),
        (["3-3", "03-3"], "% of the unchanged pixels labelled, members agree on 100.0 %; 100.0 % of all pixels"),
    ],
)
def test_members_agree_only_where_there_are_several(tmp_path, monkeypatch, capsys, models, says):
    monkeypatch.setattr(pseudolabel, "ModelRun", Told)
    data, output = write_set(tmp_path / "set"), tmp_path / "out"
    assert main(["pseudo-label", "--data", str(data), "--model", *models, "--output", str(output)]) == 0
    told = capsys.readouterr().out.splitlines()[0]
    assert says in told and ("agree" in told) == (len(models) > 1)
