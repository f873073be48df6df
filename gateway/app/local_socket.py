"""The Unix socket of the hook: who may open it is decided by the mode of its file and the folder.

The file is bound, given its mode, and only then listened at: before that nobody can connect.
"""

import asyncio
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from aiohttp import web
from typing_extensions import override

from gateway.core.errors import Misconfigured

_LONGEST = 107
"""Bytes of a path: the room in sockaddr_un, without its end."""
_OTHERS_WRITE = 0o022


@dataclass(slots=True)
class LocalSocket:
    """A bound socket, and the file that stands for it."""

    path: Path
    socket: socket.socket
    file: tuple[int, int]

    @classmethod
    def bound(cls, path: Path, mode: int) -> Self:
        """Bind the socket at *path*, in place of one that nobody serves any more.

        Raises:
            Misconfigured: it cannot be there, or others could put another one in its place.
        """
        if len(os.fsencode(path)) > _LONGEST:
            raise Misconfigured(f"hook.socket: the path is longer than {_LONGEST} bytes")
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _check_folder(path.parent)
            _clear(path)
            found.bind(str(path))
            path.chmod(mode)
            made = path.stat()
        except OSError as error:
            found.close()
            raise Misconfigured(f"hook.socket: {path} cannot be had: {error.strerror}") from None
        except Misconfigured:
            found.close()
            raise
        return cls(path, found, (made.st_dev, made.st_ino))

    def remove(self) -> None:
        """Remove the file, unless another process has put its own there."""
        try:
            found = self.path.lstat()
            if (found.st_dev, found.st_ino) == self.file:
                self.path.unlink()
        except OSError:
            return  # it is gone


class LocalSite(web.BaseSite):
    """A bound socket at which an application is served."""

    def __init__(self, runner: web.AppRunner, local: LocalSocket, *, backlog: int) -> None:
        super().__init__(runner, backlog=backlog)
        self._local = local

    @property
    @override
    def name(self) -> str:
        return f"unix:{self._local.path}"

    @override
    async def start(self) -> None:
        await super().start()
        server = self._runner.server
        assert server is not None  # noqa: S101 - the runner is set up
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(server, sock=self._local.socket, backlog=self._backlog)


def _check_folder(folder: Path) -> None:
    """Refuse a folder in which others could put a socket of their own. Raises Misconfigured, OSError."""
    found = folder.stat()
    if found.st_mode & _OTHERS_WRITE:
        raise Misconfigured(f"hook.socket: group or others may write to {folder}: chmod go-w it")
    if found.st_uid not in {0, os.geteuid()}:
        raise Misconfigured(f"hook.socket: {folder} belongs to another account")


def _clear(path: Path) -> None:
    """Remove the socket that an earlier process left. Raises Misconfigured, OSError."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise Misconfigured(f"hook.socket: {path} is something else than a socket")
    if found.st_uid != os.geteuid():
        raise Misconfigured(f"hook.socket: {path} belongs to another account")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise Misconfigured(f"hook.socket: another process answers at {path}")
