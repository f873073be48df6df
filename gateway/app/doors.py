"""The listeners: each door on its own address, with its own application."""

import ssl
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from aiohttp import web

from gateway.app.local_socket import LocalSite, LocalSocket
from gateway.config import Console
from gateway.core.errors import Misconfigured
from gateway.peering.tls import admit, server_context
from keys.certificates import TlsKey, load_into

_BACKLOG = 512


class Door:
    """An open listener, and the Unix socket beside it if there is one.

    Attributes:
        addresses: what is open, each with a name and where it really is.
    """

    def __init__(self, runner: web.AppRunner, name: str, address: str) -> None:
        self._runner: web.AppRunner | None = runner
        self._socket: LocalSocket | None = None
        self.addresses: Sequence[tuple[str, str]] = [(name, address)]

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
        return cls(runner, name, f"{'https' if tls else 'http'}://{shown}:{bound}")

    async def open_socket(self, path: Path, mode: int) -> None:
        """Serve the same application at the Unix socket *path* too. Raises Misconfigured."""
        assert self._runner is not None  # noqa: S101 - it is opened before it is closed
        self._socket = LocalSocket.bound(path, mode)
        await LocalSite(self._runner, self._socket, backlog=_BACKLOG).start()
        self.addresses = [*self.addresses, ("socket", f"unix:{path}")]

    async def close(self) -> None:
        """Take no more connections, and let requests under way end within the drain time."""
        if self._socket is not None:
            self._socket.remove()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()


def console_tls(console: Console) -> ssl.SSLContext | None:
    """Return the TLS context of the console, None where it speaks plain HTTP to this machine alone.

    Raises:
        Misconfigured: others could read along, or certificate and key cannot be used.
    """
    if not console.tls:
        if console.host != "localhost" and not _is_loopback(console.host):
            raise Misconfigured(
                "console.certificate_file: with console.host open to others, a certificate is needed"
            )
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(console.certificate_file, console.key_file or None)
    except (OSError, ssl.SSLError):
        raise Misconfigured(
            "console.certificate_file, console.key_file: no certificate and its key in PEM"
        ) from None
    return context


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


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
