"""A draft becomes a message on its way: signed, sealed, and durable in one transaction (protocol §8).

The decision is taken on the case as it was read, and again when the case has moved meanwhile.
For a new case without attachments nothing is read at all: ids are fresh, and that an
Idempotency-Key was used before shows when the transaction collides with its row.
"""

import asyncio
from dataclasses import dataclass, replace
from http import HTTPStatus

from gateway.core import case as cases
from gateway.core import custody, delivery
from gateway.core.case import History, NotAllowed
from gateway.core.entry import Draft
from gateway.core.envelope import Content, Envelope, Header, build_envelope, encode_content
from gateway.core.errors import Flaw, Malformed, Misuse, Stale, Unavailable
from gateway.core.findings import Finding, findings, to_json
from gateway.core.ids import CaseId, Digest, MessageId
from gateway.core.message import SignedMessage
from gateway.core.strict import parse_object, sha256
from gateway.peering.directory import PinnedPeer
from gateway.peering.settlement import delivery_of, move_case, newest_links, open_case
from gateway.ports import (
    THIS_ENTRY,
    CaseRow,
    Change,
    ContentRow,
    Direction,
    EnvelopeRow,
    IdempotencyRow,
    MessageFilter,
    MessageRow,
    Row,
    UploadRow,
)
from gateway.web.context import Context
from gateway.web.documents import encode
from gateway.web.drafts import Frame, MessageDraft, parse_draft, signed
from keys.rest import Box

_TRIES = 16
_DAY_MS = 24 * 3600 * 1000
_MAX_KEY = 255
