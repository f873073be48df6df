"""What `art18 send` has begun and not finished: how its next run finds it.

That is uploads that no message is known to carry yet, and messages that the node was asked to send and has
not answered: asked again under the same id (an Idempotency-Key), it sends none twice.

They are kept in the data folder, beside the token of the command line. Nothing there tells what was
sent: a file is known by a digest of where and what it is, a message by a digest of all of it.
"""

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path

from gateway.core.errors import Malformed
from gateway.core.ids import parse_message_id

_MOST = 256
_KEY_RANGE = 8  # hex digits of a key that say which byte of the lock file is its own
_PRIVATE = 0o600


class Begun:
    """Ids of uploads by file, and of messages by content; those of another run at work are not touched."""

    def __init__(self, path: Path, lock: int | None) -> None:
        self._path, self._lock = path, lock
        self._own: dict[str, None] = {}

    @classmethod
    @contextlib.contextmanager
    def beside(cls, token: Path) -> Iterator["Begun"]:
        """Open what is kept beside *token*; where nothing can be kept, nothing is remembered."""
        path = token.with_name("uploads.json")
        try:
            lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, _PRIVATE)
        except OSError:
            yield cls(path, None)
            return
        try:
            yield cls(path, lock)
        finally:
            os.close(lock)

    @classmethod
    def nothing(cls) -> "Begun":
        """Return what remembers nothing, from run to run."""
        return cls(Path(), None)

    def key(self, path: Path, stat: os.stat_result) -> str:
        """Return what the file *path* is known by: as it is now, and once for each time it is attached."""
        shown = (str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino)
        keys = (
            hashlib.sha256(json.dumps([*shown, count]).encode()).hexdigest() for count in itertools.count()
        )
        key = next(key for key in keys if key not in self._own)
        self._own[key] = None
        return key

    def message_key(self, body: bytes) -> str:
        """Return what the message is known by that *body* asks for: the uploads are named in it."""
        key = hashlib.sha256(b"message\0" + body).hexdigest()
        self._own[key] = None
        return key

    def recall(self, key: str) -> str | None:
        """Return the id of *key*, if there is one and no other run is at it."""
        return self._read().get(key) if self._ours(key) else None

    def remember(self, key: str, id_: str) -> None:
        """Keep that *key* goes under *id_*."""
        if self._ours(key):
            self._change({key: id_})

    def forget(self, *keys: str) -> None:
        """Drop *keys*; without any, all of this run: a message carries the uploads."""
        self._change(dict.fromkeys(filter(self._ours, keys or self._own)))

    def _ours(self, key: str) -> bool:
        if self._lock is None:
            return False
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1 + int(key[:_KEY_RANGE], 16))
        except OSError:
            return False
        return True

    def _change(self, entries: dict[str, str | None]) -> None:
        """Write what is kept anew, whole or not at all."""
        if self._lock is None or not entries:
            return
        fcntl.lockf(self._lock, fcntl.LOCK_EX, 1, 0)
        try:
            kept = {key: id_ for key, id_ in self._read().items() if key not in entries}
            kept |= {key: id_ for key, id_ in entries.items() if id_ is not None}
            self._write(dict(list(kept.items())[-_MOST:]))
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN, 1, 0)

    def _read(self) -> dict[str, str]:
        """Return what is kept; what is damaged is as good as nothing."""
        try:
            found = json.loads(self._path.read_bytes())
            return {str(key): parse_message_id(id_) for key, id_ in found.items()}
        except (OSError, ValueError, AttributeError, Malformed):
            return {}

    def _write(self, kept: dict[str, str]) -> None:
        new = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
            with os.fdopen(handle, "w") as file:
                json.dump(kept, file)
            new.replace(self._path)
