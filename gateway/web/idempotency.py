"""Idempotency-Key: the answer to a keyed POST, kept in the transaction that it speaks of.

A key belongs to one bearer and one body. That it was used before shows when the transaction
collides with its row, so that a fresh key costs no query.
"""

import re
from dataclasses import dataclass

from gateway.core.errors import Malformed, Misuse
from gateway.core.strict import sha256
from gateway.ports import Store
from gateway.rows import IdempotencyRow

_KEY = re.compile(r"[!-~]{1,255}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Keyed:
    """A body that a bearer sends under a key."""

    place: str
    raw: bytes

    @classmethod
    def of(cls, bearer: str, key: str, raw: bytes) -> "Keyed":
        """Return *raw* under *key*. Raises Malformed."""
        if not _KEY.fullmatch(key):
            raise Malformed("an Idempotency-Key has 1 to 255 printable ASCII characters without spaces")
        return cls(f"{bearer}:{key}", raw)

    def row(self, status: int, body: bytes, now_ms: int) -> IdempotencyRow:
        """Return the row that keeps the answer."""
        return IdempotencyRow(
            key=self.place,
            version=0,
            request_sha256=sha256(self.raw),
            status=status,
            body=body,
            stored_ms=now_ms,
        )

    async def answered(self, store: Store) -> IdempotencyRow | None:
        """Return the answer that was given before, if there is one.

        Raises:
            Misuse: 422 `idempotency_key`: it was given to another body.
        """
        known = await store.get(IdempotencyRow, self.place)
        if known is not None and known.request_sha256 != sha256(self.raw):
            raise Misuse(422, "idempotency_key", "this Idempotency-Key was used with another body")
        return known
