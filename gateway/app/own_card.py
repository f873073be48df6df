"""The authority's own card in the data folder, and how its cards come into the store.

A card that another follows is kept beside it, since peers apply successors one at a time.
"""

import contextlib
import os
import tempfile
from pathlib import Path

from gateway.core.card import Card, parse_card, successor
from gateway.core.errors import Malformed, Misconfigured, NotProved, Stale
from gateway.core.ids import AuthorityId
from gateway.ports import Change, Clock, RowSource, Store
from gateway.rows import CardRow


def read_card(path: Path) -> Card:
    """Return the card in the file *path*. Raises Misconfigured."""
    try:
        return parse_card(path.read_bytes())
    except OSError as error:
        raise Misconfigured(f"the card {path} cannot be read: {error.strerror}") from None
    except (Malformed, NotProved) as fault:
        raise Misconfigured(f"the card {path} does not hold: {fault}") from None


def archived(path: Path, sequence: int) -> Path:
    """Return where the card with *sequence* is kept once another is at *path*."""
    return path.with_name(f"{path.stem}-{sequence}{path.suffix}")


def write_card(path: Path, raw: bytes) -> None:
    """Write *raw* to *path* so that it has all of it or is as it was, also after a crash."""
    handle, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


async def newest_recorded(store: RowSource, authority: AuthorityId) -> CardRow | None:
    """Return the newest card of *authority* that the store has."""
    rows = [row for row in await store.all(CardRow) if row.authority == authority]
    return max(rows, key=lambda row: row.sequence, default=None)


async def record_cards(store: Store, path: Path, clock: Clock) -> Card:
    """Return the card in the file *path*, once it and what came before it are in the store.

    Raises:
        Misconfigured: the store has a newer card, or another with this sequence; or a card on the
            way from one to the other is missing or does not follow.
    """
    card = read_card(path)
    for following in unrecorded(card, await newest_recorded(store, card.authority), path):
        with contextlib.suppress(Stale):  # another process of this authority has recorded it meanwhile
            await store.record(Change(name="own_card", puts=(CardRow.of(following, clock.now_ms()),)))
    return card


def unrecorded(card: Card, newest: CardRow | None, path: Path) -> list[Card]:
    """Return the cards up to *card*, the one in the file *path*, after the *newest* that is recorded.

    Raises:
        Misconfigured: as `record_cards`.
    """
    if newest is not None and newest.sequence >= card.sequence:
        if newest.sha256 != card.sha256:
            raise Misconfigured(
                f"keys.card: the store knows another card with sequence {newest.sequence}, and {path} has "
                f"{card.sequence}; bring back the file that belongs to this store"
            )
        return []
    before = None if newest is None else parse_card(newest.body)
    found = []
    for sequence in range(newest.sequence + 1 if newest else 1, card.sequence + 1):
        following = card if sequence == card.sequence else read_card(archived(path, sequence))
        if before is not None:
            try:
                following = successor(following.raw, before)
            except NotProved as fault:
                raise Misconfigured(f"keys.card: card {sequence} does not follow: {fault}") from None
        found.append(following)
        before = following
    return found
