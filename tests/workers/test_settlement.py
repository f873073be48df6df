import asyncio

import pytest

from gateway.core.delivery import Cancel, Deferred, Release, Retry, Silent
from gateway.core.errors import Misuse, WrongSubject
from gateway.core.proof import Receipt, Statement
from gateway.ports import EntryFilter
from gateway.rows import Direction, MessageRow, NoticeRow
from tests.support.stations import LOST
from tests.workers.conftest import PEER, SENDER, Bench


async def proved(bench: Bench, row: MessageRow, receipt: Receipt) -> Statement:
    envelopes = await bench.store.envelopes(row.id)
    return bench.sender.settlement.verify(receipt, row, envelopes, bench.sender.directory.peers[PEER].logs)


async def taken_over(bench: Bench) -> tuple[MessageRow, Receipt, Receipt]:
    """Return a message that is still queued here, and that the peer has accepted and handed over."""
    row = await bench.sender.submit(PEER)
    bench.peer.script["post"] = [LOST]
    await bench.work_off()
    await bench.there.hand_over(SENDER, row.id)
    accepted = await bench.there.store.entries(EntryFilter(message_id=row.id, event="relay.accepted"))
    (notice,) = await bench.there.store.all(NoticeRow)
    store = bench.there.store
    return row, await store.receipt(accepted[0].index), await store.receipt(notice.entry)


async def kept(bench: Bench, row: MessageRow) -> list[str]:
    return sorted(receipt.event for receipt in await bench.store.receipts(PEER, row.id))


async def test_receipts_that_race_are_both_kept_and_the_later_statement_stands(bench: Bench):
    row, accepted, handed_over = await taken_over(bench)
    settlement = bench.sender.settlement
    statements = [await proved(bench, row, receipt) for receipt in (accepted, handed_over)]
    await asyncio.gather(
        settlement.prove(row, statements[0], accepted), settlement.prove(row, statements[1], handed_over)
    )
    assert (await bench.sender.message(PEER, row.id)).state == "handed_over"
    assert await kept(bench, row) == ["content.handed_over", "relay.accepted"]


async def test_a_receipt_is_kept_once_however_often_it_comes(bench: Bench):
    row, accepted, _ = await taken_over(bench)
    settlement, statement = bench.sender.settlement, await proved(bench, row, accepted)
    rows = await asyncio.gather(*(settlement.prove(row, statement, accepted) for _ in range(3)))
    assert {found.state for found in rows} == {"accepted"}
    assert await kept(bench, row) == ["relay.accepted"]
    logged = await bench.store.entries(EntryFilter(message_id=row.id, event="receipt.recorded"))
    assert len(logged) == 1


async def test_an_unsigned_answer_that_a_receipt_overtook_moves_nothing(bench: Bench):
    row, accepted, _ = await taken_over(bench)
    settlement = bench.sender.settlement
    await settlement.prove(row, await proved(bench, row, accepted), accepted)
    found = await settlement.settle(row, Deferred("storage_full"))
    assert (found.state, found.attempt, found.problem) == ("accepted", 0, None)


async def test_a_receipt_for_another_message_proves_nothing(bench: Bench):
    row, _, _ = await taken_over(bench)
    other, accepted = await accepted_there(bench)
    assert other.id != row.id
    with pytest.raises(WrongSubject):
        await proved(bench, row, accepted)


async def accepted_there(bench: Bench) -> tuple[MessageRow, Receipt]:
    row = await bench.sender.submit(PEER)
    raw = (await bench.store.envelopes(row.id))[0].body or b""
    (reply,) = await bench.there.receive(SENDER, [raw])
    assert reply.receipt is not None
    return row, reply.receipt


async def test_an_operators_step_names_the_account_in_the_log(bench: Bench):
    row = await bench.sender.submit(PEER)
    found = await bench.sender.settlement.settle(row, Retry(), actor_ref="account-1")
    assert found.version == row.version + 1
    (entry,) = await bench.store.entries(EntryFilter(message_id=row.id, event="delivery.retried"))
    assert b'"actor_ref":"account-1"' in entry.leaf


@pytest.mark.parametrize("event", [Cancel(), Release(0), Silent()])
async def test_what_its_state_does_not_allow_writes_nothing(bench: Bench, event: Cancel | Release | Silent):
    row = await bench.sender.submit(PEER)
    with pytest.raises(Misuse):
        await bench.sender.settlement.settle(row, event)
    assert await bench.store.get(MessageRow, Direction.OUT, PEER, row.id) == row
