import csv
import io
import json
import mimetypes
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

import schemas
from gateway.core.entry import ANSWERING, LATER, Draft, encode_entry
from gateway.core.ids import AuthorityId
from gateway.core.strict import from_b64url, parse_json
from tests.support import bodies, conduct
from tests.support.authorities import make_authority, message
from tests.support.cases import TODAY, message_id, played

NAMES = schemas.schema_names()
ARTICLE = re.compile(
    r"((COP 9/3 I{1,3}|(Budapest |ETS 73 )?\d+)(\(\w+\))*((, | to )\(\w+\))*( and \(\w+\))?)|practice"
)
"""An article of the Convention or of another treaty, an annex of resolution 9/3, or what is customary."""
OPEN = {
    "message/body": "the kind closes it",
    "draft/body": "the kind closes it",
    "message/translation/body": "the kind closes it",
    "entry": "flat: further members are text or integers",
    "envelope/content/blob_keys": "names are digests, values are keys",
    "kinds/request.mla/assistance": "a part: the kinds that are composed of it close it",
}
"""Objects with members that the schema does not name, and why."""
MAGIC = {"application/pdf": b"%PDF-", "image/png": b"\x89PNG\r\n\x1a\n"}
CONDITIONS = ("unless", "unless_message")
NARROWING = {"items", "properties", "x-article", "x-demanded"}
"""Where a member has nothing else, its schema adds to what another one explains."""


