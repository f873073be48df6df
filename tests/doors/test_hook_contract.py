"""The hook and its contract: the same operations, served by the node to everybody."""

import base64
import hashlib
import re

import pytest
import yaml

from gateway.web.hook import ROUTES, hook_app
from schemas.contract import document
from tests.support.contract import contract, operations
from tests.support.hooks import open_hook


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


async def test_the_contract_has_every_operation_and_no_other(hook):
    served = {
        (route.method.lower(), route.resource.canonical)
        for route in hook_app(hook.context).router.routes()
        if route.resource is not None
    }
    assert served == {(method, path) for method, path, _ in operations()}


def test_the_contract_names_the_scope_of_each_operation():
    said = {
        (method, path): [scope for one in operation["security"] for scope in one["bearer"]]
        for method, path, operation in operations()
    }
    asked = {(route.method.lower(), f"/v1{route.path}"): [route.scope.value] for route in ROUTES}
    assert said == {place: asked.get(place, []) for place in said}
    assert asked.keys() <= said.keys()


async def test_the_contract_needs_no_token(hook):
    answer = await hook.ask("GET", "/v1/openapi.yaml", token="")
    assert answer.headers["Content-Type"] == "application/yaml; charset=utf-8"
    assert answer.body.decode() == document()
    assert yaml.load(answer.body, yaml.CSafeLoader) == contract()


async def test_the_page_may_use_its_own_style_and_nothing_else(hook):
    answer = await hook.ask("GET", "/docs", token="")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    (style,) = re.findall("<style>(.*?)</style>", answer.body.decode(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert policy[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    assert "frame-ancestors 'none'" in policy
