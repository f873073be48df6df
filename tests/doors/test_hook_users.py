"""Accounts of the console at the hook: made, listed, reset and disabled by an administrator."""

import json

import pytest

from gateway.rows import AccountRow
from tests.support.hooks import open_hook


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


async def add(hook, name="a.haddad", roles=("viewer", "officer")):
    return await hook("POST", "/users", {"name": name, "roles": list(roles)})


async def test_an_account_is_made_with_a_link_that_is_shown_once(hook):
    made = await add(hook)
    assert made.status == 201
    assert made.json["roles"] == ["officer", "viewer"]
    assert made.json["state"] == "invited"
    base, _, link = made.json["link"].rpartition("/")
    assert base == "http://127.0.0.1:8490/welcome"
    (row,) = await hook.store.all(AccountRow)
    assert link not in repr(row)
    assert link not in repr(await hook("GET", "/users"))
    entry = await hook.last()
    assert (entry["event"], entry["user_ref"]) == ("user.created", row.id)
    assert "haddad" not in json.dumps(entry), "entries name nobody"


async def test_a_name_is_taken_once(hook):
    await add(hook)
    before = hook.counts()
    again = await add(hook)
    assert (again.status, again.json["code"]) == (409, "exists")
    assert hook.counts() == before


@pytest.mark.parametrize(
    "document", [{"name": "A", "roles": ["viewer"]}, {"name": "ab", "roles": ["root"]}, {"name": "ab"}]
)
async def test_what_is_no_account_is_refused(hook, document):
    before = hook.counts()
    assert (await hook("POST", "/users", document)).status == 400
    assert hook.counts() == before


async def test_a_reset_replaces_the_link_and_a_disabled_account_has_none(hook):
    first = (await add(hook)).json
    second = await hook("POST", "/users/a.haddad/reset")
    assert second.status == 200
    assert second.json["link"] != first["link"]
    disabled = await hook("POST", "/users/a.haddad/disable")
    assert (disabled.json["state"], disabled.json["link_expires"]) == ("disabled", None)
    (row,) = await hook.store.all(AccountRow)
    assert row.ciphertext == b""
    before = hook.counts()
    assert (await hook("POST", "/users/a.haddad/disable")).json == disabled.json
    assert hook.counts() == before
    assert (await hook("GET", "/users")).json["items"] == [disabled.json]


@pytest.mark.parametrize("what", ["reset", "disable"])
async def test_nobody_has_an_unknown_name(hook, what):
    assert (await hook("POST", f"/users/nobody/{what}")).status == 404
