"""The contract of the hook as a document: sound by itself, whole, and with examples that hold."""

import itertools
import re
from importlib.resources import files

import pytest
from openapi_spec_validator import validate

import schemas
from gateway.core.profile import OWN_MEMBERS
from tests.support import bodies, conduct
from tests.support.contract import METHODS, PROBLEM, at, contract, is_valid, operations

OPERATIONS = [pytest.param(one, id=one["operationId"]) for _, _, one in operations()]


def contents(operation):
    """Yield what is said of each body that an operation takes or gives."""
    if "requestBody" in operation:
        yield from operation["requestBody"]["content"].items()
    for response in operation["responses"].values():
        yield from at(response).get("content", {}).items()


def test_it_is_openapi():
    validate(contract())


def test_it_needs_no_other_document():
    references = re.findall(r"'\$ref': '([^']+)'", str(contract()))
    assert references
    assert all(reference.startswith("#/components/") for reference in references)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_says_what_an_integrator_asks(operation):
    assert re.fullmatch(r"[a-z]+([A-Z][a-z]+)+", operation["operationId"])
    assert operation["summary"]
    assert operation["description"].rstrip().endswith(".")
    assert operation["tags"][0] in {tag["name"] for tag in contract()["tags"]}
    for response in map(at, operation["responses"].values()):
        assert response["description"].endswith(".")
        assert "X-Request-ID" in response["headers"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_who_needs_a_token_may_ask_too_much(operation):
    if operation.get("security") != []:
        assert "Retry-After" in at(operation["responses"]["429"])["headers"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_body_has_examples_and_they_hold(operation):
    for media_type, content in contents(operation):
        examples = content.get("examples") or {"example": {"value": content["example"]}}
        for name, example in examples.items():
            value = at(example)["value"]
            if "json" in media_type:
                assert is_valid(content["schema"], value), name
            if media_type == PROBLEM:
                assert (value["code"], value["type"]) == (name, f"urn:art18:problem:{name}")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_problem_has_the_status_of_its_answer(operation):
    for status, response in operation["responses"].items():
        for name, example in at(response).get("content", {}).get(PROBLEM, {}).get("examples", {}).items():
            assert at(example)["value"]["status"] == int(status), name


def test_names_are_used_and_used_once():
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))
    text = (files("schemas") / "openapi.yaml").read_text(encoding="utf-8")
    for place in ("parameters", "headers", "responses", "examples"):
        for name in contract()["components"][place]:
            assert f"'#/components/{place}/{name}'" in text, (place, name)
    used = set(re.findall(r"#/components/schemas/([\w.]+)", str(contract())))
    assert used >= set(contract()["components"]["schemas"])


def test_no_path_has_a_method_that_is_not_looked_at():
    for item in contract()["paths"].values():
        assert set(item) <= set(METHODS)


def test_every_kind_has_its_draft_and_its_message():
    found = contract()["components"]["schemas"]
    for kind, stem in itertools.product(schemas.KINDS, ("draft", "message")):
        assert found[f"{stem}.{kind}"]["properties"]["kind"]["const"] == kind
        assert found[stem]["discriminator"]["mapping"][kind] == f"#/components/schemas/{stem}.{kind}"


@pytest.mark.parametrize("kind", sorted({**conduct.BODIES, **bodies.BODIES}))
def test_a_sound_message_of_a_kind_is_one_of_the_contract_and_no_other_kind(kind):
    message = bodies.payload(kind) if kind in bodies.BODIES else conduct.payload(kind)
    assert is_valid({"$ref": "#/components/schemas/message"}, message)
    other = "closure" if kind != "closure" else "reopen"
    assert not is_valid({"$ref": f"#/components/schemas/message.{other}"}, message)
    draft = {name: value for name, value in message.items() if name in schemas.load("draft")["properties"]}
    draft["attachments"] = []
    assert is_valid({"$ref": "#/components/schemas/draft"}, draft)
    assert not is_valid({"$ref": "#/components/schemas/draft"}, {**draft, "kind": other})


def test_what_is_published_is_a_profile_without_what_the_node_fills_in():
    whole = schemas.load("profile")
    content = contract()["components"]["schemas"]["ProfileContent"]
    assert list(content["properties"]) == [name for name in whole["properties"] if name not in OWN_MEMBERS]
    assert content["required"] == [name for name in whole["required"] if name not in OWN_MEMBERS]
