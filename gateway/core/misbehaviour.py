"""Proofs that a log contradicts itself, checked off line (protocol §9 "Misbehaviour").

The document is `{"v":1,"type":"misbehaviour","items":[…]}`; each item has `peer`, `code`, `origin`, `first`
and `second` (signed notes), and `cards` of the peer. Members that tell when it was found are not looked at.
"""

from collections.abc import Iterator, Mapping

from gateway.core.bundle import Broken
from gateway.core.card import parse_card
from gateway.core.errors import Malformed, NotProved, Untrusted
from gateway.core.examination import Examination, Finding
from gateway.core.ids import AuthorityId, parse_authority
from gateway.core.note import Checkpoint, LogIdentity, verify_checkpoint
from gateway.core.strict import as_list, as_object, as_text, check_constants, members, parse_json
from gateway.core.trust import Book, Trust

TYPE = "misbehaviour"
MAX_BYTES = 64 << 20

_MEMBERS = ("peer", "code", "origin", "size", "found", "first", "second", "cards")


def examine_misbehaviour(raw: bytes, trust: Trust) -> Examination:
    """Verify the document *raw* as far as it holds."""
    found = Examination()
    strangers: set[AuthorityId] = set()
    try:
        for item in _items(raw):
            authority = parse_authority(item["peer"])
            book = _book(item, authority, trust)
            if not book.authentic(authority):
                strangers.add(authority)
            found.findings.append(_contradiction(item, authority, book))
    except Malformed as fault:
        found.failure = Broken("misbehaviour", str(fault))
    except Broken as failure:
        found.failure = failure
    found.strangers = tuple(sorted(strangers))
    return found


def _items(raw: bytes) -> Iterator[Mapping[str, object]]:
    document = members(parse_json(raw, max_bytes=MAX_BYTES), required=("v", "type", "items"))
    check_constants(document, v=1, type=TYPE)
    items = as_list(document["items"])
    if not items:
        raise Broken("misbehaviour", "there is nothing in it")
    for item in items:
        yield members(as_object(item), required=_MEMBERS)


def _book(item: Mapping[str, object], authority: AuthorityId, trust: Trust) -> Book:
    cards = []
    for text in as_list(item["cards"]):
        try:
            cards.append(parse_card(as_text(text).encode()))
        except NotProved as fault:
            raise Broken("card", str(fault)) from None
    if any(card.authority != authority for card in cards):
        raise Broken("card", f"a card of another authority than {authority}")
    return Book.of(cards, trust)


def _contradiction(item: Mapping[str, object], authority: AuthorityId, book: Book) -> Finding:
    known = book.logs().get(as_text(item["origin"]))
    if known is None:
        raise Broken("log", f"no card of {authority} names the log")
    first, second = (_checkpoint(as_text(item[name]), known[1]) for name in ("first", "second"))
    about: dict[str, str | int] = {
        "authority": authority,
        "origin": first.origin,
        "first": first.size,
        "second": second.size,
    }
    if first.size == second.size:
        if first.root == second.root:
            raise Broken("misbehaviour", "the two checkpoints say the same")
        text = (
            f"{authority} signed two roots for the {first.size} entries of {first.origin}: "
            "it has shown different histories."
        )
        return Finding(proved=book.authentic(authority), what="two_roots", text=text, about=about)
    text = (
        f"{authority} signed checkpoints of {first.size} and {second.size} entries of {first.origin}; that "
        "no proof leads from one to the other is the word of whoever asked for it."
    )
    return Finding(proved=False, what="inconsistent", text=text, about=about)


def _checkpoint(note: str, log: LogIdentity) -> Checkpoint:
    try:
        return verify_checkpoint(note, log)
    except Untrusted as fault:
        raise Broken("log_signature", str(fault)) from None
