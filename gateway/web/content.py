"""The content of messages in our own store: opened only here, and by whom is logged first."""

from aiohttp import web

from gateway.core import custody
from gateway.core.entry import Draft
from gateway.core.envelope import Content
from gateway.core.errors import Misuse
from gateway.core.message import Message, parse_common
from gateway.core.strict import from_b64url
from gateway.ports import Change
from gateway.rows import ContentRow, MessageRow
from gateway.web.context import CONTEXT, Context
from gateway.web.middleware import BEARER
from keys.rest import Box


async def stored_content(context: Context, row: MessageRow) -> tuple[ContentRow, Content]:
    """Return the content of a message, and its row. Raises Misuse: 410 `erased`."""
    found = await context.store.get(ContentRow, row.direction, row.peer, row.id)
    if found is None:
        raise Misuse(410, "erased", "the content of this message was erased")
    box = Box(found.wrapped_key, found.ciphertext)
    return found, custody.open_content(context.keyring().storage, row.direction, row.peer, row.id, box)


def message_of(content: Content) -> Message:
    """Return the message in *content*, whose signature was verified before it was kept."""
    _, payload, _ = content.jws.split(".")
    return parse_common(from_b64url(payload))


async def log_reading(
    request: web.Request, row: MessageRow, extra: tuple[tuple[str, str | int], ...] = ()
) -> None:
    """Record that the bearer reads content of the message *row*: before a byte leaves.

    Raises:
        Unavailable: it cannot be logged now, so that nothing may be read.
    """
    entry = reading(row, request[BEARER].id, extra)
    await request.app[CONTEXT].store.record(Change(name="read", entries=(entry,)))


def reading(row: MessageRow, actor_ref: str, extra: tuple[tuple[str, str | int], ...] = ()) -> Draft:
    """Return the entry that *actor_ref* reads content of the message *row*."""
    return Draft(
        event="content.read",
        outcome="ok",
        peer=row.peer,
        message_id=row.id,
        envelope_sha256=row.envelope_sha256,
        message_sha256=row.message_sha256,
        actor_ref=actor_ref,
        extra=extra,
    )
