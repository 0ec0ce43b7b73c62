"""One good model file for the tests that damage copies of it."""

import pytest
from model_files import card_for, trained

from cdengine.models.modelfile import save_model


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    """A good model file of FC-Siam-diff."""
    path = tmp_path_factory.mktemp("models") / "good.safetensors"
    card = card_for()
    save_model(path, trained(card), card)
    return path
