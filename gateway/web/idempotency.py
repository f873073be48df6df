"""Idempotency-Key: the answer to a keyed POST, kept in the transaction that it speaks of.

A key belongs to one bearer and one body. That it was used before shows when the transaction collides
with its row, so that a fresh key costs no query, and two processes that get one key at once make one
message. Within a process a second request waits for nothing: it is told to come again.

What names a row is the digest of bearer and key: keys are chosen by other systems, and may be
references of a case. An answer is kept for two days (workers.forgetting).
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiohttp import web

from gateway.core.errors import Malformed, Misuse
from gateway.core.ids import Digest
from gateway.core.strict import sha256
from gateway.ports import Store
from gateway.rows import IdempotencyRow

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"

_KEY = re.compile(r"[!-~]{1,255}", re.ASCII)
_BUSY_S = 1


@dataclass(frozen=True, slots=True)
class Keyed:
    """A body that a bearer sends under a key."""

    place: str
    request_sha256: Digest

    @classmethod
    def of(cls, bearer: str, key: str, raw: bytes) -> "Keyed":
        """Return *raw* under *key*. Raises Malformed."""
        if not _KEY.fullmatch(key):
            raise Malformed("an Idempotency-Key has 1 to 255 printable ASCII characters without spaces")
        return cls(sha256(f"{bearer} {key}".encode()), sha256(raw))

    def row(self, status: int, body: bytes, now_ms: int) -> IdempotencyRow:
        """Return the row that keeps the answer."""
        return IdempotencyRow(
            key=self.place,
            version=0,
            request_sha256=self.request_sha256,
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
        if known is not None and known.request_sha256 != self.request_sha256:
            raise _other_body()
        return known


@dataclass(slots=True)
class InFlight:
    """The keyed requests that this process is answering."""

    _bodies: dict[str, Digest] = field(default_factory=dict)

    @contextlib.contextmanager
    def hold(self, keyed: Keyed | None) -> Iterator[None]:
        """Keep others with the same key away for the time of the block.

        Raises:
            Misuse: 409 `idempotency_in_flight`, to be asked again; 422 `idempotency_key`.
        """
        if keyed is None:
            yield
            return
        held = self._bodies.get(keyed.place)
        if held is not None and held != keyed.request_sha256:
            raise _other_body()
        if held is not None:
            raise Misuse(
                409, "idempotency_in_flight", "the first request is being answered", retry_after_s=_BUSY_S
            )
        self._bodies[keyed.place] = keyed.request_sha256
        try:
            yield
        finally:
            del self._bodies[keyed.place]


def _other_body() -> Misuse:
    return Misuse(422, "idempotency_key", "this Idempotency-Key was used with another body")


IN_FLIGHT: web.AppKey[InFlight] = web.AppKey("in_flight", InFlight)
