"""Alarms at the hook: what an operator must be told, the newest first."""

from aiohttp import web

from gateway.core.clocks import CLOCKS
from gateway.core.strict import time_text
from gateway.ports import Store
from gateway.rows import AlarmRow
from gateway.web.context import CONTEXT
from gateway.web.documents import respond_part

_CLOCKS = {clock.code: clock for clock in (*CLOCKS.case, CLOCKS.delivery)}


async def index(request: web.Request) -> web.Response:
    """List the alarms that stand."""
    return respond_part(request, [_view(row) for row in await standing(request.app[CONTEXT].store)])


async def standing(store: Store) -> list[AlarmRow]:
    """Return the alarms that stand, the newest first."""
    return sorted(await store.all(AlarmRow), key=lambda row: (-row.raised_ms, row.code, row.subject))


def _view(row: AlarmRow) -> dict[str, object]:
    """Return an alarm for readers; one of a clock with what that is about."""
    found: dict[str, object] = {
        "code": row.code,
        "subject": row.subject,
        "detail": row.detail,
        "raised": time_text(row.raised_ms),
    }
    clock = _CLOCKS.get(row.code)
    if clock is not None:
        found |= {"title": clock.title, "description": clock.description, "article": clock.article}
    return found
