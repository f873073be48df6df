"""The negative twins of the sample cases: each played up to what is wrong with it, and found out."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

import schemas
from gateway.core import case as cases
from gateway.core.clocks import CLOCKS
from gateway.core.custody import open_detail
from gateway.core.entry import parse_entry
from gateway.core.errors import Misuse
from gateway.core.strict import parse_time, time_text
from gateway.peering.replies import Reply
from gateway.peering.settlement import open_case
from gateway.rows import AlarmRow, DetailRow, Direction, MessageRow
from gateway.workers.timekeeper import Timekeeper
from keys.rest import Box
from tests.support.authorities import PERIODS_MS, message
from tests.support.table import Table, lay

TWINS = {twin["number"]: twin for twin in schemas.twins()}
SENT = [number for number, twin in TWINS.items() if twin["found"]["where"] == "sending"]
REASON = "The peer was told by telephone, and agrees."


def the_twin(**members: Any) -> dict[str, Any]:
    """Return the one twin that has these members."""
    (found,) = (twin for twin in TWINS.values() if members.items() <= twin.items())
    return found


def changed(draft: dict[str, Any], twin: dict[str, Any]) -> dict[str, Any]:
    """Return *draft* with the edits of *twin*."""
    found = copy.deepcopy(draft)
    for pointer in (*twin.get("set", ()), *twin.get("remove", ())):
        holder: Any = found
        *path, last = pointer.split("/")[1:]
        for part in path:
            holder = holder[int(part) if isinstance(holder, list) else part]
        if pointer in twin.get("remove", ()):
            holder.pop(int(last) if isinstance(holder, list) else last)
        elif isinstance(holder, list):
            holder.insert(int(last), twin["set"][pointer])
        else:
            holder[last] = twin["set"][pointer]
    return found


async def laid(folder: Path, twin: dict[str, Any], *, original: bool = False) -> tuple[Table, dict[str, Any]]:
    """Play the case of *twin* up to its step; return the table, and that step."""
    sample = schemas.sample(twin["case"])
    parties = sample["parties"] | ({} if original else twin.get("parties", {}))
    table = await lay(folder, parties)
    for step in sample["steps"][: twin["step"]]:
        await table.play(step)
    return table, sample["steps"][twin["step"]]


def grave(findings: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return article, path and severity of what is more than a warning."""
    return [
        (one["article"], one["path"], one["severity"]) for one in findings if one["severity"] != "warning"
    ]


def told(reply: Reply) -> tuple[int, str, str | None]:
    assert reply.receipt is not None
    entry = parse_entry(reply.receipt.entry)
    return reply.status, entry.event, entry.reason


@pytest.mark.parametrize("number", SENT)
async def test_the_twin_is_stopped_and_goes_with_a_reason(number, tmp_path):
    twin = TWINS[number]
    table, step = await laid(tmp_path, twin)
    here, there = table.sides[step["by"]], table.sides[table.other(step["by"])]
    draft = changed(await table.fill(step), twin)
    expected = [tuple(twin["found"][name] for name in ("article", "path", "severity"))]
    before = len(here.store.disk.log)

    with pytest.raises(Misuse) as caught:
        await table.submit(step["by"], draft)

    assert (caught.value.status, caught.value.code) == (422, "findings")
    assert [flaw.pointer for flaw in caught.value.flaws] == [twin["found"]["path"]]
    assert grave(caught.value.members["findings"]) == expected
    assert len(here.store.disk.log) == before

    row = await table.submit(step["by"], draft | {"override": {"reason": REASON}})

    assert here.store.disk.drafts[-1].extra == (("errors_overridden", 1),)
    (detail,) = here.store.of(DetailRow)
    committed = parse_entry(here.store.disk.log[row.entry].leaf).commitment
    box = Box(detail.wrapped_key, detail.ciphertext)
    assert detail.entry == row.entry
    assert open_detail(here.party.keyring.storage, committed, box) == REASON.encode()
    assert told(await table.carry(step["by"], row)) == (201, "relay.accepted", None)
    arrived = await there.message(here.id, row.id, Direction.IN)
    assert grave(json.loads(arrived.findings)) == expected
    assert arrived.findings == row.findings
    assert arrived.state == "available"


@pytest.mark.parametrize("number", TWINS)
async def test_the_original_of_the_twin_has_no_error(number, tmp_path):
    table, step = await laid(tmp_path, TWINS[number], original=True)
    row = await table.play(step)
    here, there = table.sides[step["by"]], table.sides[table.other(step["by"])]
    arrived = await there.message(here.id, row.id, Direction.IN)
    assert grave(json.loads(row.findings)) == grave(json.loads(arrived.findings)) == []


# -- the clock


