"""What the audit log costs as it grows: appending, proving, starting, verifying.

The entries are those of messages that come in, go out and are read, appended through the real store in
its own batches, durably. Figures of time are of this machine alone; how they grow is not.
"""

import asyncio
import random
import resource
import statistics
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from gateway.core.entry import Draft
from gateway.core.ids import AuthorityId, MessageId
from gateway.core.merkle import leaf_hash, levels, verify_consistency, verify_inclusion
from gateway.core.soundness import PIECE, Leaves
from gateway.ports import Change
from gateway.store import SqlStore
from tests.support.stores import AUTHORITY, opened_store

APPENDED_PER_S = 10_000
PROVED_MS = 10.0
VERIFIED_PER_S = 200_000

_AT_ONCE = 4
_OF_CHANGE = 250
_PROOFS = 300
_PEERS = [AuthorityId(f"q{letter}.justice") for letter in "nopqrstuvwxyz"]
_DIGEST = "ab" * 32


class _Entropy:
    """Ids as they are in a log; the dice are fixed."""

    def __init__(self) -> None:
        self._dice = random.Random(18)

    def uuid4(self) -> str:
        return str(uuid.UUID(int=self._dice.getrandbits(128), version=4))

    def jitter(self) -> float:
        return 0.5


class _Clock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


