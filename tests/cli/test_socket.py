"""The Unix socket of a real node: the command line needs no token, through a kill and a stop."""

import asyncio
import json
import os
from pathlib import Path

from tests.support.nodes import Node, Place, art18, set_up


def with_socket(folder: Path) -> Place:
    place = set_up(folder, "qm.moj")
    config = folder / "config.toml"
    config.write_text(config.read_text().replace('# socket = ""', 'socket = "hook.sock"'))
    return place


async def test_the_command_line_comes_in_by_the_socket(tmp_path: Path):
    place = with_socket(tmp_path / "qm")
    socket, asked = place.folder / "hook.sock", ("--config", place.config, "--output", "json")

    def made(name: str, *words: str) -> dict:
        return json.loads(art18("token", "create", "--scope", "audit:read", "--name", name, *words, *asked))

    node = await Node.started(place)
    assert f"ready socket unix:{socket}" in (place.folder / "node.ready").read_text()
    (place.folder / "cli.token").unlink()
    first = await asyncio.to_thread(made, "registry", "--expires", "30")
    assert first["expires"] > first["created"]
    entries = json.loads(await asyncio.to_thread(art18, "audit", "list", "--event", "token.created", *asked))
    assert entries["items"][-1]["actor_ref"] == f"unix:{os.getuid()}"

    os.kill(node.pid, 9)
    await node.died()
    assert socket.is_socket(), "what a killed node leaves"
    node = await Node.started(place)
    second = await asyncio.to_thread(made, "archive")
    await asyncio.to_thread(art18, "token", "revoke", second["id"], *asked)
    listed = await asyncio.to_thread(art18, "token", "list", "--config", place.config)
    states = {line.split()[1]: line for line in listed.splitlines()}
    assert " good " in states["registry"]
    assert " revoked " in states["archive"]
    assert await node.stop() == 0
    assert not socket.exists()
