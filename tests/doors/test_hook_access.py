"""Who may ask what: each route behind its scope, and nothing told to those who may not."""

import json
import uuid

import pytest
from structlog.testing import capture_logs

from gateway.web.context import Check
from gateway.web.hook import ROUTES
from gateway.web.tokens import Scope
from tests.support.hooks import MARK, draft, open_hook

ID = "8c6a4f0e-6f6e-4a52-9d52-3a8f0c5f1b11"
ROUTED = [pytest.param(route, id=f"{route.method} {route.path}") for route in ROUTES]


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


def path_of(route) -> str:
    parts = {"{id}": ID, "{n}": "0", "{name}": "a.haddad", "{delivery}": "0"}
    path = route.path
    for part, given in parts.items():
        path = path.replace(part, given)
    return path


@pytest.mark.parametrize("route", ROUTED)
async def test_each_route_wants_a_token_with_its_scope(hook, route):
    others = await hook.bearer(*(scope for scope in Scope if scope is not route.scope))
    hook.clock.time_ms += 1000
    before = hook.counts()
    for token in ("", "art18_nobody", "\N{SNOWMAN}".encode().decode("latin-1"), hook.token + "x"):
        answer = await hook(route.method, path_of(route), token=token)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert route.method == "HEAD" or answer.code == "unauthorized"
    answer = await hook(route.method, path_of(route), token=others)
    assert answer.status == 403
    assert route.method == "HEAD" or (answer.code, answer.json["scope"]) == ("wrong_scope", route.scope)
    assert hook.counts() == before


async def test_a_token_is_good_until_it_expires(hook):
    token = await hook.bearer(Scope.READ, expires_ms=hook.clock.time_ms + 60_000)
    hook.clock.time_ms += 59_999
    assert (await hook("GET", "/messages", token=token)).status == 200
    hook.clock.time_ms += 1
    assert (await hook("GET", "/messages", token=token)).status == 401


async def test_a_token_is_made_shown_once_and_revoked(hook):
    document = {"name": "registry", "scopes": ["messages:read", "messages:read"]}
    made = await hook("POST", "/tokens", document)
    assert made.status == 201
    token, id_ = made.json["token"], made.json["id"]
    assert token.startswith("art18_")
    assert made.json["scopes"] == ["messages:read"]
    assert (await hook.last())["event"] == "token.created"
    assert (await hook("GET", "/messages", token=token)).status == 200
    assert (await hook("POST", "/tokens", document, token=token)).status == 403

    listed = await hook("GET", "/tokens")
    assert id_ in {one["id"] for one in listed.json["items"]}
    assert token.removeprefix("art18_") not in listed.body.decode()
    assert token.removeprefix("art18_").encode() not in (hook.folder / "gateway.db-wal").read_bytes()

    before = hook.counts()["entries"]
    for _ in range(2):
        assert (await hook("DELETE", f"/tokens/{id_}")).status == 204
    assert hook.counts()["entries"] == before + 1
    assert (await hook.last())["event"] == "token.revoked"
    assert (await hook("GET", "/messages", token=token)).status == 401
    assert (await hook("DELETE", f"/tokens/{ID}")).code == "not_found"


@pytest.mark.parametrize(
    "document",
    [
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["everything"]},
        {"name": "x", "scopes": "admin"},
        {"name": " ", "scopes": ["admin"]},
        {"name": "x\n", "scopes": ["admin"]},
        {"name": "x", "scopes": ["admin"], "expires": "2020-01-01T00:00:00.000Z"},
        {"name": "x", "scopes": ["admin"], "id": ID},
        {"scopes": ["admin"]},
    ],
)
async def test_a_wrong_token_is_not_made(hook, document):
    before = hook.counts()
    assert (await hook("POST", "/tokens", document)).code == "malformed"
    assert hook.counts() == before


async def test_a_token_that_another_process_made_or_revoked_is_known_soon(hook):
    token = await hook.bearer(Scope.READ)
    await hook("GET", "/messages")
    hook.clock.time_ms += 1000
    assert (await hook("GET", "/messages", token=token)).status == 200


