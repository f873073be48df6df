"""The receivers of webhooks: found, judged by their addresses, and told.

A name is resolved once for each connection, and only what was judged is dialled: a name that changes its
addresses in between gains nothing. No redirect is followed, no proxy of the environment asked.
"""

import asyncio
import socket
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override
from yarl import URL

from gateway.core.address import Reach, Target, parse_target
from gateway.core.announcement import Answer
from gateway.core.errors import Malformed, Misuse

TIMEOUT_S = 15.0
"""For a whole attempt: name, connection, TLS, answer."""

_BODY_BYTES = 4096
_RESOLVE_S = 5.0
_HEADERS = {"Content-Type": "application/json", "User-Agent": "art18"}


class ForbiddenAddress(OSError):
    """The settings do not let webhooks go to this address."""


class Judging(AbstractResolver):
    """Resolves names through *resolver*, and gives no address if one of them is forbidden."""

    def __init__(self, reach: Reach, resolver: AbstractResolver) -> None:
        self._reach = reach
        self._resolver = resolver

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if not found or not all(self._reach.allows(one["host"]) for one in found):
            raise ForbiddenAddress
        return found

    @override
    async def close(self) -> None:
        await self._resolver.close()


async def check_target(url: str, reach: Reach, resolver: AbstractResolver | None = None) -> None:
    """Refuse a *url* that no webhook could go to now.

    Raises:
        Malformed: not a URL for a webhook.
        Misuse: 422 `forbidden_address`: it leads where the settings do not let webhooks go;
            `unresolvable`: its name is not known.
    """
    target = parse_target(url, reach)
    try:
        if target.literal is not None:
            _judge(target, reach)
        else:
            async with asyncio.timeout(_RESOLVE_S):
                await Judging(reach, resolver or aiohttp.ThreadedResolver()).resolve(target.host, target.port)
    except ForbiddenAddress:
        raise Misuse(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "forbidden_address",
            "the URL leads to an address that is not of the public internet; hook.webhook_networks names "
            "others that webhooks may reach",
        ) from None
    except (OSError, TimeoutError):
        raise Misuse(
            HTTPStatus.UNPROCESSABLE_ENTITY, "unresolvable", "the name of the URL has no address now"
        ) from None


class Receivers:
    """Posts to receivers; opened and closed with the loop that uses it.

    Args:
        reach: where it may connect to.
        resolver: of names; the system's by default.
        timeout_s: for a whole attempt.
    """

    def __init__(
        self, reach: Reach, *, resolver: AbstractResolver | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._reach = reach
        connector = aiohttp.TCPConnector(
            resolver=Judging(reach, resolver or aiohttp.ThreadedResolver()),
            use_dns_cache=False,
            socket_factory=self._socket,
            limit=0,  # there is one attempt at a time for each webhook, and their number is bounded
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=_BODY_BYTES,
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Return what the receiver at *url* answers to *body*, or why it does not."""
        started_s = time.perf_counter()
        status, problem = None, None
        try:
            _judge(parse_target(url, self._reach), self._reach)
            status = await self._posted(url, body, headers)
        except (Malformed, ForbiddenAddress):
            problem = "forbidden_address"
        except TimeoutError:
            problem = "timeout"
        except aiohttp.ClientConnectorError as error:
            problem = _obstacle(error)
        except (aiohttp.ClientError, OSError, ValueError):
            problem = "broken_off"
        return Answer(status, problem, int((time.perf_counter() - started_s) * 1000))

    async def _posted(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        async with self._session.post(
            URL(url, encoded=True), data=body, headers={**_HEADERS, **headers}, allow_redirects=False
        ) as answer:
            await answer.content.read(_BODY_BYTES)
            if not answer.content.at_eof():
                answer.close()  # whatever else comes is not taken
            return answer.status

    def _socket(self, address: tuple[int, int, int, str, tuple[Any, ...]]) -> socket.socket:
        """Return a socket for *address*, the last thing before it is dialled. Raises ForbiddenAddress."""
        family, kind, protocol, _, place = address
        if not self._reach.allows(place[0]):
            raise ForbiddenAddress
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


def _judge(target: Target, reach: Reach) -> None:
    if target.literal is not None and not reach.allows(target.literal):
        raise ForbiddenAddress


def _obstacle(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error.os_error, ForbiddenAddress):
        return "forbidden_address"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "unresolvable"
    if isinstance(error, aiohttp.ClientSSLError):
        return "tls"
    return "no_connection"
