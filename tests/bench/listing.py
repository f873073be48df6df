"""What a page of 50 costs at the hook, with few and with many messages stored.

Each store is filled through its own committer, so that rows, log and indexes are those of a node. A
request goes over a real connection to the real application; who asks runs in the same process, so that
its work is in the figure too.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.core.ids import AuthorityId
from gateway.core.strict import time_text
from gateway.ports import Change
from gateway.rows import CaseRow, Direction, MessageRow
from tests.support.hooks import Hook, open_hook
from tests.support.rows import case, draft, message, new_case

SIZES = (1_000, 100_000)
TARGET_MS = 10.0
GREW_MS = 1.0
"""So much longer with a hundred times the messages: more than noise."""

_ROUNDS = 40
_AT_ONCE = 50
_OF_CASE = 10
_PEERS = [AuthorityId(f"q{letter}.justice") for letter in "qrstuvwxyz"]
_RARE_CASES = 12
"""However many are stored: of another kind, with another peer, what goes out held. They fill a page."""
_RARE_PEER = AuthorityId("qp.justice")


def measured(sizes: tuple[int, ...] = SIZES) -> dict[str, Any]:
    """Return the median milliseconds of each list, by the number of messages stored."""
    return {"target_ms": TARGET_MS, "ms": asyncio.run(_measured(sizes))}


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the figures say."""
    yield f"A page of 50 at the hook (target: under {found['target_ms']} ms, and no more with more stored):"
    for name, by_size in found["ms"].items():
        few, *_, many = by_size.values()
        told = ", ".join(f"{took:.1f} ms of {int(size):,}" for size, took in by_size.items())
        slow = many >= found["target_ms"] or many > few + GREW_MS
        yield f"  {name}: {told}{'  TOO SLOW' if slow else ''}"


async def _measured(sizes: tuple[int, ...]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            async with open_hook(Path(folder)) as hook:
                first, middle = await _fill(hook, size)
                for name, path in _lists(first, middle).items():
                    found.setdefault(name, {})[str(size)] = round(await _median_ms(hook, path), 2)
    return found


async def _fill(hook: Hook, size: int) -> tuple[MessageRow, MessageRow]:
    """Store *size* messages in cases of ten; return the first, and one in the middle.

    No more is kept: what lies in memory here would take its share of every request.
    """
    begin = (await hook.store.backlog()).log_size
    every = size // _OF_CASE // _RARE_CASES
    kept: list[MessageRow] = []
    for number in range(0, size // _OF_CASE, _AT_ONCE):
        hook.clock.time_ms += 1000
        rows: list[MessageRow] = []
        opened = [_case(number + offset, every) for offset in range(_AT_ONCE)]
        for one in opened:
            rows += [_message(one, begin + len(rows) + at, hook.clock.time_ms) for at in range(_OF_CASE)]
        events = tuple(draft(_event(row), peer=row.peer, message_id=row.id) for row in rows)
        await hook.store.record(Change(name="fill", entries=events, puts=(*rows, *opened)))
        begin += len(rows)
        kept.append(rows[0])
    return kept[0], kept[len(kept) // 2]


def _case(number: int, every: int) -> CaseRow:
    peer = _RARE_PEER if number % every == 0 else _PEERS[number % len(_PEERS)]
    return case(peer=peer, id=new_case(), history=bytes(2000))


def _message(of: CaseRow, entry: int, now_ms: int) -> MessageRow:
    rare, out = of.peer == _RARE_PEER, entry % 2 == 0
    done = "accepted" if out else "handed_over"
    return message(
        direction=Direction.OUT if out else Direction.IN,
        peer=of.peer,
        case=of.id,
        kind="request.extradition" if rare else "request.mla",
        state="held" if rare and out else done,
        created_ms=now_ms,
        recorded_ms=now_ms,
        entry=entry,
    )


def _event(row: MessageRow) -> str:
    return "delivery.held" if row.state == "held" else "submission.accepted"


def _lists(first: MessageRow, middle: MessageRow) -> dict[str, str]:
    """Return the lists to ask for: those that find much, and those that find little among much."""
    rare, noon, early = f"peer={_RARE_PEER}", time_text(middle.created_ms), time_text(first.created_ms)
    return {
        "messages": "/messages",
        "messages, from the middle": f"/messages?cursor={middle.entry}",
        "messages, the oldest": f"/messages?cursor={first.entry + 50}",
        "messages in": "/messages?direction=in",
        "messages in, available: none": "/messages?direction=in&state=available",
        "messages in a common state": "/messages?state=accepted",
        "messages in a rare state": "/messages?state=held",
        "messages in a rare state, a common peer: none": f"/messages?state=held&peer={_PEERS[0]}",
        "messages of a common peer": f"/messages?peer={_PEERS[0]}",
        "messages of a rare peer": f"/messages?{rare}",
        "messages of a rare peer, in a common state": f"/messages?{rare}&state=accepted",
        "messages of a rare kind": "/messages?kind=request.extradition",
        "messages of no kind known": "/messages?kind=request.unknown",
        "messages of a case": f"/messages?case={middle.case}",
        "messages of a case and peer": f"/messages?case={middle.case}&peer={middle.peer}",
        "cases": "/cases",
        "cases, from the middle": f"/cases?cursor={middle.case}",
        "cases of a rare peer": f"/cases?{rare}",
        "audit entries": "/audit/entries",
        "audit entries, from the middle": f"/audit/entries?cursor={middle.entry}",
        "audit entries of a rare event": "/audit/entries?event=delivery.held",
        "audit entries of a rare event until early": f"/audit/entries?event=token.created&before={early}",
        "audit entries of a rare peer since the middle": f"/audit/entries?{rare}&after={noon}",
        "audit entries of a message": f"/audit/entries?message={middle.id}&peer={middle.peer}",
    }


async def _median_ms(hook: Hook, path: str) -> float:
    took = []
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        answer = await hook("GET", path)
        took.append(1000 * (time.perf_counter() - begun))
        assert answer.status == 200, answer.body
    return statistics.median(took)