def walk(schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield every schema in *schema* that says what a value is, without conditions and annotations."""
    yield path, schema
    for name, member in schema.get("properties", {}).items():
        yield from walk(member, (*path, name))
    for name, member in schema.get("$defs", {}).items():
        yield from walk(member, (*path, name))
    if "items" in schema:
        yield from walk(schema["items"], path)


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_2020_12_and_compiles(name):
    schema = schemas.load(name)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"{schemas.BASE}{name}.json"
    assert jsonschema_rs.meta.is_valid(schema)
    schemas.validator(name)


def test_every_file_is_a_schema_or_known():
    folder = Path(schemas.__file__).parent
    found = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("**/*.json")}
    samples = {name for name in found if name.startswith("samples/")}
    assert found - samples == {*NAMES, "codes", "case-machine", "clocks", "events"}


def test_every_kind_names_itself():
    for kind in schemas.KINDS:
        assert schemas.load(f"kinds/{kind}")["properties"]["kind"]["const"] == kind


@pytest.mark.parametrize("name", NAMES)
def test_every_object_is_closed(name):
    loose = {
        "/".join((name, *path))
        for path, schema in walk(schemas.load(name))
        if schema.get("type") == "object" and not closed(schema)
    }
    assert loose == {place for place in OPEN if place.startswith((name, f"{name}/"))}


def closed(schema: dict[str, Any]) -> bool:
    return False in (schema.get("additionalProperties"), schema.get("unevaluatedProperties"))


@pytest.mark.parametrize("kind", sorted(schemas.KINDS))
def test_a_reference_to_a_part_is_closed(kind):
    for path, schema in walk(schemas.load(f"kinds/{kind}")):
        if schema.get("$ref", "").endswith("#/$defs/assistance"):
            assert schema["unevaluatedProperties"] is False, path


@pytest.mark.parametrize("name", NAMES)
def test_every_member_is_explained(name):
    for path, schema in walk(schemas.load(name)):
        for member, inner in schema.get("properties", {}).items():
            if not set(inner) <= NARROWING:
                assert inner["title"], (*path, member)
                assert inner["description"].endswith("."), (*path, member)
            elif "$ref" in schema:
                assert member in schemas.resolve(schema["$ref"], name)[0]["properties"], (*path, member)


@pytest.mark.parametrize("kind", sorted(schemas.KINDS))
def test_every_member_of_a_body_has_its_article(kind):
    for part in schemas.load(f"kinds/{kind}")["$defs"].values():
        for path, schema in walk(part):
            for member, inner in schema.get("properties", {}).items():
                assert ARTICLE.fullmatch(inner["x-article"]), (*path, member)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_demanded_is_not_required(name):
    for path, schema in walk(schemas.load(name)):
        for member, inner in schema.get("properties", {}).items():
            for note in inner.get("x-demanded", ()):
                assert member not in schema.get("required", ()), (*path, member)
                assert ARTICLE.fullmatch(note["article"])
                assert note["severity"] in {"error", "warning"}
                assert note["text"].endswith(".")
                assert set(note) <= {"article", "severity", "text", "at_least", *CONDITIONS}
                assert all(jsonschema_rs.meta.is_valid(note.get(one, True)) for one in CONDITIONS)


@pytest.mark.parametrize("name", NAMES)
def test_references_stay_in_the_package(name):
    for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(schemas.load(name))):
        target, file = schemas.resolve(reference, name)
        assert file in NAMES
        assert target["title"]


def test_a_reference_to_the_outside_is_not_followed():
    with pytest.raises(jsonschema_rs.ValidationError, match=r"(?i)offline|resource|retriev"):
        schemas.condition({"$ref": "https://json.example/else.json"}, "message")


def test_an_unknown_format_is_an_error():
    with pytest.raises(jsonschema_rs.ValidationError):
        schemas.condition({"format": "no-such-format"}, "message")


# -- errors


def test_errors_have_pointers_and_no_content():
    document = json.loads(json.dumps(dict(played(2)[0][1].message.payload)))
    document["body"]["Secret member"] = "Secret value"
    document["body"]["measures"][0]["type"] = "Secret type"
    document["body"]["persons"][0]["nationality"] = ["Secret country"]
    document["language"] = "Secret language"
    document["attachments"][0]["translation_of"] = 1
    found = schemas.errors("kinds/request.mla", document)
    assert {error.pointer for error in found} == {
        "/body",
        "/body/measures/0/type",
        "/body/persons/0/nationality/0",
        "/language",
        "/attachments/0/translation_of",
    }
    assert "ecret" not in str(found)


def test_errors_are_limited():
    document = {**played(2)[0][1].message.payload, "attachments": [{}] * 100}
    assert len(schemas.errors("kinds/request.mla", document)) == schemas.MAX_ERRORS


def test_pointers_escape():
    assert schemas.pointer(("a/b", 0, "m~n")) == "/a~1b/0/m~0n"


def test_a_part_of_a_schema_validates():
    checker = schemas.validator("kinds/closure.confirm#/$defs/body")
    assert checker.is_valid({"decision": "agrees"})
    assert not checker.is_valid({"decision": "objects"})


# -- conditions that are needed to process a message


@pytest.mark.parametrize(
    ("kind", "body", "valid"),
    [
        ("closure.confirm", {"decision": "agrees"}, True),
        ("closure.confirm", {"decision": "objects"}, False),
        ("closure.confirm", {"decision": "objects", "objections": "Not yet."}, True),
        ("closure.confirm", {"decision": "agrees", "objections": "Not yet."}, False),
        ("withdrawal", {"scope": "all", "handling": "keep"}, True),
        ("withdrawal", {"scope": "part", "handling": "keep"}, False),
        ("withdrawal", {"scope": "part", "measure_ids": ["m1"], "handling": "keep"}, True),
        ("withdrawal", {"scope": "all", "measure_ids": ["m1"], "handling": "keep"}, False),
        ("decision.accept", {"scope": "whole"}, True),
        ("decision.accept", {"scope": "measures"}, False),
        ("decision.refuse", {}, True),
        ("decision.refuse", {"measure_ids": ["m1"]}, False),
        ("decision.refuse", {"scope": "measures", "measure_ids": ["m1"]}, True),
        ("execution.result", {"measures": [{"measure_id": "m1", "outcome": "partly"}], "final": True}, True),
        ("execution.result", {"measures": [{"measure_id": "m1", "outcome": "partly"}]}, False),
        ("info.reply", {"answers": [{"item_id": "q", "text": "Yes."}], "partial": False}, True),
        ("info.reply", {"answers": [{"item_id": "q", "cannot_provide": True}], "partial": False}, True),
        ("info.reply", {"answers": [{"item_id": "q"}], "partial": False}, False),
        ("status.enquiry", {}, True),
        ("request.mla", {}, True),
        ("request.mla", {"measures": [{"type": "service_3b"}]}, False),
        ("request.mla", {"deadline": {"reason": "A hearing."}}, False),
    ],
)
def test_bodies(kind, body, valid):
    assert schemas.validator(f"kinds/{kind}#/$defs/body").is_valid(body) is valid


def test_a_translated_body_has_the_form_of_the_kind():
    document = dict(played(2)[4][1].message.payload)
    translation = {"language": "en", "certified": True, "body": {"decision": "agrees"}}
    assert not schemas.errors("kinds/closure.confirm", document | {"translations": [translation]})
    translation["body"] = {"decision": "agrees", "more": 1}
    (error,) = schemas.errors("kinds/closure.confirm", document | {"translations": [translation]})
    assert error.pointer == "/translations/0/body"


# -- code lists


def test_codes_are_closed_lists():
    codes = schemas.codes()
    for name in ("events", "outcomes", "reasons_422", "reasons_409", "retry_after"):
        assert max(Counter(codes[name]).values()) == 1
    assert set(codes["retry_after"]) <= set(codes["unsigned"])
    assert {code for code, status in codes["unsigned"].items() if status in {425, 429, 503}} == set(
        codes["retry_after"]
    )
    assert set(codes["events"]) >= ANSWERING | LATER
    assert not set(codes["reasons_422"]) & set(codes["reasons_409"])


def test_the_protocol_names_no_other_code():
    page = (Path(schemas.__file__).parent.parent / "docs" / "protocol.md").read_text()
    answers = page[page.index("**Answers to an envelope.**") : page.index("**Batch.**")]
    named = set(re.findall(r"`([a-z_]+)`", answers)) - {"reason", "code", "expires"}
    codes = schemas.codes()
    assert named <= {*codes["unsigned"], *codes["reasons_422"], *codes["reasons_409"]}
    assert {*codes["reasons_422"], *codes["reasons_409"]} <= named


# -- the wire formats


@cache
def posted():
    return message(make_authority("qo.justice"), make_authority("qp.justice"), kind="request.mla", body={})


def test_an_envelope_satisfies_its_schema():
    outer = parse_json(posted().raw)
    assert schemas.errors("envelope", outer) == ()
    header = parse_json(from_b64url(outer["header"]))
    assert schemas.validator("envelope#/$defs/header").is_valid(header)
    content = {"message": posted().signed.jws, "blob_keys": {"0" * 64: "A" * 43}}
    assert schemas.validator("envelope#/$defs/content").is_valid(content)
    assert not schemas.validator("envelope#/$defs/content").is_valid(content | {"blob_keys": {"x": "A" * 43}})


def test_a_card_satisfies_its_schema():
    signed = parse_json(make_authority("qo.justice").card.raw)
    assert schemas.validator("card#/$defs/signed").is_valid(signed)
    card = parse_json(from_b64url(signed["payload"]))
    assert schemas.errors("card", card) == ()
    for name in card:
        assert schemas.errors("card", {key: value for key, value in card.items() if key != name})


ABOUT = {
    "peer": AuthorityId("qp.justice"),
    "message_id": message_id(1),
    "envelope_sha256": "0" * 64,
    "message_sha256": "1" * 64,
}


@pytest.mark.parametrize(
    "draft",
    [
        Draft(event="node.started", outcome="ok", extra=(("version", "1.0"),)),
        Draft(event="relay.accepted", outcome="ok", **ABOUT),
        Draft(event="relay.refused", outcome="refused", reason="schema", **ABOUT),
        Draft(
            event="relay.refused", outcome="refused", reason="unopenable", **ABOUT | {"message_sha256": None}
        ),
        Draft(event="relay.conflict", outcome="refused", reason="conflict", **ABOUT),
        Draft(event="relay.unknown", outcome="ok", **ABOUT | {"message_sha256": None}),
        Draft(event="content.handed_over", outcome="ok", **ABOUT),
        Draft(event="log.read", outcome="ok", actor_ref="account-1"),
    ],
    ids=lambda draft: f"{draft.event}-{draft.reason}",
)
def test_an_entry_satisfies_its_schema(draft):
    leaf = encode_entry(
        draft, authority=AuthorityId("qo.justice"), entry_id=message_id(2), time_ms=1_795_000_000_000
    )
    entry = parse_json(leaf)
    assert schemas.errors("entry", entry) == ()
    assert schemas.errors("entry", entry | {"event": "no.such"})
    assert schemas.errors("entry", entry | {"more": {}})
    if draft.peer is not None:
        assert schemas.errors("entry", entry | {"actor_ref": "account-1"})
        assert schemas.errors("entry", {key: value for key, value in entry.items() if key != "peer"})


# -- samples


@pytest.mark.parametrize("number", schemas.samples())
def test_drafts_of_samples_are_valid_in_form_as_they_stand(number):
    for step in schemas.sample(number)["steps"]:
        draft = step["draft"]
        assert schemas.validator(f"kinds/{draft['kind']}#/$defs/body").is_valid(draft["body"])
        assert draft["attachments"] == []
        for one in step["attachments"]:
            assert schemas.sample_file(one["file"])


def test_every_kind_has_an_example():
    used = {step["draft"]["kind"] for number in schemas.samples() for step in schemas.sample(number)["steps"]}
    assert used | conduct.BODIES.keys() | bodies.BODIES.keys() == schemas.KINDS


def test_a_sample_is_fresh_each_time():
    schemas.sample(2)["steps"].clear()
    assert schemas.sample(2)["steps"]


def test_a_draft_is_reviewed_under_the_digest_of_its_json():
    submitted, reviewed = (step["draft"]["body"] for step in schemas.sample(6)["steps"][:2])
    assert submitted["draft_sha256"] == bodies.digest_of(submitted["draft"]) == reviewed["draft_sha256"]


def test_filling_leaves_the_sample_alone():
    steps = schemas.sample(2)["steps"]
    before = json.dumps(steps)
    assert json.dumps([step for step, _ in played(2)]) == before


def test_a_day_ahead_can_have_a_time():
    step = {"draft": {"body": {}}, "fill": {"/body/confirm_by": {"days": 2, "time": "09:30"}}}
    found = schemas.fill(step, to="qr.justice", today=TODAY, sent=[])
    assert found["body"]["confirm_by"] == "2026-11-26T09:30:00.000Z"


@pytest.mark.parametrize("number", schemas.samples())
def test_attachments_of_samples_are_what_they_say(number):
    for step in schemas.sample(number)["steps"]:
        for one in step["attachments"]:
            content = schemas.sample_file(one["file"])
            assert mimetypes.guess_type(one["name"])[0] == one["media_type"]
            assert content.startswith(MAGIC.get(one["media_type"], b""))
            assert len(content) <= 40 * 1024
            if one["media_type"].startswith("text/"):
                assert content.decode()


def test_every_file_beside_the_samples_is_used():
    names = {path.name for path in (Path(schemas.__file__).parent / "samples").iterdir()}
    steps = [step for number in schemas.samples() for step in schemas.sample(number)["steps"]]
    used = {one["file"] for step in steps for one in step["attachments"]}
    read = {f"case-{number}.json" for number in schemas.samples()} | {"twins.json", "README.md"}
    profiles = {name for name in names if name.startswith("profile-")}
    assert names == used | read | profiles


PDFS = sorted({
    one["file"]
    for number in schemas.samples()
    for step in schemas.sample(number)["steps"]
    for one in step["attachments"]
    if one["media_type"] == "application/pdf"
})  # fmt: skip


@pytest.mark.parametrize("name", PDFS)
def test_an_attached_pdf_is_sound(name):
    pdf = schemas.sample_file(name)
    assert pdf.startswith(b"%PDF-1.4\n")
    assert pdf.endswith(b"%%EOF\n")
    start = int(pdf.split(b"startxref\n")[1].split(b"\n")[0])
    assert pdf[start : start + 4] == b"xref"
    entries = re.findall(rb"(\d{10}) 00000 n \n", pdf[start:])
    for number, offset in enumerate(entries, start=1):
        assert pdf[int(offset) :].startswith(b"%d 0 obj\n" % number)
    streams = list(re.finditer(rb"(?s)/Length (\d+).*?stream\n", pdf))
    assert len(streams) == pdf.count(b"endstream") > 0
    for stream in streams:
        assert pdf[stream.end() + int(stream[1]) :].lstrip(b"\n").startswith(b"endstream")


def test_other_attached_files_are_what_they_are_said_to_be():
    for number in schemas.samples():
        for step in schemas.sample(number)["steps"]:
            for one in step["attachments"]:
                content = schemas.sample_file(one["file"])
                assert (one["media_type"] == "image/png") == content.startswith(b"\x89PNG\r\n\x1a\n")
                if one["media_type"] == "text/csv":
                    head, *rows = csv.reader(io.StringIO(content.decode("utf-8")))
                    assert rows
                    assert {len(row) for row in rows} == {len(head)}


@pytest.mark.parametrize(
    ("today", "filled"),
    [("2026-09-30", "2026-10-01"), ("2026-10-01", "2027-10-01"), ("2027-01-01", "2027-10-01")],
)
def test_a_day_of_the_year_is_filled_with_the_next_one(today, filled):
    step = schemas.sample(9)["steps"][0]
    draft = schemas.fill(step, to="qp.justice", today=date.fromisoformat(today), sent=[])
    assert draft["body"]["restrictions"]["until"] == filled


def test_a_schema_of_entries_knows_every_event():
    assert schemas.load("entry")["properties"]["event"]["enum"] == schemas.codes()["events"]
