"""A case as a timeline: its messages in their order, and the clocks that run in it. Nothing is opened."""

from typing import Any

from aiohttp import web

from gateway.core.ids import parse_authority, parse_case_id
from gateway.core.strict import parse_time
from gateway.rows import CaseRow
from gateway.web.cases import describe
from gateway.web.console.frame import page
from gateway.web.context import CONTEXT


async def show(request: web.Request) -> web.Response:
    """Show one case."""
    context, named = request.app[CONTEXT], request.match_info
    row = await context.store.get(CaseRow, parse_authority(named["peer"]), parse_case_id(named["id"]))
    if row is None:
        raise web.HTTPNotFound
    case: dict[str, Any] = await describe(context, row)
    return page(
        request,
        "case.html",
        row=row,
        messages=[{**one, "recorded_ms": parse_time(one["recorded"])} for one in reversed(case["messages"])],
        clocks=[{**clock, "due_ms": parse_time(clock["due"])} for clock in case["clocks"]],
    )
