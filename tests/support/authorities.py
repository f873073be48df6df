"""Authorities for tests: keys drawn once a session, cards, ceremonies, messages, envelopes."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from gateway.config import Clocks
from gateway.core import card as cards
from gateway.core.card import Card, Certificate, Plan, PublicKey, Window, build_card, parse_card
from gateway.core.entry import Draft
from gateway.core.envelope import Envelope, Header, build_envelope, encode_content
from gateway.core.ids import AuthorityId, Digest, MessageId
from gateway.core.message import TYPE, SignedMessage, sign_message
from gateway.core.note import LogIdentity, WitnessIdentity
from gateway.core.standing import next_origin
from gateway.core.strict import sha256, time_text
from gateway.ports import Change, Store
from gateway.rows import CardRow, PeerRow
from keys.signing import LogKeys, SigningKey
from keys.stream import new_stream_key
from keys.vault import Keyring
from tests.support.streams import sealed

NOW_MS = 1_795_000_000_000
"""The time of tests: a November day in 2026."""
DAY_MS = 24 * 3600 * 1000
PERIODS_MS = Clocks().periods_ms
"""How long each clock runs unless a test says otherwise."""
ENDPOINT = "https://127.0.0.1:8443"
CONTENT = "Example Person One holds the account that the court asks about"
"""Stands in every message made here: wherever it is seen outside of one, content has leaked."""


@dataclass
class FixedClock:
    """A clock that a test sets."""

    time_ms: int = NOW_MS

    def now_ms(self) -> int:
        return self.time_ms


@dataclass
class FixedSteady:
    """The clock that counts from the boot, which a test sets."""

    time_ms: int = 3_600_000

    def boot_ms(self) -> int:
        return self.time_ms


@dataclass
class PassingSteady:
    """The clock that counts from the boot, while *clock* goes on; a test says how far that has stepped."""

    clock: FixedClock
    stepped_ms: int = 0

    def boot_ms(self) -> int:
        return self.clock.time_ms - NOW_MS + 3_600_000 - self.stepped_ms


@dataclass
class FixedEntropy:
    """Random ids, and jitter that a test sets."""

    fixed: float = 0.5

    def uuid4(self) -> str:
        return str(uuid.uuid4())

    def jitter(self) -> float:
        return self.fixed


@dataclass(frozen=True)
class Party:
    """An authority with all its keys and its newest card."""

    id: AuthorityId
    root: SigningKey
    keyring: Keyring
    card: Card

    @property
    def origin(self) -> str:
        return self.card.log.origin

    @property
    def signing(self) -> SigningKey:
        return self.keyring.signing[self.card.signing_kid(NOW_MS)]

    def at(self, *endpoints: str) -> "Party":
        """Return the same authority with a first card that names *endpoints*."""
        plan = replace(plan_of(self.card), endpoints=endpoints)
        return replace(self, card=parse_card(build_card(plan, [self.root])))

    def succeeded(self, keyring: Keyring | None = None, **changes: Any) -> "Party":
        """Return the authority with a successor card: other keys, or other members of the plan."""
        keyring = keyring or self.keyring
        members = {
            "sequence": self.card.sequence + 1,
            "previous": self.card.sha256,
            "signing": _public(keyring.signing),
            "sealing": _public(keyring.sealing),
            "tls": tuple(Certificate(one.certificate, WINDOW) for one in keyring.tls),
        }
        plan = replace(plan_of(self.card), **(members | changes))
        return replace(self, keyring=keyring, card=parse_card(build_card(plan, [self.root])))

    def next_epoch(self) -> "Party":
        """Return the authority with a successor card that names the next epoch of its log."""
        keys, origin = LogKeys.generate(), next_origin(self.origin)
        log = LogIdentity(origin, keys.ed.public, keys.lattice.public)
        return self.succeeded(replace(self.keyring, log=keys), log=log)


WINDOW = Window(NOW_MS - 30 * DAY_MS, NOW_MS + 700 * DAY_MS)


@cache
def make_authority(authority: str, *, generation: int = 0) -> Party:
    """Return the authority of that id, the same for a whole session (for each *generation*)."""
    id_ = AuthorityId(authority)
    root, keyring = SigningKey.generate(), Keyring.generate(authority, ["127.0.0.1"])
    domain = f"{authority.replace('.', '-')}.example"
    log, witness = keyring.log, keyring.witness
    plan = Plan(
        authority=id_,
        sequence=1,
        previous=None,
        issued_ms=NOW_MS - 30 * DAY_MS,
        expires_ms=NOW_MS - 30 * DAY_MS + cards.LIFETIME_MS,
        root=(root.public,),
        signing=_public(keyring.signing),
        sealing=_public(keyring.sealing),
        tls=tuple(Certificate(one.certificate, WINDOW) for one in keyring.tls),
        log=LogIdentity(f"{domain}/audit/{generation + 1}", log.ed.public, log.lattice.public),
        witness=WitnessIdentity(f"{domain}/witness", witness.ed.public, witness.lattice.public),
        endpoints=(ENDPOINT,),
    )
    return Party(id_, root, keyring, parse_card(build_card(plan, [root])))


def plan_of(card: Card) -> Plan:
    """Return what *card* says, to say something else."""
    return Plan(**{name: getattr(card, name) for name in Plan.__dataclass_fields__})


def _public(keys: Mapping[str, Any]) -> tuple[PublicKey, ...]:
    return tuple(PublicKey(key.kid, key.public, WINDOW) for key in keys.values())


async def pin(store: Store, peer: Card, *, now_ms: int = NOW_MS) -> PeerRow:
    """Record the ceremony at which *peer* was pinned."""
    row = PeerRow(
        authority=peer.authority,
        version=0,
        state="active",
        sequence=peer.sequence,
        card_sha256=peer.sha256,
        added_ms=now_ms,
    )
    entry = Draft(event="peer.added", outcome="ok", peer=peer.authority)
    await store.record(Change(name="pin", entries=(entry,), puts=(card_row(peer, now_ms), row)))
    return replace(row, version=1)


def card_row(card: Card, now_ms: int = NOW_MS) -> CardRow:
    """Return the row under which *card* is kept."""
    return CardRow(
        authority=card.authority,
        sequence=card.sequence,
        sha256=card.sha256,
        version=0,
        body=card.raw,
        pinned_ms=now_ms,
    )


@dataclass(frozen=True)
class Blob:
    """An attachment in both forms."""

    name: str
    plain: bytes
    key: bytes
    sealed: bytes

    @property
    def sha256(self) -> Digest:
        return sha256(self.sealed)

    def member(self) -> dict[str, Any]:
        """Return what a message says about it."""
        return {
            "name": self.name,
            "media_type": "text/plain",
            "size": len(self.plain),
            "sha256": sha256(self.plain),
            "role": "other",
            "language": "en",
            "blob": {"sha256": self.sha256, "size": len(self.sealed)},
        }


def make_blob(plain: bytes, name: str = "statement.txt") -> Blob:
    """Return *plain* sealed under a fresh key."""
    key = new_stream_key()
    return Blob(name, plain, key, sealed(key, plain))


def payload(sender: Party, recipient: Party, **members: Any) -> dict[str, Any]:
    """Return the payload of a request that opens a case, with *members* set instead.

    A member set to `...` is left out; `from_` is `from`.
    """
    found: dict[str, Any] = {
        "v": 1,
        "kind": "request.mla",
        "id": str(uuid.uuid4()),
        "case": str(uuid.uuid4()),
        "from": sender.id,
        "to": recipient.id,
        "created": time_text(NOW_MS),
        "expires": time_text(NOW_MS + 30 * DAY_MS),
        "previous": None,
        "case_head": None,
        "language": "en",
        "own_ref": "EX-2026-001",
        "handling": "normal",
        "urgency": "normal",
        "authorised_by": {"name": "Example Officer One", "function": "Head of Unit"},
        "body": {"purpose": CONTENT},
        "translations": [],
        "attachments": [],
    }
    found |= {name.removesuffix("_"): value for name, value in members.items()}
    return {name: value for name, value in found.items() if value is not ...}


@dataclass(frozen=True)
class Posted:
    """A message ready to post: what was signed, and the envelope around it."""

    signed: SignedMessage
    envelope: Envelope
    blobs: tuple[Blob, ...] = field(default=())

    @property
    def id(self) -> MessageId:
        return self.envelope.header.id

    @property
    def raw(self) -> bytes:
        return self.envelope.raw


def message(sender: Party, recipient: Party, *, blobs: Sequence[Blob] = (), **members: Any) -> Posted:
    """Return a sound message of *sender* in an envelope to *recipient*."""
    found = payload(sender, recipient, attachments=[blob.member() for blob in blobs], **members)
    signed = sign_message(found, sender.signing)
    return Posted(
        signed, seal(sender, recipient, signed.jws, id_=signed.message.id, blobs=blobs), tuple(blobs)
    )


def enquiry(after: Posted, sender: Party, recipient: Party, **members: Any) -> Posted:
    """Return what the sender of *after* asks next in its case."""
    found = {
        "kind": "status.enquiry",
        "case": after.signed.message.case,
        "previous": after.signed.sha256,
        "body": {"questions": [CONTENT]},
    }
    return message(sender, recipient, **(found | members))


def acknowledgment(of: Posted, sender: Party, recipient: Party, **members: Any) -> Posted:
    """Return the acknowledgment by *sender* of a request that *recipient* sent."""
    found = {
        "kind": "acknowledgment",
        "case": of.signed.message.case,
        "case_head": of.signed.sha256,
        "in_reply_to": of.id,
        "body": {
            "received_at": time_text(NOW_MS),
            "registered_ref": "QM-1/2026",
            "case_officer": {"function": "Desk Two"},
            "request_sha256": of.signed.sha256,
            "attachments_readable": True,
            "language_ok": True,
            "next_update_by": "2026-12-24",
        },
    }
    return message(sender, recipient, **(found | members))


def sign_raw(sender: Party, raw: bytes, *, key: SigningKey | None = None) -> str:
    """Return *raw*, whatever it is, signed as a message."""
    return (key or sender.signing).sign_compact(raw, TYPE)


def seal(
    sender: Party,
    recipient: Party,
    jws: str,
    *,
    id_: str | None = None,
    blobs: Sequence[Blob] = (),
    plaintext: bytes | None = None,
) -> Envelope:
    """Return *jws* (or any *plaintext*) sealed to *recipient*."""
    key = recipient.card.sealing_key(NOW_MS)
    header = Header(MessageId(id_ or str(uuid.uuid4())), sender.id, recipient.id, key.kid)
    content = encode_content(jws, {blob.sha256: blob.key for blob in blobs})
    return build_envelope(header, plaintext or content, key.public)


def next_tls(party: Party, *, keep: bool = True) -> Keyring:
    """Return the keys of *party* with another TLS key, beside the old one or in its place."""
    fresh = Keyring.generate(party.id, ["127.0.0.1"]).tls[0]
    return replace(party.keyring, tls=(*party.keyring.tls, fresh) if keep else (fresh,))
