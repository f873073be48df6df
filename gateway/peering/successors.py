"""Following a peer's cards: one successor at a time, always apart from any verification (protocol §4)."""

import contextlib
from collections.abc import Iterable
from dataclasses import replace

from gateway.core.card import Card, check_apart, parse_card, successor
from gateway.core.entry import Draft
from gateway.core.errors import Malformed, Misuse, NotProved, Stale, Untrusted
from gateway.peering.alarms import raise_alarm
from gateway.peering.client import PeerClient
from gateway.peering.directory import Directory
from gateway.ports import Change, Clock, Store
from gateway.rows import NEVER_PINNED, AlarmRow, CardRow, PeerRow

_MOST_AT_ONCE = 64


async def follow(client: PeerClient, card: Card, *, store: Store, directory: Directory, clock: Clock) -> Card:
    """Pin whatever follows *card* at its owner; return the card that is pinned then.

    A card that does not follow changes nothing and raises an alarm. So does a second card with the
    sequence of the pinned one; it is kept too, for the two are the proof.

    Raises:
        PeerUnavailable: the peer cannot be reached.
    """
    try:
        newest = await _fetched(client, None)
        if newest is None or newest.sha256 == card.sha256:
            return card
        _check_newest(newest, card)
        for sequence in range(card.sequence + 1, min(newest.sequence, card.sequence + _MOST_AT_ONCE) + 1):
            found = await _fetched(client, sequence)
            if found is None:
                break
            following = await _successor(client, found, card)
            check_apart(following, _others(directory, card))
            await _pin(following, store, clock)
            card = following
    except _Fork as fork:
        await _keep(fork.card, card, store, clock)
    except (Malformed, NotProved, Misuse):
        await _alarm("card_does_not_follow", card, store, clock)
    await directory.refresh()
    return card


class _Fork(Exception):
    """There is a second *card* with the sequence of the pinned one."""

    def __init__(self, card: Card) -> None:
        super().__init__("two cards with one sequence")
        self.card = card


def _check_newest(newest: Card, card: Card) -> None:
    if newest.authority != card.authority or newest.sequence < card.sequence:
        raise Untrusted("another authority's card, or an older one")
    if newest.sequence == card.sequence:
        raise _Fork(newest)


async def _fetched(client: PeerClient, sequence: int | None) -> Card | None:
    raw = await client.card(sequence)
    return None if raw is None else parse_card(raw)


async def _successor(client: PeerClient, found: Card, card: Card) -> Card:
    """Return *found* if it follows *card*; if it does not, look for the card that it follows instead.

    Raises:
        _Fork: the peer names another card with the sequence of *card*.
        Untrusted: it does not follow.
    """
    try:
        return successor(found.raw, card)
    except Untrusted:
        other = await _fetched(client, card.sequence)
        if other is not None and other.sha256 != card.sha256 and other.sequence == card.sequence:
            raise _Fork(other) from None
        raise


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
    rows = (CardRow.of(card, clock.now_ms()), replace(peer, sequence=card.sequence, card_sha256=card.sha256))
    with contextlib.suppress(Stale):
        await store.record(Change(name="pin", entries=(draft,), puts=rows))


async def _keep(second: Card, card: Card, store: Store, clock: Clock) -> None:
    """Keep a *second* card beside *card*, once, if a root key of the owner signed both."""
    if second.authority != card.authority or not set(second.root) & set(card.root):
        await _alarm("card_does_not_follow", card, store, clock)
        return
    if await store.get(AlarmRow, "card_fork", card.authority) is None:
        with contextlib.suppress(Stale):
            await store.record(Change(name="fork", puts=(CardRow.of(second, NEVER_PINNED),)))
    await _alarm("card_fork", card, store, clock)


async def _alarm(code: str, card: Card, store: Store, clock: Clock) -> None:
    await raise_alarm(store, clock, code, card.authority, f"sequence {card.sequence}")
