"""Findings at the hook: by the peer's profile, across cases, and in the language of the caller."""

import contextlib
import json
import sqlite3

import pytest

import schemas
from gateway.core import delivery
from gateway.core.strict import time_text
from gateway.rows import CaseRow
from gateway.web.languages import preferred
from schemas.catalogues import worded
from tests.support.authorities import DAY_MS, NOW_MS, make_authority
from tests.support.hooks import PEER, US, accepted, draft, faulty, open_hook, settlement_of
from tests.support.profiles import make_profile, record_profile

HOUR_MS = 3600 * 1000
NO_PURPOSE = "The purpose of the request is not given."


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


async def publish(hook, authority=PEER, **members):
    await record_profile(hook.store, make_profile(make_authority(authority), requirements=[], **members))
    await hook.context.directory.refresh()


def languages(*accepted, of=PEER):
    found = schemas.sample_profile(of[:2])["languages"]
    return found | {"mla": {"accepted": list(accepted), "certified": False}}


# -- the peer's profile


async def test_the_profile_of_the_peer_stops_what_it_does_not_take(hook):
    assert (await hook("POST", "/messages?dry_run=true", draft())).status == 200
    await publish(hook, languages=languages("ru"))
    answer = await hook("POST", "/messages", draft())
    assert (answer.status, answer.code) == (422, "findings")
    assert [one["pointer"] for one in answer.json["errors"]] == ["/language"]
    assert answer.json["errors"][0]["detail"].startswith("18(14): ")
    assert answer.json["findings"][0]["text"].endswith(": ru.")
    forced = await hook("POST", "/messages", draft(override={"reason": "A translation follows."}))
    assert forced.status == 201


async def test_what_comes_in_is_judged_by_the_own_profile_and_never_refused(hook):
    await publish(hook, US, languages=languages("ru", of=US))
    came = await hook.received()
    shown = (await hook("GET", f"/messages/{came.id}")).json
    assert [(one["article"], one["path"]) for one in shown["findings"]] == [("18(14)", "/language")]


# -- persons across cases


async def test_a_person_in_another_case_is_pointed_out_on_both_sides(hook):
    first = await hook.sent()
    second = await hook.sent()
    (found,) = second["findings"]
    assert (found["severity"], found["path"]) == ("warning", "/body/persons/0")
    assert first["case"] in found["text"]
    came = await hook.received()
    shown = (await hook("GET", f"/messages/{came.id}")).json
    assert [one["path"] for one in shown["findings"]] == ["/body/persons/0"]
    third = await hook.sent()
    assert len(third["findings"]) == 1, "one case is enough"


async def test_a_closed_case_is_not_pending(hook):
    first = await hook.sent()
    row = await hook.store.get(CaseRow, PEER, first["case"])
    await hook.change(row, state="closed")
    assert (await hook.sent())["findings"] == []


def subjects(hook):
    with contextlib.closing(sqlite3.connect(hook.folder / "gateway.db")) as database:
        return database.execute("SELECT * FROM subjects").fetchall()


async def test_the_index_has_pseudonyms_alone(hook):
    person = draft()["body"]["persons"][0]
    await hook.sent()
    ((pseudonym, peer, *rest),) = subjects(hook)
    assert (peer, len(pseudonym)) == (PEER, 64)
    for secret in (person["name"]["latin"], person["born"]):
        assert secret not in repr((pseudonym, rest))


async def test_a_second_request_of_one_case_notes_its_persons_once(hook, monkeypatch):
    first = await hook.sent()
    allow_again(monkeypatch)
    again = await hook("POST", "/messages", draft(case=first["case"]))
    assert (again.status, again.json["findings"]) == (201, [])
    assert len(subjects(hook)) == 1


def allow_again(monkeypatch):
    """Let a case hold two requests, as one of provisional arrest and extradition does."""
    monkeypatch.setattr("gateway.web.submission.check_allowed", lambda *_: None)


# -- languages


@pytest.mark.parametrize("language", ["ar", "en", "es", "fr", "ru", "zh"])
async def test_findings_come_in_the_language_of_the_caller(hook, language):
    expected, headers = worded(NO_PURPOSE, {}, language), {"Accept-Language": f"{language}-XX, en;q=0.5"}
    refused = await hook("POST", "/messages", faulty(), headers=headers)
    assert refused.json["findings"][0]["text"] == expected
    assert refused.json["errors"][0]["detail"] == f"18(15)(f): {expected}"
    over = faulty(override={"reason": "practice"})
    dry = await hook("POST", "/messages?dry_run=true", over, headers=headers)
    sent = await hook("POST", "/messages", over, headers=headers)
    shown = await hook("GET", f"/messages/{sent.json['id']}", headers=headers)
    for answer in (dry, sent, shown):
        assert answer.json["findings"][0]["text"] == expected
    assert (expected == NO_PURPOSE) is (language == "en")