async def overdue(table: Table, clock: str) -> list[tuple[int, int]]:
    """Let both sides look at their clocks; return how often each was told of *clock*: alarms, entries."""
    found = []
    for station in table.sides.values():
        keeper = Timekeeper(
            store=station.store,
            storage=lambda keyring=station.party.keyring: keyring.storage,
            periods=PERIODS_MS,
            clock=table.clock,
        )
        for _ in range(2):
            await keeper.round()
        alarms = await station.store.all(AlarmRow)
        entries = [draft for draft in station.store.disk.drafts if ("clock", clock) in draft.extra]
        found.append((sum(row.code == f"clock_{clock}" for row in alarms), len(entries)))
    return found


async def test_what_is_never_confirmed_is_told_once_on_both_sides(tmp_path):
    twin = the_twin(omitted=True)
    table, step = await laid(tmp_path, twin)
    notice = schemas.sample(twin["case"])["steps"][0]
    due_ms = parse_time((await table.fill(notice))["body"]["confirm_by"])
    clock = twin["found"]["clock"]
    (defined,) = (one for one in CLOCKS.case if one.name == clock)
    assert defined.article == twin["found"]["article"]
    table.clock.time_ms = due_ms - 1
    assert await overdue(table, clock) == [(0, 0), (0, 0)]
    table.clock.time_ms = due_ms
    assert await overdue(table, clock) == [(1, 1), (1, 1)]
    assert step["draft"]["kind"] == "request.written_confirmation"


async def test_what_is_confirmed_in_time_is_not_told_of(tmp_path):
    twin = the_twin(omitted=True)
    table, step = await laid(tmp_path, twin)
    await table.play(step)
    table.clock.time_ms += PERIODS_MS["written_confirmation_hours"]
    assert await overdue(table, twin["found"]["clock"]) == [(0, 0), (0, 0)]


# -- the case machine


@pytest.mark.parametrize("withdrawal_first", [True, False])
async def test_a_withdrawal_and_the_result_that_it_crosses_are_both_kept(withdrawal_first, tmp_path):
    twin = next(twin for twin in TWINS.values() if "crossing" in twin)
    table, step = await laid(tmp_path, twin)
    rows: dict[str, MessageRow] = {}
    pair = (step, twin["crossing"])
    for one in pair if withdrawal_first else pair[::-1]:
        rows[one["by"]] = await table.submit(one["by"], await table.fill(one))
    for side, row in rows.items():
        assert grave(json.loads(row.findings)) == []
        assert told(await table.carry(side, row)) == (201, "relay.accepted", None)

    assert await table.states() == (twin["found"]["state"],) * 2
    for side, station in table.sides.items():
        replay = cases.replay(open_case(station.party.keyring.storage, await table.case(side)))
        assert replay.crossed == {rows[twin["crossing"]["by"]].message_sha256}
        kept = await station.store.all(MessageRow)
        assert {row.id for row in rows.values()} <= {row.id for row in kept}


async def test_a_replayed_acknowledgment_is_answered_alike_and_a_second_one_is_not_allowed(tmp_path):
    twin = the_twin(repeated=True)
    table, step = await laid(tmp_path, twin)
    by = step["by"]
    here, there = table.sides[by], table.sides[table.other(by)]
    draft = await table.fill(step)
    row = await table.submit(by, draft)
    raw = await table.raw(by, row)
    first = await table.carry(by, row)
    before = (dict(there.store.rows), len(there.store.disk.log))

    (again,) = await there.receive(here.id, [raw])

    assert again.receipt is not None
    assert first.receipt is not None
    assert (again.status, again.receipt.entry) == (200, first.receipt.entry)
    assert (dict(there.store.rows), len(there.store.disk.log)) == before

    with pytest.raises(Misuse) as caught:
        await table.submit(by, draft)
    assert caught.value.code == twin["found"]["reason"]

    other = message(
        here.party,
        there.party,
        **{name: draft[name] for name in ("kind", "case", "in_reply_to", "language", "own_ref", "body")},
        created=time_text(table.clock.now_ms()),
        previous=row.message_sha256,
        case_head=table.sent[0]["message_sha256"],
    )
    (refused,) = await there.receive(here.id, [other.raw])
    assert told(refused) == (422, "relay.refused", twin["found"]["reason"])
    assert await there.store.get(MessageRow, Direction.IN, here.id, other.id) is None


# -- the receipt


async def test_an_attachment_that_is_not_the_one_signed_is_refused(tmp_path):
    twin = next(twin for twin in TWINS.values() if "tampered" in twin)
    table, step = await laid(tmp_path, twin)
    by = step["by"]
    row = await table.submit(by, await table.fill(step, tampered=twin["tampered"]))
    there = table.sides[table.other(by)]

    assert told(await table.carry(by, row)) == (422, "relay.refused", twin["found"]["reason"])

    here = table.sides[by]
    assert (await here.message(there.id, row.id)).state == "refused"
    assert await there.store.get(MessageRow, Direction.IN, here.id, row.id) is None
