"""Bearer tokens of the hook: made, kept by their hash, recognised, revoked.

A token is 256 bits from the operating system, so that a plain SHA-256 of it can rest: there is
nothing to guess. All tokens are read at once and remembered for a few seconds; a change
through this process is known at once, one through another within that time. When a token was
last used is recorded beside the requests, once in some minutes.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from gateway.core.errors import Misuse, Stale, Unavailable
from gateway.core.ids import Digest
from gateway.ports import Change, Clock, Store
from gateway.rows import TokenRow

PREFIX = "art18_"
_SECRET_BYTES = 32
_LIFE_MS = 5_000
_MISS_MS = 250
_USED_MS = 5 * 60_000


class Scope(StrEnum):
    """What a token lets its bearer do; none includes another."""

    READ = "messages:read"
    WRITE = "messages:write"
    AUDIT = "audit:read"
    ADMIN = "admin"


def new_token() -> str:
    """Return a fresh token: to be shown once."""
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def token_sha256(token: str) -> Digest:
    """Return the hash under which *token* is kept."""
    return Digest(hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest())


def token_row(
    token: str,
    *,
    token_id: str,
    name: str,
    scopes: Iterable[Scope],
    now_ms: int,
    expires_ms: int | None = None,
) -> TokenRow:
    """Return the row of a new *token*."""
    return TokenRow(
        id=token_id,
        version=0,
        sha256=token_sha256(token),
        name=name,
        scopes=" ".join(sorted(set(scopes))),
        created_ms=now_ms,
        expires_ms=expires_ms,
    )


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who asks, as entries name it (the id of a token, or an account of this machine), and what it may do."""

    id: str
    scopes: frozenset[str]


@dataclass(slots=True)
class Tokens:
    """The tokens of the store, as last read."""

    store: Store
    clock: Clock
    _known: Mapping[str, TokenRow] = field(default_factory=dict)
    _read_ms: int | None = None
    _changes: int = 0
    _noting: set[asyncio.Task[None]] = field(default_factory=set)

    async def recognise(self, token: str) -> Bearer:
        """Return who bears *token*.

        Raises:
            Misuse: 401 `unauthorized`: unknown, expired or revoked, which it does not say.
        """
        digest, now_ms = token_sha256(token), self.clock.now_ms()
        if not self._fresh(now_ms, _LIFE_MS if digest in self._known else _MISS_MS):
            await self._read(now_ms)
        row = self._known.get(digest)
        if row is None or not hmac.compare_digest(row.sha256, digest) or not _valid(row, now_ms):
            raise Misuse(401, "unauthorized", "a bearer token that is valid here is needed")
        if row.used_ms is None or now_ms - row.used_ms >= _USED_MS:
            self._note(replace(row, used_ms=now_ms))
        return Bearer(row.id, frozenset(row.scopes.split()))

    async def noted(self) -> None:
        """Return once what is known of the use of tokens is recorded, as far as it can be."""
        await asyncio.gather(*self._noting)

    def _note(self, used: TokenRow) -> None:
        """Record that a token was used, while the request goes on."""
        self._known = {**self._known, used.sha256: used}
        noting = asyncio.create_task(self._record(used))
        self._noting.add(noting)
        noting.add_done_callback(self._noting.discard)

    async def _record(self, used: TokenRow) -> None:
        try:
            await self.store.record(Change(name="token_used", puts=(used,)))
        except (Stale, Unavailable):
            return  # another process has done it, or it can wait: the next use is as good
        if self._known.get(used.sha256) == used:
            self._known = {**self._known, used.sha256: replace(used, version=used.version + 1)}

    def forget(self) -> None:
        """Read the tokens again at the next request: one was made or revoked."""
        self._read_ms = None
        self._changes += 1

    async def _read(self, now_ms: int) -> None:
        changes = self._changes
        rows = await self.store.all(TokenRow)
        self._known = {row.sha256: row for row in rows}
        if changes == self._changes:  # else this was read before the change
            self._read_ms = now_ms

    def _fresh(self, now_ms: int, life_ms: int) -> bool:
        return self._read_ms is not None and 0 <= now_ms - self._read_ms < life_ms


def _valid(row: TokenRow, now_ms: int) -> bool:
    return row.revoked_ms is None and (row.expires_ms is None or now_ms < row.expires_ms)
