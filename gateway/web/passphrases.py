"""Passphrases of people, made into digests and compared: in a thread, one at a time, and few that wait.

One takes 19 MiB and some hundredths of a second, which is what makes guessing dear. Done side by side they
would make the node dear instead.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import TypeVar

from gateway.core.errors import Unavailable
from keys.passwords import PERSONAL, Strength, digest, matches

_WAITING = 16
_BUSY_S = 2

_Found = TypeVar("_Found")


class Passphrases:
    """What is known of passphrases here. *strength* is what a guess costs."""

    def __init__(self, strength: Strength = PERSONAL) -> None:
        self._strength = strength
        self._one = asyncio.Semaphore(1)
        self._waiting = 0
        self._decoy: str | None = None

    async def digest(self, passphrase: str) -> str:
        """Return what is kept of *passphrase*. Raises Unavailable."""
        return await self._alone(lambda: digest(passphrase, self._strength))

    async def matches(self, digested: str | None, passphrase: str) -> bool:
        """Return whether *passphrase* is that of *digested*; where there is none, no, after the same work.

        Raises:
            Unavailable: too many wait.
        """

        def compared() -> bool:
            if self._decoy is None:
                self._decoy = digest(secrets.token_urlsafe(), self._strength)
            return matches(digested or self._decoy, passphrase) and digested is not None

        return await self._alone(compared)

    async def _alone(self, work: Callable[[], _Found]) -> _Found:
        if self._waiting >= _WAITING:
            raise Unavailable("too many sign in at once", retry_after_s=_BUSY_S)
        self._waiting += 1
        try:
            async with self._one:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1
