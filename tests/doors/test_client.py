"""The client of the federation door against a peer that answers what it should not (protocol §8)."""

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from gateway.core.ids import Digest, MessageId
from gateway.core.proof import Receipt
from gateway.peering import client as module
from gateway.peering.client import PeerClient
from gateway.peering.replies import PeerUnavailable, Reply
from gateway.peering.tls import server_context
from tests.support.authorities import Party, make_authority

MESSAGE, DIGEST = MessageId("5e0c8c1e-6a2c-4b0e-9b6e-4f0c1c1d2e3f"), Digest("0" * 64)
PROBLEM = "application/problem+json"


@dataclass
class Odd:
    """A peer that gives one answer to everything."""

    party: Party
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
    asked: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        assert self.answer is not None
        return await self.answer(request)

    def says(self, status: int, body: object = b"", kind: str = "application/json", **headers: str) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=status, body=raw, headers={"Content-Type": kind, **named})

        self.answer = answer


@pytest.fixture
async def odd() -> AsyncIterator[Odd]:
    listener = socket.create_server(("127.0.0.1", 0))
    party = make_authority("qn.justice").at(f"https://127.0.0.1:{listener.getsockname()[1]}")
    peer, us = Odd(party), make_authority("qm.moj")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", peer.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    context = server_context(party.keyring.tls[0], [one.der for one in us.card.tls])
    await web.SockSite(runner, listener, ssl_context=context).start()
    yield peer
    await runner.cleanup()


@pytest.fixture
async def client(odd: Odd) -> AsyncIterator[PeerClient]:
    async with PeerClient(odd.party.card, make_authority("qm.moj").keyring.tls[0]) as client:
        yield client


async def test_an_unsigned_problem_is_its_code(odd: Odd, client: PeerClient) -> None:
    odd.says(425, {"code": "created_ahead", "missing": []}, PROBLEM, Retry_After="7")
    reply = await client.post_envelope(b"{}")
    assert (reply.status, reply.code, reply.retry_after_s, reply.receipt) == (425, "created_ahead", 7, None)


async def test_a_connection_that_the_loop_has_closed_is_one_that_broke_off(
    odd: Odd, client: PeerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd.says(204)
    once = [RuntimeError("the handler is closed")]
    connect = client._session.connector.connect

    async def closed(*args: object, **named: object) -> object:
        if once:
            raise once.pop()
        return await connect(*args, **named)

    monkeypatch.setattr(client._session.connector, "connect", closed)
    assert await client.post_envelope(b"{}") == Reply(204)
    monkeypatch.setattr(client._session.connector, "connect", _always(RuntimeError("the handler is closed")))
    with pytest.raises(PeerUnavailable) as fault:
        await client.post_envelope(b"{}")
    assert fault.value.code == "unreachable"


def _always(error: Exception) -> Callable[..., Awaitable[object]]:
    async def fail(*_: object, **__: object) -> object:
        raise error

    return fail


@pytest.mark.parametrize("after", ["", "-1", "1.5", "Tue, 24 Nov 2026 12:00:00 GMT", "9" * 5000])
async def test_a_retry_after_that_is_no_count_of_seconds_is_none(
    odd: Odd, client: PeerClient, after: str
) -> None:
    odd.says(429, {"code": "rate_limited"}, PROBLEM, Retry_After=after)
    assert (await client.post_envelope(b"{}")).retry_after_s is None


@pytest.mark.parametrize("status", [200, 201, 409, 422])
@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"entry":1,"proof":""}', b"\xff"])
async def test_a_signed_status_without_a_receipt_is_no_answer(
    odd: Odd, client: PeerClient, status: int, body: bytes
) -> None:
    odd.says(status, body)
    assert await client.post_envelope(b"{}") == Reply(status, code="bad_answer")


@pytest.mark.parametrize("code", [7, None, "", "a b", "x" * 100, "é"])
async def test_a_code_that_is_no_code_is_a_bad_answer(odd: Odd, client: PeerClient, code: object) -> None:
    odd.says(503, {"code": code}, PROBLEM)
    found = (await client.post_envelope(b"{}")).code
    assert found is not None
    assert found == "bad_answer" or (len(found) <= 64 and found.isidentifier())


async def test_a_redirect_is_not_followed(odd: Odd, client: PeerClient) -> None:
    odd.says(307, b"", Location="/elsewhere")
    assert (await client.post_envelope(b"{}")).code == "bad_answer"
    assert odd.asked == ["/v1/envelopes"]


async def test_an_encoded_answer_is_not_decoded(odd: Odd, client: PeerClient) -> None:
    odd.says(503, gzip.compress(b'{"code":"unavailable"}'), PROBLEM, Content_Encoding="gzip")
    assert (await client.post_envelope(b"{}")).code == "bad_answer"


