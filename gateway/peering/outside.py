"""A witness that is no peer: C2SP tlog-witness by URL, its keys from our own settings.

What it is shown, a checkpoint and a consistency proof, is no secret. No redirects are followed, and its
cosignature is verified under its configured keys, so that the way there need not be trusted.
"""

import aiohttp

from gateway.peering.replies import PeerUnavailable, Raw, WitnessReply, witness_reply_of

_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=10)
_MAX_BYTES = 256 * 1024


async def add_checkpoint(url: str, submission: bytes) -> WitnessReply:
    """Ask the witness whose submission prefix is *url* to cosign. Raises PeerUnavailable."""
    try:
        async with (
            aiohttp.ClientSession(
                timeout=_TIMEOUT, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
            session.post(
                f"{url.rstrip('/')}/add-checkpoint",
                data=submission,
                headers={"Content-Type": "text/plain", "Accept-Encoding": "identity"},
                allow_redirects=False,
            ) as answer,
        ):
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise PeerUnavailable("too_large_answer")
            return witness_reply_of(Raw(answer.status, bytes(body), answer.headers))
    except TimeoutError:
        raise PeerUnavailable("timeout") from None
    except (aiohttp.ClientError, OSError):
        raise PeerUnavailable("unreachable") from None
