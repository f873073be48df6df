"""Signed answers to envelopes: recorded once, found again, and refusals counted (protocol §8).

Everything that answers for (peer, id) goes through the one `AnswerRow`, whoever writes it: intake
or `close`. Of two that race the later one is `Stale`, and finds what the earlier has answered.
"""

from collections import Counter
from dataclasses import dataclass

from gateway.core import intake
from gateway.core.entry import Draft
from gateway.core.errors import Stale, Unavailable
from gateway.core.ids import AuthorityId, Digest, MessageId
from gateway.core.proof import Receipt
from gateway.ports import Change, Clock, Probe, Store
from gateway.rows import THIS_ENTRY, AnswerRow, ConflictRow, Row

TRIES = 16
"""How often a decision is taken again that others have overtaken."""

_HOUR_MS = 3_600_000
_REFUSED_MS = 1_000
_AGAIN = 200
_STATUS = {"relay.accepted": 201, "relay.refused": 422, "relay.unknown": 422, "relay.conflict": 409}


@dataclass(frozen=True, slots=True)
class Answer:
    """A signed answer: its status and receipt."""

    status: int
    receipt: Receipt


class Answers:
    """The signed answers of this node to its peers."""

    def __init__(self, store: Store, clock: Clock, probe: Probe) -> None:
        self._store = store
        self._clock = clock
        self._probe = probe
        self._refusing: Counter[AuthorityId] = Counter()
        self._refused: dict[AuthorityId, tuple[int, int]] = {}
        self._ended = 0

    async def again(self, row: AnswerRow) -> Answer:
        """Return the answer that was given before; its proof may lead to a later checkpoint."""
        receipt = await self._store.receipt(row.entry)
        return Answer(_AGAIN if row.event == "relay.accepted" else _STATUS[row.event], receipt)

    async def accept(self, draft: Draft, rows: tuple[Row, ...]) -> Answer:
        """Record the acceptance *draft* with all that comes of it. Raises Stale."""
        return await self._record("receive", draft, (answer_row(draft), *rows))

    async def refuse(self, draft: Draft) -> Answer:
        """Record the refusal *draft*.

        Raises:
            Stale: there is an answer already.
            PeerFault: 429: others that were opened together with it have used up the peer's hour.
        """
        return await self._record_refusal(draft, answer_row(draft))

    async def conflict(self, draft: Draft) -> Answer:
        """Refuse another message under a known id: once for each envelope, then the same again.

        Raises:
            Stale, PeerFault: as `refuse`.
        """
        peer, message, envelope = _subject(draft)
        known = await self._store.get(ConflictRow, peer, message, envelope)
        if known is not None:
            return Answer(_STATUS[draft.event], await self._store.receipt(known.entry))
        row = ConflictRow(peer=peer, id=message, envelope_sha256=envelope, version=0, entry=THIS_ENTRY)
        return await self._record_refusal(draft, row)

    async def close(self, peer: AuthorityId, message: MessageId, envelope: Digest) -> Answer:
        """Return the answer that exists, or refuse the id for ever (protocol §8, `close`)."""
        draft = Draft(
            event="relay.unknown", outcome="ok", peer=peer, message_id=message, envelope_sha256=envelope
        )
        for _ in range(TRIES):
            known = await self._store.get(AnswerRow, peer, message)
            if known is not None:
                return await self.again(known)
            try:
                return await self._record("close", draft, (answer_row(draft),))
            except Stale:
                continue
        raise Unavailable("others are changing the same message")

    async def refusals(self, peer: AuthorityId) -> int:
        """Return how many refusals *peer* got within the hour, those on their way included.

        Those of other processes of this authority count a second later at the most.
        """
        under_way, now_ms = self._refusing[peer], self._clock.now_ms()
        read_ms, recorded = self._refused.get(peer, (now_ms - _REFUSED_MS, 0))
        if not 0 <= now_ms - read_ms < _REFUSED_MS:
            ended = self._ended
            recorded = await self._store.refusals_since(peer, now_ms - _HOUR_MS)
            under_way = max(under_way, self._refusing[peer])
            if not under_way and ended == self._ended:  # else the count may lack one by now
                self._refused[peer] = (now_ms, recorded)
        return recorded + under_way

    async def _record_refusal(self, draft: Draft, row: AnswerRow | ConflictRow) -> Answer:
        intake.check_refusals(await self.refusals(row.peer))
        self._refusing[row.peer] += 1
        try:
            return await self._record("refuse", draft, (row,))
        finally:
            self._refusing[row.peer] -= 1
            self._refused.pop(row.peer, None)
            self._ended += 1

    async def _record(self, name: str, draft: Draft, rows: tuple[Row, ...]) -> Answer:
        recorded = await self._store.record(Change(name=name, entries=(draft,), puts=rows, answers=True))
        if recorded.receipt is None:
            raise Unavailable("the log gave no receipt")
        self._probe.reached("door.before_answer")
        return Answer(_STATUS[draft.event], recorded.receipt)


def answer_row(draft: Draft) -> AnswerRow:
    """Return the row of the answer *draft*, to an id that had none."""
    peer, message, envelope = _subject(draft)
    return AnswerRow(
        peer=peer,
        id=message,
        version=0,
        envelope_sha256=envelope,
        message_sha256=draft.message_sha256,
        event=draft.event,
        reason=draft.reason,
        entry=THIS_ENTRY,
    )


def _subject(draft: Draft) -> tuple[AuthorityId, MessageId, Digest]:
    if draft.peer is None or draft.message_id is None or draft.envelope_sha256 is None:
        raise ValueError("an answer names peer, message and envelope")
    return draft.peer, draft.message_id, draft.envelope_sha256
