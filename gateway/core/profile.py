"""Authority profiles: what an authority accepts and requires, under its signing key (protocol §4).

A profile speaks of types of cooperation (`mla`, `extradition`, …); `cooperation_type` tells which of
them a kind of message begins. Verifying returns the profile; the one in force is for `follows`.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import schemas
from gateway.core.errors import Flaw, Malformed, Untrusted
from gateway.core.ids import AuthorityId, Digest
from gateway.core.strict import parse_object, parse_time, sha256, time_text
from keys.errors import BadSignature, KeyFault, UnknownKey
from keys.signing import SigningKey, verify_compact

TYPE = "art18-profile+jws"
"""The `typ` of a profile's protected header."""
MAX_BYTES = 256 * 1024
"""Of the compact JWS."""
OWN_MEMBERS = ("v", "type", "authority", "sequence", "issued")
"""What the node fills in, so that it is no part of what is given to be published."""

_WITHOUT_LANGUAGE = "consultation"
"""The one type that may come in any language: a question does not have to be translated first."""


class ProfileFault(Malformed):
    """A profile that is not as its schema, or the rules between its members, require.

    Attributes:
        flaws: where it is wrong, without its content.
    """

    def __init__(self, flaws: tuple[Flaw, ...]) -> None:
        super().__init__("not a profile in form")
        self.flaws = flaws


@dataclass(frozen=True, slots=True)
class Acceptance:
    """How requests of one type are taken: `channel` and `paper_original` as in the schema."""

    via_gateway: bool
    channel: str
    paper_original: str


@dataclass(frozen=True, slots=True)
class Languages:
    """The languages of one type, BCP 47; `emergency` has those that are taken then besides."""

    accepted: tuple[str, ...]
    preferred: str | None
    certified: bool
    emergency: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Oral:
    """Whether urgent requests may be made orally, and when they are to be confirmed in writing."""

    accepted: bool
    confirm_within_hours: int | None


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a request of one type must have, or should unless `mandatory`.

    `text` is by language. `path` is a JSON pointer into the message, where `*` is every item of
    a list; None where only people can check.
    """

    id: str
    type: str
    text: Mapping[str, str]
    mandatory: bool
    path: str | None


@dataclass(frozen=True, slots=True)
class UsualDays:
    """How long the authority usually takes, in calendar days."""

    acknowledge: int
    decide: int


@dataclass(frozen=True, slots=True)
class Law:
    """Rules of domestic law; None where the profile is silent."""

    dual_criminality: str | None
    evidence_threshold: str | None
    nationals_extraditable: str | None
    arrest_document_days: int | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """In which form documents are taken; None where any is."""

    certification: str | None
    formats: tuple[str, ...] | None
    max_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A profile that a signing key of its authority signed.

    `payload` has all members, `jws` is the exact text and `sha256` its digest; `kid` names the key.
    """

    authority: AuthorityId
    sequence: int
    issued_ms: int
    payload: Mapping[str, Any]
    jws: str
    sha256: Digest
    kid: str

    def accepts(self, cooperation: str) -> Acceptance | None:
        """Return how requests of the type *cooperation* are taken; None: they are not."""
        found = self.payload["accepts"].get(cooperation)
        return None if found is None else Acceptance(**found)

    def languages(self, cooperation: str) -> Languages | None:
        """Return the languages of a type; None where the profile asks for none."""
        found = self.payload["languages"].get(cooperation)
        if found is None:
            return None
        accepted, emergency = tuple(found["accepted"]), tuple(found.get("emergency", ()))
        return Languages(accepted, found.get("preferred"), found["certified"], emergency)

    @property
    def oral(self) -> Oral:
        """Return what holds for oral requests (article 18(14))."""
        found = self.payload["oral"]
        return Oral(found["accepted"], found.get("confirm_within_hours"))

    def requirements(self, cooperation: str) -> tuple[Requirement, ...]:
        """Return what requests of a type must or should have."""
        return tuple(
            Requirement(one["id"], one["type"], one["text"], one["mandatory"], one.get("path"))
            for one in self.payload.get("requirements", ())
            if one["type"] == cooperation
        )

    @property
    def usual_days(self) -> UsualDays:
        """Return how long the authority usually takes."""
        return UsualDays(**self.payload["usual_days"])

    @property
    def law(self) -> Law:
        """Return the rules of its law."""
        found = self.payload.get("law", {})
        return Law(*(found.get(name) for name in Law.__slots__))

    @property
    def evidence(self) -> Evidence:
        """Return in which form it takes documents."""
        found = self.payload.get("evidence", {})
        formats = found.get("formats")
        return Evidence(
            found.get("certification"), None if formats is None else tuple(formats), found.get("max_bytes")
        )

    @property
    def time_zone(self) -> str:
        """Return the IANA name of its time zone."""
        zone: str = self.payload["time_zone"]
        return zone

    @property
    def holidays(self) -> frozenset[date]:
        """Return the days on which its office is closed besides those without hours."""
        return frozenset(date.fromisoformat(day) for day in self.payload.get("holidays", ()))


def cooperation_type(kind: str) -> str | None:
    """Return the type of cooperation that a message of *kind* begins; None: that of its case."""
    found: str | None = schemas.codes()["cooperation_types"].get(kind)
    return found


