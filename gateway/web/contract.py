"""The contract of the hook, served by the node itself: as a document, and as a page for people.

Both are the same for every node and tell nothing of this one, so that they need no token: who may
not ask anything yet can read how to ask.
"""

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from aiohttp import web

from schemas.contract import MEDIA_TYPE, document

_STYLE = re.compile("<style>(.*?)</style>", re.DOTALL)
_POLICY = "default-src 'none'; style-src {}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


async def openapi(_request: web.Request) -> web.Response:
    """Give the contract with all that it refers to (OpenAPI 3.1)."""
    return web.Response(text=document(), content_type=MEDIA_TYPE)


async def page(_request: web.Request) -> web.Response:
    """Show the contract; the one thing that the page may load is the style that it holds."""
    text, policy = _page()
    return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": policy})


@cache
def _page() -> tuple[str, str]:
    """Return the page, and the policy under which a browser shows it."""
    text = (files("schemas") / "openapi.html").read_text(encoding="utf-8")
    styles = [
        base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in _STYLE.findall(text)
    ]
    return text, _POLICY.format(" ".join(f"'sha256-{digest}'" for digest in styles))
