"""What submission and release have in common: peer, signature, findings, seal, and the rows at rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.core import case as cases
from gateway.core import custody
from gateway.core.case import History, NotAllowed
from gateway.core.envelope import Header, build_envelope, encode_content
from gateway.core.errors import Flaw, Misuse
from gateway.core.findings import Circumstances, Finding, findings
from gateway.core.ids import AuthorityId, Digest
from gateway.core.message import Message, SignedMessage
from gateway.peering.directory import PinnedPeer
from gateway.rows import ContentRow, Direction, EnvelopeRow
from gateway.web.context import Context
from gateway.web.drafts import signed
from gateway.web.subjects import Subjects, look_up


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message as it rests here, and the envelope to post unless it is held."""

    content: ContentRow
    envelope: EnvelopeRow | None

    @property
    def envelope_sha256(self) -> Digest | None:
        """The digest of the envelope to post."""
        return None if self.envelope is None else self.envelope.sha256


def recipient(context: Context, authority: AuthorityId) -> PinnedPeer:
    """Return the peer that a message is to go to.

    Raises:
        Misuse: 422 `unknown_peer`, 409 `peer_suspended`.
    """
    peer = context.directory.peers.get(authority)
    if peer is None:
        flaw = Flaw("/to", "a pinned peer")
        raise Misuse(422, "unknown_peer", "no card of this authority is pinned", flaws=[flaw])
    if not peer.active:
        raise Misuse(409, "peer_suspended", "this peer is suspended here")
    return peer


def sign(context: Context, payload: Mapping[str, object], now_ms: int) -> SignedMessage:
    """Return *payload* under the signing key of now. Raises Misuse and Malformed as `drafts.signed`."""
    return signed(payload, context.keyring().signing[context.directory.own.signing_kid(now_ms)])


def check_allowed(history: History, message: SignedMessage) -> None:
    """Refuse what the case does not allow now, so that the peer will not have to.

    Raises:
        Misuse: 409 `not_allowed`, with the state of the case and the kinds that it allows.
    """
    own = message.message.sender
    try:
        cases.may_send(history, own, message.message)
    except NotAllowed as fault:
        members = {"state": cases.replay(history).state, "allowed": cases.allowed(history, [own])[own]}
        raise Misuse(409, "not_allowed", str(fault), members=members) from None


async def judge(
    context: Context, peer: PinnedPeer, history: History, message: Message
) -> tuple[tuple[Finding, ...], Subjects]:
    """Return what is legally wrong with *message* by the peer's profile and what went before."""
    (subjects,) = await look_up(context.store, context.keyring().storage, peer.row.authority, [message])
    known = Circumstances(profile=peer.profile, history=history, elsewhere=subjects.elsewhere)
    return findings(message, known), subjects


def errors_found(told: Sequence[Mapping[str, object]]) -> Misuse:
    """Return the refusal of a message with errors among the findings *told* (422 `findings`)."""
    errors = [finding for finding in told if finding["severity"] == "error"]
    return Misuse(
        422,
        "findings",
        "an article asks for what is not there; mend it, or override with a reason",
        flaws=[Flaw(str(one["path"]), f"{one['article']}: {one['text']}") for one in errors],
        members={"findings": told},
    )


def pack(
    context: Context,
    message: SignedMessage,
    blob_keys: Mapping[Digest, bytes],
    peer: PinnedPeer,
    now_ms: int,
    *,
    version: int = 0,
    held: bool = False,
) -> Parcel:
    """Return *message* sealed for rest, in place of the row at *version*, and for *peer*."""
    id_, authority = message.message.id, peer.row.authority
    plaintext = encode_content(message.jws, blob_keys)
    box = custody.box_content(context.keyring().storage, Direction.OUT, authority, id_, plaintext)
    content = ContentRow(
        direction=Direction.OUT,
        peer=authority,
        id=id_,
        version=version,
        wrapped_key=box.wrapped_key,
        ciphertext=box.ciphertext,
    )
    if held:
        return Parcel(content, None)
    key = peer.card.sealing_key(now_ms)
    header = Header(id_, message.message.sender, authority, key.kid)
    envelope = build_envelope(header, plaintext, key.public)
    row = EnvelopeRow(message_id=id_, sha256=envelope.sha256, version=0, body=envelope.raw)
    return Parcel(content, row)
