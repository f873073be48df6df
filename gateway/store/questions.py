"""The questions that `reads` asks of the rows, as statements."""

from functools import cache
from typing import Any

import sqlalchemy as sa
from typing_extensions import override

from gateway.core.machine import MACHINE
from gateway.store.statements import LIMIT, Lookup, Statement, limited, named, steered
from gateway.store.tables import (
    Kind,
    alarms,
    blobs,
    cases,
    entries,
    envelopes,
    equals,
    head,
    idempotency,
    listed,
    messages,
    notices,
    receipts,
    refused,
    subjects,
    uploads,
)

_NOT_PENDING = (MACHINE.initial.state, *sorted(MACHINE.final))
"""The states of a case in which nothing is done: closed, or nothing that was sent counts."""
_NOW = sa.bindparam("now", type_=sa.BigInteger)
_QUEUED = equals(messages.c.state, "queued")
_OF_CASE = messages.alias("of_case")
_IS_FIRST = (
    messages.c.entry
    == sa.select(sa.func.min(_OF_CASE.c.entry))
    .where(
        equals(_OF_CASE.c.state, "queued"),
        _OF_CASE.c.peer == messages.c.peer,
        _OF_CASE.c.case == messages.c.case,
    )
    .scalar_subquery()
)
"""It is the first queued message of its case: behind one that failed, they are held."""

_FIRST_DUE = (
    sa.select(messages)
    .where(_QUEUED, named(messages.c.peer), messages.c.next_ms <= _NOW, _IS_FIRST)
    .order_by(messages.c.entry)
    .limit(LIMIT)
    .offset(sa.literal_column("0"))
    .subquery("first_due")
)
DUE = Statement(
    sa.select(_FIRST_DUE, envelopes)
    .join_from(
        _FIRST_DUE,
        envelopes,
        sa.and_(
            envelopes.c.message_id == _FIRST_DUE.c.id,
            envelopes.c.sha256 == _FIRST_DUE.c.envelope_sha256,
            envelopes.c.body.is_not(None),
        ),
    )
    .order_by(_FIRST_DUE.c.entry),
    brief=True,
)
OVERDUE = limited(
    sa.select(messages)
    .where(
        _QUEUED,
        named(messages.c.peer),
        messages.c.expires_ms <= _NOW,
        messages.c.next_ms <= _NOW,
        _IS_FIRST,
    )
    .order_by(messages.c.entry)
)
UNRESOLVED = limited(
    sa.select(messages)
    .where(equals(messages.c.state, "undetermined"), named(messages.c.peer), messages.c.next_ms <= _NOW)
    .order_by(messages.c.next_ms, messages.c.entry)
)
QUEUED_BEHIND = Statement(
    sa.select(messages)
    .where(
        equals(messages.c.direction, "out"),
        messages.c.state.in_([sa.literal_column("'queued'"), sa.literal_column("'held'")]),
        named(messages.c.peer),
        named(messages.c.case),
        messages.c.entry > sa.bindparam("entry", type_=sa.BigInteger),
    )
    .order_by(messages.c.entry)
)
NOTICES_DUE = limited(
    sa.select(notices)
    .where(equals(notices.c.state, "queued"), named(notices.c.peer), notices.c.next_ms <= _NOW)
    .order_by(notices.c.entry)
)
NEXT_DUE = Statement(
    sa.select(sa.func.min(sa.column("next_ms"))).select_from(
        sa.union_all(
            sa.select(sa.func.min(messages.c.next_ms).label("next_ms")).where(
                _QUEUED, named(messages.c.peer), _IS_FIRST
            ),
            sa.select(sa.func.min(messages.c.next_ms)).where(
                equals(messages.c.state, "undetermined"), named(messages.c.peer)
            ),
            sa.select(sa.func.min(notices.c.next_ms)).where(
                equals(notices.c.state, "queued"), named(notices.c.peer)
            ),
        ).subquery("due")
    )
)
QUEUE_DEPTH = Statement(
    sa.union_all(
        sa.select(messages.c.peer, sa.func.count()).where(_QUEUED).group_by(messages.c.peer),
        sa.select(notices.c.peer, sa.func.count())
        .where(equals(notices.c.state, "queued"))
        .group_by(notices.c.peer),
    )
)
COUNTED = ("available", "queued", "held", "undetermined", "refused", "expired")
"""States of messages about which somebody may have to do something; an index counts them."""
MESSAGE_COUNTS = Statement(
    sa.select(messages.c.state, sa.func.count())
    .where(
        listed(messages.c.entry),
        messages.c.state.in_([sa.literal_column(f"'{state}'") for state in COUNTED]),
    )
    .group_by(messages.c.state)
)
_BACKLOG = {
    "queued": sa.select(sa.func.count()).where(_QUEUED),
    "oldest_ms": sa.select(sa.func.min(messages.c.recorded_ms)).where(_QUEUED),
    "held": sa.select(sa.func.count()).where(equals(messages.c.state, "held"), listed(messages.c.entry)),
    "undetermined": sa.select(sa.func.count()).where(equals(messages.c.state, "undetermined")),
    "notices": sa.select(sa.func.count()).where(equals(notices.c.state, "queued")),
    "alarms": sa.select(sa.func.count()).select_from(alarms),
    "log_size": sa.select(head.c.size),
}
BACKLOG = Statement(sa.select(*(found.scalar_subquery().label(name) for name, found in _BACKLOG.items())))
TICKING = limited(sa.select(cases).where(cases.c.clock_ms.is_not(None)).order_by(cases.c.clock_ms))
UNRECEIPTED = limited(
    sa.select(messages)
    .where(
        _QUEUED,
        ~sa.exists().where(named(alarms.c.code), alarms.c.subject == messages.c.id),
    )
    .order_by(messages.c.created_ms, messages.c.entry)
)
SUBJECTS_OF = Statement(sa.select(subjects).where(named(subjects.c.peer), named(subjects.c.case)))
MESSAGES_WITH_ID = Statement(sa.select(messages).where(named(messages.c.id)), brief=True)
ENVELOPES = Statement(sa.select(envelopes).where(named(envelopes.c.message_id)), brief=True)
RECEIPTS = Statement(
    sa.select(receipts)
    .where(named(receipts.c.id), named(receipts.c.peer))
    .order_by(receipts.c.entry, receipts.c.entry_sha256),
    brief=True,
)


