"""Channels: whether the recipient takes such a request at all, and on this way."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from gateway.core.findings.annotations import missing
from gateway.core.findings.circumstances import Circumstances
from gateway.core.findings.finding import Defect, Finding, Path
from gateway.core.message import Message
from gateway.core.profile import cooperation_type

_NOT_TAKEN = "The recipient does not accept this type of cooperation."
NOT_TAKEN: Mapping[str, Defect] = MappingProxyType(
    {
        "mla": Defect("18(13)", "error", _NOT_TAKEN),
        "confiscation": Defect("13(3)", "error", _NOT_TAKEN),
        "extradition": Defect("16", "error", _NOT_TAKEN),
        "transfer_sentenced": Defect("17", "error", _NOT_TAKEN),
        "jit": Defect("19", "error", _NOT_TAKEN),
        "transfer_proceedings": Defect("21", "error", _NOT_TAKEN),
        "spontaneous": Defect("18(4)", "error", _NOT_TAKEN),
        "consultation": Defect("practice", "error", _NOT_TAKEN),
    }
)
"""By type of cooperation: article 18(13) covers by itself only assistance, and 13(3) confiscation."""
DIPLOMATIC = Defect("18(13)", "error", "The recipient takes this only through diplomatic channels.")
OTHER_WAY = Defect("18(13)", "error", "The recipient does not take this through the gateway.")
NOT_ORAL = Defect("18(14)", "error", "The recipient does not agree to oral requests.")
REQUIRED = Defect("practice", "warning", "The recipient requires what is missing here ({requirement}).")

_EVERY = "*"


def taken(message: Message, circumstances: Circumstances) -> Iterator[Finding]:
    """Article 18(13): what the recipient accepts, and not through diplomatic channels alone."""
    cooperation = cooperation_type(message.kind)
    if cooperation is None or circumstances.profile is None:
        return
    acceptance = circumstances.profile.accepts(cooperation)
    if acceptance is None:
        yield NOT_TAKEN[cooperation].at("kind")
    elif acceptance.channel == "diplomatic_only":
        yield DIPLOMATIC.at("kind")
    elif not acceptance.via_gateway:
        yield OTHER_WAY.at("kind")


def oral(_: Message, circumstances: Circumstances) -> Iterator[Finding]:
    """Article 18(14): orally only where the two agree to it."""
    if circumstances.profile is not None and not circumstances.profile.oral.accepted:
        yield NOT_ORAL.at("kind")


def requirements(message: Message, circumstances: Circumstances) -> Iterator[Finding]:
    """COP resolution 9/3, annex II (a): requirements that are published, so that they can be met.

    A warning even where the recipient calls it mandatory: a peer's profile cannot stop our sending.
    """
    cooperation = cooperation_type(message.kind)
    if cooperation is None or circumstances.profile is None:
        return
    for requirement in circumstances.profile.requirements(cooperation):
        if requirement.path is not None:
            place = next(_lacking(message.payload, _names(requirement.path)), None)
            if place is not None:
                yield REQUIRED.at(*place, requirement=requirement.id)


def _names(pointer: str) -> tuple[str, ...]:
    """Return the names in a JSON pointer (RFC 6901), `*` for every item of a list."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def _lacking(value: Any, path: tuple[str, ...], place: Path = ()) -> Iterator[Path]:  # noqa: ANN401  # JSON
    """Yield where nothing stands of what *path* names below *value*: any path, of any JSON value."""
    if not path:
        if missing(value):
            yield place
    elif path[0] == _EVERY:
        for index, item in enumerate(value if isinstance(value, list) else ()):
            yield from _lacking(item, path[1:], (*place, index))
    else:
        inner = value.get(path[0]) if isinstance(value, Mapping) else None
        yield from _lacking(inner, path[1:], (*place, path[0]))
