"""Accounts of the console: made, set up by their person over a one-time link, reset, disabled.

The link is 256 bits from the operating system, so that a plain SHA-256 of it can rest. Until its person has
set a passphrase and shown a code, nobody can sign in; there is no other way to a passphrase, and none that
somebody else has chosen.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

from gateway.config import Console
from gateway.core.account import LINK_MS, Role, Secrets, check_passphrase, recovery_sha256
from gateway.core.custody import box_account, open_account
from gateway.core.entry import Draft
from gateway.core.errors import Flaw, Misuse
from gateway.core.ids import Digest
from gateway.ports import Change
from gateway.rows import AccountRow, SessionRow
from gateway.web.context import Context
from gateway.web.passphrases import Passphrases
from keys import totp
from keys.rest import Box

INVITED, ACTIVE, DISABLED = "invited", "active", "disabled"

_LINK_BYTES = 32
_RECOVERY_CODES = 10
_RECOVERY_BYTES = 10
_GROUP = 4


@dataclass(frozen=True, slots=True)
class Invitation:
    """An account, and the one-time link's secret part, which is kept nowhere."""

    row: AccountRow
    link: str

    def address(self, console: Console) -> str:
        """Return the link as a browser opens it."""
        return f"{console.address}/welcome/{self.link}"


def secret_sha256(secret: str) -> Digest:
    """Return the hash under which a link or a session is kept."""
    return Digest(hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest())


def fresh_secret() -> str:
    """Return 256 bits for a link or a session."""
    return secrets.token_urlsafe(_LINK_BYTES)


def box_of(row: AccountRow) -> Box:
    """Return the sealed secrets of an account."""
    return Box(row.wrapped_key, row.ciphertext)


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts of one authority."""

    context: Context
    passphrases: Passphrases

    async def create(self, name: str, roles: Sequence[Role], actor_ref: str) -> Invitation:
        """Make an account. Raises Misuse: 409 `exists`."""
        if await self.context.store.get(AccountRow, name) is not None:
            raise Misuse(HTTPStatus.CONFLICT, "exists", "there is an account of this name")
        now_ms = self.context.clock.now_ms()
        row = AccountRow(
            name=name,
            version=0,
            id=self.context.entropy.uuid4(),
            roles=" ".join(roles),
            state=INVITED,
            created_ms=now_ms,
            changed_ms=now_ms,
            wrapped_key=b"",
            ciphertext=b"",
        )
        return await self._invited(row, "user.created", actor_ref)

    async def reset(self, name: str, actor_ref: str) -> Invitation:
        """Give a person a new link: what was set, and every session, ends. Raises Misuse."""
        return await self._invited(await self.find(name), "user.reset", actor_ref)

    async def disable(self, name: str, actor_ref: str) -> AccountRow:
        """End an account, until it is reset; done again, it changes nothing. Raises Misuse."""
        row = await self.find(name)
        if row.state == DISABLED:
            return row
        changed = replace(
            row,
            state=DISABLED,
            changed_ms=self.context.clock.now_ms(),
            wrapped_key=b"",
            ciphertext=b"",
            link_sha256=None,
            link_until_ms=None,
        )
        await self._record(changed, _entry("user.disabled", row, actor_ref), await self.sessions(name))
        return changed

    async def find(self, name: str) -> AccountRow:
        """Return the account of *name*. Raises Misuse: 404."""
        row = await self.context.store.get(AccountRow, name)
        if row is None:
            raise Misuse(HTTPStatus.NOT_FOUND, "not_found", "there is no such account")
        return row

    async def sessions(self, name: str) -> list[SessionRow]:
        """Return the sessions of an account, those that have ended by themselves too."""
        return [one for one in await self.context.store.all(SessionRow) if one.account == name]

    async def invited(self, link: str) -> AccountRow:
        """Return the account that *link* is for. Raises Misuse: 404, of an old link too."""
        digest, now_ms, found = secret_sha256(link), self.context.clock.now_ms(), None
        for row in await self.context.store.all(AccountRow):
            waits = row.link_until_ms is not None and now_ms < row.link_until_ms
            if row.link_sha256 is not None and hmac.compare_digest(row.link_sha256, digest) and waits:
                found = row
        if found is None:
            raise Misuse(
                HTTPStatus.NOT_FOUND, "no_link", "this link was used, is too old, or was replaced by another"
            )
        return found

    def secrets_of(self, row: AccountRow) -> Secrets:
        """Return what the person of *row* signs in with."""
        return open_account(self.context.keyring().storage, row.name, box_of(row))

    async def enrol(self, link: str, passphrase: str, code: str) -> tuple[AccountRow, Sequence[str]]:
        """Set what a person signs in with, and use the link up.

        Recovery codes are returned, which are kept nowhere.

        Raises:
            Misuse: 404 no such link; 422 `weak_passphrase`, `wrong_code`.
        """
        row = await self.invited(link)
        check_passphrase(passphrase, row.name)
        found = self.secrets_of(row)
        now_ms = self.context.clock.now_ms()
        step = totp.step_of(found.totp, code, now_ms)
        if step is None or step <= row.step:
            text = "this is not the code that the app shows now"
            raise Misuse(422, "wrong_code", text, flaws=[Flaw("/code", text)])
        digested = await self.passphrases.digest(passphrase)
        codes = [_recovery_code() for _ in range(_RECOVERY_CODES)]
        kept = replace(found, passphrase=digested, recovery=tuple(map(recovery_sha256, codes)))
        changed = self._sealed(
            replace(row, state=ACTIVE, changed_ms=now_ms, step=step, link_sha256=None, link_until_ms=None),
            kept,
        )
        await self._record(changed, _entry("user.enrolled", row, row.id), ())
        return replace(changed, version=changed.version + 1), codes

    async def _invited(self, row: AccountRow, event: str, actor_ref: str) -> Invitation:
        link, now_ms = fresh_secret(), self.context.clock.now_ms()
        fresh = replace(
            row,
            state=INVITED,
            changed_ms=now_ms,
            link_sha256=secret_sha256(link),
            link_until_ms=now_ms + LINK_MS,
            step=0,
        )
        changed = self._sealed(fresh, Secrets(totp=totp.fresh_secret()))
        await self._record(changed, _entry(event, row, actor_ref), await self.sessions(row.name))
        return Invitation(changed, link)

    def _sealed(self, row: AccountRow, found: Secrets) -> AccountRow:
        box = box_account(self.context.keyring().storage, row.name, found)
        return replace(row, wrapped_key=box.wrapped_key, ciphertext=box.ciphertext)

    async def _record(self, row: AccountRow, entry: Draft, ended: Sequence[SessionRow]) -> None:
        change = Change(name="account", entries=(entry,), puts=(row,), deletes=tuple(ended))
        await self.context.store.record(change)


def _entry(event: str, row: AccountRow, actor_ref: str) -> Draft:
    return Draft(event=event, outcome="ok", actor_ref=actor_ref, extra=(("user_ref", row.id),))


def _recovery_code() -> str:
    text = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode("ascii").lower()
    return "-".join(text[begin : begin + _GROUP] for begin in range(0, len(text), _GROUP))
