"""Signatures on webhooks: Standard Webhooks 1.0, symmetric (`v1`).

Why this is safe. A signature is HMAC-SHA256 under 32 fresh random bytes that only the webhook's receiver
and this node's store have; it covers the id, the time in seconds and the exact body. None of the ids
and times contains a full stop, so that the three parts cannot be cut in another way. While a secret is
replaced both sign, so that a receiver can change over at any moment; the older one then ends.
"""

import base64
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

SECRET_BYTES = 32

_PREFIX = "whsec_"


def new_secret() -> bytes:
    """Return a fresh secret."""
    return secrets.token_bytes(SECRET_BYTES)


def secret_text(secret: bytes) -> str:
    """Return *secret* as receivers get it: `whsec_` and base64."""
    return _PREFIX + base64.b64encode(secret).decode("ascii")


def sign_webhook(secrets_: Sequence[bytes], webhook_id: str, time_s: int, body: str) -> str:
    """Return the value of `webhook-signature`: one signature for each of the secrets."""
    # The library replaces the time zone by UTC, so it has to be UTC already.
    time = datetime.fromtimestamp(time_s, tz=UTC)
    return " ".join(Webhook(secret).sign(webhook_id, time, body) for secret in secrets_)
