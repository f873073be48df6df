"""The contract of the hook, to which every answer that a test is given is held.

Answers may grow members that a client ignores; here one that is not in the contract is a fault.
"""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import jsonschema_rs
import yaml

from schemas import DIALECT
from schemas.contract import document

METHODS = ("get", "head", "options", "post", "put", "patch", "delete")
PROBLEM = "application/problem+json"

_PLACE = "urn:contract"
_TOLD = frozenset(
    {
        "accept-ranges", "allow", "content-disposition", "content-range", "etag", "link", "location",
        "repr-digest", "retry-after", "upload-expires", "upload-length", "upload-offset", "www-authenticate",
    }
)  # fmt: skip
"""Headers that mean something here: none of them comes unless the contract names it."""


@cache
def contract() -> Mapping[str, Any]:
    """Return the contract as a value. It is shared: do not change it."""
    found: Mapping[str, Any] = yaml.load(document(), yaml.CSafeLoader)
    return found


def operations() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield method, path and description of every operation."""
    for path, item in contract()["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


def at(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what *given* refers to, or itself."""
    found: Any = given
    while "$ref" in found:
        target, found = found["$ref"], contract()
        for part in target.split("/")[1:]:
            found = found[part]
    return found


def is_valid(schema: Mapping[str, Any], value: object) -> bool:
    """Return whether *value* is as *schema*, a part of the contract, says."""
    return _validator(json.dumps(schema)).is_valid(value)


def check_answer(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Fail unless the contract says that this operation answers so."""
    operation = _operation(method.lower(), path.partition("?")[0])
    what = f"{method} {path} answered {status}"
    if operation is None:
        assert status in {400, 401, 404, 405, 415}, f"{what}, and the contract has no such operation"
        return
    responses = operation["responses"]
    assert str(status) in responses, f"{what}, which the contract does not say"
    response = at(responses[str(status)])
    _check_headers(response.get("headers", {}), headers, what)
    if "content" not in response:
        assert not body, f"{what} with a body, of which the contract says nothing"
        return
    media_type = headers["Content-Type"].partition(";")[0]
    content = response["content"].get(media_type) or response["content"].get("*/*")
    assert content, f"{what} with {media_type}"
    if media_type in {"application/json", PROBLEM} and "*/*" not in response["content"]:
        value = json.loads(body)
        errors = [
            f"{error.instance_path}: {error.message}"
            for error in _closed(content["schema"]).iter_errors(value)
        ]
        assert not errors, f"{what}: {errors}"
        if media_type == PROBLEM:
            assert value["code"] in content["examples"], f"{what}: {value['code']}"


def _check_headers(said: Mapping[str, Any], headers: Mapping[str, str], what: str) -> None:
    for name, given in said.items():
        header = at(given)
        assert name in headers or not header.get("required"), f"{what} without {name}"
        if name in headers:
            schema = at(header["schema"])
            value: object = int(headers[name]) if schema.get("type") == "integer" else headers[name]
            assert is_valid(schema, value), f"{what} with {name}: {headers[name]}"
    extra = {name.lower() for name in headers} & _TOLD - {name.lower() for name in said}
    assert not extra, f"{what} with {extra}"


def _operation(method: str, path: str) -> Mapping[str, Any] | None:
    for pattern, item in _paths():
        if pattern.fullmatch(path):
            found: Mapping[str, Any] | None = item.get(method)
            return found
    return None


@cache
def _paths() -> list[tuple[re.Pattern[str], Mapping[str, Any]]]:
    return [
        (re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))), item)
        for path, item in contract()["paths"].items()
    ]


def _closed(schema: Mapping[str, Any]) -> jsonschema_rs.Draft202012Validator:
    return _validator(json.dumps(schema), closed=True)


@cache
def _validator(schema: str, *, closed: bool = False) -> jsonschema_rs.Draft202012Validator:
    whole = json.loads(schema.replace('"#/', f'"{_PLACE}#/'))
    return jsonschema_rs.Draft202012Validator(
        {"$schema": DIALECT, **whole},
        registry=_registry(closed=closed),
        offline=True,
        validate_formats=True,
        ignore_unknown_formats=False,
        pattern_options=jsonschema_rs.RegexOptions(),
    )


@cache
def _registry(*, closed: bool) -> jsonschema_rs.Registry:
    """Return the components of the contract; *closed*: no members but those named."""
    components = copy.deepcopy(contract()["components"]["schemas"])
    if closed:
        for schema in components.values():
            if "properties" in schema:
                schema.setdefault("additionalProperties", False)
    resource = {"$schema": DIALECT, "components": {"schemas": components}}
    return jsonschema_rs.Registry([(_PLACE, resource)])
