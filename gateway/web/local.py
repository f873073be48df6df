"""Who comes in through the Unix socket of the hook: the operating system has let them in.

Entries name the account that opened it, as `unix:` and its number on this machine.
"""

import socket
import struct

from aiohttp import web

from gateway.web.context import CONTEXT
from gateway.web.tokens import Bearer

_CREDENTIALS = struct.Struct("3i")  # ucred of unix(7): process, user, group


def local_bearer(request: web.Request) -> Bearer | None:
    """Return who opened the socket that *request* came through; None for one that came over TCP."""
    connection: socket.socket | None = request.get_extra_info("socket")
    if connection is None or connection.family != socket.AF_UNIX:
        return None
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(found)
    return Bearer(f"unix:{user}", frozenset(request.app[CONTEXT].settings.hook.socket_scopes))
