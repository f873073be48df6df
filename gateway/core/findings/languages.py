"""Languages: one that the recipient accepts, certified where it asks for that, truly the one it says."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from gateway.core.findings.annotations import annotations, places
from gateway.core.findings.circumstances import Circumstances
from gateway.core.findings.finding import Defect, Finding, Path
from gateway.core.message import Message
from gateway.core.profile import Languages

NOT_ACCEPTED = Defect(
    "18(14)", "error", "Neither the text nor a translation is in a language that is accepted: {languages}."
)
NOT_CERTIFIED = Defect("18(14)", "warning", "The translation is not certified, though the recipient asks.")
OTHER_SCRIPT = Defect("18(14)", "warning", "The text is not in the script of its language tag.")

_ENOUGH_LETTERS = 40
_SAMPLE = 240  # characters that tell the script of a text
_LETTERS = re.compile(r"[^\W\d_]+")
_SCRIPTS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "Latn": re.compile(r"[A-Za-z\u00aa-\u024f\u1e00-\u1eff]+"),
        "Cyrl": re.compile(r"[\u0400-\u052f]+"),
        "Arab": re.compile(r"[\u0620-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufeff]+"),
        "Hans": re.compile(r"[\u3400-\u9fff]+"),
        "Hant": re.compile(r"[\u3400-\u9fff]+"),
    }
)
_LAST_LATIN = "\u024f"
"""Up to here every letter is Latin; few texts in Latin letters have others, so that this tells quickly."""
_USUAL_SCRIPT: Mapping[str, str] = MappingProxyType(
    {
        "ar": "Arab",
        "de": "Latn",
        "en": "Latn",
        "es": "Latn",
        "fr": "Latn",
        "it": "Latn",
        "pt": "Latn",
        "ru": "Cyrl",
        "zh": "Hans",
    }
)


def accepted(message: Message, circumstances: Circumstances) -> Iterator[Finding]:
    """Article 18(14): a request, and what completes it, is in a language acceptable to the recipient."""
    languages = _languages(message, circumstances)
    if languages is None:
        return
    urgent = languages.emergency if message.payload["urgency"] == "emergency" else ()
    offered = [message.payload["language"], *(one["language"] for one in message.payload["translations"])]
    if not any(_agree(tag, one) for tag in offered for one in (*languages.accepted, *urgent)):
        yield NOT_ACCEPTED.at("language", languages=", ".join(languages.accepted))


def certified(message: Message, circumstances: Circumstances) -> Iterator[Finding]:
    """Article 18(14): the recipient can make the certificate a condition of authenticity."""
    languages = _languages(message, circumstances)
    if languages is not None and languages.certified:
        for index, translation in enumerate(message.payload["translations"]):
            if not translation["certified"]:
                yield NOT_CERTIFIED.at("translations", index, "certified")


def scripts(message: Message, _: Circumstances) -> Iterator[Finding]:
    """Article 18(14): a language acceptable to the recipient, so that the tag has to be right."""
    texts: list[tuple[Path, Mapping[str, Any]]] = [((), message.payload)]
    for index, translation in enumerate(message.payload["translations"]):
        if "body" in translation:
            texts.append((("translations", index), translation))
    for owner, paths in annotations(message.kind).prose.items():
        for above, text in texts:
            for place, holder in places(text, owner, above):
                if _is_other(holder.get("language", "und"), _sample(holder, paths)):
                    yield OTHER_SCRIPT.at(*place, "language")


def _languages(message: Message, circumstances: Circumstances) -> Languages | None:
    """Return what the recipient says of languages for what *message* is about; None if nothing."""
    if circumstances.profile is None:
        return None
    cooperation = circumstances.cooperation(message)
    return None if cooperation is None else circumstances.profile.languages(cooperation)


def _agree(tag: str, acceptable: str) -> bool:
    """Say whether one of two tags only says more: zh-Hans is zh, and en will do for en-GB."""
    one, other = tag.split("-"), acceptable.split("-")
    return all(left == right for left, right in zip(one, other, strict=False))


def _sample(holder: Mapping[str, Any], paths: list[Path]) -> str:
    """Return the beginning of the texts at *paths*: as much as tells their script."""
    found = ""
    for path in paths:
        for _, text in places(holder, path):
            found += f"{text[:_SAMPLE]} "
            if len(found) > _SAMPLE:
                return found
    return found


def _is_other(tag: str, prose: str) -> bool:
    """Say whether *prose* is long enough to tell, and not in the script of the language *tag*."""
    language, *subtags = tag.split("-")
    expected = next((subtag for subtag in subtags if subtag in _SCRIPTS), _USUAL_SCRIPT.get(language))
    if expected is None or (
        expected == "Latn"
        and (prose.isascii() or not any(c > _LAST_LATIN and c.isalpha() for c in set(prose)))
    ):
        return False
    letters = _count(_LETTERS, prose)
    if letters < _ENOUGH_LETTERS:
        return False
    return 2 * _count(_SCRIPTS[expected], prose) < letters


def _count(runs: re.Pattern[str], text: str) -> int:
    return len("".join(runs.findall(text)))
