"""How an input of each kind goes through the layers, and what a vector file holds.

A vector: `kind` of input; `layer` that must be the first to refuse it (null: all accept); the
`error` class; `rule`, the clause it breaks; `says`, the text of our error; and the `input`. Bytes are
`{"text": …}` or, where they are no text, `{"base64": …}`. A new kind is one more row in PIPELINES.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.core.card import check_apart, parse_card, pin, successor
from gateway.core.entry import parse_entry
from gateway.core.envelope import open_envelope, parse_content, parse_envelope
from gateway.core.ids import AuthorityId, Digest, MessageId
from gateway.core.merkle import leaf_hash, verify_consistency, verify_inclusion
from gateway.core.note import LogIdentity, parse_head, verify_checkpoint
from gateway.core.proof import SentEnvelope, parse_proof, parse_receipt, verify_receipt
from gateway.core.signed_note import parse_note
from gateway.core.strict import parse_json
from tests.vectors import deliveries
from tests.vectors.actors import QN

LAYERS = ("strict", "envelope", "card", "entry", "note", "proof", "merkle", "message", "intake")


def data(value: dict[str, str]) -> bytes:
    """Return the bytes of an input."""
    return base64.b64decode(value["base64"]) if "base64" in value else value["text"].encode()


def as_input(raw: bytes) -> dict[str, str]:
    """Return *raw* as an input."""
    try:
        return {"text": raw.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


@dataclass(frozen=True)
class World:
    """What the verifier holds: base.json, typed."""

    base: dict[str, Any]

    @property
    def logs(self) -> dict[str, LogIdentity]:
        log = self.base["log"]
        return {log["origin"]: LogIdentity.from_vkeys(log["origin"], log["vkeys"])}

    @property
    def sent(self) -> SentEnvelope:
        sent = self.base["sent"]
        return SentEnvelope(
            message_id=MessageId(sent["message_id"]),
            sender=AuthorityId(sent["sender"]),
            recipient=AuthorityId(sent["recipient"]),
            message_sha256=Digest(sent["message_sha256"]),
            envelopes=frozenset(map(Digest, sent["envelopes"])),
        )


Step = Callable[[World, dict[str, Any]], object]


def _proof_form(world: World, found: dict[str, Any]) -> object:
    receipt = parse_receipt(data(found))
    origin, _, _ = parse_head(parse_note(parse_proof(receipt.proof).checkpoint).text)
    return world.logs[origin]


def _logged(_: World, found: dict[str, Any]) -> None:
    receipt = parse_receipt(data(found))
    proof = parse_proof(receipt.proof)
    _, size, root = parse_head(parse_note(proof.checkpoint).text)
    verify_inclusion(leaf_hash(receipt.entry), proof.index, size, proof.hashes, root)


def _signed(world: World, found: dict[str, Any]) -> object:
    proof = parse_proof(parse_receipt(data(found)).proof)
    return verify_checkpoint(proof.checkpoint, next(iter(world.logs.values())))


def _inclusion(_: World, found: dict[str, Any]) -> None:
    leaf, root = bytes.fromhex(found["leaf_hash"]), bytes.fromhex(found["root"])
    verify_inclusion(leaf, found["index"], found["size"], [bytes.fromhex(h) for h in found["proof"]], root)


def _consistency(_: World, found: dict[str, Any]) -> None:
    old_root, new_root = bytes.fromhex(found["old_root"]), bytes.fromhex(found["new_root"])
    proof = [bytes.fromhex(digest) for digest in found["proof"]]
    verify_consistency(found["old"], found["new"], old_root, new_root, proof)


def _strict(_: World, found: dict[str, Any]) -> object:
    return parse_json(data(found))


def _open(_: World, found: dict[str, Any]) -> object:
    return open_envelope(parse_envelope(data(found)), {QN.sealing.kid: QN.sealing})


def _pin(world: World, found: dict[str, Any]) -> object:
    ceremony = world.base["ceremony"]
    return pin(data(found), authority=ceremony["authority"], fingerprint=ceremony["fingerprint"])


def _apart(world: World, found: dict[str, Any]) -> None:
    check_apart(parse_card(data(found)), [parse_card(world.base["card"].encode())])


def _verified(world: World, found: dict[str, Any]) -> object:
    return deliveries.verify(deliveries.pinned(world.base), data(found))


def _decided(world: World, found: dict[str, Any]) -> object:
    return deliveries.decide(deliveries.pinned(world.base), data(found), found)


PIPELINES: dict[str, tuple[tuple[str, Step], ...]] = {
    "json": (("strict", _strict),),
    "entry": (("strict", _strict), ("entry", lambda _, found: parse_entry(data(found)))),
    "envelope": (("strict", _strict), ("envelope", _open)),
    "content": (("strict", _strict), ("envelope", lambda _, found: parse_content(data(found)))),
    "card": (("strict", _strict), ("card", lambda _, found: parse_card(data(found)))),
    "pinned card": (("strict", _strict), ("card", _pin)),
    "successor card": (
        ("strict", _strict),
        ("card", lambda world, found: successor(data(found), parse_card(world.base["card"].encode()))),
    ),
    "new peer's card": (("strict", _strict), ("card", _apart)),
    "checkpoint": (
        ("note", lambda world, found: verify_checkpoint(found["text"], next(iter(world.logs.values())))),
    ),
    "inclusion": (("merkle", _inclusion),),
    "delivery": (
        ("strict", _strict),
        ("envelope", lambda _, found: parse_content(data(found))),
        ("message", _verified),
        ("intake", _decided),
    ),
    "consistency": (("merkle", _consistency),),
    "receipt": (
        ("strict", _strict),
        ("proof", _proof_form),
        ("entry", lambda _, found: parse_entry(parse_receipt(data(found)).entry)),
        ("note", _signed),
        ("merkle", _logged),
        ("proof", lambda world, found: verify_receipt(parse_receipt(data(found)), world.sent, world.logs)),
    ),
}


def refusal(world: World, kind: str, found: dict[str, Any]) -> tuple[str, Exception] | None:
    """Return the first layer that refuses an input, and its error; or None."""
    for layer, step in PIPELINES[kind]:
        try:
            step(world, found)
        except Exception as error:  # noqa: BLE001  which error it is, is what the vector says
            return layer, error
    return None
