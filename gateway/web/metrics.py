"""Figures for the operator's monitoring, without ids of parties, cases or messages."""

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from gateway.web.context import CONTEXT

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)


class Metrics:
    """The figures of one node, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "art18_hook_requests",
            "Requests at the hook.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "art18_hook_request_seconds",
            "Time until the answer was ready.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._queued = Gauge(
            "art18_outbox_queued",
            "Messages and later receipts that wait for a peer.",
            registry=self._registry,
        )

    def observe(self, method: str, route: str, status: int, took_s: float) -> None:
        """Note one request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(took_s)

    def exposition(self, queued: int) -> bytes:
        """Return the figures in the text format of Prometheus."""
        self._queued.set(queued)
        return generate_latest(self._registry)


METRICS: web.AppKey[Metrics] = web.AppKey("metrics", Metrics)


async def metrics(request: web.Request) -> web.Response:
    """Answer the monitoring."""
    depths = await request.app[CONTEXT].store.queue_depth()
    body = request.app[METRICS].exposition(sum(depths.values()))
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