def measured(count: int) -> dict[str, Any]:
    """Return the figures of a log of *count* entries."""
    return asyncio.run(_measured(count))


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the figures say."""
    yield f"A log of {found['entries']:,} entries ({found['bytes_per_entry']} bytes each on disk):"
    append = found["append"]
    yield (
        f"  appended: {append['per_s']:,} per second (the last tenth: {append['last_tenth_per_s']:,})"
        f"{_judged(append['per_s'] >= APPENDED_PER_S)}"
    )
    for what in ("inclusion", "consistency"):
        of = found[what]
        yield (
            f"  {what} proof: {of['p50_ms']} ms, p99 {of['p99_ms']} ms, longest {of['hashes']} hashes"
            f"{_judged(of['p99_ms'] < PROVED_MS)}"
        )
    yield f"  start-up: {found['start_ms']} ms"
    verify, rss = found["verify"], found["rss_mib"]
    good = _judged(verify["leaves_per_s"] >= VERIFIED_PER_S)
    yield f"  leaves verified (form, order, tree): {verify['leaves_per_s']:,} per second{good}"
    yield f"  of which nothing but the hashes of the tree: {verify['hashes_per_s']:,} per second"
    yield f"  every row examined (columns, stored tree, checkpoints too): {verify['rows_per_s']:,} per second"
    yield f"  while it was examined, the loop stood still for {verify['loop_ms']} ms at most"
    yield f"  memory: {rss['appended']} MiB after appending, {rss['verified']} MiB at the end"


def _judged(good: bool) -> str:
    return "" if good else "  MISSED"


async def _measured(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="log-") as name:
        folder = Path(name)
        store = await opened_store(folder, entropy=_Entropy(), clock=_Clock())
        try:
            append = await _append(store, count)
            rss = {"appended": _rss_mib()}
            await store.close()
            begun = time.perf_counter()
            store = await opened_store(folder, entropy=_Entropy(), clock=_Clock())
            start_ms = 1000 * (time.perf_counter() - begun)
            size = (await store.checkpoint()).size
            proofs = {
                "inclusion": await _inclusions(store, size),
                "consistency": await _consistencies(store, size),
            }
            verify = await _verified(store, size)
            rss["verified"] = _rss_mib()
        finally:
            await store.close()
        disk = await asyncio.to_thread(_bytes_in, folder)
    return {
        "entries": size,
        "append": append,
        **proofs,
        "start_ms": round(start_ms, 1),
        "verify": verify,
        "rss_mib": rss,
        "bytes_per_entry": round(disk / size),
    }


async def _append(store: SqlStore, count: int) -> dict[str, int]:
    drafts, marks = _drafts(), [(0, time.perf_counter())]
    while marks[-1][0] < count:
        batch = [Change(name="fill", entries=tuple(islice(drafts, _OF_CHANGE))) for _ in range(_AT_ONCE)]
        await asyncio.gather(*map(store.record, batch))
        marks.append((marks[-1][0] + _AT_ONCE * _OF_CHANGE, time.perf_counter()))
    done, ended = marks[-1]
    tenth, began = marks[9 * len(marks) // 10]
    return {
        "per_s": round(done / (ended - marks[0][1])),
        "last_tenth_per_s": round((done - tenth) / (ended - began)),
    }


def _drafts() -> Iterator[Draft]:
    """Yield the entries of messages, one after another: each message has four."""
    ids, peers = _Entropy(), random.Random(19)
    while True:
        about = {"peer": peers.choice(_PEERS), "message_id": MessageId(ids.uuid4())}
        sent = {**about, "envelope_sha256": _DIGEST, "message_sha256": _DIGEST}
        yield Draft(event="submission.accepted", outcome="ok", **sent)
        yield Draft(event="receipt.recorded", outcome="ok", **sent)
        yield Draft(event="content.read", outcome="ok", actor_ref=ids.uuid4(), **sent)
        yield Draft(event="log.read", outcome="ok", actor_ref=ids.uuid4(), extra=(("entry_index", 7),))


async def _inclusions(store: SqlStore, size: int) -> dict[str, float]:
    """Measure proofs of entries all over the log; each is verified."""
    checkpoint, dice = await store.checkpoint(), random.Random(20)

    async def prove() -> int:
        index = dice.randrange(size)
        begun = time.perf_counter()
        proof = await store.inclusion(index, size)
        took.append(time.perf_counter() - begun)
        entry = await store.entry(index)
        assert entry is not None
        verify_inclusion(leaf_hash(entry.leaf), index, size, proof, checkpoint.root)
        return len(proof)

    took: list[float] = []
    return await _quantiles(prove, took)


async def _consistencies(store: SqlStore, size: int) -> dict[str, float]:
    checkpoint, dice = await store.checkpoint(), random.Random(21)

    async def prove() -> int:
        old = dice.randrange(1, size)
        begun = time.perf_counter()
        proof = await store.consistency(old, size)
        took.append(time.perf_counter() - begun)
        verify_consistency(old, size, await store.root(old), checkpoint.root, proof)
        return len(proof)

    took: list[float] = []
    return await _quantiles(prove, took)


async def _quantiles(prove: Callable[[], Awaitable[int]], took: list[float]) -> dict[str, float]:
    hashes = max([await prove() for _ in range(_PROOFS)])
    cuts = statistics.quantiles(took, n=100)
    return {"p50_ms": round(1000 * cuts[49], 2), "p99_ms": round(1000 * cuts[98], 2), "hashes": hashes}


async def _verified(store: SqlStore, size: int) -> dict[str, float]:
    """Verify from the leaves, as the command line does, and row by row, as the node does."""
    check, leaves_s, hashes_s = Leaves(AUTHORITY), 0.0, 0.0
    for begin in range(0, size, PIECE):
        leaves = [one.leaf async for one in store.leaves(begin, min(begin + PIECE, size))]
        begun = time.perf_counter()
        check.take(leaves)
        leaves_s += time.perf_counter() - begun
        begun = time.perf_counter()
        levels([leaf_hash(leaf) for leaf in leaves])
        hashes_s += time.perf_counter() - begun
    assert check.frontier.root() == (await store.checkpoint()).root
    watch = asyncio.create_task(_longest_pause_s())
    begun = time.perf_counter()
    examined = await store.examine()
    rows_s = time.perf_counter() - begun
    assert examined.fault is None
    watch.cancel()
    (pause_s,) = await asyncio.gather(watch, return_exceptions=False)
    return {
        "leaves_per_s": round(size / leaves_s),
        "rows_per_s": round(size / rows_s),
        "hashes_per_s": round(size / hashes_s),
        "loop_ms": round(1000 * pause_s, 1),
    }


async def _longest_pause_s() -> float:
    """Return, once cancelled, for how long the loop was late at most."""
    longest = 0.0
    try:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - begun - 0.001)
    except asyncio.CancelledError:
        return longest


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _rss_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
