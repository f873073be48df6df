"""The errors of the gateway, by whose doing they are.

Expected outcomes (a duplicate, an expired message, a refusal) are values, not exceptions.
No text here may carry case content, a file name or key bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class GatewayFault(Exception):
    """The root of every error that the gateway raises on purpose."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """One place where a document is wrong: a JSON pointer, and what is expected there."""

    pointer: str
    detail: str


class Malformed(GatewayFault):
    """Bytes that are not in the one accepted form; says which rule, never the bytes."""


class NotProved(GatewayFault):
    """A receipt, proof or card does not show what it should."""


class Untrusted(NotProved):
    """A signature is missing, wrong, or by a key that is not pinned."""


class NotIncluded(NotProved):
    """The proof does not lead from the entry to the checkpoint."""


class WrongSubject(NotProved):
    """Sound in itself, but about something else."""


class PeerFault(GatewayFault):
    """The peer's request cannot be served: an unsigned, retryable answer (protocol §8).

    Attributes:
        status: the HTTP status.
        code: from the closed list `schemas/codes.json`.
        retry_after_s: seconds for `Retry-After`, or None.
        members: further members of the problem document (`missing`, say).
    """

    def __init__(
        self,
        status: int,
        code: str,
        *,
        retry_after_s: int | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s
        self.members = dict(members or {})


class Unavailable(GatewayFault):
    """This cannot be done now and can be tried again later (503).

    Attributes:
        retry_after_s: seconds after which to try again.
    """

    def __init__(self, text: str, *, retry_after_s: int = 5) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class Damaged(GatewayFault):
    """What this node keeps is not as it was kept: for its operator to look into (500).

    Attributes:
        code: the last part of the problem's `type`.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Misuse(GatewayFault):
    """Our caller's mistake; becomes a problem document with a 4xx status.

    Attributes:
        status: the HTTP status.
        code: the stable last part of the problem's `type`.
        flaws: the places where the caller's document is wrong.
        retry_after_s: seconds for `Retry-After`, or None.
        members: further members of the problem document.
    """

    def __init__(
        self,
        status: int,
        code: str,
        text: str,
        *,
        flaws: Sequence[Flaw] = (),
        retry_after_s: int | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.flaws = tuple(flaws)
        self.retry_after_s = retry_after_s
        self.members = dict(members or {})


class Misconfigured(GatewayFault):
    """The node cannot start as it is set up; names the key or file to mend (exit 5)."""


class Stale(GatewayFault):
    """A row that a change was judged on has moved since: read again and decide again."""
