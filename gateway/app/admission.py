"""How the command line gets in: the token that `art18 init` left is taken up at the first start."""

import asyncio
import contextlib
import uuid
from pathlib import Path

from gateway.core.entry import Draft
from gateway.core.errors import Misconfigured, Stale
from gateway.ports import Change, Clock, Store
from gateway.rows import TokenRow
from gateway.web.tokens import Scope, token_row, token_sha256

_NAME = "art18"
_UUID_BYTES = 16


async def admit_command_line(store: Store, token_file: Path, clock: Clock) -> None:
    """Record the token in *token_file* with every scope, unless it was ever known.

    A token that an operator revoked stays revoked. Without the file nothing happens. The id comes
    from the token's hash, so that two processes that start at once record one token.
    """
    token = await asyncio.to_thread(_read, token_file)
    digest = token_sha256(token)
    if not token or any(row.sha256 == digest for row in await store.all(TokenRow)):
        return
    token_id = str(uuid.UUID(bytes=bytes.fromhex(digest)[:_UUID_BYTES], version=4))
    row = token_row(token, token_id=token_id, name=_NAME, scopes=tuple(Scope), now_ms=clock.now_ms())
    draft = Draft(event="token.created", outcome="ok", extra=(("token_ref", row.id),))
    with contextlib.suppress(Stale):  # another process has recorded it meanwhile
        await store.record(Change(name="token", entries=(draft,), puts=(row,)))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(f"hook.token_file: {path} cannot be read as a token") from None
