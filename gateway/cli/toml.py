"""A template as TOML: each member under a comment that says what it is for.

A comment begins with "# ", a member that is not needed with "#" alone: taking that away is all
that it takes to use it, in any number and order.
"""

import json
import textwrap
from collections.abc import Iterator, Sequence

from gateway.core.template import value
from schemas.outline import Member
from schemas.wording import by_article

WIDTH = 100
_GUIDE = """\
Fill in every "". Numbers, true and false stand without the quotes. A line that begins with # and no
blank is a member that may be left out; to use it, take that sign away, there and before the
[header] above it if there is one. For one more item of a list, repeat its [[header]] and what
belongs to it.

Required: without it there is no message. Demanded: it is not sent without, unless overridden.
Expected: a warning is told without; put a # before what is not known.

Check it:  art18 validate FILE
Send it:   art18 send FILE --attach PATH:ROLE"""


def template_text(kind: str, members: Sequence[Member]) -> str:
    """Return the template of *kind*, with these *members*, as TOML."""
    body = next(member for member in members if member.name == "body")
    basis = "" if body.article is None else f", {by_article(body.article)}"
    lines = [
        *_comment(f"{body.title} ({kind}{basis})"),
        *_comment(body.description),
        "#",
        *(f"# {line}".rstrip() for line in _GUIDE.splitlines()),
        *_table(members, (), live=True),
    ]
    return "\n".join(lines) + "\n"


def _table(members: Sequence[Member], path: tuple[str, ...], *, live: bool) -> Iterator[str]:
    """Yield the members of a table: tables after the others, which would belong to them else."""
    for member in sorted(members, key=lambda one: one.is_object):
        used = live and member.usual
        place = (*path, member.name)
        yield from ["", ""] if member.is_object else [""]
        yield from _comment(f"{member.title}. {member.description}")
        yield from _comment(" ".join(_facts(member)), indent="  ")
        mark = "" if used else "#"
        if member.is_object:
            name = ".".join(place)
            yield f"{mark}[[{name}]]" if member.many else f"{mark}[{name}]"
            yield from _table(member.members, place, live=used)
        else:
            text = json.dumps(value(member), ensure_ascii=False)
            yield f"{mark}{member.name} = {f'[{text}]' if member.many else text}"


def _facts(member: Member) -> Iterator[str]:
    """Yield what is to be known for filling *member* in, in sentences."""
    needs = [_sentence(need.words) for need in member.needs]
    if member.article is None or any(need.article for need in member.needs):
        yield from needs or ["Optional."]
    else:
        first, *others = needs or ["Optional."]
        yield f"{first[:-1]} ({by_article(member.article)})."
        yield from others
    if member.codes:
        yield f"{'A list of' if member.many else 'One of'} {', '.join(map(str, member.codes))}."
    elif not member.is_object:
        form = member.hint or _sentence(member.form)
        yield f"Each item of the list: {form}" if member.many else form
    if member.default is not None:
        yield f"Left out, it is {member.default}."
    yield from member.notes


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _comment(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"# {indent}",
        subsequent_indent=f"# {indent}",
        break_long_words=False,
        break_on_hyphens=False,
    )
