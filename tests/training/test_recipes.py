"""Recipes that come with the engine go by name, from any folder."""

import pytest

from cdengine.errors import ConfigError
from cdengine.training import strict
from cdengine.training.strict import read_yaml, shipped_recipes


def test_every_recipe_has_a_name():
    names = shipped_recipes()
    assert {"starter", "oscd", "vhr_building", "senseearth/chain", "senseearth/student_psp_w18"} <= set(names)
    assert all(path.is_file() for path in names.values())


@pytest.mark.parametrize("name", ["senseearth/chain", "senseearth/chain.yaml", "configs/senseearth/chain.yaml"])
def test_a_shipped_recipe_by_name_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "chain" in read_yaml(name)


def test_a_file_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "starter").write_text("name: mine\n")
    assert read_yaml("starter") == {"name": "mine"}


def test_another_name_is_told_which_there_are(tmp_path):
    with pytest.raises(ConfigError, match=r"begin\.yaml: there is no such file, nor a recipe .*starter"):
        read_yaml(tmp_path / "begin.yaml")


def test_installed_recipes_lie_inside_the_package(tmp_path, monkeypatch):
    package = tmp_path / "site-packages/cdengine"
    (package / "training").mkdir(parents=True)
    (package / "configs/sense").mkdir(parents=True)
    (package / "configs/sense/chain.yaml").write_text("name: installed\n")
    monkeypatch.setattr(strict, "__file__", str(package / "training/strict.py"))
    assert list(shipped_recipes()) == ["sense/chain"]
    assert read_yaml("sense/chain") == {"name": "installed"}
