"""Signing in to the console, and the sessions that follow.

Whatever is wrong, the answer is the same and takes the same work: an unknown name, a disabled account, a
wrong passphrase, a wrong code, a code that was used. Failures lock the name that was given, whether anybody
has it or not, and the address that it came from; both are rows, so that a restart forgives nothing. A session
is 256 bits in a cookie, kept by its hash, and ends when its row does.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

from gateway.config import Console
from gateway.core.account import ACCOUNT_TRIES, ADDRESS_TRIES, FORGOTTEN_MS, Secrets, locked_ms
from gateway.core.custody import box_account, name_pseudonym
from gateway.core.entry import Draft
from gateway.core.errors import Misuse, Stale
from gateway.ports import Change
from gateway.rows import AccountRow, Row, SessionRow, SignInRow
from gateway.web.accounts import ACTIVE, Accounts, fresh_secret, secret_sha256
from gateway.web.context import Context
from keys import totp

_NOT_SIGNED_IN = "not_signed_in"
_SEEN_MS = 60_000
_MOST_GIVEN = 1000
_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS


@dataclass(frozen=True, slots=True)
class Given:
    """What somebody gave to sign in, and from where."""

    name: str
    passphrase: str
    code: str
    address: str


@dataclass(frozen=True, slots=True)
class Person:
    """Who is signed in, and by which session."""

    account: AccountRow
    session: SessionRow

    @property
    def roles(self) -> frozenset[str]:
        """What the person does here."""
        return frozenset(self.account.roles.split())


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions of one console."""

    context: Context
    accounts: Accounts

    async def sign_in(self, given: Given, replaced: str | None = None) -> str:
        """Return the secret of a new session; the one of *replaced* ends.

        Raises:
            Misuse: 403 `not_signed_in`, whatever was wrong; 429 `locked`.
        """
        if max(len(given.name), len(given.passphrase), len(given.code)) > _MOST_GIVEN:
            raise _refusal()
        store, now_ms = self.context.store, self.context.clock.now_ms()
        subjects = self._subjects(given)
        for subject in subjects:
            held = await store.get(SignInRow, subject)
            if held is not None and now_ms < held.until_ms:
                left_s = -(-(held.until_ms - now_ms) // 1000)
                text = "too many attempts failed: wait before the next one"
                raise Misuse(HTTPStatus.TOO_MANY_REQUESTS, "locked", text, retry_after_s=left_s)
        account = await store.get(AccountRow, given.name)
        active = account is not None and account.state == ACTIVE
        kept = self.accounts.secrets_of(account) if account is not None and active else None
        right = await self.accounts.passphrases.matches(kept.passphrase if kept else None, given.passphrase)
        used = _factor(account, kept, given.code, now_ms)
        if account is None or not right or used is None:
            await self._failed(account, subjects, now_ms)
            raise _refusal()
        return await self._opened(account, used, given.address, (subjects[0], replaced))

    async def recognise(self, secret: str) -> Person | None:
        """Return who is signed in by *secret*, if anybody still is."""
        store, now_ms = self.context.store, self.context.clock.now_ms()
        session = await store.get(SessionRow, secret_sha256(secret))
        if session is None or self._over(session, now_ms):
            return None
        account = await store.get(AccountRow, session.account)
        if account is None or account.state != ACTIVE:
            return None
        if now_ms - session.seen_ms >= _SEEN_MS:
            session = await self._seen(session, now_ms)
        return Person(account, session)

    async def end(self, person: Person, ended: Sequence[SessionRow]) -> None:
        """End sessions, on the word of *person*."""
        if ended:
            entry = _entry("session.ended", person.account.id)
            change = Change(name="session", entries=(entry,), deletes=tuple(ended))
            await self.context.store.record(change)

    async def lasting(self, name: str) -> list[SessionRow]:
        """Return the sessions of an account that have not ended, the newest first."""
        now_ms = self.context.clock.now_ms()
        found = [one for one in await self.accounts.sessions(name) if not self._over(one, now_ms)]
        return sorted(found, key=lambda one: (-one.created_ms, one.sha256))

    @property
    def _settings(self) -> Console:
        return self.context.settings.console

    def _subjects(self, given: Given) -> tuple[str, str]:
        return name_pseudonym(self.context.keyring().storage, given.name), given.address

    def _over(self, session: SessionRow, now_ms: int) -> bool:
        idle = now_ms - session.seen_ms >= self._settings.idle_minutes * _MINUTE_MS
        return idle or now_ms - session.created_ms >= self._settings.session_hours * _HOUR_MS

    async def _seen(self, session: SessionRow, now_ms: int) -> SessionRow:
        seen = replace(session, seen_ms=now_ms)
        with contextlib.suppress(Stale):  # another request of this session did it, or it ends just now
            await self.context.store.record(Change(name="session_seen", puts=(seen,)))
            return replace(seen, version=seen.version + 1)
        return session

    async def _failed(self, account: AccountRow | None, subjects: tuple[str, str], now_ms: int) -> None:
        """Count a failure against the name and the address, and log it: an unknown name stands for nobody.

        Each counts, of those that come at once too.
        """
        entry = _entry("session.refused", None if account is None else account.id, _NOT_SIGNED_IN)
        while True:
            puts = await self._counted(subjects, now_ms)
            with contextlib.suppress(Stale):  # another failure was counted meanwhile
                await self.context.store.record(Change(name="sign_in", entries=(entry,), puts=puts))
                break
        await self._sweep(now_ms)

    async def _counted(self, subjects: tuple[str, str], now_ms: int) -> tuple[SignInRow, ...]:
        puts = []
        for subject, tries in zip(subjects, (ACCOUNT_TRIES, ADDRESS_TRIES), strict=True):
            held = await self.context.store.get(SignInRow, subject)
            if held is None:
                held = SignInRow(subject=subject, version=0, failures=0, failed_ms=now_ms, until_ms=0)
            recent = held.failures if now_ms - held.failed_ms < FORGOTTEN_MS else 0
            failures = recent + 1
            until_ms = now_ms + locked_ms(failures, tries)
            puts.append(replace(held, failures=failures, failed_ms=now_ms, until_ms=until_ms))
        return tuple(puts)

    async def _opened(
        self, account: AccountRow, used: tuple[Secrets, int], address: str, over: tuple[str, str | None]
    ) -> str:
        """Record a session; what *over* names, failures of a name and an older session, ends."""
        store, now_ms, secret = self.context.store, self.context.clock.now_ms(), fresh_secret()
        session = SessionRow(
            sha256=secret_sha256(secret),
            version=0,
            account=account.name,
            created_ms=now_ms,
            seen_ms=now_ms,
            address=address,
        )
        (kept, step), (subject, replaced) = used, over
        box = box_account(self.context.keyring().storage, account.name, kept)
        changed = replace(account, step=step, wrapped_key=box.wrapped_key, ciphertext=box.ciphertext)
        found = [
            await store.get(SignInRow, subject),
            None if replaced is None else await store.get(SessionRow, secret_sha256(replaced)),
        ]
        ended: tuple[Row, ...] = tuple(row for row in found if row is not None)
        entry = _entry("session.opened", account.id)
        await store.record(Change(name="sign_in", entries=(entry,), puts=(changed, session), deletes=ended))
        await self._sweep(now_ms)
        return secret

    async def _sweep(self, now_ms: int) -> None:
        """Remove sessions that are over, and failures that do not count any more."""
        store = self.context.store
        rows: list[Row] = [one for one in await store.all(SessionRow) if self._over(one, now_ms)]
        rows += [one for one in await store.all(SignInRow) if now_ms - one.failed_ms >= FORGOTTEN_MS]
        if rows:
            with contextlib.suppress(Stale):  # the next attempt does it
                await store.record(Change(name="session_sweep", deletes=tuple(rows)))


def _factor(
    account: AccountRow | None, kept: Secrets | None, code: str, now_ms: int
) -> tuple[Secrets, int] | None:
    """Return what is kept, and the newest time step used, once *code* was; None if it is not good."""
    if account is None or kept is None:
        return None
    step = totp.step_of(kept.totp, code.replace(" ", ""), now_ms)
    if step is not None:
        return (kept, step) if step > account.step else None
    left = kept.without(code)
    return None if left is None else (left, account.step)


def _refusal() -> Misuse:
    text = "name, passphrase and code do not belong together, or the code was used already"
    return Misuse(HTTPStatus.FORBIDDEN, _NOT_SIGNED_IN, text)


def _entry(event: str, account: str | None, reason: str | None = None) -> Draft:
    outcome = "ok" if reason is None else "refused"
    return Draft(event=event, outcome=outcome, reason=reason, actor_ref=account)
