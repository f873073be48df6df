"""The evidence bundle of a message, put together from what this node holds (protocol §9).

Of our own log, what it states about the message, each entry proved to the earliest checkpoint that anybody
has cosigned; of the peer's log, its receipts as they came, led to a checkpoint that we have cosigned. Who
read what is in no bundle.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from gateway.core.bundle import Bundle, Cover, Part, encode_bundle
from gateway.core.card import Card, parse_card
from gateway.core.entry import LATER, parse_entry
from gateway.core.errors import Misuse
from gateway.core.ids import AuthorityId
from gateway.core.names import disposition
from gateway.core.note import parse_head
from gateway.core.proof import Receipt, encode_hashes, encode_proof, parse_proof, parse_receipt
from gateway.core.signed_note import parse_note
from gateway.core.strict import sha256
from gateway.ports import EntryFilter, Logged, Store
from gateway.rows import NEVER_PINNED, BridgeRow, CardRow, CosignedRow, CoverRow, Direction, MessageRow
from gateway.web.content import log_reading, stored_content
from gateway.web.context import CONTEXT, Context
from gateway.web.messages import find
from schemas.evidence import reading

_MOST = 500
_RECEPTION = frozenset({"relay.accepted", "relay.refused", "relay.conflict", "relay.unknown", *LATER})
_SENDING = frozenset({"submission.accepted", "receipt.recorded", "relay.undetermined"})
_DELIVERY = "delivery."


async def bundle(request: web.Request) -> web.Response:
    """Give the evidence about a message; it holds the content, so that the reading is logged first."""
    row = await find(request)
    context = request.app[CONTEXT]
    jws = await _jws(context, row)
    if jws is not None:
        await log_reading(request, row, (("part", "evidence"),))
    data = await gathered(context, row, jws)
    headers = {"Content-Disposition": disposition(f"evidence-{row.id}.zip")}
    return web.Response(body=data, content_type="application/zip", headers=headers)


async def gathered(context: Context, row: MessageRow, jws: str | None) -> bytes:
    """Return the bundle about the message *row*; *jws* is its content, None once that was erased."""
    found = _Gathering(context.store)
    statements = [*await found.own(row), *await found.receipts(row)]
    own = context.directory.own.authority
    sender, recipient = (own, row.peer) if row.direction is Direction.OUT else (row.peer, own)
    cards = await _cards(context, row, found.witnesses)
    parts = (
        *([] if jws is None else [Part("message.jws", "message", jws.encode("ascii"))]),
        *statements,
        *found.files.values(),
        *(Part(f"cards/{card.authority}/{card.sequence}.json", "card", card.raw) for card in cards),
        *(Part(name, "reading", data) for name, data in reading().items()),
    )
    return encode_bundle(
        Bundle(
            made_ms=context.clock.now_ms(),
            message=row.id,
            sender=sender,
            recipient=recipient,
            message_sha256=row.message_sha256,
            parts=parts,
        )
    )


async def _jws(context: Context, row: MessageRow) -> str | None:
    try:
        _, content = await stored_content(context, row)
    except Misuse:
        return None
    return content.jws


@dataclass(slots=True)
class _Gathering:
    """What is put together: files that statements share, and the witnesses whose cards are needed."""

    store: Store
    files: dict[str, Part] = field(default_factory=dict)
    witnesses: set[str] = field(default_factory=set)

    async def own(self, row: MessageRow) -> list[Part]:
        """Return what our own log states about the message."""
        events = _SENDING if row.direction is Direction.OUT else _RECEPTION
        found = []
        cursor = None
        while page := await self.store.entries(
            EntryFilter(peer=row.peer, message_id=row.id), cursor=cursor, limit=_MOST
        ):
            for logged in page:
                entry = parse_entry(logged.leaf)
                if entry.event in events or (
                    row.direction is Direction.OUT and entry.event.startswith(_DELIVERY)
                ):
                    found.append(await self._own(logged, entry.authority))
            cursor = page[-1].index
        return found

    async def _own(self, logged: Logged, authority: AuthorityId) -> Part:
        name = f"statements/{authority}-{logged.index}.json"
        cosigned = await self.store.first_cosigned(logged.index)
        if not cosigned:
            receipt = await self.store.receipt(logged.index)
            return Part(name, "statement", receipt.encode())
        first, *others = sorted({row.size for row in cosigned})
        note = await self._note(first, cosigned)
        hashes = await self.store.inclusion(logged.index, first)
        receipt = Receipt(logged.leaf, encode_proof(logged.index, hashes, note))
        covers = [await self._later(first, size, cosigned) for size in others]
        return Part(name, "statement", receipt.encode(), tuple(covers))

    async def _note(self, size: int, cosigned: Sequence[CosignedRow]) -> str:
        """Return the own checkpoint of *size* with the cosignatures under it."""
        text = await self.store.checkpoint_at(size)
        if text is None:
            raise Misuse(500, "no_checkpoint", "a cosigned checkpoint is not there")
        rows = [row for row in cosigned if row.size == size]
        self.witnesses |= {row.witness for row in rows}
        return text + "".join(row.lines for row in rows)

    async def _later(self, first: int, size: int, cosigned: Sequence[CosignedRow]) -> Cover:
        note = await self._note(size, cosigned)
        proof = encode_hashes(await self.store.consistency(first, size))
        return self._cover(note, first, size, proof)

    async def receipts(self, row: MessageRow) -> list[Part]:
        """Return the peer's receipts about an outgoing message."""
        if row.direction is not Direction.OUT:
            return []
        found = []
        for kept in await self.store.receipts(row.peer, row.id):
            proof = parse_proof(parse_receipt(kept.body).proof)
            name = f"statements/{row.peer}-{proof.index}-{kept.entry_sha256[:8]}.json"
            found.append(Part(name, "statement", kept.body, await self._covers(proof.checkpoint)))
        return found

    async def _covers(self, checkpoint: str) -> tuple[Cover, ...]:
        """Return what the checkpoint of a receipt is led to, if it has been already."""
        origin, size, _ = parse_head(parse_note(checkpoint).text)
        bridge = await self.store.get(BridgeRow, origin, size)
        cover = None if bridge is None else await self.store.get(CoverRow, origin, bridge.cover)
        if bridge is None or cover is None:
            return ()
        self.witnesses |= {one.name for one in parse_note(cover.text).signatures}
        return (self._cover(cover.text, size, cover.size, bridge.proof),)

    def _cover(self, note: str, first: int, size: int, proof: str) -> Cover:
        """Keep a later checkpoint, and the proof that leads to it, as files."""
        origin, _, _ = parse_head(parse_note(note).text)
        place = f"{sha256(origin.encode())[:8]}-{size}"
        cover = Cover(f"checkpoints/{place}.txt", f"consistency/{place}-from-{first}.txt")
        for name, role, text in (
            (cover.checkpoint, "checkpoint", note),
            (cover.consistency, "consistency", proof),
        ):
            self.files[name] = Part(name, role, text.encode())
        return cover


async def _cards(context: Context, row: MessageRow, witnesses: Iterable[str]) -> list[Card]:
    """Return the cards of both sides from the judging one on, and those of peers whose witnesses signed."""
    named = set(witnesses)
    chosen: list[Card] = []
    by_authority: dict[AuthorityId, list[CardRow]] = {}
    for one in await context.store.all(CardRow):
        if one.pinned_ms != NEVER_PINNED:
            by_authority.setdefault(one.authority, []).append(one)
    for authority, rows in sorted(by_authority.items()):
        rows.sort(key=lambda one: one.sequence)
        cards = [parse_card(one.body) for one in rows]
        if authority in {row.peer, context.directory.own.authority}:
            judging = max(
                (one.sequence for one in rows if one.pinned_ms <= row.recorded_ms), default=rows[0].sequence
            )
            chosen += [card for card in cards if card.sequence >= judging]
        elif any(card.witness.name in named for card in cards):
            chosen += cards
    return chosen
