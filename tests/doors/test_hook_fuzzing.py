"""Schemathesis asks the hook whatever its contract allows, and much that it does not.

It holds every answer to the contract: its status, its headers, its form, and whether what is in no form
was refused.
"""

import asyncio
import json
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import hooks
from tests.support.authorities import make_blob
from tests.support.contract import contract
from tests.support.hooks import PEER, open_hook

KINDS = ("consultation.open",)
"""Of the 59 these few: that a body is as its kind asks is for the tests of the kinds."""

CONFIG = Path(hooks.__file__).with_name("schemathesis.toml")
ROOT = CONFIG.parents[2]


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


def narrowed():
    """Return the contract with drafts of KINDS alone."""
    draft = {"oneOf": [{"$ref": f"#/components/schemas/draft.{kind}"} for kind in KINDS]}
    components = contract()["components"]
    found = {**contract(), "components": {**components, "schemas": {**components["schemas"], "draft": draft}}}
    return yaml.dump(found, Dumper=yaml.CSafeDumper)


async def config(hook):
    """Return the configuration, with what is there to be asked for."""
    sent, came = await hook.sent(), await hook.received(make_blob(b"The summons."))
    there = {
        "messages": [sent["id"], came.id],
        "cases": [sent["case"]],
        "peers": [PEER],
        "uploads": [await hook.upload(b"Hello world")],
    }
    lists = (f"[dictionaries.{name}]\nvalues = {json.dumps(ids)}\n" for name, ids in there.items())
    return "\n".join((CONFIG.read_text(encoding="utf-8"), *lists))


async def test_whatever_is_asked_the_hook_answers_as_its_contract_says(hook, tmp_path):
    (tmp_path / "schemathesis.toml").write_text(await config(hook), encoding="utf-8")
    (tmp_path / "openapi.yaml").write_text(narrowed(), encoding="utf-8")
    before = hook.counts()
    child = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("schemathesis"), "run", "openapi.yaml"),
        *("--url", str(hook.client.make_url("/")).rstrip("/")),
        *("--header", f"Authorization: Bearer {hook.token}"),
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await child.communicate()
    assert child.returncode == 0, told.decode()
    # It was let in to the end, and what it brought was taken.
    grown = {name: hook.counts()[name] - before[name] for name in ("messages", "uploads", "tokens")}
    assert all(grown.values()), grown
    assert (await hook("GET", "/tokens")).status == 200
