"""How the command line gets in: the token that `art18 init` left is taken up at the first start."""

from pathlib import Path

from gateway.core.entry import Draft
from gateway.ports import Change, Clock, Entropy, Store, TokenRow
from gateway.web.tokens import Scope, token_row, token_sha256

_NAME = "art18"


async def admit_command_line(store: Store, token_file: Path, clock: Clock, entropy: Entropy) -> None:
    """Record the token in *token_file* with every scope, unless it was ever known.

    A token that an operator revoked stays revoked. Without the file nothing happens.
    """
    try:
        token = token_file.read_text(encoding="ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return
    digest = token_sha256(token)
    if not token or any(row.sha256 == digest for row in await store.all(TokenRow)):
        return
    row = token_row(token, token_id=entropy.uuid4(), name=_NAME, scopes=tuple(Scope), now_ms=clock.now_ms())
    draft = Draft(event="token.created", outcome="ok", extra=(("token_id", row.id),))
    await store.record(Change(name="token", entries=(draft,), puts=(row,)))
