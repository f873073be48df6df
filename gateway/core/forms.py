"""Leaves in the one form, many at once: as strict as `parse_entry`, in a fraction of its time.

A log has few *forms*: which members an entry has, and the words that are the same in all of a form.
The first leaf of a form is parsed strictly, and becomes a pattern: names in their order, the words
literally, each other member by the rule of its name. What a pattern leaves open, the digits of ids and
digests, is looked at for all leaves together; times are for the caller. So a leaf is let through only if
`parse_entry` accepts it; whatever no pattern fits is parsed strictly.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gateway.core.entry import MAX_BYTES, Entry, parse_entry
from gateway.core.errors import Malformed
from gateway.core.ids import AuthorityId, parse_authority
from gateway.core.strict import parse_json, time_text

MOST_FORMS = 512
"""The most forms that are remembered; a log of more is not one that this gateway wrote."""

_COLUMNS = ("entry_id", "envelope_sha256", "event", "message_id", "message_sha256", "peer", "time")
"""The members that are read, in their order in a leaf, which is that of the alphabet."""
_Columns = tuple[str, str | None, str, str | None, str | None, str | None, str]
_UUID_CHARS, _DIGEST_CHARS = 36, 64
_OPEN = {
    "entry_id": f'([^"]{{{_UUID_CHARS}}})',
    "envelope_sha256": f'([^"]{{{_DIGEST_CHARS}}})',
    "message_id": f'([^"]{{{_UUID_CHARS}}})',
    "message_sha256": f'([^"]{{{_DIGEST_CHARS}}})',
    "peer": '([^"]+)',
    "time": '([^"]{24})',
    "commitment": "[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]",
}
"""The members that vary within a form."""
_WORDS = frozenset({"authority", "event", "outcome", "reason"})
"""The members that are the same in all leaves of a form."""
_PLAIN = r"[ !#-\[\]-~]*"
_SHORT_INTEGER = "(?:0|-?[1-9][0-9]{0,14})"
"""An integer below 2^53 whatever its digits; longer ones are left to the strict parser."""
_NEVER = "((?!))?"
"""A group that takes part in no match: a column of a member that the form does not have."""
_HEX = b"0123456789abcdef"
_DASHES = (8, 13, 18, 23)
_VERSION, _VARIANT = 14, 19
_EVENT = '"event":"'


class WrongAuthority(Malformed):
    """An entry that is in form, in the log of another authority."""


@dataclass(frozen=True, slots=True)
class Read:
    """What leaves say, member by member; up to the first that is not in form, and what is wrong with it.

    That each time is one of the calendar is for the caller to see.
    """

    entry_ids: Sequence[str] = ()
    events: Sequence[str] = ()
    message_ids: Sequence[str | None] = ()
    peers: Sequence[str | None] = ()
    times: Sequence[str] = ()
    fault: Malformed | None = None


class Forms:
    """The forms of the log of *authority* that were met."""

    def __init__(self, authority: AuthorityId) -> None:
        self._authority = authority
        self._patterns: dict[str, list[_Fits]] = {}
        self._count = 0
        self._peers: set[str] = set()

    def read(self, leaves: Sequence[bytes]) -> Read:
        """Return what *leaves* say. The fault, if there is one, is Malformed or WrongAuthority."""
        found, fault = self._matched(leaves)
        if not found:
            return Read(fault=fault)
        entry_ids, envelopes, events, message_ids, digests, peers, times = zip(*found, strict=True)
        if not (
            _are_uuids([*entry_ids, *filter(None, message_ids)])
            and _are_hex([*filter(None, envelopes), *filter(None, digests)])
            and self._are_peers(peers)
        ):
            return self._first_wrong(leaves)
        return Read(entry_ids, events, message_ids, peers, times, fault)

    def _matched(self, leaves: Sequence[bytes]) -> tuple[list[_Columns], Malformed | None]:
        """Return the columns of the leaves up to the first that is not in form, and its fault."""
        found: list[_Columns] = []
        known = self._patterns
        for leaf in leaves:
            try:
                text = leaf.decode("latin-1")
                begin = text.find(_EVENT) + len(_EVENT)
                for fits in known.get(text[begin : text.find('"', begin)], ()):
                    if (match := fits(text)) is not None and len(text) <= MAX_BYTES:
                        found.append(match.groups())  # type: ignore[arg-type]  # as _COLUMNS has them
                        break
                else:
                    found.append(self._strictly(leaf))
            except Malformed as fault:
                return found, fault
            except AttributeError:  # a database may hold values of any type
                return found, Malformed("an entry that is not bytes")
        return found, None

    def _strictly(self, leaf: bytes) -> _Columns:
        entry = parse_entry(leaf)
        if entry.authority != self._authority:
            raise WrongAuthority("an entry of another authority")
        if self._count < MOST_FORMS:
            self._count += 1
            self._patterns.setdefault(entry.event, []).append(_pattern(entry).fullmatch)
        return (
            entry.entry_id,
            entry.envelope_sha256,
            entry.event,
            entry.message_id,
            entry.message_sha256,
            entry.peer,
            time_text(entry.time_ms),
        )

    def _are_peers(self, peers: Iterable[str | None]) -> bool:
        """Return whether all are authority ids."""
        try:
            self._peers.update(map(parse_authority, set(filter(None, peers)) - self._peers))
        except Malformed:
            return False
        return True

    def _first_wrong(self, leaves: Sequence[bytes]) -> Read:
        """Return what *leaves* say, each parsed strictly, since one of them is not in form."""
        entries: list[Entry] = []
        fault = None
        for leaf in leaves:
            try:
                entries.append(parse_entry(leaf))
            except Malformed as found:
                fault = found
                break
        return Read(
            [entry.entry_id for entry in entries],
            [entry.event for entry in entries],
            [entry.message_id for entry in entries],
            [entry.peer for entry in entries],
            [time_text(entry.time_ms) for entry in entries],
            fault,
        )


_Fits = Callable[[str], re.Match[str] | None]


def _are_hex(texts: Sequence[str]) -> bool:
    """Return whether *texts* have nothing but lower-case hex digits."""
    return not "".join(texts).encode("latin-1").translate(None, _HEX)


def _are_uuids(texts: Sequence[str]) -> bool:
    """Return whether *texts*, of 36 characters each, are UUIDs version 4 in lower case."""
    joined, count = "".join(texts).encode("latin-1"), len(texts)
    return (
        all(joined[at::_UUID_CHARS] == b"-" * count for at in _DASHES)
        and joined[_VERSION::_UUID_CHARS] == b"4" * count
        and not joined[_VARIANT::_UUID_CHARS].translate(None, b"89ab")
        and joined.translate(None, _HEX) == b"-" * (len(_DASHES) * count)
    )


def _pattern(entry: Entry) -> re.Pattern[str]:
    """Return what fits the leaves of the form of *entry* and nothing else."""
    found = parse_json(entry.leaf)
    assert isinstance(found, dict)  # noqa: S101 - parse_entry has read it as an object
    absent = [name for name in _COLUMNS if name not in found]
    parts = []
    for name, value in found.items():
        skipped = sum(column < name for column in absent)
        parts.append(_NEVER * skipped + f'"{name}":{_value(name, value)}')
        del absent[:skipped]
    return re.compile(f"\\{{{','.join(parts)}{_NEVER * len(absent)}\\}}", re.ASCII)


def _value(name: str, value: object) -> str:
    if name in _OPEN:
        return f'"{_OPEN[name]}"'
    if name == "v":
        return "1"
    if isinstance(value, str):
        word = re.escape(value) if name in _WORDS else _PLAIN
        return f'"({word})"' if name == "event" else f'"{word}"'
    return _SHORT_INTEGER
