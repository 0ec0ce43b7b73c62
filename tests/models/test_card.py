import json
import subprocess
import sys

import pytest
from model_files import card_for

from cdengine.errors import ModelMetadataError
from cdengine.models.card import ModelCard, parse_card


def test_a_card_survives_its_json():
    card = card_for(
        bands=(4, 3),
        classes=("water", "wood"),
        arguments={"backbone": "resnet18"},
        threshold=0.37,
        tile=256,
        margin=8,
        training={"data": ["a"], "seed": 3},
        metrics={"f1": 0.5},
        license="CC0-1.0",
        citation="Nobody (2026): Ñandú",
    )
    assert parse_card(card.to_json(), "m") == card


def test_the_file_has_the_keys_of_the_contract():
    card = card_for(bands=(4, 3)).to_dict()
    assert {"schema", "name", "task", "architecture", "arguments", "inputs", "classes", "threshold", "tile"} <= set(
        card
    )
    assert {"training", "metrics", "license", "citation"} <= set(card)
    assert set(card["inputs"]) == {"before", "after"}
    assert card["inputs"]["before"]["count"] == 4
    assert set(card["inputs"]["after"]) == {"bands", "count", "mean", "std", "scale", "ground_sample_distance"}


def test_optional_fields_have_defaults():
    card = card_for().to_dict()
    for name in ("margin", "training", "metrics", "license", "citation"):
        del card[name]
    del card["inputs"]["before"]["ground_sample_distance"]
    parsed = parse_card(json.dumps(card), "m")
    assert (parsed.margin, parsed.license, parsed.before.ground_sample_distance) == (16, "", None)


def test_counts_follow_from_inputs_and_classes():
    card = card_for(bands=(4, 2), classes=("a", "b"), arguments={"backbone": "resnet18"})
    assert card.constructor_arguments() == {"backbone": "resnet18", "bands_before": 4, "bands_after": 2, "classes": 2}


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("schema", 2, "has schema 2, this cdengine reads up to 1: update cdengine"),
        ("schema", None, "schema is missing"),
        ("schema", "1", "schema must be a whole number"),
        ("schema", True, "schema must be a whole number"),
        ("name", "", "name must be a text that is not empty"),
        ("name", None, "name is missing"),
        ("task", "binery", "task is 'binery', but must be one of binary, semantic, hetero"),
        ("architecture", 3, "architecture must be a text"),
        ("arguments", [], "arguments must be a JSON object"),
        ("arguments", {"bands_before": 4}, "arguments.bands_before must not be given"),
        ("inputs", [], "inputs must be a JSON object"),
        ("inputs.after", None, "inputs.after is missing"),
        ("inputs.before.count", 4, "inputs.before.count is 4, but bands has 3 names"),
        ("inputs.before.bands", "rgb", "inputs.before.bands must be a list of texts"),
        ("inputs.before.bands", [], "inputs.before.bands has 0 entries"),
        ("inputs.before.mean", [0.1], "inputs.before.mean has 1 numbers for 3 bands"),
        ("inputs.before.mean", [0.1, "x", 0.1], "inputs.before.mean must be a list of finite numbers"),
        ("inputs.before.std", [0.1, 0, 0.1], "inputs.before.std must be greater than 0"),
        ("inputs.before.scale", 0, "inputs.before.scale must be a number from"),
        ("inputs.before.scale", 10**400, "inputs.before.scale must be a number from"),
        ("inputs.before.ground_sample_distance", -1, "ground_sample_distance must be a number"),
        ("inputs.before.meen", [], "inputs.before.meen is unknown .nearest: mean"),
        ("classes", ["a", "b"], "classes must be empty, since the task is binary"),
        ("classes", ["a", "a"], "classes names something twice"),
        ("classes", ["c"] * 300, "classes has 300 entries"),
        ("threshold", 1.5, "threshold must be a number from 0 to 1"),
        ("threshold", "0.5", "threshold must be a number"),
        ("tile", 500, "tile must be a whole number from 32 to 8192 and a multiple of 32"),
        ("margin", 256, "margin is 256, which leaves nothing of a tile of 512 px"),
        ("treshold", 1, "treshold is unknown .nearest: threshold"),
        ("metrics", 3, "metrics must be a JSON object"),
    ],
)
def test_a_wrong_field_is_named(path, value, said):
    card = card_for().to_dict()
    *parents, key = path.split(".")
    place = card
    for parent in parents:
        place = place[parent]
    if value is None:
        del place[key]
    else:
        place[key] = value
    with pytest.raises(ModelMetadataError, match=said) as caught:
        parse_card(json.dumps(card), "m.safetensors")
    assert str(caught.value).startswith("m.safetensors: ")
    assert "\n" not in str(caught.value)


def test_semantic_needs_classes():
    card = {**card_for().to_dict(), "task": "semantic"}
    with pytest.raises(ModelMetadataError, match="at least two classes"):
        parse_card(json.dumps(card), "m")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[]", "the card must be a JSON object"),
        ('{"schema": 1, "schema": 1}', "'schema' is given twice"),
        ('{"schema": NaN}', "NaN is no JSON number"),
        ('{"schema": ' + "[" * 200_000, "nested too deeply|not valid JSON"),
        ('{"schema": ' + "9" * 5000 + "}", "not valid JSON"),
    ],
)
def test_text_that_is_no_card(text, said):
    with pytest.raises(ModelMetadataError, match=said):
        parse_card(text, "m")


def test_reading_a_card_loads_no_torch():
    modules = ", ".join(f"cdengine.models.{name}" for name in ("container", "shipped", "names"))
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_equal_cards_give_equal_bytes():
    one = card_for(arguments={"a": 1, "b": 2})
    two = card_for(arguments={"b": 2, "a": 1})
    assert one.to_json() == two.to_json()
    assert isinstance(one, ModelCard)
