"""Leaves in the one form, many at once: as strict as `parse_entry`, in a fraction of its time.

A log has few *forms*: which members an entry has, and the words that are the same in all of a form.
The first leaf of a form is parsed strictly, and becomes a pattern that fits nothing else than what
`parse_entry` accepts: names in their order, the words literally, each other member by the rule of its
name. Every leaf that a pattern fits is in form, then; whatever none fits is parsed strictly.
"""

import re
from collections.abc import Callable

from gateway.core.entry import MAX_BYTES, Entry, parse_entry
from gateway.core.errors import Malformed
from gateway.core.ids import AuthorityId
from gateway.core.strict import parse_json, parse_time, time_text

Columns = tuple[str, str, str | None, str | None, str]
"""What stands beside a leaf in a database: entry_id, event, message_id, peer; and the time as text."""

_Fits = Callable[[str], re.Match[str] | None]

MOST_FORMS = 512
"""The most forms that are remembered; a log of more is not one that this gateway wrote."""

_UUID4 = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_DIGEST = "[0-9a-f]{64}"
_AUTHORITY = r"(?=[^\"]{1,64}\")[a-z]{2}(?:-[a-z0-9]{1,3})?\.[a-z0-9]+(?:-[a-z0-9]+)*"
_RULES = {
    "entry_id": f"({_UUID4})",
    "message_id": f"({_UUID4})",
    "peer": f"({_AUTHORITY})",
    "time": r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)",
    "envelope_sha256": _DIGEST,
    "message_sha256": _DIGEST,
    "commitment": "[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]",
}
"""The members that vary within a form; those in brackets are columns."""
_WORDS = frozenset({"authority", "event", "outcome", "reason"})
"""The members that are the same in all leaves of a form."""
_COLUMNS = ("entry_id", "event", "message_id", "peer", "time")
"""In their order in a leaf, which is that of the alphabet."""
_PLAIN = r"[ !#-\[\]-~]*"
_SHORT_INTEGER = "(?:0|-?[1-9][0-9]{0,14})"
"""An integer below 2^53 whatever its digits; longer ones are left to the strict parser."""
_NEVER = "((?!))?"
"""A group that takes part in no match: a column of a member that the form does not have."""


class Forms:
    """The forms of the log of *authority* that were met."""

    def __init__(self, authority: AuthorityId) -> None:
        self._authority = authority
        self._patterns: dict[str, list[_Fits]] = {}
        self._count = 0

    def read(self, leaf: bytes, event: str) -> Columns:
        """Return the columns of *leaf*, an entry of the authority in the one form; *event* is likely its.

        That its time is one of the calendar is for the caller to see: `later` does.

        Raises:
            Malformed: it is not in form.
            WrongAuthority: it is another authority's.
        """
        text = leaf.decode("latin-1")
        for fits in self._patterns.get(event, ()):
            if (found := fits(text)) is not None and len(text) <= MAX_BYTES:
                columns: Columns = found.groups()  # type: ignore[assignment]  # five groups, three of which always match
                return columns
        entry = parse_entry(leaf)
        if entry.authority != self._authority:
            raise WrongAuthority("an entry of another authority")
        self._learn(entry)
        return (entry.entry_id, entry.event, entry.message_id, entry.peer, time_text(entry.time_ms))

    def _learn(self, entry: Entry) -> None:
        if self._count < MOST_FORMS:
            self._count += 1
            self._patterns.setdefault(entry.event, []).append(_pattern(entry).fullmatch)


def event_of(leaf: bytes) -> str:
    """Return the event of *leaf*, if it is in form; otherwise anything."""
    return leaf.partition(b'"event":"')[2].partition(b'"')[0].decode("latin-1")


class WrongAuthority(Malformed):
    """An entry that is in form, in the log of another authority."""


def later(time: str, than: str) -> bool:
    """Return whether *time* is not before *than*, which is "" or was given here before. Raises Malformed."""
    if time != than:
        parse_time(time)
    return time >= than


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
    if name in _RULES:
        return f'"{_RULES[name]}"'
    if name == "v":
        return "1"
    if isinstance(value, str):
        word = re.escape(value) if name in _WORDS else _PLAIN
        return f'"({word})"' if name == "event" else f'"{word}"'
    return _SHORT_INTEGER