class _Elsewhere(Lookup):
    """The keys whose person is in another pending case too, each with one such case.

    One is enough, and is found without reading the others: a person can be in very many.
    """

    @override
    def clause(self, count: int) -> sa.Executable:
        keys, other = self.keys(count), subjects.alias("other")
        found = (
            sa.select(other.c.case)
            .join(cases, sa.and_(cases.c.id == other.c.case, cases.c.peer == other.c.peer))
            .where(
                other.c.pseudonym == keys.c.pseudonym,
                sa.or_(other.c.case != keys.c.case, other.c.peer != keys.c.peer),
                cases.c.state.not_in([sa.literal_column(f"'{state}'") for state in _NOT_PENDING]),
            )
            .limit(sa.literal_column("1"))
            .offset(sa.literal_column("0"))
            .correlate(keys)
            .scalar_subquery()
        )
        return sa.select(keys.c.pseudonym, keys.c.peer, keys.c.case, found.label("elsewhere"))


ELSEWHERE = _Elsewhere((), (subjects.c.pseudonym, subjects.c.peer, subjects.c.case))
UPLOADS_OF = Lookup(tuple(uploads.c), (uploads.c.claimed_by,))
UNCLAIMED_BYTES = Statement(
    sa.select(blobs.c.peer, sa.func.sum(blobs.c.size_bytes))
    .where(blobs.c.claimed_by.is_(None))
    .group_by(blobs.c.peer)
)
UNCLAIMED_BLOBS = limited(
    sa.select(blobs).where(
        blobs.c.claimed_by.is_(None), sa.func.coalesce(blobs.c.whole_ms, blobs.c.received_ms) < _NOW
    )
)
ARRIVING_BLOBS = limited(sa.select(blobs).where(blobs.c.claimed_by.is_(None), blobs.c.whole_ms.is_(None)))
UNCLAIMED_UPLOADS = limited(
    sa.select(uploads).where(uploads.c.claimed_by.is_(None), uploads.c.stored_ms < _NOW)
)
UPLOAD_BYTES = Statement(
    sa.select(sa.func.coalesce(sa.func.sum(uploads.c.blob_size_bytes), sa.literal_column("0"))).where(
        uploads.c.claimed_by.is_(None)
    )
)
UNFINISHED_UPLOADS = limited(
    sa.select(uploads).where(uploads.c.claimed_by.is_(None), uploads.c.blob_sha256.is_(None))
)
STORED_ANSWERS = limited(
    sa.select(idempotency).where(idempotency.c.stored_ms < _NOW).order_by(idempotency.c.stored_ms)
)
REFUSALS_SINCE = Statement(
    sa.select(sa.func.count())
    .select_from(entries)
    .where(refused(), named(entries.c.peer), entries.c.time_ms >= _NOW)
)


@cache
def every(kind: Kind[Any]) -> Statement:
    """Return the SELECT of all rows of a kind, by key."""
    return Statement(sa.select(kind.table).order_by(*(kind.table.c[name] for name in kind.key)))


@cache
def list_of_messages(filtered: tuple[str, ...], *, paged: bool) -> Statement:
    """Return the SELECT of messages by the fields *filtered*, the rarest first; newest first."""
    conditions = steered([messages.c[name] for name in filtered])
    found = sa.select(messages).where(listed(messages.c.entry), *conditions)
    if paged:
        found = found.where(messages.c.entry < sa.bindparam("cursor", type_=sa.BigInteger))
    return limited(found.order_by(messages.c.entry.desc()))


@cache
def list_of_cases(*, of_peer: bool, paged: bool, ticking: bool = False) -> Statement:
    """Return the SELECT of cases by id: of one peer, those in which a clock runs.

    Two peers can use one id. A page does not end between them, since the next begins after it.
    """
    conditions = []
    if of_peer:
        conditions.append(named(cases.c.peer))
    if ticking:
        conditions.append(cases.c.clock_ms.is_not(None))
    if paged:
        conditions.append(cases.c.id > sa.bindparam("cursor", type_=sa.Text))
    page = (
        sa.select(cases.c.id)
        .where(*conditions)
        .order_by(cases.c.id)
        .limit(LIMIT)
        .offset(sa.literal_column("0"))
        .subquery("page")
    )
    last = sa.select(sa.func.max(page.c.id)).scalar_subquery()
    return Statement(
        sa.select(cases).where(*conditions, cases.c.id <= last).order_by(cases.c.id, cases.c.peer)
    )