async def test_an_answer_is_read_up_to_a_bound(
    odd: Odd, client: PeerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CARD_BYTES", 1000)
    odd.says(200, b"x" * 1001)
    with pytest.raises(PeerUnavailable) as fault:
        await client.card()
    assert fault.value.code == "too_large_answer"


BATCHES: list[object] = [
    {},
    {"checkpoints": [], "answers": []},
    {"checkpoints": [], "answers": [{"status": 201, "entry": "", "proof": "", "checkpoint": 0}]},
    {"checkpoints": ["x"], "answers": [{"status": 201, "entry": "", "proof": "", "checkpoint": -1}]},
    {"checkpoints": ["x"], "answers": [{"status": "201", "entry": "", "proof": "", "checkpoint": 0}]},
    {"checkpoints": ["x"], "answers": [{"status": 201, "problem": []}]},
    {"checkpoints": [], "answers": [{"status": 503, "problem": {"code": "unavailable"}}] * 2},
]


@pytest.mark.parametrize("body", BATCHES)
async def test_a_batch_answer_out_of_form_is_none(odd: Odd, client: PeerClient, body: object) -> None:
    odd.says(200, body)
    with pytest.raises(PeerUnavailable) as fault:
        await client.post_batch([b"{}"])
    assert fault.value.code == "bad_answer"


async def test_a_batch_answer_is_put_together_and_a_refusal_is_everyones(
    odd: Odd, client: PeerClient
) -> None:
    answers = [
        {"status": 201, "entry": "e", "proof": "p\n\n", "checkpoint": 0},
        {"status": 429, "problem": {"code": "too_many_refusals", "retry_after": 9}},
    ]
    odd.says(200, {"checkpoints": ["c"], "answers": answers})
    first, second = await client.post_batch([b"{}", b"{}"])
    assert first.receipt == Receipt(b"e", "p\n\nc")
    assert (second.code, second.retry_after_s) == ("too_many_refusals", 9)
    odd.says(429, {"code": "rate_limited"}, PROBLEM, Retry_After="1")
    replies = await client.post_batch([b"{}", b"{}"])
    assert [(reply.code, reply.retry_after_s) for reply in replies] == [("rate_limited", 1)] * 2


async def test_other_answers_out_of_form(odd: Odd, client: PeerClient) -> None:
    odd.says(200, b"\xff\xfe")
    for asking in (client.checkpoint(), client.consistency(1, 2), client.ping()):
        with pytest.raises(PeerUnavailable) as fault:
            await asking
        assert fault.value.code == "bad_answer"
    odd.says(403, {"code": "suspended"}, PROBLEM)
    with pytest.raises(PeerUnavailable) as fault:
        await client.ping()
    assert fault.value.code == "suspended"
    assert await client.card() is None
    assert (await client.receipt(MESSAGE)).code == "suspended"
    assert (await client.close_message(MESSAGE, DIGEST)).code == "suspended"


async def test_a_connection_that_breaks_off_is_made_anew_once(odd: Odd, client: PeerClient) -> None:
    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        if len(odd.asked) > 1:
            odd.says(204)
        return web.Response()

    odd.says(204)
    assert (await client.post_envelope(b"{}")).status == 204
    odd.asked.clear()
    odd.answer = hang_up
    with pytest.raises(PeerUnavailable) as fault:
        await client.post_envelope(b"{}")
    assert fault.value.code == "unreachable"
    assert len(odd.asked) == 2
    assert (await client.post_envelope(b"{}")).status == 204


async def test_nobody_there(odd: Odd) -> None:
    gone = odd.party.at("https://127.0.0.1:9")
    async with PeerClient(gone.card, make_authority("qm.moj").keyring.tls[0]) as client:
        with pytest.raises(PeerUnavailable) as fault:
            await client.ping()
    assert fault.value.code == "unreachable"


async def test_a_peer_that_does_not_answer_in_time(
    odd: Odd, client: PeerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    odd.answer = hang
    monkeypatch.setattr(module, "_TIMEOUT", module.aiohttp.ClientTimeout(total=0.2))
    with pytest.raises(PeerUnavailable) as fault:
        await client.post_envelope(b"{}")
    assert fault.value.code == "timeout"
    over.set()


async def test_a_peer_that_takes_nothing_of_a_blob_is_given_up(odd: Odd, tmp_path: Path) -> None:
    path, over = tmp_path / "blob", asyncio.Event()
    path.write_bytes(bytes(64 << 20))  # more than lies in the buffers of a connection

    async def answer(request: web.Request) -> web.Response:
        if request.method == "HEAD":
            return web.Response(headers={"Upload-Offset": "0"})
        await over.wait()
        return web.Response(status=204)

    odd.answer = answer
    async with PeerClient(odd.party.card, make_authority("qm.moj").keyring.tls[0], stall_s=0.3) as client:
        with pytest.raises(PeerUnavailable) as fault:
            await client.put_blob(DIGEST, 64 << 20, path)
    assert fault.value.code == "timeout"
    over.set()


async def test_a_blob_that_is_there_is_not_sent_again(odd: Odd, client: PeerClient, tmp_path: Path) -> None:
    """It is asked for all the same whether the peer knows it to be whole: it may have ended before."""
    path, sent = tmp_path / "blob", []
    path.write_bytes(b"12345")

    async def answer(request: web.Request) -> web.Response:
        sent.append((request.method, await request.read()))
        return web.Response(status=200 if request.method == "HEAD" else 204, headers={"Upload-Offset": "5"})

    odd.answer = answer
    assert (await client.put_blob(DIGEST, 5, path)).status == 204
    assert sent == [("HEAD", b""), ("PATCH", b"")]
