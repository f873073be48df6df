"""Evidence for tests: two logs, a message between them, what they state, and who cosigned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from gateway.core.bundle import Bundle, Cover, Part, encode_bundle
from gateway.core.card import fingerprint
from gateway.core.entry import Draft, encode_entry
from gateway.core.merkle import Frontier, consistency, inclusion, leaf_hash
from gateway.core.note import WitnessIdentity, cosign, sign_checkpoint
from gateway.core.proof import Receipt, encode_hashes, encode_proof
from gateway.core.trust import Trust, TrustedWitness, parse_root
from keys.signing import LogKeys
from schemas.evidence import reading
from tests.support.authorities import NOW_MS, Blob, Party, Posted, make_authority, make_blob, message

OUTSIDE_KEYS = LogKeys.generate()
OUTSIDE = WitnessIdentity("witness.example", OUTSIDE_KEYS.ed.public, OUTSIDE_KEYS.lattice.public)


@dataclass
class TestLog:
    """The log of *party*, grown entry by entry."""

    __test__ = False

    party: Party
    leaves: list[bytes] = field(default_factory=list)

    def add(self, draft: Draft) -> int:
        number = len(self.leaves)
        entry_id = f"00000000-0000-4000-8000-{number:012d}"
        time_ms = NOW_MS + 1000 * number
        self.leaves.append(encode_entry(draft, authority=self.party.id, entry_id=entry_id, time_ms=time_ms))
        return number

    def _tree(self, size: int) -> tuple[Frontier, Callable[[int, int], bytes]]:
        frontier, made = Frontier().append(map(leaf_hash, self.leaves[:size]))
        nodes = {(level, index): digest for level, index, digest in made}
        return frontier, lambda level, index: nodes[level, index]

    def note(self, size: int, *witnesses: Party) -> str:
        """Return the checkpoint of *size*, cosigned by the witnesses of these parties."""
        frontier, _ = self._tree(size)
        checkpoint = sign_checkpoint(
            self.party.origin, size, frontier.root(), NOW_MS + 1000 * size, self.party.keyring.log
        )
        lines = (
            cosign(checkpoint, one.card.witness.name, NOW_MS + 60_000, one.keyring.witness)
            for one in witnesses
        )
        return checkpoint.text + "".join(lines)

    def outside(self, size: int) -> str:
        """Return the lines of a witness that is no peer under the checkpoint of *size*."""
        frontier, _ = self._tree(size)
        checkpoint = sign_checkpoint(self.party.origin, size, frontier.root(), NOW_MS, self.party.keyring.log)
        return cosign(checkpoint, OUTSIDE.name, NOW_MS + 90_000, OUTSIDE_KEYS)

    def receipt(self, index: int, note: str, size: int) -> Receipt:
        _, node = self._tree(size)
        return Receipt(self.leaves[index], encode_proof(index, inclusion(index, size, node), note))

    def consistency(self, old: int, new: int) -> str:
        _, node = self._tree(new)
        return encode_hashes(consistency(old, new, node))


def statement(log: TestLog, index: int, note: str, size: int, covers: tuple[Cover, ...] = ()) -> Part:
    name = f"statements/{log.party.id}-{index}.json"
    return Part(name, "statement", log.receipt(index, note, size).encode(), covers)


@dataclass(frozen=True)
class Case:
    """A sound bundle, and what it was made of."""

    bundle: Bundle
    posted: Posted
    sender: Party
    recipient: Party
    third: Party
    blob: Blob

    @property
    def raw(self) -> bytes:
        return encode_bundle(self.bundle)

    def with_part(self, name: str, data: bytes) -> "Case":
        """Return the case with other content of a file; the manifest is mended to match."""
        parts = tuple(replace(one, data=data) if one.name == name else one for one in self.bundle.parts)
        return replace(self, bundle=replace(self.bundle, parts=parts))

    def without(self, *names: str) -> "Case":
        parts = tuple(one for one in self.bundle.parts if one.name not in names)
        return replace(self, bundle=replace(self.bundle, parts=parts))


def draft(event: str, posted: Posted, peer: Party, **members: object) -> Draft:
    return Draft(
        **{
            "event": event,
            "outcome": "ok",
            "peer": peer.id,
            "message_id": posted.id,
            "envelope_sha256": posted.envelope.sha256,
            "message_sha256": posted.signed.sha256,
        }
        | members
    )


OTHER = Draft(event="log.read", outcome="ok")


@cache
def make_case() -> Case:
    """Return the evidence of qm.moj about a message to qn.moj, witnessed by both and by qp.moj."""
    sender, recipient, third = (make_authority(name) for name in ("qm.moj", "qn.moj", "qp.moj"))
    blob = make_blob(b"the summons", "summons.txt")
    posted = message(sender, recipient, blobs=[blob])
    own, theirs = TestLog(sender), TestLog(recipient)
    for log in (own, theirs):
        log.add(OTHER)
    submitted = own.add(draft("submission.accepted", posted, recipient))
    accepted = theirs.add(draft("relay.accepted", posted, sender))
    for log in (own, theirs):
        for _ in range(3):
            log.add(OTHER)
    recorded = own.add(draft("receipt.recorded", posted, recipient, extra=(("stated", "relay.accepted"),)))
    handed = theirs.add(draft("content.handed_over", posted, sender))
    theirs.add(OTHER)
    files = {
        "checkpoints/own-6.txt": ("checkpoint", own.note(6, third)),
        "consistency/own-6-from-4.txt": ("consistency", own.consistency(4, 6)),
        "checkpoints/peer-7.txt": ("checkpoint", theirs.note(7, sender, third)),
        "consistency/peer-7-from-3.txt": ("consistency", theirs.consistency(3, 7)),
        "consistency/peer-7-from-6.txt": ("consistency", theirs.consistency(6, 7)),
    }
    parts = (
        Part("message.jws", "message", posted.signed.jws.encode()),
        statement(
            own,
            submitted,
            own.note(4, recipient),
            4,
            (Cover("checkpoints/own-6.txt", "consistency/own-6-from-4.txt"),),
        ),
        statement(own, recorded, own.note(6, third), 6),
        statement(
            theirs,
            accepted,
            theirs.note(3),
            3,
            (Cover("checkpoints/peer-7.txt", "consistency/peer-7-from-3.txt"),),
        ),
        statement(
            theirs,
            handed,
            theirs.note(6),
            6,
            (Cover("checkpoints/peer-7.txt", "consistency/peer-7-from-6.txt"),),
        ),
        *(Part(name, role, text.encode()) for name, (role, text) in files.items()),
        *(Part(f"cards/{party.id}/1.json", "card", party.card.raw) for party in (sender, recipient, third)),
        *(Part(name, "reading", data) for name, data in reading().items()),
    )
    bundle = Bundle(
        made_ms=NOW_MS,
        message=posted.id,
        sender=sender.id,
        recipient=recipient.id,
        message_sha256=posted.signed.sha256,
        parts=parts,
    )
    return Case(bundle, posted, sender, recipient, third, blob)


def roots(*parties: Party) -> Trust:
    """Return the trust of whoever confirmed the roots of *parties*."""
    trust = Trust()
    for party in parties:
        trust = trust.joined(parse_root(f"{party.id}={fingerprint(party.card)}"))
    return trust


def trusting_outside(trust: Trust, keys: Sequence[object] = OUTSIDE.verifiers) -> Trust:
    return trust.joined(Trust({}, (TrustedWitness(OUTSIDE.name, tuple(keys)),)))


def written(folder: Path, raw: bytes) -> Path:
    path = folder / "evidence.zip"
    path.write_bytes(raw)
    return path
