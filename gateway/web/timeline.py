"""What happened to a message, and where each moment is proved: which entry of which log, and who saw it."""

from gateway.core.entry import Entry, parse_entry
from gateway.core.note import parse_head
from gateway.core.proof import parse_proof, parse_receipt
from gateway.core.signed_note import parse_note
from gateway.core.strict import time_text
from gateway.ports import EntryFilter
from gateway.rows import BridgeRow, Direction, MessageRow
from gateway.web.context import Context

_MOST = 1000


async def timeline(context: Context, row: MessageRow) -> list[dict[str, object]]:
    """Return the moments of a message, oldest first: of our own log, and of the peer's receipts."""
    moments = [*await _own(context, row), *await _receipts(context, row)]
    return [moment for _, moment in sorted(moments, key=lambda found: found[0])]


async def _own(context: Context, row: MessageRow) -> list[tuple[int, dict[str, object]]]:
    cosigned = await context.store.newest_cosigned()
    size = cosigned[0].size if cosigned else 0
    logged = await context.store.entries(EntryFilter(peer=row.peer, message_id=row.id), limit=_MOST)
    origin = context.directory.own.log.origin
    return [_moment(parse_entry(one.leaf), origin, one.index, witnessed=one.index < size) for one in logged]


async def _receipts(context: Context, row: MessageRow) -> list[tuple[int, dict[str, object]]]:
    if row.direction is not Direction.OUT:
        return []
    found = []
    for one in await context.store.receipts(row.peer, row.id):
        receipt = parse_receipt(one.body)
        proof = parse_proof(receipt.proof)
        size = parse_head(parse_note(proof.checkpoint).text)[1]
        led = await context.store.get(BridgeRow, proof.origin, size) is not None
        found.append(_moment(parse_entry(receipt.entry), proof.origin, proof.index, witnessed=led))
    return found


def _moment(entry: Entry, log: str, index: int, *, witnessed: bool) -> tuple[int, dict[str, object]]:
    moment: dict[str, object] = {
        "time": time_text(entry.time_ms),
        "event": entry.event,
        "outcome": entry.outcome,
        "by": entry.authority,
        "log": log,
        "entry": index,
        "witnessed": witnessed,
    }
    if entry.reason is not None:
        moment["reason"] = entry.reason
    return entry.time_ms, moment
