"""The authority's own card: shown, and replaced by a successor that its root signed off line.

`art18 card renew` writes new keys to the key store first, and then brings the card here: the
node reads the store again, makes sure that it holds every key that the card names, records the
card, and uses both from then on. A crash in between leaves keys that no card names.
"""

from http import HTTPStatus

from aiohttp import web

from gateway.core.card import MAX_BYTES, Card, check_apart, roles_lacking, successor
from gateway.core.entry import Draft
from gateway.core.errors import Misuse
from gateway.core.strict import time_text
from gateway.ports import Change
from gateway.rows import CardRow
from gateway.web.context import CONTEXT
from gateway.web.documents import query, respond
from gateway.web.limits import check_media_type, read_body
from gateway.web.middleware import BEARER
from gateway.web.peers import card_view
from keys.vault import Keyring


async def show(request: web.Request) -> web.Response:
    """Show the own card with its fingerprint."""
    query(request)
    return respond(_view(request.app[CONTEXT].directory.own))


async def renew(request: web.Request) -> web.Response:
    """Take the successor card that is the body; the same again changes nothing."""
    query(request)
    check_media_type(request, "application/json")
    raw = await read_body(request, MAX_BYTES)
    context = request.app[CONTEXT]
    own = context.directory.own
    if raw == own.raw:
        await context.publisher().renew()  # a crash may have come between
        return respond(_view(own))
    card = successor(raw, own)
    check_apart(card, (one for peer in context.directory.peers.values() for one in peer.cards))
    if card.log != own.log or card.witness != own.witness:
        raise Misuse(HTTPStatus.CONFLICT, "other_log", "a card does not change the log or the witness")
    keyring = await context.reread_vault()
    _check_held(card, keyring)
    row = CardRow.of(card, context.clock.now_ms())
    entry = Draft(
        event="card.pinned",
        outcome="ok",
        actor_ref=request[BEARER].id,
        extra=(("card_sequence", card.sequence), ("card_sha256", card.sha256)),
    )
    await context.store.record(Change(name="own_card", entries=(entry,), puts=(row,)))
    context.directory.replace_own(card)
    await context.adopt(keyring)
    await context.publisher().renew()
    return respond(_view(card))


def _check_held(card: Card, keyring: Keyring) -> None:
    """Refuse a card that names a key which the key store lacks.

    Raises:
        Misuse: 409 `keys_missing`, with the roles.
    """
    missing = roles_lacking(card, keyring)
    if missing:
        raise Misuse(
            HTTPStatus.CONFLICT,
            "keys_missing",
            "the key store lacks keys that the card names; bring them there first",
            members={"roles": missing},
        )


def _view(card: Card) -> dict[str, object]:
    return {
        "authority": card.authority,
        "sequence": card.sequence,
        "issued": time_text(card.issued_ms),
        "expires": time_text(card.expires_ms),
        **card_view(card),
    }
