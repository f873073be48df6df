"""A profile, so that an official can read it: how to reach an authority, and what it takes.

The node has verified the profile; its texts are another authority's all the same, and are made plain.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

import schemas
from gateway.cli.terminal import moment, pairs, table

_PREFERRED = "en"
"""The language in which a text is shown that has several, if it is among them."""
_LAW = {
    "dual_criminality": "dual criminality",
    "evidence_threshold": "evidence for extradition",
    "nationals_extraditable": "own nationals extradited",
    "arrest_document_days": "days for documents after an arrest",
}
_TOLD = {
    "interpol_urgent": "INTERPOL if urgent",
    "coercive": "for coercive measures",
    "conditional": "if they return to serve the sentence",
}
"""Codes that say too little by themselves."""


def describe_profile(console: Console, profile: Mapping[str, Any]) -> None:
    """Print the members of *profile* for a person."""
    pairs(console, _rows(profile))
    console.print()
    table(console, ("TYPE", "GATEWAY", "CHANNEL", "PAPER", "LANGUAGES"), _types(profile), none="")
    requirements = profile.get("requirements", [])
    if requirements:
        console.print()
        rows = (
            (one["id"], one["type"], "must" if one["mandatory"] else "should", _text(one["text"]))
            for one in requirements
        )
        table(console, ("REQUIREMENT", "TYPE", "HAVE", "TEXT"), rows, none="")


def _rows(profile: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    yield "profile", f"{profile['sequence']} of {profile['authority']}, issued {moment(profile['issued'])}"
    yield "reviewed", profile["reviewed"]
    for language, name in profile["names"].items():
        yield "name", f"{name} ({language})"
    yield "function", _text(profile["function"])
    yield "country", profile["country"] + (f", {profile['territory']}" if "territory" in profile else "")
    contacts = profile["contacts"]
    yield "contact", _contact(contacts["general"])
    if "urgent_24_7" in contacts:
        yield "at any hour", _contact(contacts["urgent_24_7"])
    for officer in contacts.get("officers", ()):
        yield "officer", _contact(officer)
    yield "open", f"{'; '.join(map(_opening, profile['hours']))} ({profile['time_zone']})"
    if profile.get("holidays"):
        yield "closed on", ", ".join(profile["holidays"])
    yield from _practice(profile)


def _practice(profile: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    days = profile["usual_days"]
    yield "usually", f"acknowledges within {days['acknowledge']} days, decides within {days['decide']} days"
    oral = profile["oral"]
    yield (
        "oral requests",
        f"when urgent, confirmed in writing within {oral['confirm_within_hours']} hours"
        if oral["accepted"]
        else "not accepted",
    )
    basis = profile["legal_basis"]
    yield "the Convention", f"as basis of assistance: {_yes(basis['untoc_for_mla'])}"
    yield "the Convention", f"as basis of extradition: {_yes(basis['untoc_for_extradition'])}"
    yield "reciprocity", f"as basis without a treaty: {_yes(basis['reciprocity'])}"
    for treaty in basis["treaties"]:
        with_whom = f" with {', '.join(treaty['parties'])}" if "parties" in treaty else ""
        yield "treaty", f"{treaty['instrument']}{with_whom} ({', '.join(treaty['types'])})"
    law = profile.get("law", {})
    for name, told in _LAW.items():
        if name in law:
            yield "law", f"{told}: {_words(law[name])}"
    if "de_minimis" in law:
        yield "de minimis", _de_minimis(law["de_minimis"])
    if "evidence" in profile:
        yield "evidence", _evidence(profile["evidence"])


def _types(profile: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    members = schemas.load("profile")["properties"]["accepts"]["properties"]
    for name, schema in members.items():
        found = profile["accepts"].get(name)
        if found is None:
            yield schema["title"], "-", "not accepted", "-", "-"
        else:
            yield (
                schema["title"],
                _yes(found["via_gateway"]),
                _words(found["channel"]),
                _words(found["paper_original"]),
                _languages(profile["languages"].get(name)),
            )


def _languages(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "any"
    several = len(found["accepted"]) > 1
    told = ", ".join(
        f"{language} (preferred)" if several and language == found.get("preferred") else language
        for language in found["accepted"]
    )
    certified = "; translations certified" if found["certified"] else ""
    emergency = f"; in an emergency also {', '.join(found['emergency'])}" if "emergency" in found else ""
    return told + certified + emergency


def _contact(found: Mapping[str, Any]) -> str:
    parts = [found[name] for name in ("name", "function", "phone", "email") if name in found]
    if "languages" in found:
        parts.append(f"speaks {', '.join(found['languages'])}")
    return ", ".join(parts)


def _opening(found: Mapping[str, Any]) -> str:
    return f"{' '.join(day[:3].capitalize() for day in found['days'])} {found['from']}-{found['until']}"


def _de_minimis(found: Mapping[str, Any]) -> str:
    parts = []
    if "penalty_months" in found:
        parts.append(f"a maximum penalty of {found['penalty_months']} months")
    if "amount" in found:
        parts.append(f"{found['currency']} {found['amount']}")
    if "text" in found:
        parts.append(_text(found["text"]))
    return "; ".join(parts)


def _evidence(found: Mapping[str, Any]) -> str:
    parts = []
    if "certification" in found:
        parts.append(f"certification: {_words(found['certification'])}")
    if "formats" in found:
        parts.append(", ".join(found["formats"]))
    if "max_bytes" in found:
        parts.append(f"at most {found['max_bytes']:,} bytes each")
    return "; ".join(parts)


def _text(by_language: Mapping[str, str]) -> str:
    """Return a text in one language and on one line."""
    text = by_language.get(_PREFERRED) or next(iter(by_language.values()))
    return " ".join(text.split())


def _words(code: object) -> str:
    return _TOLD.get(str(code)) or str(code).replace("_", " ")


def _yes(value: object) -> str:
    return "yes" if value else "no"
