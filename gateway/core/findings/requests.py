"""Requests: a deadline that can be met, a crime that is serious, consent, and a basis that carries."""

import re
import unicodedata
from collections.abc import Iterator
from datetime import date

from gateway.core.findings.circumstances import Circumstances
from gateway.core.findings.finding import Defect, Finding
from gateway.core.message import Message

PAST = Defect("18(24)", "error", "The deadline has passed.")
SHORT = Defect(
    "18(24)", "warning", "The deadline is shorter than the {days} days that the recipient usually takes."
)
NOT_SERIOUS = Defect("2(b)", "warning", "The maximum penalty is under four years.")
NO_CONSENT = Defect("17", "error", "The sentenced person has not consented to the transfer.")
NO_BASIS = Defect(
    "17", "error", "The Convention alone is no basis of a transfer: its article 17 only permits agreements."
)

_SERIOUS_CRIME_MONTHS = 48
_UNTOC = re.compile(
    r"\b(untoc|unctoc|cnucto)\b"
    r"|(?=.*(united nations|nations unies|naciones unidas|nacoes unidas"
    r"|организации объединенных нации|\bоон\b"  # noqa: RUF001 - Russian
    r"|联合国|聯合國|الامم المتحدة))"
    r".*(transnational organi[sz]ed crime|criminalite transnationale organisee"
    r"|delincuencia organizada transnacional|(crime|criminalidade) organizad[oa] transnacional"
    r"|транснациональнои организованнои преступности|跨国有组织犯罪|跨國有組織犯罪"
    r"|الجريمة المنظمة (عبر الوطنية|العابرة للحدود))"
)
"""The Convention's name, in the spelling of `_plain`: an agreement of two States can have similar words."""


def deadline(message: Message, circumstances: Circumstances) -> Iterator[Finding]:
    """Article 18(24): a deadline lies ahead, and is one that the recipient can keep."""
    day = message.body.get("deadline", {}).get("date")
    if day is None:
        return
    left = (date.fromisoformat(day) - message.day).days
    if left < 0:
        yield PAST.at("body", "deadline", "date")
    elif circumstances.profile is not None:
        usual = circumstances.profile.usual_days.decide
        if left < usual:
            yield SHORT.at("body", "deadline", "date", days=usual)


def seriousness(message: Message, _: Circumstances) -> Iterator[Finding]:
    """Article 2(b): a serious crime is punishable by at least four years."""
    for index, offence in enumerate(message.body.get("offences", ())):
        penalty = offence.get("max_penalty", {})
        months = penalty.get("months", _SERIOUS_CRIME_MONTHS)
        serious = months >= _SERIOUS_CRIME_MONTHS or penalty.get("life", False)
        if offence.get("untoc_hook") == "serious_crime_2b" and not serious:
            yield NOT_SERIOUS.at("body", "offences", index, "max_penalty", "months")


def consent(message: Message, _: Circumstances) -> Iterator[Finding]:
    """Article 17: a sentenced person is transferred with consent, as the agreements on it ask."""
    if message.body.get("consent", {}).get("given") is False:
        yield NO_CONSENT.at("body", "consent", "given")


def transfer_basis(message: Message, _: Circumstances) -> Iterator[Finding]:
    """Article 17: States may consider agreements on transfer; the article itself transfers nobody."""
    bases = message.body.get("legal_basis", ())
    if bases and all(_UNTOC.search(_plain(basis["instrument"])) for basis in bases):
        yield NO_BASIS.at("body", "legal_basis")


def _plain(text: str) -> str:
    """Return *text* in lower case, without accents and the like."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(c for c in parts if not unicodedata.combining(c)).split())
