"""The hook: the door for the authority's own systems and the command line.

Plain HTTP for this machine: a bearer token with scopes on each request, or the Unix socket. `ROUTES`
is the whole of what it serves below `/v1`, but for its contract (schemas/openapi.yaml), which everybody
may read.
"""

from dataclasses import dataclass

from aiohttp import web

from gateway.web import (
    alarms,
    attachments,
    audit,
    cases,
    clock,
    contract,
    details,
    erasures,
    events,
    evidence,
    exports,
    health,
    holds,
    messages,
    metrics,
    own_card,
    own_profile,
    peers,
    statements,
    token_routes,
    tus,
    uploads,
    users,
    webhooks,
    witnesses,
)
from gateway.web.attachments import DOWNLOADS, Downloads
from gateway.web.context import CONTEXT, Context
from gateway.web.counting import counted
from gateway.web.documents import MAX_DOCUMENT_BYTES
from gateway.web.idempotency import IN_FLIGHT, InFlight
from gateway.web.limits import CallerLimits
from gateway.web.middleware import LIMITS, TOKENS, Handler, guarded, observed, secured
from gateway.web.tokens import Scope, Tokens


@dataclass(frozen=True, slots=True)
class Route:
    """One request that the hook answers, and the scope that it takes."""

    method: str
    path: str
    scope: Scope
    handler: Handler


ROUTES: tuple[Route, ...] = (
    Route("POST", "/messages", Scope.WRITE, messages.submit),
    Route("GET", "/messages", Scope.READ, messages.index),
    Route("GET", "/messages/{id}", Scope.READ, messages.show),
    Route("GET", "/messages/{id}/content", Scope.READ, messages.content),
    Route("GET", "/messages/{id}/jws", Scope.READ, messages.jws),
    Route("GET", "/messages/{id}/attachments/{n}", Scope.READ, attachments.attachment),
    Route("GET", "/messages/{id}/receipts", Scope.READ, messages.receipts),
    Route("GET", "/messages/{id}/evidence", Scope.READ, evidence.bundle),
    Route("POST", "/messages/{id}/acknowledge", Scope.WRITE, statements.acknowledge),
    Route("POST", "/messages/{id}/open", Scope.WRITE, statements.opened),
    Route("POST", "/messages/{id}/retry", Scope.WRITE, messages.retry),
    Route("POST", "/messages/{id}/release", Scope.WRITE, messages.release),
    Route("POST", "/messages/{id}/cancel", Scope.WRITE, messages.cancel),
    Route("OPTIONS", "/uploads", Scope.WRITE, uploads.collection),
    Route("POST", "/uploads", Scope.WRITE, uploads.collection),
    Route("OPTIONS", "/uploads/{id}", Scope.WRITE, uploads.single),
    Route("POST", "/uploads/{id}", Scope.WRITE, uploads.single),
    Route("HEAD", "/uploads/{id}", Scope.WRITE, uploads.single),
    Route("PATCH", "/uploads/{id}", Scope.WRITE, uploads.single),
    Route("DELETE", "/uploads/{id}", Scope.WRITE, uploads.single),
    Route("GET", "/cases", Scope.READ, cases.index),
    Route("GET", "/cases/{id}", Scope.READ, cases.show),
    Route("GET", "/alarms", Scope.READ, alarms.index),
    Route("GET", "/peers", Scope.READ, peers.index),
    Route("POST", "/peers", Scope.ADMIN, peers.add),
    Route("GET", "/peers/{id}", Scope.READ, peers.show),
    Route("POST", "/peers/{id}/suspend", Scope.ADMIN, peers.suspend),
    Route("POST", "/peers/{id}/activate", Scope.ADMIN, peers.activate),
    Route("POST", "/peers/{id}/check", Scope.ADMIN, peers.check),
    Route("GET", "/card", Scope.READ, own_card.show),
    Route("POST", "/card", Scope.ADMIN, own_card.renew),
    Route("GET", "/profile", Scope.READ, own_profile.show),
    Route("POST", "/profile", Scope.ADMIN, own_profile.publish),
    Route("GET", "/tokens", Scope.ADMIN, token_routes.index),
    Route("POST", "/tokens", Scope.ADMIN, token_routes.create),
    Route("DELETE", "/tokens/{id}", Scope.ADMIN, token_routes.revoke),
    Route("GET", "/audit/entries", Scope.AUDIT, audit.index),
    Route("GET", "/audit/entries/{n}", Scope.AUDIT, details.show),
    Route("GET", "/audit/entries/{n}/proof", Scope.AUDIT, audit.proof),
    Route("GET", "/audit/checkpoint", Scope.AUDIT, audit.checkpoint),
    Route("GET", "/audit/verify", Scope.AUDIT, audit.verify),
    Route("GET", "/audit/export", Scope.AUDIT, exports.export),
    Route("POST", "/audit/find", Scope.AUDIT, details.find),
    Route("POST", "/clock/confirm", Scope.ADMIN, clock.confirm),
    Route("GET", "/audit/witnesses", Scope.AUDIT, witnesses.index),
    Route("POST", "/audit/witnesses", Scope.AUDIT, witnesses.witness),
    Route("GET", "/audit/forks", Scope.AUDIT, witnesses.forks),
    Route("GET", "/erasures", Scope.ADMIN, erasures.index),
    Route("POST", "/erasures", Scope.ADMIN, erasures.propose),
    Route("POST", "/erasures/preview", Scope.ADMIN, erasures.preview),
    Route("GET", "/erasures/{id}", Scope.ADMIN, erasures.show),
    Route("POST", "/erasures/{id}/confirm", Scope.ADMIN, erasures.confirm),
    Route("POST", "/erasures/{id}/withdraw", Scope.ADMIN, erasures.withdraw),
    Route("GET", "/holds", Scope.ADMIN, holds.index),
    Route("POST", "/holds", Scope.ADMIN, holds.add),
    Route("POST", "/holds/remove", Scope.ADMIN, holds.remove),
    Route("GET", "/events", Scope.READ, events.index),
    Route("GET", "/users", Scope.ADMIN, users.index),
    Route("POST", "/users", Scope.ADMIN, users.create),
    Route("POST", "/users/{name}/reset", Scope.ADMIN, users.reset),
    Route("POST", "/users/{name}/disable", Scope.ADMIN, users.disable),
    Route("GET", "/webhooks", Scope.ADMIN, webhooks.index),
    Route("POST", "/webhooks", Scope.ADMIN, webhooks.create),
    Route("GET", "/webhooks/{id}", Scope.ADMIN, webhooks.show),
    Route("PATCH", "/webhooks/{id}", Scope.ADMIN, webhooks.change),
    Route("DELETE", "/webhooks/{id}", Scope.ADMIN, webhooks.remove),
    Route("POST", "/webhooks/{id}/rotate", Scope.ADMIN, webhooks.rotate),
    Route("POST", "/webhooks/{id}/test", Scope.ADMIN, webhooks.ping),
    Route("GET", "/webhooks/{id}/deliveries", Scope.ADMIN, webhooks.deliveries),
    Route("POST", "/webhooks/{id}/deliveries/{delivery}/redeliver", Scope.ADMIN, webhooks.redeliver),
)


