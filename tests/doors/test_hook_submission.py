"""A draft becomes a message: once, and only if it may be sent."""

import asyncio
import json
import uuid

import pytest

from gateway.core import custody
from gateway.core.case import History
from gateway.core.envelope import open_envelope, parse_envelope
from gateway.core.message import verify_message
from gateway.core.strict import parse_time, time_text
from gateway.peering.settlement import open_case
from gateway.ports import CaseRow, ContentRow, Direction, MessageFilter
from gateway.web.tokens import Scope
from keys.rest import Box
from tests.support.authorities import DAY_MS, NOW_MS, make_authority
from tests.support.hooks import MARK, PEER, US, draft, faulty, open_hook


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


def history_of(hook, row: CaseRow) -> History:
    return open_case(hook.party.keyring.storage, row)


async def test_a_draft_becomes_a_message(hook):
    answer = await hook("POST", "/messages", draft())
    assert answer.status == 201
    said = answer.json
    assert answer.headers["Location"] == f"/v1/messages/{said['id']}"
    assert (said["state"], [one["severity"] for one in said["findings"]]) == ("queued", [])

    row = await hook.row(said["id"])
    assert (row.kind, row.case, row.created_ms) == ("request.mla", said["case"], NOW_MS)
    assert row.expires_ms == NOW_MS + 30 * DAY_MS
    (posted,) = await hook.store.due(PEER, NOW_MS, limit=9)
    assert posted.message.id == said["id"]

    envelope = parse_envelope(posted.envelope.body)
    assert (envelope.header.sender, envelope.header.recipient) == (US, PEER)
    content = open_envelope(envelope, make_authority(PEER).keyring.sealing)
    signed = verify_message(content.jws, hook.party.card.signing_keys())
    assert signed.sha256 == row.message_sha256
    assert MARK in signed.message.body["purpose"]
    kept = await hook.store.get(ContentRow, Direction.OUT, PEER, said["id"])
    box = Box(kept.wrapped_key, kept.ciphertext)
    assert custody.open_content(hook.party.keyring.storage, "out", PEER, said["id"], box) == content


async def test_the_entry_names_the_bearer_and_no_content(hook):
    said = await hook.sent()
    (entry,) = (
        [one for one in await hook.store.entries_of(said["id"])]
        if hasattr(hook.store, "entries_of")
        else await entries(hook, said["id"])
    )
    assert entry["event"] == "submission.accepted"
    assert set(entry) == {
        "v", "event", "entry_id", "time", "authority", "outcome", "peer", "message_id",
        "envelope_sha256", "message_sha256", "actor_ref",
    }  # fmt: skip


async def entries(hook, message):
    from gateway.ports import EntryFilter

    found = await hook.store.entries(EntryFilter(message_id=message))
    return [json.loads(one.leaf) for one in found]
