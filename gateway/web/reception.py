"""Taking envelopes in: the stages of `core.intake`, with the store between them (protocol §8).

Every envelope gets one change of its own; those of a batch are recorded together and so share a
commit and a checkpoint. An answer never depends on the others of its batch, except that the
messages of one case are taken in their order.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.core import case as cases
from gateway.core import custody, intake
from gateway.core.case import History
from gateway.core.entry import Draft
from gateway.core.envelope import Envelope, encode_content
from gateway.core.errors import GatewayFault, PeerFault, Stale, Unavailable
from gateway.core.findings import Circumstances, findings, to_json
from gateway.core.ids import CaseId, Digest, MessageId
from gateway.core.intake import Answered, Judged, Opened, Refused
from gateway.peering.directory import PinnedPeer
from gateway.peering.settlement import move_case, open_case
from gateway.rows import THIS_ENTRY, AnswerRow, BlobRow, CaseRow, ContentRow, Direction, MessageRow, Row
from gateway.web.answers import TRIES, Answer, Answers
from gateway.web.context import Context
from gateway.web.inspection import Inspection
from gateway.web.openings import Openings
from gateway.web.subjects import NO_SUBJECTS, Subjects, look_up, new_rows


@dataclass(slots=True)
class _Item:
    """One envelope on its way through the stages, with the rows last read for it."""

    envelope: Envelope
    answer: AnswerRow | None
    opened: Opened | None = None
    case: CaseRow | None = None
    subjects: Subjects = NO_SUBJECTS

    @property
    def id(self) -> MessageId:
        return self.envelope.header.id


class Reception:
    """What the federation door does with envelopes."""

    def __init__(self, context: Context, openings: Openings | None = None) -> None:
        self._context = context
        self._store = context.store
        self._inspection = Inspection(context, openings or Openings())
        self._answers = Answers(context.store, context.clock, context.probe)

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
        return await self._answers.close(peer.row.authority, message, envelope)

    async def _known(self, peer: PinnedPeer, envelopes: Sequence[Envelope]) -> list[_Item]:
        keys = [(peer.row.authority, envelope.header.id) for envelope in envelopes]
        rows = await self._store.get_many(AnswerRow, keys) if keys else {}
        return [_Item(one, rows.get(key)) for one, key in zip(envelopes, keys, strict=True)]

    async def _answer_all(self, peer: PinnedPeer, items: Sequence[_Item]) -> list[Answer | Exception]:
        """Open what is new, then take the cases side by side and each case in order."""
        new = any(not self._is_stored(item) for item in items)
        refusals = await self._answers.refusals(peer.row.authority) if new else 0
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
        new_items = [item for item in items if item.opened is not None]
        await self._read_cases(peer, new_items)
        await self._read_subjects(peer, new_items)

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
        """Read the cases of *items*, but for those that open one, or that name nothing in it.

        Such a message is judged on no ancestors, whatever its case holds; should there be one, its row
        has moved when the message is to enter it, and the case is read then.
        """
        found = [(item, item.opened.signed.message) for item in items if item.opened]
        keys = {
            (peer.row.authority, message.case): None
            for _, message in found
            if message.previous is not None or message.case_head is not None
        }
        rows = await self._store.get_many(CaseRow, list(keys)) if keys else {}
        for item, message in found:
            item.case = rows.get((peer.row.authority, message.case))

    async def _read_subjects(self, peer: PinnedPeer, items: Sequence[_Item]) -> None:
        messages = [item.opened.signed.message for item in items if item.opened]
        storage = self._context.keyring().storage
        found = await look_up(self._store, storage, peer.row.authority, messages)
        for item, subjects in zip(items, found, strict=True):
            item.subjects = subjects

    async def _decide(
        self, peer: PinnedPeer, item: _Item, refused: Refused | None, *, reread: bool
    ) -> Answer:
        """Decide on one envelope, again whenever a row has moved meanwhile."""
        for _ in range(TRIES):
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
            return await self._answers.again(row)
        if judged is None:  # it was stored when read first, and cannot have gone
            raise Unavailable("the stored answer is gone")
        verdict = intake.compare(judged, None if row is None else _answered(row))
        if isinstance(verdict, Refused):
            return await self._answers.conflict(_refusal("relay.conflict", peer, item, verdict))
        if row is not None:
            return await self._answers.again(row)
        if isinstance(judged, Refused):
            return await self._answers.refuse(_refusal("relay.refused", peer, item, judged))
        return await self._judge(peer, item, judged)

    async def _judge(self, peer: PinnedPeer, item: _Item, opened: Opened) -> Answer:
        history = History() if item.case is None else open_case(self._context.keyring().storage, item.case)
        judged = intake.judge(opened, history, self._context.clock.now_ms())
        if isinstance(judged, Refused):
            return await self._answers.refuse(_refusal("relay.refused", peer, item, judged))
        blobs = await self._inspection.blobs(peer.row.authority, judged)
        if isinstance(blobs, Refused):
            return await self._answers.refuse(_refusal("relay.refused", peer, item, blobs))
        return await self._accept(peer, item, judged, history, blobs)

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
        known = Circumstances(
            profile=self._context.directory.own_profile, history=history, elsewhere=item.subjects.elsewhere
        )
        before = item.case or CaseRow.opened(authority, message.case, now_ms)
        rows: tuple[Row, ...] = (
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
                findings=to_json(findings(message, known)),
            ),
            ContentRow(
                direction=Direction.IN,
                peer=authority,
                id=message.id,
                version=0,
                wrapped_key=box.wrapped_key,
                ciphertext=box.ciphertext,
            ),
            move_case(storage, before, moved, now_ms, self._context.settings.clocks.periods_ms),
            *await new_rows(self._store, item.subjects, before),
            *(_claimed(blob, message.id) for blob in blobs),
        )
        return await self._answers.accept(draft, rows)


def _answered(row: AnswerRow) -> Answered:
    return Answered(row.event, row.envelope_sha256, row.message_sha256)


def _refusal(event: str, peer: PinnedPeer, item: _Item, refused: Refused) -> Draft:
    return Draft(
        event=event,
        outcome="refused",
        reason=refused.reason,
        peer=peer.row.authority,
        message_id=item.id,
        envelope_sha256=item.envelope.sha256,
        message_sha256=refused.message_sha256,
    )


def _claimed(blob: BlobRow, message: MessageId) -> BlobRow:
    """Return *blob* with one more message that names it."""
    if blob.claimed_by is None:
        return replace(blob, claimed_by=message)
    return replace(blob, others=blob.others + 1)
