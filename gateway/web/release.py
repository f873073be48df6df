"""A held message is let go: signed anew for its case as it stands now (protocol §8 "Sending").

It was never posted, so that nobody knows what was signed before. It takes its place behind what
went on in the case meanwhile.
"""

from collections.abc import Sequence
from dataclasses import replace

from gateway.core import case as cases
from gateway.core import delivery
from gateway.core.entry import Draft
from gateway.core.errors import Stale, Unavailable
from gateway.core.findings import Finding, in_language, to_json
from gateway.core.strict import as_list, parse_json, time_text
from gateway.peering.settlement import delivery_of, move_case, newest_links, open_case
from gateway.ports import Change
from gateway.rows import THIS_ENTRY, CaseRow, Direction, MessageRow, Row
from gateway.web.content import message_of, stored_content
from gateway.web.context import Context
from gateway.web.outgoing import check_allowed, errors_found, judge, pack, recipient, sign
from schemas.catalogues import DEFAULT

_TRIES = 16


async def release(context: Context, row: MessageRow, actor: str, language: str = DEFAULT) -> MessageRow:
    """Let the held message *row* go; return it as it is now.

    Raises:
        Misuse: it is not held; the case does not allow it now; or it has errors by now that it did
            not have when it was submitted (422 `findings`, in *language*), such as a deadline that passed.
        Unavailable: it cannot be recorded now; nothing was.
    """
    for _ in range(_TRIES):
        change, released = await _plan(context, row, actor, language)
        try:
            await context.store.record(change)
        except Stale:
            row = await context.store.get(MessageRow, Direction.OUT, row.peer, row.id) or row
        else:
            return released
    raise Unavailable("others are changing the same case")


async def _plan(context: Context, row: MessageRow, actor: str, language: str) -> tuple[Change, MessageRow]:
    """Return what lets *row* go. Raises Misuse or Unavailable."""
    now_ms, storage = context.clock.now_ms(), context.keyring().storage
    expires_ms = now_ms + row.expires_ms - row.created_ms
    after, _ = delivery.step(delivery_of(row), delivery.Release(expires_ms), now_ms, 0)
    peer = recipient(context, row.peer)
    kept, content = await stored_content(context, row)
    case = await context.store.get(CaseRow, row.peer, row.case)
    if case is None:
        raise Unavailable("the case of the message is gone")
    history = cases.drop(open_case(storage, case), row.message_sha256)
    previous, case_head = newest_links(history, context.directory.own.authority, row.peer)
    payload = {
        **message_of(content).payload,
        "created": time_text(now_ms),
        "expires": time_text(expires_ms),
        "previous": previous,
        "case_head": case_head,
    }
    signed = sign(context, payload, now_ms)
    check_allowed(history, signed)
    found, _ = await judge(context, peer, history, signed.message)
    _check(found, row, language)
    parcel = pack(context, signed, content.blob_keys, peer, now_ms, version=kept.version)
    released = replace(
        row,
        created_ms=now_ms,
        expires_ms=after.expires_ms,
        state=after.state.value,
        message_sha256=signed.sha256,
        envelope_sha256=parcel.envelope_sha256,
        entry=THIS_ENTRY,
        attempt=after.attempt,
        next_ms=after.next_ms,
        problem=after.problem,
        findings=to_json(found),
    )
    entry = Draft(
        event="delivery.released",
        outcome="ok",
        peer=row.peer,
        message_id=row.id,
        envelope_sha256=parcel.envelope_sha256,
        message_sha256=signed.sha256,
        actor_ref=actor,
    )
    history = cases.add(history, cases.step_of(signed))
    moved = move_case(storage, case, history, now_ms, context.settings.clocks.periods_ms)
    rows: list[Row] = [released, parcel.content, moved]
    if parcel.envelope is not None:
        rows.append(parcel.envelope)
    return Change(name="release", entries=(entry,), puts=tuple(rows)), released


def _check(found: Sequence[Finding], row: MessageRow, language: str) -> None:
    """Refuse errors that nobody has overridden, since they were not there at submission. Raises Misuse."""
    known = parse_json(row.findings.encode())
    documents = [finding.document() for finding in found]
    if any(one["severity"] == "error" and one not in as_list(known) for one in documents):
        raise errors_found(in_language(documents, language))
