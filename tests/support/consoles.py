"""The console of an authority over real HTTP and a real store, and people who sign in there."""

import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from gateway.core.account import Role
from gateway.core.card import Card
from gateway.web.accounts import Accounts
from gateway.web.console.door import console_app
from gateway.web.console.entrance import SESSIONS
from keys import totp
from keys.passwords import LEAST
from tests.support.hooks import Hook, open_hook

SAME = {"Sec-Fetch-Site": "same-origin"}
PASSPHRASE = "correct horse battery staple"  # noqa: S105 - of people who exist in tests alone
STEP_MS = 30_000


@dataclass
class Console:
    """The console, beside the hook of the same authority."""

    hook: Hook
    client: TestClient

    @property
    def accounts(self) -> Accounts:
        return self.client.app[SESSIONS].accounts

    async def invite(self, name: str, *roles: Role) -> str:
        """Return the secret part of a new account's link."""
        return (await self.accounts.create(name, roles, "a-token")).link

    async def enrol(self, name: str, *roles: Role) -> list[str]:
        """Set an account up; return its recovery codes."""
        link = await self.invite(name, *roles)
        codes = (await self.accounts.enrol(link, PASSPHRASE, await self.code(name)))[1]
        self.hook.clock.time_ms += STEP_MS
        return list(codes)

    async def code(self, name: str) -> str:
        """Return what the app of *name* shows now."""
        secret = self.accounts.secrets_of(await self.accounts.find(name)).totp
        return totp.code_at(secret, self.hook.clock.time_ms // STEP_MS)

    async def sign_in(self, name: str, **given: str) -> ClientResponse:
        """Sign *name* in with the right passphrase and code, unless others are given."""
        form = {"name": name, "passphrase": PASSPHRASE, **given}
        if "code" not in form:
            form["code"] = await self.code(name)
        return await self.post("/sign-in", form)

    async def post(self, path: str, form: dict[str, str] | None = None, **headers: str) -> ClientResponse:
        return await self.client.post(path, data=form or {}, headers=headers or SAME, allow_redirects=False)

    async def get(self, path: str) -> ClientResponse:
        return await self.client.get(path, allow_redirects=False)

    async def text(self, path: str) -> str:
        answer = await self.get(path)
        assert answer.status == 200, (path, answer.status)
        return re.sub(r"\s+", " ", await answer.text())


@contextlib.asynccontextmanager
async def open_console(
    folder: Path, *, peers: tuple[Card, ...] | None = None, **settings: object
) -> AsyncIterator[Console]:
    """Open hook and console of US; *peers* as for the hook, *settings* are those of the console."""
    async with open_hook(folder, peers=peers) as hook:
        chosen = hook.context.settings.console.model_copy(update=settings)
        changed = hook.context.settings.model_copy(update={"console": chosen})
        app = console_app(replace(hook.context, settings=changed), LEAST)
        async with TestClient(TestServer(app)) as client:
            yield Console(hook, client)
