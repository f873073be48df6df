"""A client that a generator writes from the served contract: it sends, lists and reads messages."""

import asyncio
import importlib
import sys
from pathlib import Path

import pytest

from tests.support.hooks import PEER, draft, open_hook

CONFIG = """\
package_name_override: gateway_client
post_hooks: []
content_type_overrides:
  application/zip: application/octet-stream
  application/jsonl: text/plain
  application/jose: text/plain
  application/yaml: text/plain
  application/offset+octet-stream: application/octet-stream
  '*/*': application/octet-stream
"""
"""What the generator has to be told: how to treat media types that it has never heard of."""


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


@pytest.fixture
async def generated(hook, tmp_path, monkeypatch):
    """Return what imports a module of the client that was generated from what the node serves."""
    served = await hook.ask("GET", "/v1/openapi.yaml", token="")
    (tmp_path / "openapi.yaml").write_bytes(served.body)
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    child = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("openapi-python-client"), "generate", "--meta", "none"),
        *("--path", "openapi.yaml", "--config", "config.yaml", "--output-path", "gateway_client"),
        "--fail-on-warning",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await child.communicate()
    assert child.returncode == 0, told.decode()
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda name: importlib.import_module(f"gateway_client.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == "gateway_client"]:
        del sys.modules[name]


async def test_a_generated_client_sends_lists_and_reads(hook, generated):
    models = generated("models")
    url = str(hook.client.make_url("")).rstrip("/")
    client = generated("client").AuthenticatedClient(base_url=url, token=hook.token)
    sample = draft()
    async with client:
        submitted = await generated("api.messages.submit_message").asyncio(
            client=client, body=models.DraftRequestMla.from_dict(sample), idempotency_key="2026-0117"
        )
        assert isinstance(submitted, models.Submitted)
        assert submitted.state == models.MessageState.QUEUED

        listed = await generated("api.messages.list_messages").asyncio(client=client, peer=PEER)
        assert [one.id for one in listed.items] == [submitted.id]

        read = await generated("api.messages.read_content").asyncio(id=submitted.id, client=client)
        assert isinstance(read, models.MessageRequestMla)
        assert read.body.to_dict() == sample["body"]

        shown = await generated("api.messages.get_message").asyncio(id=submitted.case, client=client)
        assert isinstance(shown, models.Problem)
        assert (shown.status, shown.code) == (404, "not_found")
