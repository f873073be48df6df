"""The checkpoints of the own log, who cosigned them, and the stored log examined when somebody asks.

None of it says anything of an entry, so that reading it is not logged, as at the hook.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from gateway.ports import SignedHead
from gateway.rows import CosignedRow
from gateway.web.audit import root_of
from gateway.web.console.frame import page
from gateway.web.context import CONTEXT
from gateway.web.documents import number, query

_ROWS = 50
_WIDTH, _HEIGHT, _MARGIN = 640, 200, 8


@dataclass(frozen=True, slots=True)
class Point:
    """A checkpoint in the picture."""

    x: int
    y: int
    cosigned: bool


async def index(request: web.Request) -> web.Response:
    """List checkpoints, the newest first, and draw how the log grew."""
    asked = query(request, "cursor")
    cursor = number(asked["cursor"], what="the cursor") if "cursor" in asked else None
    store = request.app[CONTEXT].store
    heads = await store.checkpoints(cursor=cursor, limit=_ROWS + 1)
    older = f"/checkpoints?cursor={heads[_ROWS - 1].size}" if len(heads) > _ROWS else None
    heads = heads[:_ROWS]
    rows = await store.cosigned_between(heads[-1].size, heads[0].size) if heads else []
    cosigned = _by_size(rows)
    return page(
        request,
        "checkpoints.html",
        heads=heads,
        cosigned=cosigned,
        older=older,
        points=_drawn(heads, frozenset(cosigned)),
        width=_WIDTH,
        height=_HEIGHT,
    )


async def verify(request: web.Request) -> web.Response:
    """Examine every row of the log, and show what is wrong first, and where."""
    found = await request.app[CONTEXT].store.examine()
    return page(request, "examined.html", fault=found.fault, size=found.size, root=root_of(found.checkpoint))


def _by_size(rows: Sequence[CosignedRow]) -> dict[int, list[CosignedRow]]:
    found: dict[int, list[CosignedRow]] = {}
    for row in rows:
        found.setdefault(row.size, []).append(row)
    return found


def _drawn(heads: Sequence[SignedHead], cosigned: frozenset[int]) -> list[Point]:
    """Return the points of the picture, from left to right: time, and how large the log was."""
    if not heads:
        return []
    newest, oldest = heads[0], heads[-1]
    return [
        Point(
            _scaled(head.time_ms, oldest.time_ms, newest.time_ms, _WIDTH),
            _HEIGHT - _scaled(head.size, oldest.size, newest.size, _HEIGHT),
            head.size in cosigned,
        )
        for head in reversed(heads)
    ]


def _scaled(value: int, least: int, most: int, length: int) -> int:
    """Return where *value* stands between *least* and *most*, on a line of *length* with margins."""
    return _MARGIN + (length - 2 * _MARGIN) * (value - least) // max(most - least, 1)
