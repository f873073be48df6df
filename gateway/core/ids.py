"""The names of things (protocol §2), each parsed once into its own type."""

import re
from typing import NewType

from gateway.core.errors import Malformed

AuthorityId = NewType("AuthorityId", str)
"""An authority: ISO 3166 code, a dot, a slug; at most 64 characters: `qm.moj`."""
MessageId = NewType("MessageId", str)
"""A message: UUID version 4, lower case."""
CaseId = NewType("CaseId", str)
"""A case: UUID version 4, minted by the sender of its first message."""
Digest = NewType("Digest", str)
"""SHA-256, 64 lower-case hex digits."""

_AUTHORITY = re.compile(r"[a-z]{2}(-[a-z0-9]{1,3})?\.[a-z0-9]+(-[a-z0-9]+)*")
_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_AUTHORITY_MAX = 64


def parse_authority(text: object) -> AuthorityId:
    """Return *text* as an authority id. Raises Malformed."""
    if not isinstance(text, str) or len(text) > _AUTHORITY_MAX or not _AUTHORITY.fullmatch(text):
        raise Malformed("an authority id looks like qm.moj")
    return AuthorityId(text)


def parse_message_id(text: object) -> MessageId:
    """Return *text* as a message id. Raises Malformed."""
    return MessageId(_uuid4(text, "a message id"))


def parse_case_id(text: object) -> CaseId:
    """Return *text* as a case id. Raises Malformed."""
    return CaseId(_uuid4(text, "a case id"))


def parse_digest(text: object) -> Digest:
    """Return *text* as a SHA-256 digest. Raises Malformed."""
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise Malformed("a digest is 64 lower-case hex digits")
    return Digest(text)


def _uuid4(text: object, what: str) -> str:
    if not isinstance(text, str) or not _UUID4.fullmatch(text):
        raise Malformed(f"{what} is a UUID version 4 in lower case")
    return text