def hook_app(context: Context) -> web.Application:
    """Return the application of the hook."""
    limits = context.settings.limits
    app = web.Application(
        middlewares=[counted("hook", takes_ids=True), observed], client_max_size=MAX_DOCUMENT_BYTES
    )
    app[CONTEXT] = context
    app[TOKENS] = Tokens(context.store, context.clock)
    app[DOWNLOADS] = Downloads()
    app[events.FEED] = events.Feed(context.store, limits.event_streams)
    app.on_shutdown.append(app[events.FEED].stop)
    app[LIMITS] = CallerLimits(at_once=limits.hook_requests_at_once, per_s=limits.hook_requests_per_s)
    app[IN_FLIGHT] = InFlight()
    app.on_cleanup.append(_use_of_tokens_noted)
    app.cleanup_ctx.append(uploads.uploads_under_way)
    app.on_response_prepare.append(secured)
    app.on_response_prepare.append(tus.stamped)
    for route in ROUTES:
        app.router.add_route(route.method, f"/v1{route.path}", guarded(route.scope, route.handler))
    app.router.add_get("/v1/openapi.yaml", contract.openapi, allow_head=False)
    app.router.add_get("/docs", contract.page, allow_head=False)
    app.router.add_get("/livez", health.livez, allow_head=False)
    app.router.add_get("/readyz", health.readyz, allow_head=False)
    app.router.add_get("/metrics", metrics.metrics, allow_head=False)
    return app


async def _use_of_tokens_noted(app: web.Application) -> None:
    await app[TOKENS].noted()