async def test_what_is_stored_is_in_no_language(hook):
    over = faulty(override={"reason": "practice"})
    french = {"Idempotency-Key": "k", "Accept-Language": "fr"}
    first = await hook("POST", "/messages", over, headers=french)
    again = await hook("POST", "/messages", over, headers={"Idempotency-Key": "k", "Accept-Language": "es"})
    assert first.json["id"] == again.json["id"]
    assert again.json["findings"][0]["text"] == worded(NO_PURPOSE, {}, "es")
    row = await hook.row(first.json["id"])
    assert json.loads(row.findings)[0]["text"] == NO_PURPOSE


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("fr", "fr"),
        ("FR-ch", "fr"),
        ("zh-Hant-TW", "zh"),
        ("de, fr;q=0.8, es;q=0.9", "es"),
        ("es;q=0.5,fr;q=0.5", "es"),
        ("fr;q=0, *", "en"),
        ("*", "en"),
        ("de", "en"),
        ("ru;q=0.001", "ru"),
        ("ru;q=1.5", "en"),
        ("ru;q=x", "en"),
        ("ru;;", "en"),
        ("ru, ", "en"),
        ("../../ru", "en"),
        (",".join(["de"] * 40 + ["fr"]), "en"),
    ],
)
def test_the_language_that_is_preferred(header, language):
    assert preferred(header) == language


# -- a message that was held


async def held_report(hook):
    """Submit a report that is held, and expects something on the next day; return it and its forerunner."""
    came = await hook.received()
    case = came.signed.message.case
    body = {
        "received_at": time_text(NOW_MS),
        "registered_ref": "QO-1",
        "request_sha256": came.signed.sha256,
        "attachments_readable": True,
        "language_ok": True,
        "next_update_by": "2026-12-23",
        "first_completeness_view": {"view": "complete"},
        "case_officer": {"name": "Example Officer Two"},
    }
    taken = draft(kind="acknowledgment", case=case, body=body, expires=time_text(NOW_MS + HOUR_MS))
    first = (await hook("POST", "/messages", taken)).json
    hook.clock.time_ms += HOUR_MS
    await settlement_of(hook).settle(await hook.row(first["id"]), delivery.Silent())
    expected = {"measure_id": "m1", "stage": "being_executed", "expected_by": "2026-11-20"}
    report = {"stage": "being_executed", "per_measure": [expected], "next_update_by": "2026-12-23"}
    hook.clock.time_ms = NOW_MS + HOUR_MS
    answer = await hook("POST", "/messages", draft(kind="status.report", case=case, body=report))
    assert (answer.status, answer.json["state"], answer.json["findings"]) == (201, "held", [])
    await accepted(hook, await hook.row(first["id"]))
    return answer.json["id"]


async def test_a_held_message_with_a_new_error_is_not_released(hook):
    id_ = await held_report(hook)
    hook.clock.time_ms = NOW_MS + 30 * DAY_MS
    before = hook.counts()
    french = {"Accept-Language": "fr"}
    answer = await hook("POST", f"/messages/{id_}/release", headers=french)
    assert (answer.status, answer.code) == (422, "findings")
    assert [one["pointer"] for one in answer.json["errors"]] == ["/body/delay_reason"]
    assert answer.json["findings"][0]["text"] == worded("The delay is not explained.", {}, "fr")
    assert hook.counts() == before
    hook.clock.time_ms = NOW_MS + HOUR_MS
    assert (await hook("POST", f"/messages/{id_}/release")).status == 202


async def test_an_error_that_was_overridden_is_not_asked_about_again(hook):
    first = await hook.sent(expires=time_text(NOW_MS + HOUR_MS))
    hook.clock.time_ms += HOUR_MS
    await settlement_of(hook).settle(await hook.row(first["id"]), delivery.Silent())
    await publish(hook, languages=languages("ru"))
    change = {"path": "/body/use_limits", "op": "remove"}
    superseded = (await hook.row(first["id"])).message_sha256
    body = {"changes": [change], "reason": "Not needed any more.", "supersedes_sha256": superseded}
    over = {"case": first["case"], "body": body, "override": {"reason": "A translation follows."}}
    held = await hook("POST", "/messages", draft(kind="supplement", **over))
    assert (held.status, held.json["state"]) == (201, "held")
    assert [one["article"] for one in held.json["findings"]] == ["18(14)"]
    await accepted(hook, await hook.row(first["id"]))
    assert (await hook("POST", f"/messages/{held.json['id']}/release")).status == 202
