"""The Unix socket: whose it is, what stands in its way, and who comes in through it."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from gateway.app.doors import Door
from gateway.app.local_socket import LocalSocket
from gateway.cli.hook import Hook as Client
from gateway.cli.hook import Refused, Unreachable
from gateway.config import Hook as HookSettings
from gateway.core.errors import Misconfigured
from gateway.web.hook import hook_app
from gateway.web.tokens import Scope
from tests.support.hooks import Hook, draft, open_hook

ME = f"unix:{os.getuid()}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


async def served(hook: Hook, path: Path, mode: int = 0o600) -> Door:
    door = await Door.opened(hook_app(hook.context), "hook", "127.0.0.1", 0, drain_s=1)
    await door.open_socket(path, mode)
    return door


@pytest.fixture
async def hook(folder: Path) -> AsyncIterator[Hook]:
    async with open_hook(folder) as hook:
        yield hook


async def test_who_can_open_it_needs_no_token_and_is_named_in_the_log(hook, folder):
    door = await served(hook, folder / "hook.sock", 0o660)
    assert stat.S_IMODE((folder / "hook.sock").stat().st_mode) == 0o660
    assert [name for name, _ in door.addresses] == ["hook", "socket"]
    client = Client("127.0.0.1", 1, "", local=str(folder / "hook.sock"))
    said = await asyncio.to_thread(lambda: client.post("messages", document=draft()).document())
    (entry,) = await hook.logged(str(said["id"]))
    assert entry["actor_ref"] == ME
    await asyncio.to_thread(client.get, "tokens")
    await door.close()
    assert not (folder / "hook.sock").exists()
    with pytest.raises(Unreachable, match="unix:"):
        await asyncio.to_thread(client.get, "tokens")


async def test_the_port_beside_it_still_needs_a_token(hook, folder):
    door = await served(hook, folder / "hook.sock")
    async with aiohttp.ClientSession() as session, session.get(f"{door.addresses[0][1]}/v1/cases") as answer:
        assert answer.status == 401
    await door.close()


async def test_a_token_counts_on_the_socket_too(hook, folder):
    door = await served(hook, folder / "hook.sock")
    token = await hook.bearer(Scope.READ)
    connector = aiohttp.UnixConnector(str(folder / "hook.sock"))
    async with aiohttp.ClientSession(connector=connector) as session:
        for bearer, path, status in (
            (token, "cases", 200),
            (token, "tokens", 403),
            ("art18_nobody", "cases", 401),
        ):
            headers = {"Authorization": f"Bearer {bearer}"}
            async with session.get(f"http://localhost/v1/{path}", headers=headers) as answer:
                assert answer.status == status
    await door.close()


async def test_its_scopes_can_be_narrowed(folder):
    settings = HookSettings(socket_scopes=("messages:read",))
    async with open_hook(folder, settings=settings) as hook:
        door = await served(hook, folder / "hook.sock")
        client = Client("127.0.0.1", 1, "", local=str(folder / "hook.sock"))
        assert await asyncio.to_thread(client.get, "cases") == {"items": []}
        with pytest.raises(Refused, match="socket_scopes") as refused:
            await asyncio.to_thread(client.get, "tokens")
        assert refused.value.problem["scope"] == "admin"
        await door.close()


# -- the file


def test_what_a_killed_process_left_is_replaced(folder):
    path = folder / "hook.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    found = LocalSocket.bound(path, 0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found.remove()
    assert not path.exists()
    found.socket.close()


def test_nobody_can_connect_before_it_has_its_mode(folder):
    found = LocalSocket.bound(folder / "hook.sock", 0o600)
    with socket.socket(socket.AF_UNIX) as early, pytest.raises(ConnectionRefusedError):
        early.connect(str(folder / "hook.sock"))
    found.socket.close()


def test_a_socket_that_is_served_is_left_alone(folder):
    path = folder / "hook.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(Misconfigured, match="another process answers"):
            LocalSocket.bound(path, 0o600)
        assert path.is_socket()


def test_another_file_is_never_removed(folder):
    path = folder / "hook.sock"
    path.write_text("kept")
    with pytest.raises(Misconfigured, match="something else"):
        LocalSocket.bound(path, 0o600)
    assert path.read_text() == "kept"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_that_others_may_write_to_is_refused(folder, mode):
    (folder / "open").mkdir()
    (folder / "open").chmod(mode)
    with pytest.raises(Misconfigured, match="chmod go-w"):
        LocalSocket.bound(folder / "open" / "hook.sock", 0o600)


def test_a_path_that_is_too_long_or_nowhere_is_told(folder):
    with pytest.raises(Misconfigured, match="107 bytes"):
        LocalSocket.bound(folder / ("x" * 108), 0o600)
    with pytest.raises(Misconfigured, match="cannot be had"):
        LocalSocket.bound(folder / "none" / "s", 0o600)


def test_what_another_process_has_put_there_is_not_removed(folder):
    found = LocalSocket.bound(folder / "hook.sock", 0o600)
    (folder / "hook.sock").unlink()
    other = LocalSocket.bound(folder / "hook.sock", 0o600)
    found.remove()
    assert (folder / "hook.sock").is_socket()
    for one in (found, other):
        one.socket.close()


@pytest.mark.parametrize("mode", ["0666", "0604", "777", "0o600", "600 ", "0060", ""])
def test_a_mode_that_lets_everybody_in_is_no_mode(mode):
    with pytest.raises(ValueError, match="socket_mode"):
        HookSettings(socket_mode=mode)


def test_the_scopes_of_the_socket_are_those_of_tokens():
    assert set(HookSettings().socket_scopes) == {scope.value for scope in Scope}
    assert json.dumps(HookSettings(socket_mode="660").socket_permissions) == str(0o660)
