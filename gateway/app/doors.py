"""The listeners: each door on its own address, with its own application."""

import ssl
from collections.abc import Iterable
from typing import Self

from aiohttp import web

from gateway.core.errors import Misconfigured
from gateway.peering.tls import admit, server_context
from keys.certificates import TlsKey, load_into

_BACKLOG = 512


class Door:
    """An open listener; `address` has the port that it really has."""

    def __init__(self, runner: web.AppRunner, address: str) -> None:
        self._runner: web.AppRunner | None = runner
        self.address = address

    @classmethod
    async def opened(
        cls,
        app: web.Application,
        name: str,
        host: str,
        port: int,
        *,
        drain_s: float,
        tls: ssl.SSLContext | None = None,
    ) -> Self:
        """Open the door *name* for *app*. Raises Misconfigured: the address cannot be had."""
        runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=drain_s)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, ssl_context=tls, backlog=_BACKLOG).start()
        except OSError as error:
            await runner.cleanup()
            raise Misconfigured(f"{name}.port: {host}:{port} cannot be had: {error.strerror}") from None
        bound = runner.addresses[0][1]
        shown = f"[{host}]" if ":" in host else host
        return cls(runner, f"{'https' if tls else 'http'}://{shown}:{bound}")

    async def close(self) -> None:
        """Take no more connections, and let requests under way end within the drain time."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()


class Handshakes:
    """The TLS context of the federation door, changed while it is in use.

    A live context can be given a certificate and anchors; whom the anchors no longer stand for
    is refused on each request (peering.tls).
    """

    def __init__(self, tls: TlsKey, certificates: Iterable[bytes]) -> None:
        self._presented = tls
        self._admitted = frozenset(certificates)
        self.context = server_context(tls, self._admitted)

    def present(self, tls: TlsKey) -> None:
        """Show the certificate of *tls* in new handshakes."""
        if tls != self._presented:
            load_into(self.context, tls)
            self._presented = tls

    def admit(self, certificates: frozenset[bytes]) -> None:
        """Let the holders of *certificates* past new handshakes."""
        admit(self.context, certificates - self._admitted)
        self._admitted |= certificates
