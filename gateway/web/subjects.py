"""The persons of requests across cases: looked up when a message is judged, noted when it is recorded.

The index has pseudonyms alone (core.custody). Two requests about one person that arrive in one
moment may miss each other; what is found is a warning, and the next request finds both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.core import custody
from gateway.core.findings import identities
from gateway.core.ids import AuthorityId, CaseId
from gateway.core.message import Message
from gateway.ports import Store
from gateway.rows import CaseRow, SubjectRow
from keys.rest import StorageKey

_Key = tuple[str, AuthorityId, CaseId]


@dataclass(frozen=True, slots=True)
class Subjects:
    """The persons of one message: the key of each identity, and other pending cases of theirs."""

    keys: Mapping[str, _Key] = field(default_factory=dict)
    elsewhere: Mapping[str, CaseId] = field(default_factory=dict)


NO_SUBJECTS = Subjects()


async def look_up(
    store: Store, storage: StorageKey, peer: AuthorityId, messages: Sequence[Message]
) -> list[Subjects]:
    """Return the persons of each of *messages*, exchanged with *peer*: one query, or none for no person."""
    keys = [
        {identity: (custody.subject_pseudonym(storage, identity), peer, message.case) for identity in known}
        for message in messages
        for known in (identities(message),)
    ]
    wanted = [key for each in keys for key in each.values()]
    found = await store.elsewhere(wanted) if wanted else {}
    return [
        Subjects(each, {identity: found[key] for identity, key in each.items() if key in found})
        for each in keys
    ]


async def new_rows(store: Store, subjects: Subjects, case: CaseRow) -> list[SubjectRow]:
    """Return the rows of those *subjects* that *case* does not have yet."""
    keys = list(subjects.keys.values())
    known = await store.get_many(SubjectRow, keys) if keys and case.version else {}
    return [
        SubjectRow(pseudonym=pseudonym, peer=peer, case=case_id, version=0)
        for pseudonym, peer, case_id in keys
        if (pseudonym, peer, case_id) not in known
    ]
