"""`art18 erase` and `art18 hold`, against a hook in this process."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from gateway.cli.program import art18
from tests.doors.test_hook_erasures import sent_and_closed, sent_open
from tests.support.hooks import PEER, open_hook


class Operator:
    """Somebody with a token, at the command line."""

    def __init__(self, folder, hook, token):
        folder.mkdir()
        self.config = folder / "config.toml"
        server = hook.client.server
        self.config.write_text(f'[hook]\nhost = "{server.host}"\nport = {server.port}\n')
        (folder / "cli.token").write_text(token + "\n")

    async def __call__(self, *words, code=0):
        done = await asyncio.to_thread(
            CliRunner(env={"ART18_CONFIG": str(self.config)}).invoke, art18, list(map(str, words))
        )
        assert done.exit_code == code, done.output
        told = done.stderr if code else done.stdout
        lines = told.splitlines(keepends=True)  # the hook logs in this process, to the same output
        return "".join(line for line in lines if "[info " not in line)


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path / "node") as opened:
        yield opened


async def test_two_operators_at_the_command_line(tmp_path, hook):
    said, open_case = await sent_and_closed(hook), await sent_open(hook)
    other = (await hook("POST", "/tokens", {"name": "another", "scopes": ["admin"]})).json["token"]
    first, second = Operator(tmp_path / "a", hook, hook.token), Operator(tmp_path / "b", hook, other)

    shown = await first("erase", "show", said["id"], open_case["id"])
    assert "will go" in shown
    assert "kept: its case is open" in shown
    assert "1 messages would be erased." in shown
    assert "Proposed: 1 messages" in await first("erase", "propose", said["id"], "--by", "A. Example")
    (proposal,) = json.loads(await first("erase", "list", "--output", "json"))["items"]
    told = await first("erase", "confirm", proposal["id"], "--by", "B. Example", code=1)
    assert "another operator has to confirm" in told
    done = await second("erase", "confirm", proposal["id"], "--by", "B. Example")
    assert "1 messages are erased; 0 were kept." in done
    assert "done" in await first("erase", "list")


async def test_a_proposal_is_given_up(tmp_path, hook):
    said = await sent_and_closed(hook)
    first = Operator(tmp_path / "a", hook, hook.token)
    answer = json.loads(
        await first(
            "erase",
            "propose",
            "--case",
            said["case"],
            "--peer",
            PEER,
            "--by",
            "A. Example",
            "--output",
            "json",
        )
    )
    assert "nothing is erased" in await first("erase", "withdraw", answer["id"])
    assert (await hook("GET", f"/messages/{said['id']}/content")).status == 200


async def test_a_hold_keeps_a_case(tmp_path, hook):
    said = await sent_and_closed(hook)
    first = Operator(tmp_path / "a", hook, hook.token)
    words = (said["case"], "--peer", PEER, "--reason", "An appeal is pending.", "--by", "A. Example")
    await first("hold", "add", *words)
    assert "An appeal is pending." in await first("hold", "list")
    shown = await first("erase", "show", "--case", said["case"], "--peer", PEER)
    assert "kept: a legal hold is on its case" in shown
    await first("hold", "remove", *words)
    assert "There is no hold." in await first("hold", "list")


@pytest.mark.parametrize(
    "words",
    [
        ("show",),
        ("show", "x", "--due"),
        ("show", "--case", "5e0c8c1e-6a2c-4c0e-9b6e-4f0c1c1d2e3f"),
        ("propose", "--due"),
        ("confirm", "x"),
    ],
)
async def test_what_is_not_said_right_is_usage(tmp_path, hook, words):
    first = Operator(tmp_path / "a", hook, hook.token)
    await first("erase", *words, code=2)


async def test_what_is_due_without_a_policy_is_nothing(tmp_path, hook):
    await sent_and_closed(hook)
    first = Operator(tmp_path / "a", hook, hook.token)
    assert "0 messages would be erased." in await first("erase", "show", "--due")
