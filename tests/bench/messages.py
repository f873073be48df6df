"""Requests of 4 KB: two nodes and a client as processes, beside a bare pair in the same minutes.

Figures are ratios to the bare pair (tests/bench/pair.py), since absolute ones are the machine's.
The hook answers once the message is durable; the rate counts until the last receipt is stored.
Stored receipts are counted by reading the sender's database, which costs the node nothing.
"""

import asyncio
import json
import sqlite3
import statistics
import sys
import time
from collections.abc import Iterator

import aiohttp

import schemas
from tests.bench import judging, pair
from tests.bench.nodes import Authority, authorities
from tests.bench.processes import Process, free_port, now_ms, percentile

SIZE_BYTES = 4096
AT_ONCE = 32
_LOOK_S = 0.0002
"""Between two looks at the receipts, while one message is on its way."""


def draft(recipient: str) -> bytes:
    """A request of exactly SIZE_BYTES that a case system could send."""
    request = next(step["draft"] for step in schemas.sample(2)["steps"])
    request = {**request, "to": recipient, "attachments": []}
    measure = request["body"]["measures"][0]
    measure["description"] = ""
    measure["description"] = "x" * (SIZE_BYTES - len(json.dumps(request).encode()))
    raw = json.dumps(request).encode()
    assert len(raw) == SIZE_BYTES
    return raw


async def load(url: str, headers: dict[str, str], body: bytes, *, count: int, at_once: int) -> list[float]:
    """POST *count* times with *at_once* workers; return the milliseconds of each answer."""
    took: list[float] = []
    left = iter(range(count))
    connector = aiohttp.TCPConnector(limit=at_once)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def worker() -> None:
            for _ in left:
                begun = now_ms()
                async with session.post(url, data=body) as answer:
                    text = await answer.text()
                    if answer.status != 201:
                        raise SystemExit(f"{url} answered {answer.status}: {text}")
                took.append(now_ms() - begun)

        await asyncio.gather(*[worker() for _ in range(at_once)])
    return took


RECEIPTS = "SELECT coalesce(max(rowid), 0) FROM receipts"  # rows are never deleted: this counts them at once


async def until_receipts(database: sqlite3.Connection, count: int, timeout_s: float = 120) -> None:
    """Return once the sender has stored *count* receipts."""
    deadline = now_ms() + 1000 * timeout_s
    while database.execute(RECEIPTS).fetchone()[0] < count:
        if now_ms() > deadline:
            raise SystemExit("the receipts did not come in time")
        await asyncio.sleep(0.002)


