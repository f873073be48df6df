"""What is under way: posted, and not recorded yet.

Outcomes are recorded beside the rounds of a route, so that those of one batch share a commit while the
next batch is posted. Nobody touches what is under way until it has been recorded.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from gateway.core.errors import Unavailable
from gateway.core.ids import AuthorityId, MessageId

Work = Callable[[], Coroutine[Any, Any, None]]

_log = structlog.get_logger(__name__)


class UnderWay:
    """The messages (by id) and notices (by entry) of one route that are being recorded.

    Attributes:
        troubled: something could not be recorded; whoever goes on at once would do the same again.
    """

    def __init__(self, peer: AuthorityId, ended: Callable[[], None]) -> None:
        self._peer = peer
        self._ended = ended
        self._tasks: dict[MessageId | int, asyncio.Task[None]] = {}
        self.troubled = False

    def __contains__(self, key: MessageId | int) -> bool:
        return key in self._tasks

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, key: MessageId | int, recording: Work, otherwise: Work) -> None:
        """Begin *recording*; *key* is under way until that is done, and `ended` is told.

        What fails in a way that nobody foresaw is recorded by *otherwise*: it backs off alone.
        """
        self._tasks[key] = asyncio.create_task(self._record(key, recording, otherwise))

    async def fewer_than(self, count: int) -> None:
        """Return once fewer than *count* are under way."""
        while len(self._tasks) >= count:
            await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)

    async def finish(self) -> None:
        """Return once nothing is under way."""
        await asyncio.gather(*self._tasks.values())

    async def break_off(self, key: MessageId | int | None = None) -> None:
        """Give up *key*, or everything: what was handed to the store is written all the same."""
        tasks = [task for other, task in self._tasks.items() if key is None or key == other]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _record(self, key: MessageId | int, recording: Work, otherwise: Work) -> None:
        try:
            try:
                await recording()
            except Unavailable:
                self.troubled = True
            except Exception as error:  # noqa: BLE001 - logged, and recorded as the message's problem
                self._note(error, key)
                await otherwise()
        except Exception as error:  # noqa: BLE001 - logged, and the next round waits before it tries again
            self._note(error, key)
            self.troubled = True
        finally:
            del self._tasks[key]
            self._ended()

    def _note(self, error: Exception, key: MessageId | int) -> None:
        named = {"message_id": key} if isinstance(key, str) else {"index": key}
        _log.error("courier.message_failed", peer=self._peer, error=type(error).__name__, **named)
