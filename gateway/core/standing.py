"""Where a node stands: whether its log is as far as what it has signed of it (protocol §9 "Start-up").

A peer that witnesses a log knows how far it was. A node whose own log is behind that, or another one,
was restored from an old copy, or runs twice: whatever it signed now would contradict what it signed.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from typing_extensions import override

from gateway.core.entry import Entry, parse_entry
from gateway.core.errors import Malformed, NotProved, Untrusted, WrongSubject
from gateway.core.ids import AuthorityId
from gateway.core.merkle import leaf_hash, verify_inclusion
from gateway.core.note import Checkpoint, LogIdentity, verify_checkpoint
from gateway.core.proof import Receipt, parse_proof

OLD_COPY = "this is an old copy of the node, or another copy of it runs: nothing is recorded or signed"
"""What anybody may be told of a contradiction: it names nobody."""
EVENT = "log.epoch"
"""The event of the first entry of an epoch, but for the first."""
TAKEN = frozenset({"relay.accepted", "content.handed_over", "content.opened"})
"""The events of a peer's log that say that it has a message."""

_ORIGIN = re.compile(r"(?P<domain>.+)/audit/(?P<number>[1-9][0-9]{0,8})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A checkpoint of the own log, signed with its keys, that the own log does not lead to.

    `size` is that of the own log: smaller than the checkpoint's, or it has another root there.
    """

    peer: AuthorityId
    known: Checkpoint
    size: int

    @override
    def __str__(self) -> str:
        """Say what was found and what to do, for an operator."""
        known = self.known
        what = (
            f"has {self.size} entries here, but {self.peer} holds a checkpoint of {known.size}"
            if known.size > self.size
            else f"is another one here than the {known.size} entries of which {self.peer} holds a checkpoint"
        )
        return (
            f"the audit log {known.origin} {what}, signed with its keys. This is an old copy, or another "
            "copy of this node runs: nothing is recorded or signed. Stop every other copy, bring back the "
            "newest data; if there is none, open a new epoch: art18 audit new-epoch"
        )


def known(text: str, log: LogIdentity) -> Checkpoint | None:
    """Return the checkpoint of the own *log* that a peer holds; None if it proves nothing about it.

    Only one with both signatures of the log counts, under its origin of today: whoever else wrote
    *text* shall not be able to stop this node.
    """
    try:
        return verify_checkpoint(text, log)
    except (Malformed, NotProved):
        return None


def contradiction(
    peer: AuthorityId, found: Checkpoint, size: int, root: bytes | None
) -> Contradiction | None:
    """Return how the checkpoint that *peer* holds contradicts the own log; None if it does not.

    *size* is that of the own log, read after the peer had answered; *root* is its root at the
    checkpoint's size, None where it is not that large.
    """
    if found.size <= size and found.root == root:
        return None
    return Contradiction(peer, found, size)


# -- epochs


def epoch_of(origin: str) -> int:
    """Return the number of the epoch that *origin* names. Raises Malformed."""
    return int(_parts(origin)["number"])


def next_origin(*origins: str) -> str:
    """Return the origin of the epoch after all of those that *origins* name. Raises Malformed."""
    return f"{_parts(origins[0])['domain']}/audit/{max(map(epoch_of, origins)) + 1}"


def names_later_epoch(receipt: Receipt, logs: Collection[str]) -> bool:
    """Return whether *receipt* is of a later epoch than all of *logs*, the origins that pinned cards name.

    It may be sound: the card that names the epoch is not pinned yet.
    """
    try:
        origin = parse_proof(receipt.proof).origin
        known = [epoch_of(log) for log in logs if _parts(log)["domain"] == _parts(origin)["domain"]]
        return bool(known) and epoch_of(origin) > max(known)
    except Malformed:
        return False


def _parts(origin: str) -> re.Match[str]:
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        raise Malformed("a log origin is <authority domain>/audit/<epoch>")
    return found


@dataclass(frozen=True, slots=True)
class Epoch:
    """What the first entry of an epoch says: at which size the log was taken up again.

    `known_size` is that of the largest checkpoint that its authority knew of, None where it knew none.
    """

    origin: str
    previous_origin: str
    restored_size: int
    known_size: int | None
    checkpoint: Checkpoint


def members(
    *, origin: str, previous_origin: str, restored_size: int, known: Checkpoint | None
) -> tuple[tuple[str, str | int], ...]:
    """Return the further members of the first entry of the epoch *origin*."""
    largest: tuple[tuple[str, str | int], ...] = (
        () if known is None else (("known_size", known.size), ("known_root", known.root.hex()))
    )
    return (
        ("epoch", epoch_of(origin)),
        ("previous_origin", previous_origin),
        ("restored_size", restored_size),
        *largest,
    )


def verify_epoch(
    receipt: Receipt, authority: AuthorityId, origin: str, logs: Mapping[str, LogIdentity]
) -> Epoch:
    """Return what *receipt* proves of the epoch *origin* of *authority*, whose logs by origin are *logs*.

    Raises:
        Malformed: entry or proof is not in canonical form.
        Untrusted: the checkpoint is not of that epoch or a later one of a pinned card, or not signed twice.
        NotIncluded: the proof does not lead from the entry to the checkpoint.
        WrongSubject: it is sound, and not the first entry of that epoch.
    """
    proof = parse_proof(receipt.proof)
    log = logs.get(proof.origin)
    if log is None or epoch_of(proof.origin) < epoch_of(origin):
        raise Untrusted("no pinned card names the log of this checkpoint, or it is of an earlier epoch")
    checkpoint = verify_checkpoint(proof.checkpoint, log)
    entry = parse_entry(receipt.entry)
    verify_inclusion(leaf_hash(entry.leaf), proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    epoch = _stated(entry, origin, checkpoint)
    if entry.authority != authority or epoch.restored_size != proof.index:
        raise WrongSubject("not the first entry of an epoch of this authority")
    if epoch.previous_origin not in logs:
        raise WrongSubject("the epoch before is of no pinned card")
    return epoch


def _stated(entry: Entry, origin: str, checkpoint: Checkpoint) -> Epoch:
    said = dict(entry.extra)
    previous, restored, largest = (
        said.get(name) for name in ("previous_origin", "restored_size", "known_size")
    )
    if (
        entry.event != EVENT
        or said.get("epoch") != epoch_of(origin)
        or not isinstance(previous, str)
        or not isinstance(restored, int)
        or not isinstance(largest, int | None)
        or epoch_of(previous) >= epoch_of(origin)
    ):
        raise WrongSubject("not the first entry of this epoch")
    return Epoch(origin, previous, restored, largest, checkpoint)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry of a peer stands that a receipt proves: what it says, and in which log."""

    event: str
    origin: str
    index: int


def survives(place: Place, epoch: Epoch) -> bool:
    """Return whether the entry at *place* is still in the log of *epoch*.

    One under the origin of an earlier epoch is, if it stands before the size at which the log was
    taken up again.
    """
    return epoch_of(place.origin) >= epoch_of(epoch.origin) or place.index < epoch.restored_size


def is_lost(places: Iterable[Place], epoch: Epoch) -> bool:
    """Return whether a peer has lost a message in *epoch*, by what all its receipts about it say.

    An acceptance that survives is enough, and so is what can only follow one.
    """
    taken = [place for place in places if place.event in TAKEN]
    return bool(taken) and not any(survives(place, epoch) for place in taken)


def consistent_from(held: Checkpoint, epoch: Epoch) -> bool:
    """Return whether the log of *epoch* must lead on from the checkpoint *held* of an earlier one.

    So it must where that is no larger than the size at which the log was taken up again: consistency is
    then proved between the two as within one epoch. What lies beyond is what was lost.
    """
    return epoch_of(held.origin) < epoch_of(epoch.origin) and held.size <= epoch.restored_size
