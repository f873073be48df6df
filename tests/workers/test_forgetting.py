from dataclasses import replace

from gateway.core.errors import Stale
from gateway.ports import Change
from gateway.rows import IdempotencyRow
from gateway.workers.forgetting import KEPT_MS, Forgetting
from tests.support.authorities import NOW_MS, FixedClock
from tests.support.stores import make_store

OLD = IdempotencyRow(
    key="old",
    version=0,
    request_sha256="0" * 64,
    status=201,
    body=b"{}",
    stored_ms=NOW_MS - KEPT_MS - 1,
)
YOUNG = replace(OLD, key="young", stored_ms=NOW_MS - KEPT_MS)


async def test_an_answer_is_forgotten_after_two_days_and_not_before(tmp_path):
    clock = FixedClock()
    async with make_store(tmp_path, clock=clock) as store:
        for row in (OLD, YOUNG):
            await store.record(Change(name="test", puts=(row,)))
        await Forgetting(store, clock).sweep()
        assert await store.get(IdempotencyRow, "old") is None
        assert await store.get(IdempotencyRow, "young") is not None
        clock.time_ms += 1
        await Forgetting(store, clock).sweep()
        assert await store.get(IdempotencyRow, "young") is None


async def test_who_sweeps_beside_another_process_leaves_it_the_rest(tmp_path, monkeypatch):
    async with make_store(tmp_path) as store:
        await store.record(Change(name="test", puts=(OLD,)))

        async def swept_by_another(_change):
            raise Stale

        monkeypatch.setattr(store, "record", swept_by_another)
        await Forgetting(store, FixedClock()).sweep()
