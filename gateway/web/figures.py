"""Figures for the operator's monitoring, without ids of parties, cases or messages.

What happens is counted where it happens; what stands is asked for when the monitoring asks. Labels
are doors, routes, methods, statuses, and words of the closed lists in schemas/codes.json.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import generate_latest

import gateway
from gateway.core import delivery
from gateway.ports import Backlog, Change
from gateway.rows import Direction, MessageRow, ReceiptRow

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
_OUTCOMES = {
    "delivery.expired": "expired",
    "relay.undetermined": "undetermined",
    "delivery.held": "held",
    "delivery.cancelled": "cancelled",
}
"""What became of an outgoing message, by the entry that says so where no receipt does."""


class Figures:
    """The figures of one node, in a registry of their own; `ports.Meter` for its store."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(namespace="art18", registry=self._registry)
        Info("art18_build", "What runs here.", registry=self._registry).info({"version": gateway.__version__})
        self._requests = self._counter("requests", "Requests answered.", "door", "method", "route", "status")
        self._seconds = self._histogram(
            "request_seconds", "Time until the answer was ready.", "door", "route"
        )
        self._running = Gauge(
            "art18_requests_running", "Requests being answered.", ("door",), registry=self._registry
        )
        self._commits = self._counter("commits", "Transactions of the log, by how they ended.", "outcome")
        self._commit_seconds = self._histogram("commit_seconds", "Time that a transaction took.")
        self._entries = self._counter(
            "log_entries", "Entries of the log by this process.", "event", "outcome"
        )
        self._deliveries = self._counter(
            "deliveries",
            "What became of outgoing messages; deferred counts attempts that have to be repeated.",
            "outcome",
        )
        self._standing = {
            name: Gauge(f"art18_{name}", text, registry=self._registry)
            for name, text in (
                ("outbox_queued", "Messages and later receipts that wait for a peer."),
                ("outbox_oldest_seconds", "How long the oldest queued message has waited; 0 without one."),
                ("outbox_held", "Messages that wait for an operator."),
                ("outbox_undetermined", "Expired messages whose peer has not said what became of them."),
                ("alarms", "What an operator must be told, by GET /v1/alarms."),
                ("log_size", "Entries of the audit log."),
                ("log_writable", "1 while the audit log can be written."),
                ("peers_active", "Peers that are served."),
                ("peers_unreachable", "Active peers that could not be reached the last time."),
                ("card_expires_seconds", "Until the own card expires."),
                ("disk_free_bytes", "Free on the disk of attachments."),
            )
        }

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"art18_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"art18_{name}", text, labels, buckets=_SECONDS, registry=self._registry)

    def begun(self, door: str) -> None:
        """Note that a request has come."""
        self._running.labels(door).inc()

    def answered(self, door: str, method: str, route: str, status: int, took_s: float) -> None:
        """Note the answer to a request."""
        self._running.labels(door).dec()
        self._requests.labels(door, method, route, str(status)).inc()
        self._seconds.labels(door, route).observe(took_s)

    def committed(self, outcome: str, took_s: float) -> None:
        """Note a transaction of the store."""
        self._commits.labels(outcome).inc()
        self._commit_seconds.observe(took_s)

    def recorded(self, change: Change) -> None:
        """Note a change that is durable."""
        for entry in change.entries:
            self._entries.labels(entry.event, entry.outcome).inc()
        for outcome in outcomes(change):
            self._deliveries.labels(outcome).inc()

    def exposition(self, backlog: Backlog, now_ms: int, **standing: float) -> bytes:
        """Return the figures in the text format of Prometheus; *standing* has those that are asked for."""
        oldest_ms = now_ms if backlog.oldest_ms is None else backlog.oldest_ms
        found = {
            "outbox_queued": backlog.queued + backlog.notices,
            "outbox_oldest_seconds": max(0, now_ms - oldest_ms) / 1000,
            "outbox_held": backlog.held,
            "outbox_undetermined": backlog.undetermined,
            "alarms": backlog.alarms,
            "log_size": backlog.log_size,
            **standing,
        }
        for name, value in found.items():
            self._standing[name].set(value)
        return generate_latest(self._registry)


def outcomes(change: Change) -> Iterator[str]:
    """Yield what *change* says became of outgoing messages."""
    receipts = [row for row in change.puts if isinstance(row, ReceiptRow)]
    yield from (row.event.partition(".")[2] for row in receipts)
    yield from (_OUTCOMES[entry.event] for entry in change.entries if entry.event in _OUTCOMES)
    if not receipts and not change.entries:
        for row in change.puts:
            if isinstance(row, MessageRow) and row.direction is Direction.OUT and _deferred(row):
                yield "deferred"


def _deferred(row: MessageRow) -> bool:
    return row.state == delivery.State.QUEUED and row.attempt > 0