class Measured:
    """The runs of one side, and what they cost."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.single_ms: list[float] = []
        self.answers_ms: list[float] = []
        self.cpu_ms: dict[str, list[float]] = {}

    def cost(self, processes: list[Process], before: list[float], count: int) -> None:
        for process, begun in zip(processes, before, strict=True):
            self.cpu_ms.setdefault(process.name, []).append(1000 * (process.cpu_s() - begun) / count)

    def summary(self) -> dict[str, object]:
        return {
            "messages_per_s": round(statistics.median(self.rates), 1),
            "p50_ms_one_at_a_time": round(percentile(self.single_ms, 0.5), 2),
            "p99_ms_one_at_a_time": round(percentile(self.single_ms, 0.99), 2),
            "p50_ms_answer_at_32": round(percentile(self.answers_ms, 0.5), 2),
            "p99_ms_answer_at_32": round(percentile(self.answers_ms, 0.99), 2),
            "cpu_ms_per_message": {
                name: round(statistics.median(all_), 3) for name, all_ in self.cpu_ms.items()
            },
        }


async def round_of_pair(
    measured: Measured, processes: list[Process], url: str, body: bytes, count: int
) -> None:
    before = [process.cpu_s() for process in processes]
    begun = now_ms()
    measured.answers_ms += await load(url, {}, body, count=count, at_once=AT_ONCE)
    measured.rates.append(1000 * count / (now_ms() - begun))
    measured.cost(processes, before, count)
    measured.single_ms += await load(url, {}, body, count=max(20, count // 10), at_once=1)


async def round_of_nodes(
    measured: Measured, processes: list[Process], sender: Authority, body: bytes, count: int
) -> None:
    headers = {**sender.headers, "Content-Type": "application/json"}
    url = f"{sender.hook}/messages"
    database = sender.database()
    stored = database.execute(RECEIPTS).fetchone()[0]
    before = [process.cpu_s() for process in processes]
    begun = now_ms()
    measured.answers_ms += await load(url, headers, body, count=count, at_once=AT_ONCE)
    stored += count
    await until_receipts(database, stored)
    measured.rates.append(1000 * count / (now_ms() - begun))
    measured.cost(processes, before, count)
    async with aiohttp.ClientSession(headers=headers) as session:
        for _ in range(max(20, count // 10)):
            begun = now_ms()
            async with session.post(url, data=body) as answer:
                assert answer.status == 201, await answer.text()
                await answer.read()
            stored += 1
            while database.execute(RECEIPTS).fetchone()[0] < stored:
                time.sleep(_LOOK_S)  # noqa: ASYNC251 - nothing else runs here, and the loop's timers are coarser
            measured.single_ms.append(now_ms() - begun)
    database.close()


def measured(rounds: int, count: int) -> dict[str, object]:
    """Return the figures of *rounds* of *count* messages; pair and nodes take turns."""
    with authorities() as (folder, sender, recipient):
        pair.certificate(folder)
        ports = free_port(), free_port()
        argv, name = [sys.executable, "-m", "tests.bench.pair"], str(folder)
        with (
            Process("pair-b", [*argv, "B", name, str(ports[1]), "0"], folder=folder) as pair_b,
            Process("pair-a", [*argv, "A", name, str(ports[0]), str(ports[1])], folder=folder) as pair_a,
            recipient.start() as node_b,
            sender.start() as node_a,
        ):
            results = asyncio.run(
                run(
                    rounds,
                    count,
                    sender,
                    draft(recipient.id),
                    pair_url=f"http://127.0.0.1:{ports[0]}/submit",
                    pair_processes=[pair_a, pair_b],
                    node_processes=[node_a, node_b],
                )
            )
            results["peak_mib"] = {p.name: round(p.peak_mib(), 1) for p in (node_a, node_b, pair_a, pair_b)}
    results["judged_ms"] = round(judging.judged_ms(), 3)
    return results


async def run(rounds, count, sender, body, *, pair_url, pair_processes, node_processes) -> dict[str, object]:
    bare, nodes = Measured(), Measured()
    await round_of_pair(Measured(), pair_processes, pair_url, body, 100)
    await round_of_nodes(Measured(), node_processes, sender, body, 100)
    ratios = []
    for number in range(rounds):
        await round_of_pair(bare, pair_processes, pair_url, body, count)
        await round_of_nodes(nodes, node_processes, sender, body, count)
        ratios.append(nodes.rates[-1] / bare.rates[-1])
        print(
            f"round {number + 1}: pair {bare.rates[-1]:.0f}/s, nodes {nodes.rates[-1]:.0f}/s", file=sys.stderr
        )
    ours, theirs = nodes.summary(), bare.summary()
    return {
        "nodes": ours,
        "bare_pair": theirs,
        "rate_ratio": round(statistics.median(ratios), 2),
        "rate_ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
        "latency_ratio_one_at_a_time": round(
            percentile(nodes.single_ms, 0.5) / percentile(bare.single_ms, 0.5), 2
        ),
    }


def lines(results: dict[str, object]) -> Iterator[str]:
    """Yield what the figures say."""
    peaks, judged_ms = results["peak_mib"], results["judged_ms"]
    assert isinstance(peaks, dict)
    assert isinstance(judged_ms, float)
    yield f"4 KB requests, {AT_ONCE} at once, until the last receipt is stored:"
    yield f"  {results['rate_ratio']} of the bare pair's rate (target: at least 0.6)"
    yield (
        f"  one at a time, p50 {results['latency_ratio_one_at_a_time']} times the pair's (target: at most 2)"
    )
    yield judging.line(judged_ms)
    for name, peak in peaks.items():
        yield f"  peak memory of {name} since it was ready: {peak} MiB"
