"""Whatever is sent to whatever route: logs, figures and problems repeat nothing of it."""

import base64
import json

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from gateway.web.hook import ROUTES
from tests.support.authorities import CONTENT, make_blob
from tests.support.hooks import MARK, PEER, TUS, draft, faulty, open_hook

NAME = base64.b64encode(f"{MARK}.pdf".encode()).decode()
HEADERS = {
    "X-Request-ID": MARK,
    "Idempotency-Key": MARK,
    "Accept-Language": MARK,
    "Range": f"bytes={MARK}",
    "If-Range": MARK,
    "Upload-Metadata": f"filename {NAME}",
    "User-Agent": MARK,
    **TUS,
}
BODIES = [
    f'{{"{MARK}": "{MARK}", "kind": "{MARK}", "name": "{MARK}", "scopes": ["{MARK}"]}}'.encode(),
    f'["{MARK}"'.encode(),
    json.dumps({"card": MARK, "id": MARK, "fingerprint": MARK}).encode(),
    json.dumps({"profile": {"names": MARK}}).encode(),
]


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


def silent(*told: object) -> None:
    for one in told:
        text = one if isinstance(one, str) else json.dumps(one)
        for secret in (MARK, MARK.lower(), NAME, CONTENT):
            assert secret not in text


async def figures(hook) -> str:
    return (await hook.ask("GET", "/metrics", token="")).body.decode()


async def test_what_is_wrong_is_repeated_nowhere(hook):
    paths = [
        route.path.replace("{id}", one).replace("{n}", number)
        for route in ROUTES
        for one, number in ((MARK, MARK), ("8c6a4f0e-6f6e-4a52-9d52-3a8f0c5f1b11", "0"), (PEER, "0"))
    ]
    with capture_logs(processors=[merge_contextvars]) as logs:
        for method in sorted({route.method for route in ROUTES} | {"PUT"}):
            for path in dict.fromkeys(paths):
                for query, type_, body in (
                    (f"?{MARK}={MARK}&peer={MARK}", MARK, BODIES[1]),
                    ("", "application/json", BODIES[len(path) % len(BODIES)]),
                ):
                    sent = {**HEADERS, "Content-Type": type_}
                    answer = await hook(method, path + query, body, headers=sent)
                    if answer.status >= 400:
                        silent(answer.body.decode(), dict(answer.headers))
                    assert answer.status < 500, (method, path)
        silent((await hook.ask("GET", f"/v1/{MARK}", token=MARK)).body.decode())
    assert len(logs) > len(paths)
    silent(logs, await figures(hook))


async def test_what_is_right_is_repeated_nowhere(hook):
    blob = make_blob(MARK.encode())
    came = await hook.received(blob)
    with capture_logs(processors=[merge_contextvars]) as logs:
        upload = await hook.upload(MARK.encode())
        attached = {
            "upload": upload,
            "name": f"{MARK}.txt",
            "media_type": "text/plain",
            "role": "other",
            "language": "fr",
        }
        key = {"Idempotency-Key": f"{MARK}-1"}
        said = await hook("POST", "/messages", draft(attachments=[attached], own_ref=MARK), headers=key)
        assert said.status == 201
        assert (await hook("POST", "/messages", faulty())).status == 422
        assert (await hook("POST", "/messages", faulty(override={"reason": MARK}))).status == 201
        assert (await hook("POST", "/messages?dry_run=true", draft())).status == 200
        for path in ("", "/content", "/jws", "/receipts", "/attachments/0"):
            assert (await hook("GET", f"/messages/{said.json['id']}{path}")).status == 200
        assert MARK in (await hook("GET", f"/messages/{came.id}/content")).body.decode()
        assert (await hook("GET", f"/messages/{came.id}/attachments/0")).body == MARK.encode()
        assert (await hook("POST", f"/messages/{came.id}/acknowledge")).status == 204
        assert (await hook("POST", "/tokens", {"name": MARK, "scopes": ["admin"]})).status == 201
        for path in ("/messages", "/cases", f"/cases/{said.json['case']}", "/audit/entries", "/audit/verify"):
            assert (await hook("GET", path)).status == 200
    silent(logs)
    told = await figures(hook)
    silent(told)
    for party in (PEER, hook.party.id, said.json["id"], said.json["case"], came.id):
        assert party not in told
        assert all(party not in json.dumps(line) for line in logs if line["event"] == "request")


async def test_a_line_of_the_log_has_the_id_of_its_request(hook, monkeypatch):
    async def broken(*_args, **_kwargs):
        raise RuntimeError(MARK)

    monkeypatch.setattr(hook.store, "messages", broken)
    id_ = "8c6a4f0e-6f6e-4a52-9d52-3a8f0c5f1b11"
    with capture_logs(processors=[merge_contextvars]) as logs:
        answer = await hook("GET", "/messages", headers={"X-Request-ID": id_})
        other = await hook("GET", "/cases")
    assert answer.headers["X-Request-ID"] == answer.json["incident"] == id_
    assert [line["request_id"] for line in logs] == [id_, id_, other.headers["X-Request-ID"]]
    assert other.headers["X-Request-ID"] != id_


async def test_an_id_in_another_form_is_not_taken(hook):
    for given in (MARK, "8C6A4F0E-6f6e-4a52-9d52-3a8f0c5f1b11", "8c6a4f0e6f6e4a529d523a8f0c5f1b11", ""):
        answer = await hook("GET", "/cases", headers={"X-Request-ID": given})
        assert answer.headers["X-Request-ID"] != given
