"""The client side of the hook: HTTP on the loopback or a Unix socket, with the standard library alone."""

import http.client
import json
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from typing_extensions import override

from gateway.core.errors import Flaw, GatewayFault, NotProved, Unavailable
from schemas.catalogues import DEFAULT

_TIMEOUT_S = 60
_CHUNK = 1 << 20
_PAGE = 200  # items of one answer
_NEXT_PAGE = re.compile(r'<([^>]*)>; *rel="next"')
_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - dialled, not bound
_NEXT = {
    http.client.UNAUTHORIZED: " (the token in cli.token is not one that this node accepts)",
    http.client.FORBIDDEN: " (the token in cli.token, or hook.socket_scopes, lacks the scope for this)",
}


class Unreachable(Unavailable):
    """The node cannot be reached (exit 3)."""


class BrokenOff(NotProved):
    """The node ended an answer before its end: what was promised could not be compared (exit 4)."""


class Refused(GatewayFault):
    """The node said no (exit 1).

    Attributes:
        status: the HTTP status.
        code: the last part of the problem's `type`.
        flaws: the places where the document is wrong.
        problem: the whole problem document.
    """

    def __init__(self, status: int, problem: Mapping[str, object]) -> None:
        told = problem.get("detail") or problem.get("title") or http.client.responses.get(status, "refused")
        incident = problem.get("incident")
        text = f"{told} (incident {incident} in the node's log)" if incident else str(told)
        super().__init__(text + _NEXT.get(status, ""))
        self.status = status
        self.code = str(problem.get("type", "")).rpartition(":")[2]
        self.problem = dict(problem)
        errors = problem.get("errors")
        self.flaws = tuple(
            Flaw(str(each.get("pointer", "")), str(each.get("detail", "")))
            for each in (errors if isinstance(errors, list) else [])
            if isinstance(each, dict)
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What the node answered: status 2xx, its headers in lower case, and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> dict[str, object]:
        """Return the body as a JSON object."""
        document = json.loads(self.body)
        if not isinstance(document, dict):
            raise Refused(self.status, {"title": "the node answered with something else than an object"})
        return document


@dataclass(frozen=True, slots=True)
class Streamed:
    """An answer whose body is read in pieces."""

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Hook:
    """The hook of a running node, which tells in *language*.

    It is at *host* and *port*, under a bearer token; or, with *local*, at that Unix socket, without one.
    """

    host: str
    port: int
    token: str = field(repr=False)
    language: str = DEFAULT
    local: str = ""

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return f"unix:{self.local}" if self.local else f"http://{self.host}:{self.port}"

    def ask(
        self,
        method: str,
        path: str,
        *,
        document: object = None,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, object] | None = None,
    ) -> Answer:
        """Return the answer to one request.

        *path* is below `/v1`; *document* is sent as JSON; a *body* in pieces needs its Content-Length
        among the *headers*; members of *query* that are None or empty are left out.

        Raises:
            Unreachable: no connection, or none that lasted.
            Refused: a status of 4xx or 5xx.
        """
        sent = dict(headers or {})
        if document is not None:
            body = json.dumps(document, ensure_ascii=False).encode()
            sent["Content-Type"] = "application/json"
        with self._exchange(method, path, body, sent, query) as response, self._reached():
            return Answer(response.status, _headers(response), response.read())

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Streamed]:
        """Give the answer to a GET, its body in pieces. Raises as `ask`, and BrokenOff while it is read."""
        with self._exchange("GET", path, None, headers or {}, query) as response:
            yield Streamed(response.status, _headers(response), _pieces(response))

    def get(self, *parts: str, query: Mapping[str, object] | None = None) -> dict[str, object]:
        """Return the JSON object under the path of *parts*, each quoted."""
        return self.ask("GET", path_of(*parts), query=query).document()

    def items(
        self, *parts: str, query: Mapping[str, object] | None = None, limit: int | None = None
    ) -> list[dict[str, object]]:
        """Return the items of a list, page after page, at most *limit* of them."""
        found: list[dict[str, object]] = []
        asked = {**(query or {}), "limit": limit and min(limit, _PAGE)}
        while True:
            answer = self.ask("GET", path_of(*parts), query=asked)
            items = answer.document()["items"]
            found += items if isinstance(items, list) else []
            following = _NEXT_PAGE.fullmatch(answer.headers.get("link", ""))
            if following is None or (limit is not None and len(found) >= limit):
                return found[:limit]
            asked = dict(parse_qsl(urlsplit(following[1]).query))

    def post(self, *parts: str, document: object = None, query: Mapping[str, object] | None = None) -> Answer:
        """Return the answer to a POST to the path of *parts*."""
        return self.ask("POST", path_of(*parts), document=document, query=query, body=b"")

    def _authorization(self) -> Mapping[str, str]:
        return {} if self.local else {"Authorization": f"Bearer {self.token}"}

    def _connection(self) -> http.client.HTTPConnection:
        if self.local:
            return _LocalConnection(self.local)
        return http.client.HTTPConnection(_ANY.get(self.host, self.host), self.port, timeout=_TIMEOUT_S)

    @contextmanager
    def _exchange(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None,
        headers: Mapping[str, str],
        query: Mapping[str, object] | None,
    ) -> Iterator[http.client.HTTPResponse]:
        chosen = {name: value for name, value in (query or {}).items() if value not in (None, "")}
        target = f"/v1{path}" + (f"?{urlencode(chosen)}" if chosen else "")
        own = {"Accept-Language": self.language, **self._authorization()}
        connection = self._connection()
        try:
            with self._reached():
                response = _answer(connection, method, target, body, {**own, **headers})
                if response.status >= http.client.BAD_REQUEST:
                    _refuse(response)
            yield response
        finally:
            connection.close()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(
                f"no answer from {self.address}: {_reason(error)}. Is the node running? art18 run starts it."
            ) from None


class _LocalConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    @override
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(self._path)


def path_of(*parts: str) -> str:
    """Return *parts* as a path, so that an id can never leave its place."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _answer(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | Iterable[bytes] | None,
    headers: Mapping[str, str],
) -> http.client.HTTPResponse:
    """Return the answer, one that came before the body was taken too."""
    try:
        connection.request(method, target, body, dict(headers))
    except (BrokenPipeError, ConnectionResetError):
        if connection.sock is None:
            raise
    return connection.getresponse()


def _pieces(response: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while piece := response.read(_CHUNK):
            yield piece
    except (OSError, http.client.HTTPException):
        raise BrokenOff("the node broke off before the end") from None
    if response.length:
        raise BrokenOff("the node broke off before the end")


def _headers(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _refuse(response: http.client.HTTPResponse) -> NoReturn:
    try:
        problem = json.loads(response.read())
    except ValueError:
        problem = None
    raise Refused(response.status, problem if isinstance(problem, dict) else {})