def sign_profile(
    content: Mapping[str, object], key: SigningKey, *, authority: AuthorityId, sequence: int, issued_ms: int
) -> Profile:
    """Return the profile of *authority* that says *content*, signed by *key*.

    *content* is without OWN_MEMBERS. The checks are those that every reader makes.

    Raises:
        ProfileFault: against the schema or a rule between members; it has one of OWN_MEMBERS.
        Malformed: not a JSON value, or larger than 256 KiB once it is signed.
    """
    filled = tuple(
        Flaw(f"/{name}", "left out: the node fills it in") for name in OWN_MEMBERS if name in content
    )
    if filled:
        raise ProfileFault(filled)
    own = dict(zip(OWN_MEMBERS, (1, "profile", authority, sequence, time_text(issued_ms)), strict=True))
    try:
        raw = json.dumps(
            {**own, **content}, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()
    except (TypeError, ValueError):  # an object that JSON has no form for, a number or a surrogate
        raise Malformed("not a JSON value") from None
    payload = _parse_payload(raw, authority)
    jws = key.sign_compact(raw, TYPE)
    if len(jws) > MAX_BYTES:
        raise Malformed(f"larger than {MAX_BYTES} bytes once it is signed")
    return _profile(payload, jws, key.kid)


def verify_profile(raw: bytes, authority: AuthorityId, keys: Mapping[str, bytes]) -> Profile:
    """Return the profile *raw* of *authority*, signed by one of *keys* (raw public keys by kid).

    Raises:
        Malformed: not a compact JWS in the one accepted form, larger than 256 KiB, or soundly signed
            and not a profile; a ProfileFault says where.
        Untrusted: the signature is wrong, or by another key; the profile is another authority's.
    """
    if len(raw) > MAX_BYTES:
        raise Malformed(f"larger than {MAX_BYTES} bytes")
    try:
        jws = raw.decode("ascii")
        verified = verify_compact(jws, TYPE, keys)
    except UnicodeDecodeError:
        raise Malformed("not a compact JWS") from None
    except (BadSignature, UnknownKey) as fault:
        raise Untrusted(str(fault)) from None
    except KeyFault as fault:
        raise Malformed(str(fault)) from None
    return _profile(_parse_payload(verified.payload, authority), jws, verified.kid)


def follows(found: Profile, known: Profile | None) -> bool:
    """Say whether *found* takes the place of *known*, which is in force: its sequence has grown.

    Raises:
        Untrusted: the two have one sequence and say other things.
    """
    if known is None:
        return True
    if found.sequence == known.sequence and found.sha256 != known.sha256:
        raise Untrusted("two profiles with one sequence")
    return found.sequence > known.sequence


def _profile(payload: Mapping[str, Any], jws: str, kid: str) -> Profile:
    return Profile(
        authority=payload["authority"],
        sequence=payload["sequence"],
        issued_ms=parse_time(payload["issued"]),
        payload=payload,
        jws=jws,
        sha256=sha256(jws.encode("ascii")),
        kid=kid,
    )


def _parse_payload(raw: bytes, authority: AuthorityId) -> Mapping[str, Any]:
    """Return the payload *raw* of a profile of *authority*. Raises Malformed, or Untrusted."""
    payload: Mapping[str, Any] = parse_object(raw, max_bytes=MAX_BYTES)
    found = schemas.errors("profile", payload)
    flaws = tuple(Flaw(error.pointer, error.detail) for error in found) or tuple(_between(payload))
    if flaws:
        raise ProfileFault(flaws)
    if payload["authority"] != authority:
        raise Untrusted("the profile of another authority")
    return payload


def _between(payload: Mapping[str, Any]) -> Iterator[Flaw]:
    """Yield where members contradict each other, which the schema that they satisfy cannot say."""
    place = "territory" if "territory" in payload else "country"
    if payload[place].lower() != payload["authority"].partition(".")[0]:
        yield Flaw(f"/{place}", "what the authority id begins with")
    if not payload.get("territory", payload["country"]).startswith(payload["country"]):
        yield Flaw("/territory", "a part of the country")
    for index, opening in enumerate(payload["hours"]):
        if opening["from"] >= opening["until"]:
            yield Flaw(f"/hours/{index}/until", "later than `from`")
    accepted = set(payload["accepts"])
    for name in sorted(accepted - set(payload["languages"]) - {_WITHOUT_LANGUAGE}):
        yield Flaw("/languages", f"the languages of the accepted type {name}")
    for name, languages in payload["languages"].items():
        yield from _languages(f"/languages/{name}", languages, name in accepted)
    seen: set[str] = set()
    for index, requirement in enumerate(payload.get("requirements", ())):
        yield from _requirement(f"/requirements/{index}", requirement, accepted, seen)
        seen.add(requirement["id"])


def _languages(place: str, languages: Mapping[str, Any], accepted: bool) -> Iterator[Flaw]:
    if not accepted:
        yield Flaw(place, "a type that is accepted")
    if languages.get("preferred", languages["accepted"][0]) not in languages["accepted"]:
        yield Flaw(f"{place}/preferred", "one of the accepted languages")
    for index, language in enumerate(languages.get("emergency", ())):
        if language in languages["accepted"]:
            yield Flaw(f"{place}/emergency/{index}", "a language that is not accepted anyway")


def _requirement(
    place: str, requirement: Mapping[str, Any], accepted: Collection[str], seen: Collection[str]
) -> Iterator[Flaw]:
    if requirement["id"] in seen:
        yield Flaw(f"{place}/id", "an id that no other requirement has")
    if requirement["type"] not in accepted:
        yield Flaw(f"{place}/type", "a type that is accepted")
