"""Every vector is refused by its layer and by none before; the generator makes the same files again."""

import json
from pathlib import Path

import pytest

import schemas
from gateway.core.errors import GatewayFault
from gateway.core.strict import from_b64url
from keys.errors import KeyFault
from tests.vectors import generate
from tests.vectors.pipelines import LAYERS, PIPELINES, World, data, refusal

FOLDER = Path(generate.__file__).parent
FILES = sorted(FOLDER.glob("*/*.json"))
BASE = json.loads((FOLDER / "base.json").read_bytes())
WORLD = World(BASE)
SCHEMAS = {
    "entry": "entry",
    "envelope": "envelope",
    "card": "card",
    "pinned card": "card",
    "successor card": "card",
    "new peer's card": "card",
}


def name(path):
    return str(path.relative_to(FOLDER).with_suffix(""))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_vector_is_refused_by_its_layer_and_none_before(path):
    vector = json.loads(path.read_bytes())
    found = refusal(WORLD, vector["kind"], vector["input"])
    if vector["layer"] is None:
        assert found is None, found
        return
    assert found is not None
    layer, error = found
    assert (layer, type(error).__name__, str(error)) == (vector["layer"], vector["error"], vector["says"])
    # What one layer refuses, the whole refuses.
    with pytest.raises((GatewayFault, KeyFault)):
        PIPELINES[vector["kind"]][-1][1](WORLD, vector["input"])


def test_the_generator_makes_these_files():
    made = generate.files(BASE)
    assert set(made) == {name(path) for path in FILES}
    for path in FILES:
        assert path.read_text(encoding="utf-8") == made[name(path)], name(path)


def test_every_layer_of_the_formats_has_vectors():
    layers = {json.loads(path.read_bytes())["layer"] for path in FILES}
    assert layers <= {None, *LAYERS}
    assert {"strict", "envelope", "card", "entry", "note", "proof", "merkle"} <= layers


def sound_by_schema(path):
    vector = json.loads(path.read_bytes())
    return vector["layer"] is None and vector["kind"] in SCHEMAS


@pytest.mark.parametrize("path", [path for path in FILES if sound_by_schema(path)], ids=name)
def test_what_the_layers_accept_the_schemas_accept(path):
    vector = json.loads(path.read_bytes())
    value = json.loads(data(vector["input"]))
    if SCHEMAS[vector["kind"]] == "card":
        value = json.loads(from_b64url(value["payload"]))
    assert schemas.errors(SCHEMAS[vector["kind"]], value) == ()
