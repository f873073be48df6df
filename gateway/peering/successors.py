"""Following a peer's cards: one successor at a time, always apart from any verification (protocol §4)."""

import contextlib
from collections.abc import Iterable
from dataclasses import replace

from gateway.core.card import Card, check_apart, parse_card, successor
from gateway.core.entry import Draft
from gateway.core.errors import Malformed, Misuse, NotProved, Stale
from gateway.peering.client import PeerClient
from gateway.peering.directory import Directory
from gateway.ports import AlarmRow, CardRow, Change, Clock, PeerRow, Store

_MOST_AT_ONCE = 64


async def follow(client: PeerClient, card: Card, *, store: Store, directory: Directory, clock: Clock) -> Card:
    """Pin whatever follows *card* at its owner; return the card that is pinned then.

    A card that does not follow, and a second card with the pinned one's sequence, change nothing
    and raise an alarm; the second card is kept, for the two are the proof.

    Raises:
        PeerUnavailable: the peer cannot be reached.
    """
    try:
        raw = await client.card()
        if raw is None:
            return card
        newest = parse_card(raw)
        if newest.sequence == card.sequence and newest.sha256 != card.sha256:
            await _keep_fork(newest, store, clock)
            return card
        for sequence in range(card.sequence + 1, min(newest.sequence, card.sequence + _MOST_AT_ONCE) + 1):
            raw = await client.card(sequence)
            if raw is None:
                break
            following = successor(raw, card)
            check_apart(following, _others(directory, card))
            await _pin(following, store, clock)
            card = following
    except (Malformed, NotProved, Misuse):
        await _alarm("card_does_not_follow", card, store, clock)
    await directory.refresh()
    return card


def _others(directory: Directory, card: Card) -> Iterable[Card]:
    yield directory.own
    for peer in directory.peers.values():
        if peer.card.authority != card.authority:
            yield peer.card


async def _pin(card: Card, store: Store, clock: Clock) -> None:
    """Record *card* as the pinned one; another process may have done so first."""
    peer = await store.get(PeerRow, card.authority)
    if peer is None or peer.sequence >= card.sequence:
        return
    draft = Draft(
        event="card.pinned",
        outcome="ok",
        peer=card.authority,
        extra=(("card_sequence", card.sequence), ("card_sha256", card.sha256)),
    )
    rows = (_row(card, clock), replace(peer, sequence=card.sequence, card_sha256=card.sha256))
    with contextlib.suppress(Stale):
        await store.record(Change(name="pin", entries=(draft,), puts=rows))


async def _keep_fork(card: Card, store: Store, clock: Clock) -> None:
    with contextlib.suppress(Stale):
        await store.record(Change(name="fork", puts=(_row(card, clock),)))
    await _alarm("card_fork", card, store, clock)


async def _alarm(code: str, card: Card, store: Store, clock: Clock) -> None:
    row = AlarmRow(
        code=code,
        subject=card.authority,
        version=0,
        raised_ms=clock.now_ms(),
        detail=f"sequence {card.sequence}",
    )
    with contextlib.suppress(Stale):  # it was raised before
        await store.record(Change(name="alarm", puts=(row,)))


def _row(card: Card, clock: Clock) -> CardRow:
    return CardRow(
        authority=card.authority,
        sequence=card.sequence,
        sha256=card.sha256,
        version=0,
        body=card.raw,
        pinned_ms=clock.now_ms(),
    )
