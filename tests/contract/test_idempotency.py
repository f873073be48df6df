"""One Idempotency-Key makes one message, over real connections and on both databases."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from gateway.ports import Change, MessageFilter
from gateway.rows import IdempotencyRow
from tests.contract.conftest import Place
from tests.support.hooks import Hook, Said, draft, open_hook

KEY = {"Idempotency-Key": "2026-0117"}
CLIENTS = 32


@contextlib.asynccontextmanager
async def opened(place: Place, name: str = "one", **parts: object) -> AsyncIterator[Hook]:
    folder = place.folder / name
    folder.mkdir(exist_ok=True)
    async with open_hook(folder, url=place.url, **parts) as hook:  # type: ignore[arg-type]
        yield hook


async def insisted(hook: Hook, token: str) -> Said:
    """Post until there is an answer, as a client does that is told to come again."""
    while True:
        said = await hook("POST", "/messages", draft(), token=token, headers=KEY)
        if said.status != 409:
            return said
        assert (said.code, said.headers["Retry-After"]) == ("idempotency_in_flight", "1")


async def only_message(hook: Hook, answers: list[Said]) -> None:
    """Check that there is one message, and that everybody was told of it."""
    (message,) = await hook.store.messages(MessageFilter())
    assert {answer.status for answer in answers} == {201}
    assert {answer.json["id"] for answer in answers} == {message.id}
    assert len({answer.body for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1


async def test_clients_that_come_at_once_make_one_message(place: Place):
    async with opened(place) as hook:
        await only_message(hook, await asyncio.gather(*(insisted(hook, hook.token) for _ in range(CLIENTS))))
        (kept,) = await hook.store.answers_before(hook.clock.now_ms() + 1, limit=9)
        assert KEY["Idempotency-Key"] not in kept.key, "it may be a reference of a case"


async def test_clients_of_two_processes_make_one_message(postgres: Place):
    async with opened(postgres) as one, opened(postgres, "other") as other:
        answers = await asyncio.gather(
            *(insisted(hook, one.token) for hook in (one, other) for _ in range(CLIENTS // 2))
        )
        await only_message(other, answers)


async def test_another_process_gives_the_stored_answer(place: Place):
    async with opened(place) as hook:
        token, first = hook.token, await hook("POST", "/messages", draft(), headers=KEY)
    async with opened(place) as hook:
        again = await hook("POST", "/messages", draft(), token=token, headers=KEY)
        assert (again.status, again.body) == (201, first.body)
        assert again.headers["Idempotent-Replayed"] == "true"
        other = await hook("POST", "/messages", draft(own_ref="2"), token=token, headers=KEY)
        assert (other.status, other.code) == (422, "idempotency_key")
        assert len(await hook.store.messages(MessageFilter())) == 1


async def test_old_answers_are_found_oldest_first(store):
    rows = [
        IdempotencyRow(key=str(ms), version=0, request_sha256="0" * 64, status=201, body=b"{}", stored_ms=ms)
        for ms in (30, 10, 20)
    ]
    for row in rows:
        await store.record(Change(name="test", puts=(row,)))
    found = await store.answers_before(30, limit=9)
    assert [row.stored_ms for row in found] == [10, 20]
    assert [row.stored_ms for row in await store.answers_before(99, limit=1)] == [10]
