"""Taking envelopes in: the stages of `core.intake`, with the store between them (protocol §8).

Every envelope gets one change of its own; those of a batch are recorded together and so share a
commit and a checkpoint. An answer never depends on the others of its batch, except that the
messages of one case are taken in their order.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.core import case as cases
from gateway.core import custody, intake
from gateway.core.case import History
from gateway.core.entry import Draft
from gateway.core.envelope import Envelope, encode_content
from gateway.core.errors import GatewayFault, PeerFault, Stale, Unavailable
from gateway.core.findings import findings, to_json
from gateway.core.ids import AuthorityId, CaseId, Digest, MessageId
from gateway.core.intake import Answered, Judged, Opened, Refused
from gateway.core.proof import Receipt
from gateway.peering.directory import PinnedPeer
from gateway.peering.settlement import move_case, open_case
from gateway.ports import (
    THIS_ENTRY,
    AnswerRow,
    BlobRow,
    CaseRow,
    Change,
    ConflictRow,
    ContentRow,
    Direction,
    MessageRow,
    Row,
)
from gateway.web.context import Context
from gateway.web.openings import Openings

_TRIES = 16
_HOUR_MS = 3_600_000
_STATUS = {"relay.accepted": 201, "relay.refused": 422, "relay.unknown": 422, "relay.conflict": 409}


@dataclass(frozen=True, slots=True)
class Answer:
    """A signed answer: its status and receipt."""

    status: int
    receipt: Receipt


@dataclass(slots=True)
class _Item:
    """One envelope on its way through the stages, with the rows last read for it."""

    envelope: Envelope
    answer: AnswerRow | None
    opened: Opened | None = None
    case: CaseRow | None = None

    @property
    def id(self) -> MessageId:
        return self.envelope.header.id


class Reception:
    """What the federation door does with envelopes."""

    def __init__(self, context: Context, openings: Openings | None = None) -> None:
        self._context = context
        self._store = context.store
        self._openings = openings or Openings()
        self._refusing: Counter[AuthorityId] = Counter()

    async def receive(self, peer: PinnedPeer, raws: Sequence[bytes]) -> list[Answer | Exception]:
        """Return the answer to each of *raws*, which *peer* posted, in their order.

        What goes wrong with one of them, foreseen or not, is its answer and nobody else's.
        """
        me, keys = self._context.directory.own.authority, self._context.keyring().sealing
        parsed: list[Envelope | Exception] = []
        for raw in raws:
            try:
                parsed.append(intake.parse(raw, peer=peer.row.authority, me=me, keys=keys))
            except GatewayFault as fault:
                parsed.append(fault)
        items = await self._known(peer, [one for one in parsed if isinstance(one, Envelope)])
        answers = iter(await self._answer_all(peer, items))
        return [next(answers) if isinstance(one, Envelope) else one for one in parsed]

    async def close(self, peer: PinnedPeer, message: MessageId, envelope: Digest) -> Answer:
        """Return the answer that exists, or refuse the id for ever (protocol §8, `close`)."""
        authority = peer.row.authority
        for _ in range(_TRIES):
            known = await self._store.get(AnswerRow, authority, message)
            if known is not None:
                return await self._stored(known)
            draft = Draft(
                event="relay.unknown",
                outcome="ok",
                peer=authority,
                message_id=message,
                envelope_sha256=envelope,
            )
            answer = AnswerRow(
                peer=authority,
                id=message,
                version=0,
                envelope_sha256=envelope,
                message_sha256=None,
                event=draft.event,
                reason=None,
                entry=THIS_ENTRY,
            )
            try:
                return await self._record("close", draft, (answer,))
            except Stale:
                continue
        raise Unavailable("others are changing the same message")

    async def _known(self, peer: PinnedPeer, envelopes: Sequence[Envelope]) -> list[_Item]:
        keys = [(peer.row.authority, envelope.header.id) for envelope in envelopes]
        rows = await self._store.get_many(AnswerRow, keys) if keys else {}
        return [_Item(one, rows.get(key)) for one, key in zip(envelopes, keys, strict=True)]

    async def _answer_all(self, peer: PinnedPeer, items: Sequence[_Item]) -> list[Answer | Exception]:
        """Open what is new, then take the cases side by side and each case in order."""
        new = any(not self._is_stored(item) for item in items)
        refusals = await self._refusals(peer.row.authority) if new else 0
        outcomes: dict[int, Answer | Exception] = {}
        groups: dict[CaseId | int, list[int]] = {}
        refused: dict[int, Refused] = {}
        for number, item in enumerate(items):
            try:
                opened = None if self._is_stored(item) else self._open(peer, item.envelope, refusals)
            except GatewayFault as fault:
                outcomes[number] = fault
                continue
            await asyncio.sleep(0)  # opening is work for the processor: let others have their turn
            group: CaseId | int = number
            if isinstance(opened, Opened):
                item.opened, group = opened, opened.signed.message.case
            elif opened is not None:
                refused[number] = opened
            groups.setdefault(group, []).append(number)
        await self._read_cases(peer, [item for item in items if item.opened is not None])

        async def take(numbers: Sequence[int]) -> None:
            for turn, number in enumerate(numbers):
                try:
                    outcomes[number] = await self._decide(
                        peer, items[number], refused.get(number), reread=turn > 0
                    )
                except Exception as fault:  # noqa: BLE001 - the door answers and logs it, for this one alone
                    outcomes[number] = fault

        await asyncio.gather(*(take(numbers) for numbers in groups.values()))
        return [outcomes[number] for number in range(len(items))]

    async def _refusals(self, peer: AuthorityId) -> int:
        """Return how many refusals *peer* got within the hour, those on their way included."""
        under_way = self._refusing[peer]
        recorded = await self._store.refusals_since(peer, self._context.clock.now_ms() - _HOUR_MS)
        return recorded + max(under_way, self._refusing[peer])

    @staticmethod
    def _is_stored(item: _Item) -> bool:
        return item.answer is not None and intake.is_answered(item.envelope, _answered(item.answer))

    def _open(self, peer: PinnedPeer, envelope: Envelope, refusals: int) -> Opened | Refused:
        intake.check_refusals(refusals)
        keys, signers = self._context.keyring().sealing, peer.card.signing_keys()
        try:
            return intake.open_message(envelope, keys=keys, signers=signers)
        except PeerFault as fault:
            if fault.code == "unknown_signing_key":
                self._context.cards_wanted(peer.row.authority)
            raise

    async def _read_cases(self, peer: PinnedPeer, items: Sequence[_Item]) -> None:
        keys = [(peer.row.authority, item.opened.signed.message.case) for item in items if item.opened]
        rows = await self._store.get_many(CaseRow, keys) if keys else {}
        for item, key in zip(items, keys, strict=True):
            item.case = rows.get(key)

    async def _decide(
        self, peer: PinnedPeer, item: _Item, refused: Refused | None, *, reread: bool
    ) -> Answer:
        """Decide on one envelope, again whenever a row has moved meanwhile."""
        for _ in range(_TRIES):
            if reread:
                await self._reread(peer, item)
            try:
                return await self._decide_once(peer, item, refused)
            except Stale:
                reread = True
        raise Unavailable("others are changing the same message")

    async def _reread(self, peer: PinnedPeer, item: _Item) -> None:
        authority = peer.row.authority
        item.answer = await self._store.get(AnswerRow, authority, item.id)
        if item.opened is not None:
            item.case = await self._store.get(CaseRow, authority, item.opened.signed.message.case)

    async def _decide_once(self, peer: PinnedPeer, item: _Item, refused: Refused | None) -> Answer:
        row, judged = item.answer, refused or item.opened
        if row is not None and (judged is None or self._is_stored(item)):
            return await self._stored(row)
        if judged is None:  # it was stored when read first, and cannot have gone
            raise Unavailable("the stored answer is gone")
        verdict = intake.compare(judged, None if row is None else _answered(row))
        if isinstance(verdict, Refused):
            return await self._conflict(peer, item, verdict)
        if row is not None:
            return await self._stored(row)
        if isinstance(judged, Refused):
            return await self._refuse(peer, item, judged)
        return await self._judge(peer, item, judged)

    async def _judge(self, peer: PinnedPeer, item: _Item, opened: Opened) -> Answer:
        history = History() if item.case is None else open_case(self._context.keyring().storage, item.case)
        judged = intake.judge(opened, history, self._context.clock.now_ms())
        if isinstance(judged, Refused):
            return await self._refuse(peer, item, judged)
        blobs = await self._blobs(peer, judged)
        if isinstance(blobs, Refused):
            return await self._refuse(peer, item, blobs)
        return await self._accept(peer, item, judged, history, blobs)

    async def _blobs(self, peer: PinnedPeer, judged: Judged) -> list[BlobRow] | Refused:
        """Return the rows of the message's blobs, each opened once in full (protocol §1 rule 6)."""
        attachments = judged.opened.signed.message.attachments
        authority = peer.row.authority
        keys = [(authority, one.blob_sha256) for one in attachments]
        rows = await self._store.get_many(BlobRow, keys) if keys else {}
        sizes = {row.sha256: row.size_bytes for row in rows.values()}
        verdict = intake.check_blobs(judged, sizes)
        if verdict is not None:
            return verdict
        async with self._openings.in_time():
            for attachment in attachments:
                plain = await self._openings.open(
                    self._context.blobs.incoming(authority, attachment.blob_sha256),
                    judged.opened.content.blob_keys[attachment.blob_sha256],
                )
                verdict = intake.check_attachment(
                    judged, attachment, size=plain.size_bytes, plain_sha256=plain.sha256
                )
                if verdict is not None:
                    return verdict
        return list(rows.values())

    async def _accept(
        self, peer: PinnedPeer, item: _Item, judged: Judged, history: History, blobs: Sequence[BlobRow]
    ) -> Answer:
        signed, now_ms = judged.opened.signed, self._context.clock.now_ms()
        message, authority = signed.message, peer.row.authority
        storage = self._context.keyring().storage
        draft = Draft(
            event="relay.accepted",
            outcome="ok",
            peer=authority,
            message_id=message.id,
            envelope_sha256=item.envelope.sha256,
            message_sha256=signed.sha256,
        )
        plaintext = encode_content(judged.opened.content.jws, judged.opened.content.blob_keys)
        box = custody.box_content(storage, Direction.IN, authority, message.id, plaintext)
        moved = cases.add(history, judged.step)
        before = item.case or _new_case(authority, message.case, now_ms)
        rows: tuple[Row, ...] = (
            _answer(authority, item, draft),
            MessageRow(
                direction=Direction.IN,
                peer=authority,
                id=message.id,
                version=0,
                kind=message.kind,
                case=message.case,
                in_reply_to=message.in_reply_to,
                created_ms=message.created_ms,
                expires_ms=message.expires_ms,
                recorded_ms=now_ms,
                state="available",
                message_sha256=signed.sha256,
                envelope_sha256=item.envelope.sha256,
                entry=THIS_ENTRY,
                attachments=len(message.attachments),
                findings=to_json(findings(message)),
            ),
            ContentRow(
                direction=Direction.IN,
                peer=authority,
                id=message.id,
                version=0,
                wrapped_key=box.wrapped_key,
                ciphertext=box.ciphertext,
            ),
            move_case(storage, before, moved, now_ms),
            *(replace(blob, claimed_by=message.id) for blob in blobs if blob.claimed_by is None),
        )
        return await self._record("receive", draft, rows)

    async def _refuse(self, peer: PinnedPeer, item: _Item, refused: Refused) -> Answer:
        draft = Draft(
            event="relay.refused",
            outcome="refused",
            reason=refused.reason,
            peer=peer.row.authority,
            message_id=item.id,
            envelope_sha256=item.envelope.sha256,
            message_sha256=refused.message_sha256,
        )
        return await self._record_refusal(draft, _answer(peer.row.authority, item, draft), peer)

    async def _conflict(self, peer: PinnedPeer, item: _Item, refused: Refused) -> Answer:
        """Answer another message under a known id: once for each envelope, then the stored answer."""
        authority, digest = peer.row.authority, item.envelope.sha256
        known = await self._store.get(ConflictRow, authority, item.id, digest)
        if known is not None:
            return Answer(_STATUS["relay.conflict"], await self._store.receipt(known.entry))
        draft = Draft(
            event="relay.conflict",
            outcome="refused",
            reason=refused.reason,
            peer=authority,
            message_id=item.id,
            envelope_sha256=digest,
            message_sha256=refused.message_sha256,
        )
        row = ConflictRow(peer=authority, id=item.id, envelope_sha256=digest, version=0, entry=THIS_ENTRY)
        return await self._record_refusal(draft, row, peer)

    async def _record_refusal(self, draft: Draft, row: AnswerRow | ConflictRow, peer: PinnedPeer) -> Answer:
        """Sign a refusal, unless the peer's hour is used up by others that were opened with this one."""
        authority = peer.row.authority
        intake.check_refusals(await self._refusals(authority))
        self._refusing[authority] += 1
        try:
            return await self._record("refuse", draft, (row,))
        finally:
            self._refusing[authority] -= 1

    async def _record(self, name: str, draft: Draft, rows: tuple[Row, ...]) -> Answer:
        recorded = await self._store.record(Change(name=name, entries=(draft,), puts=rows, answers=True))
        if recorded.receipt is None:
            raise Unavailable("the log gave no receipt")
        self._context.probe.reached("door.before_answer")
        return Answer(_STATUS[draft.event], recorded.receipt)

    async def _stored(self, answer: AnswerRow) -> Answer:
        """Return the answer that was given before; the proof may lead to a later checkpoint."""
        receipt = await self._store.receipt(answer.entry)
        return Answer(200 if answer.event == "relay.accepted" else _STATUS[answer.event], receipt)


def _answered(row: AnswerRow) -> Answered:
    return Answered(row.event, row.envelope_sha256, row.message_sha256)


def _answer(peer: AuthorityId, item: _Item, draft: Draft) -> AnswerRow:
    return AnswerRow(
        peer=peer,
        id=item.id,
        version=0,
        envelope_sha256=item.envelope.sha256,
        message_sha256=draft.message_sha256,
        event=draft.event,
        reason=draft.reason,
        entry=THIS_ENTRY,
    )


def _new_case(peer: AuthorityId, case: CaseId, now_ms: int) -> CaseRow:
    return CaseRow(
        peer=peer,
        id=case,
        version=0,
        state="",
        opened_ms=now_ms,
        changed_ms=now_ms,
        wrapped_key=b"",
        history=b"",
    )
