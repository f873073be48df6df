"""Codes of authenticator apps: TOTP (RFC 6238) with SHA-1, six digits and thirty seconds, as all of them do.

Why this is safe. SHA-1's collisions do not bear on HMAC, and a code is worth a minute and a half. What is
left is guessing: a million codes, which the caller bounds (core.account), and use of a code that was
overseen, which the caller bars by remembering the step that is returned here.
"""

import base64
import hmac
import secrets
from urllib.parse import quote, urlencode

SECRET_BYTES = 20
_STEP_MS = 30_000
_DIGITS = 6
_DRIFT = (-1, 0, 1)


def fresh_secret() -> bytes:
    """Return a new secret, of the length that RFC 4226 §4 recommends."""
    return secrets.token_bytes(SECRET_BYTES)


def code_at(secret: bytes, step: int) -> str:
    """Return the code of a time *step* (RFC 4226 §5.3)."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**_DIGITS:0{_DIGITS}}"


def step_of(secret: bytes, code: str, now_ms: int) -> int | None:
    """Return the time step whose code *code* is, a step before or after *now_ms* too; None if it is of none.

    Every step is compared, whichever it is, in constant time.
    """
    now, found = now_ms // _STEP_MS, None
    for step in (now + drift for drift in _DRIFT):
        if hmac.compare_digest(code_at(secret, step).encode(), code.encode("utf-8", "surrogateescape")):
            found = step
    return found


def shown(secret: bytes) -> str:
    """Return *secret* as people type it into an app."""
    return base64.b32encode(secret).decode("ascii")


def provisioning_uri(secret: bytes, *, issuer: str, account: str) -> str:
    """Return what an app reads from a QR code."""
    label = quote(f"{issuer}:{account}", safe="")
    return f"otpauth://totp/{label}?{urlencode({'secret': shown(secret), 'issuer': issuer}, quote_via=quote)}"