async def test_what_is_not_here(hook):
    assert (await hook.ask("GET", "/v1/secrets")).code == "not_found"
    assert (await hook.ask("GET", "/")).code == "not_found"
    answer = await hook("PUT", "/messages")
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET,POST"
    for path in (
        f"/messages/{ID}",
        f"/messages/{ID}/content",
        f"/messages/{ID}/attachments/0",
        f"/cases/{ID}",
    ):
        answer = await hook("GET", path)
        assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize(
    "path",
    [
        "/messages?colour=red",
        "/messages?state=lost",
        "/messages?direction=up",
        "/messages?peer=nobody",
        "/messages?case=7",
        "/messages?limit=0",
        "/messages?limit=501",
        "/messages?limit=ten",
        "/messages?cursor=-1",
        "/messages?limit=1&limit=2",
        "/messages/7",
        f"/messages/{ID.upper()}",
        f"/messages/{ID}?peers=qp.justice",
        "/cases?cursor=7",
        "/audit/entries?after=yesterday",
        "/audit/entries/-1",
        "/audit/verify?fast=true",
        "/peers/nobody",
    ],
)
async def test_a_question_in_no_form_is_refused(hook, path):
    answer = await hook("GET", path)
    assert answer.status == 400
    assert answer.code in {"malformed", "unknown_parameter"}


async def test_answers_carry_what_browsers_heed(hook):
    for answer in (await hook("GET", "/messages"), await hook("GET", "/messages", token="")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.headers["Server"] == "art18"
        assert uuid.UUID(answer.headers["X-Request-ID"])


async def test_an_error_nobody_foresaw_shows_an_incident_and_logs_no_text(hook, monkeypatch):
    async def broken(*_args, **_kwargs):
        raise RuntimeError(MARK)

    monkeypatch.setattr(hook.store, "messages", broken)
    with capture_logs() as logs:
        answer = await hook("GET", "/messages")
    assert (answer.status, answer.code) == (500, "internal")
    assert MARK not in answer.body.decode()
    (incident,) = [line for line in logs if line["event"] == "incident"]
    assert incident["incident"] == answer.json["incident"] == answer.headers["X-Request-ID"]
    assert incident["error"] == "RuntimeError"
    assert any("broken" in frame for frame in incident["frames"])
    assert MARK not in json.dumps(logs)


async def test_logs_and_figures_tell_nothing_of_what_is_sent(hook):
    with capture_logs() as logs:
        said = await hook.sent()
        await hook("GET", f"/messages/{said['id']}/content")
        await hook("POST", "/messages", draft(kind=MARK))
        await hook.ask("GET", f"/v1/{MARK}")
        await hook.ask(MARK, "/v1/messages")
    figures = (await hook.ask("GET", "/metrics")).body.decode()
    assert 'art18_requests_total{door="hook",method="POST",route="/v1/messages",status="201"} 1.0' in figures
    assert "art18_outbox_queued 1.0" in figures
    for told in (json.dumps(logs), figures):
        for secret in (MARK, said["id"], said["case"], "qp.justice"):
            assert secret not in told


async def test_health_needs_no_token_and_says_what_is_wrong(hook):
    assert (await hook.ask("GET", "/livez", token="")).status == 200
    assert (await hook.ask("GET", "/readyz", token="")).status == 200
    verbose = await hook.ask("GET", "/readyz?verbose", token="")
    assert verbose.json == {"ready": True, "checks": {}}


async def test_readiness_follows_the_checks(tmp_path):
    async with open_hook(tmp_path, checks=(Check("log"), Check("disk", "full"))) as hook:
        assert (await hook.ask("GET", "/readyz", token="")).status == 503
        verbose = await hook.ask("GET", "/readyz?verbose", token="")
        assert (verbose.status, verbose.json["ready"]) == (503, False)
        assert verbose.json["checks"] == {
            "log": {"ok": True, "problem": None, "vital": True},
            "disk": {"ok": False, "problem": "full", "vital": True},
        }


async def test_what_is_not_vital_is_told_and_keeps_nobody_away(tmp_path):
    async with open_hook(tmp_path, checks=(Check("peers", "1 of 1", vital=False),)) as hook:
        assert (await hook.ask("GET", "/readyz", token="")).status == 200
        verbose = await hook.ask("GET", "/readyz?verbose", token="")
        assert verbose.json["checks"]["peers"] == {"ok": False, "problem": "1 of 1", "vital": False}
