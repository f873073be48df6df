"""A draft becomes a message on its way: signed, sealed, and durable in one transaction (protocol §8).

The decision is taken on the case as it was read, and again when the case has moved meanwhile.
For a new case without attachments nothing is read but whether its persons are in other cases: ids
are fresh, and that an Idempotency-Key was used before shows when the transaction collides with its row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.core import case as cases
from gateway.core import custody, delivery
from gateway.core.case import History
from gateway.core.entry import Draft
from gateway.core.errors import Flaw, Malformed, Misuse, Stale, Unavailable
from gateway.core.findings import Finding, in_language, to_json
from gateway.core.ids import CaseId, Digest, MessageId
from gateway.core.message import SignedMessage
from gateway.core.strict import as_list, as_object, as_text, parse_object
from gateway.peering.directory import PinnedPeer
from gateway.peering.settlement import move_case, newest_links, open_case
from gateway.ports import Change, MessageFilter
from gateway.rows import THIS_ENTRY, CaseRow, DetailRow, Direction, MessageRow, Row, UploadRow
from gateway.web.context import Context
from gateway.web.documents import encode
from gateway.web.drafts import Frame, MessageDraft, parse_draft
from gateway.web.idempotency import Keyed
from gateway.web.outgoing import Parcel, check_allowed, errors_found, judge, pack, recipient, sign
from gateway.web.subjects import Subjects, new_rows
from keys.rest import Box
from schemas.catalogues import DEFAULT

_TRIES = 16
_CREATED = 201
_DAY_MS = 24 * 3600 * 1000
_BLOCKING = (delivery.State.UNDETERMINED, delivery.State.HELD)


@dataclass(frozen=True, slots=True)
class Submitted:
    """The answer to a submission, the same each time its key comes back: `replayed`, then."""

    status: int
    body: bytes
    location: str
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attached:
    """An upload that a draft names, and what opens it."""

    row: UploadRow
    blob_sha256: Digest
    key: bytes
    member: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """A message that may be sent, and the rows that this was judged on."""

    peer: PinnedPeer
    case: CaseRow
    history: History
    attached: Sequence[_Attached]
    signed: SignedMessage
    subjects: Subjects
    findings: tuple[Finding, ...]
    overridden: str | None
    state: delivery.State
    now_ms: int

    @property
    def held(self) -> bool:
        return self.state is delivery.State.HELD

    @property
    def errors(self) -> int:
        return sum(finding.severity == "error" for finding in self.findings)


class Submission:
    """What the bearer *actor* does to send messages, told of findings in *language*."""

    def __init__(self, context: Context, actor: str, language: str = DEFAULT) -> None:
        self._context = context
        self._store = context.store
        self._actor = actor
        self._language = language

    async def submit(self, raw: bytes, keyed: Keyed | None) -> Submitted:
        """Take the draft *raw*; return the answer once the message is durable.

        If it is *keyed*, and its key was used before, it is the answer that was given then.

        Raises:
            Misuse: the draft cannot be sent, or the key was used for another one.
            Malformed: not a draft.
            Unavailable: it cannot be recorded now; nothing was.
        """
        for _ in range(_TRIES):
            try:
                return await self._submit_once(raw, keyed)
            except (Misuse, Malformed, Stale) as fault:
                known = None if keyed is None else await keyed.answered(self._store)
                if known is not None:
                    return replace(self._submitted(known.status, parse_object(known.body)), replayed=True)
                if not isinstance(fault, Stale):
                    raise
        raise Unavailable("others are changing the same case")

    async def dry_run(self, raw: bytes) -> dict[str, object]:
        """Judge the draft *raw* as `submit` would, and write nothing. Raises as `submit`."""
        judged = await self._judge(parse_draft(raw))
        return {"dry_run": True, "state": judged.state, "findings": self._told(judged.findings)}

    async def _submit_once(self, raw: bytes, keyed: Keyed | None) -> Submitted:
        judged = await self._judge(parse_draft(raw))
        message = judged.signed.message
        answer = {
            "id": message.id,
            "case": message.case,
            "state": judged.state,
            "findings": [finding.document() for finding in judged.findings],
        }
        blob_keys = {one.blob_sha256: one.key for one in judged.attached}
        parcel = pack(self._context, judged.signed, blob_keys, judged.peer, judged.now_ms, held=judged.held)
        rows = [*self._rows(judged, parcel), *await new_rows(self._store, judged.subjects, judged.case)]
        if keyed is not None:
            rows.append(keyed.row(_CREATED, encode(answer), judged.now_ms))
        first, *others = self._entries(judged, parcel)
        if judged.overridden is not None:
            sealed = custody.box_detail(self._context.keyring().storage, judged.overridden.encode())
            first = replace(first, commitment=sealed.commitment)
            rows.append(DetailRow.of(sealed))
        await self._store.record(Change(name="submit", entries=(first, *others), puts=tuple(rows)))
        return self._submitted(_CREATED, answer)

    def _submitted(self, status: int, answer: Mapping[str, object]) -> Submitted:
        """Return *answer*, which is kept in no language, for the caller."""
        told = in_language(map(as_object, as_list(answer["findings"])), self._language)
        return Submitted(status, encode({**answer, "findings": told}), _location(as_text(answer["id"])))

    def _told(self, found: Sequence[Finding]) -> list[dict[str, object]]:
        return in_language((finding.document() for finding in found), self._language)

    # -- judging

    async def _judge(self, draft: MessageDraft) -> _Judged:
        """Decide whether the draft may be sent. Raises Misuse or Malformed."""
        context, now_ms = self._context, self._context.clock.now_ms()
        peer, own = recipient(context, draft.to), context.directory.own.authority
        case, history = await self._case(draft, now_ms)
        attached = await self._attached(draft)
        held = await self._is_blocked(case, history)
        previous, case_head = newest_links(history, own, draft.to)
        lifetime_ms = context.settings.delivery.expires_days * _DAY_MS
        frame = Frame(
            id=MessageId(context.entropy.uuid4()),
            case=case.id,
            sender=own,
            created_ms=now_ms,
            expires_ms=now_ms + lifetime_ms if draft.expires_ms is None else draft.expires_ms,
            previous=previous,
            case_head=case_head,
        )
        attachments = [one.member for one in attached]
        made = sign(context, {**draft.members, **frame.members(), "attachments": attachments}, now_ms)
        if not held:  # else it is judged when it is released
            check_allowed(history, made)
        found, subjects = await judge(context, peer, history, made.message)
        return _Judged(
            peer=peer,
            case=case,
            history=history,
            attached=attached,
            signed=made,
            subjects=subjects,
            findings=found,
            overridden=self._override(found, draft),
            state=delivery.State.HELD if held else delivery.State.QUEUED,
            now_ms=now_ms,
        )

    async def _case(self, draft: MessageDraft, now_ms: int) -> tuple[CaseRow, History]:
        """Return the case of the draft with its history: a new one if it names none."""
        if draft.case is None:
            return CaseRow.opened(draft.to, CaseId(self._context.entropy.uuid4()), now_ms), History()
        row = await self._store.get(CaseRow, draft.to, draft.case)
        if row is None:
            flaw = Flaw("/case", "a case with this peer, or left out to open one")
            raise Misuse(422, "unknown_case", "there is no such case with this peer", flaws=[flaw])
        return row, open_case(self._context.keyring().storage, row)

    async def _attached(self, draft: MessageDraft) -> list[_Attached]:
        """Return the uploads that the draft names, all whole, none of which another message carries.

        Raises:
            Misuse: 422 `unknown_upload`, 409 `upload_unfinished`.
        """
        if not draft.uploads:
            return []
        found = await self._store.get_many(UploadRow, [(upload,) for upload in draft.uploads])
        rows = [found.get((upload,)) for upload in draft.uploads]
        free = [row for row in rows if row is not None and row.claimed_by is None]
        if len(free) < len(rows):
            flaws = [
                Flaw(f"/attachments/{position}/upload", "an upload that is here and was not sent yet")
                for position, row in enumerate(rows)
                if row not in free
            ]
            raise Misuse(422, "unknown_upload", "an attachment is not an upload to send", flaws=flaws)
        whole = [(row, row.blob_sha256) for row in free if row.blob_sha256 is not None]
        if len(whole) < len(free):
            flaws = [
                Flaw(f"/attachments/{position}/upload", "an upload that is whole: bring the rest first")
                for position, row in enumerate(free)
                if row.blob_sha256 is None
            ]
            raise Misuse(409, "upload_unfinished", "an attachment is not here in full yet", flaws=flaws)
        return [self._opened(*pair, to) for pair, to in zip(whole, draft.attachments, strict=True)]

    def _opened(self, row: UploadRow, blob_sha256: Digest, members: Mapping[str, object]) -> _Attached:
        box = Box(row.wrapped_key, row.ciphertext)
        secrets = custody.open_upload(self._context.keyring().storage, row.id, box)
        member = {
            **members,
            "size": row.size_bytes,
            "sha256": secrets.plain_sha256,
            "blob": {"sha256": blob_sha256, "size": row.blob_size_bytes},
        }
        return _Attached(row=row, blob_sha256=blob_sha256, key=secrets.key, member=member)

    async def _is_blocked(self, case: CaseRow, history: History) -> bool:
        """Say whether one of ours in the case waits for an operator, or to learn its fate."""
        if all(step.counts for step in history.steps):
            return False
        for state in _BLOCKING:
            where = MessageFilter(direction=Direction.OUT, peer=case.peer, case=case.id, state=state.value)
            if await self._store.messages(where, limit=1):
                return True
        return False

    def _override(self, found: Sequence[Finding], draft: MessageDraft) -> str | None:
        """Return why errors among *found* are overridden, or None if there is none.

        Raises:
            Misuse: 422 `findings`: there are errors, and no reason to send in spite of them.
        """
        if all(finding.severity != "error" for finding in found):
            return None
        if draft.override is None:
            raise errors_found(self._told(found))
        return draft.override

    # -- recording

    def _entries(self, judged: _Judged, parcel: Parcel) -> tuple[Draft, ...]:
        accepted = Draft(
            event="submission.accepted",
            outcome="ok",
            peer=judged.case.peer,
            message_id=judged.signed.message.id,
            envelope_sha256=parcel.envelope_sha256,
            message_sha256=judged.signed.sha256,
            actor_ref=self._actor,
            extra=() if judged.overridden is None else (("errors_overridden", judged.errors),),
        )
        held = replace(accepted, event="delivery.held", extra=())
        return (accepted, held) if judged.held else (accepted,)

    def _rows(self, judged: _Judged, parcel: Parcel) -> list[Row]:
        message, case = judged.signed.message, judged.case
        history = cases.add(judged.history, cases.step_of(judged.signed, counts=not judged.held))
        rows: list[Row] = [
            MessageRow(
                direction=Direction.OUT,
                peer=case.peer,
                id=message.id,
                version=0,
                kind=message.kind,
                case=message.case,
                in_reply_to=message.in_reply_to,
                created_ms=message.created_ms,
                expires_ms=message.expires_ms,
                recorded_ms=judged.now_ms,
                state=judged.state.value,
                message_sha256=judged.signed.sha256,
                envelope_sha256=parcel.envelope_sha256,
                entry=THIS_ENTRY,
                attachments=len(judged.attached),
                next_ms=judged.now_ms,
                findings=to_json(judged.findings),
            ),
            parcel.content,
            move_case(
                self._context.keyring().storage,
                case,
                history,
                judged.now_ms,
                self._context.settings.clocks.periods_ms,
            ),
            *(replace(one.row, claimed_by=message.id) for one in judged.attached),
        ]
        if parcel.envelope is not None:
            rows.append(parcel.envelope)
        return rows


def _location(message: str) -> str:
    return f"/v1/messages/{message}"
