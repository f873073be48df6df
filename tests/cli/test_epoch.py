"""`art18 audit new-epoch`: what it says, what it writes, and that it can be interrupted anywhere."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.app import epoch
from gateway.app.own_card import read_card
from gateway.cli import card as card_command
from gateway.cli.program import art18
from gateway.config import Settings, load
from gateway.core.card import Card
from gateway.core.custody import open_detail
from gateway.core.entry import Entry, parse_entry
from gateway.core.ids import AuthorityId
from gateway.core.note import Checkpoint, verify_checkpoint
from gateway.peering.directory import PinnedPeer
from gateway.ports import Unguarded
from gateway.rows import CardRow, DetailRow
from gateway.store import SqlStore
from keys.rest import Box
from keys.vault import Keyring, read_passphrase, read_vault
from tests.support.authorities import card_row, make_authority, pin
from tests.support.nodes import Place, cheap_passphrases, set_up
from tests.support.rows import change
from tests.support.stores import opened_store

BY = "Example Operator One"


@dataclass
class Folder:
    """The data folder of a node that does not run."""

    place: Place

    @property
    def settings(self) -> Settings:
        return load(Path(self.place.config))

    @property
    def card(self) -> Card:
        return read_card(self.settings.keys.card)

    @property
    def keyring(self) -> Keyring:
        keys = self.settings.keys
        return read_vault(keys.vault, read_passphrase(keys.passphrase_file))

    async def store(self) -> SqlStore:
        """Open the store as the node does."""
        return await opened_store(
            self.place.folder, url=self.settings.store.url, authority=self.card.authority,
            origin=self.card.log.origin, signer=self.keyring.log, guard=Unguarded(),
        )  # fmt: skip

    async def run(self, entries: int = 2) -> None:
        """Let the node run for a while."""
        store = await self.store()
        rows = [row.sequence for row in await store.all(CardRow)]
        if self.card.sequence not in rows:
            await store.record(change(card_row(self.card)))
        await store.record(change(entries=entries))
        await store.close()

    def write_vault(self, keyring: Keyring) -> None:
        keys = self.settings.keys
        with cheap_passphrases():
            epoch.write_vault(keys.vault, keyring, read_passphrase(keys.passphrase_file), replace=True)

    def ask(self, *words: str, yes: bool = True) -> Result:
        """Run the command."""
        root = self.place.folder / "offline" / "root.key"
        more = ("--yes",) if yes else ()
        with cheap_passphrases():
            return CliRunner().invoke(
                art18,
                [
                    *("audit", "new-epoch", "--root", str(root), "--by", BY, "--output", "json"),
                    *("--config", self.place.config, *more, *words),
                ],
            )

    async def last(self) -> Entry:
        """Return the newest entry, once the store opens and its newest checkpoint is by the card's log."""
        store = await self.store()
        size = await store.log_size()
        assert verify_checkpoint((await store.checkpoint()).text, self.card.log).size == size
        assert (await store.examine(every_signature=True)).fault is None  # over all epochs
        found = await store.entry(size - 1)
        await store.close()
        assert found is not None
        return parse_entry(found.leaf)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = Folder(set_up(tmp_path_factory.mktemp("authority") / "qo", "qo.justice"))
    asyncio.run(folder.run())
    return folder


@pytest.fixture
def folder(made: Folder, tmp_path: Path) -> Folder:
    return Folder(made.place.copied(tmp_path / "qo"))


def test_the_log_goes_on_under_the_next_name_and_other_keys(folder: Folder):
    before, keys = folder.card, folder.keyring
    mark = folder.place.folder / "restored"
    mark.touch()
    done = folder.ask()
    assert done.exit_code == 0, done.output
    said = {"authority": "qo.justice", "log": "qo-justice.example/audit/2", "restored_size": 3, "card": 2}
    assert json.loads(done.stdout) == said
    after = folder.card
    assert (after.sequence, after.previous, after.log.origin) == (2, before.sha256, said["log"])
    assert (after.witness, after.signing[0].public) == (before.witness, before.signing[0].public)
    assert read_card(folder.place.folder / "card-1.json") == before
    assert folder.keyring.log.ed.public == after.log.ed_public != keys.log.ed.public
    assert not mark.exists()

    entry = asyncio.run(folder.last())
    assert entry.event == "log.epoch"
    assert dict(entry.extra) == {
        "epoch": 2, "previous_origin": "qo-justice.example/audit/1", "restored_size": 3,
    }  # fmt: skip

    async def detail() -> bytes:
        store = await folder.store()
        row = await store.get(DetailRow, 3)
        await store.close()
        assert row is not None
        box = Box(row.wrapped_key, row.ciphertext)
        return open_detail(folder.keyring.storage, entry.commitment or "", box)

    assert asyncio.run(detail()) == BY.encode()


def test_run_again_it_finds_that_all_is_done_until_the_node_has_run(folder: Folder):
    first = folder.ask().stdout
    assert folder.ask().stdout == first
    asyncio.run(folder.run(1))
    third = json.loads(folder.ask().stdout)
    assert (third["log"], third["restored_size"]) == ("qo-justice.example/audit/3", 5)
    assert asyncio.run(folder.last()).event == "log.epoch"


@pytest.mark.parametrize(("size", "same", "number"), [(9, False, 3), (4, False, 3), (4, True, 2)])
def test_put_back_to_where_an_epoch_began_it_is_opened_anew_if_a_peer_knows_better(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, size: int, same: bool, number: int
):
    async def meet() -> bytes:
        store = await folder.store()
        await pin(store, make_authority("qp.justice").card)
        root = await store.root(4)
        await store.close()
        return root

    root = asyncio.run(meet())
    assert json.loads(folder.ask().stdout)["restored_size"] == 4

    async def held(opening: epoch.Opening, peer: PinnedPeer) -> tuple[AuthorityId, Checkpoint]:
        top = root if same else b"o" * 32
        return peer.row.authority, Checkpoint(opening.card.log.origin, size, top, "", 0)

    monkeypatch.setattr(epoch.Opening, "_held", held)
    assert json.loads(folder.ask().stdout)["log"] == f"qo-justice.example/audit/{number}"
    assert dict(asyncio.run(folder.last()).extra).get("known_size") == (size if number == 3 else None)


class Cut(Exception):
    """The power went."""


def cut(*_: object, **__: object) -> None:
    raise Cut


@pytest.mark.parametrize(
    ("name", "vault", "card"),
    [("write_vault", False, False), ("StandingStore.begin", True, False), ("write_card", True, False)],
)
def test_interrupted_it_goes_on_when_it_is_run_again(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, name: str, vault: bool, card: bool
):
    before = folder.card
    with monkeypatch.context() as patched, cheap_passphrases():
        patched.setattr(f"gateway.app.epoch.{name}", cut)
        root = folder.place.folder / "offline" / "root.key"
        words = [
            "audit",
            "new-epoch",
            "--root",
            str(root),
            "--by",
            BY,
            "--yes",
            "--config",
            folder.place.config,
        ]
        done = CliRunner().invoke(art18, words)
        assert isinstance(done.exception, Cut)
    keys = folder.keyring.log.ed.public
    assert (keys != before.log.ed_public) is vault
    assert (folder.card.sha256 != before.sha256) is card
    again = folder.ask()
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["log"] == "qo-justice.example/audit/2"
    assert (folder.keyring.log.ed.public == keys) is vault
    assert asyncio.run(folder.last()).event == "log.epoch"
    assert folder.card.sequence == 2


def test_it_does_not_take_an_old_key_store_for_an_interruption(folder: Folder):
    old = folder.keyring
    assert folder.ask().exit_code == 0
    asyncio.run(folder.run())
    folder.write_vault(old)
    refused = folder.ask()
    assert (refused.exit_code, "older copy" in refused.output) == (5, True)
    assert folder.keyring.log.ed.public == old.log.ed.public


def test_a_store_of_before_an_earlier_epoch_gets_a_name_that_none_had(folder: Folder):
    """Its card is newer: the names, and the keys, of the epoch between have signed other things."""
    database = Path(folder.settings.store.url.removeprefix("sqlite:///"))
    old = {path.name: path.read_bytes() for path in database.parent.glob(f"{database.name}*")}
    assert folder.ask().exit_code == 0
    asyncio.run(folder.run())
    between = folder.card
    for path in database.parent.glob(f"{database.name}*"):
        path.unlink()
    for name, content in old.items():
        (database.parent / name).write_bytes(content)
    done = json.loads(folder.ask().stdout)
    assert (done["log"], done["restored_size"], done["card"]) == ("qo-justice.example/audit/3", 3, 3)
    assert folder.card.log.ed_public != between.log.ed_public
    assert dict(asyncio.run(folder.last()).extra)["previous_origin"] == between.log.origin

    async def recorded() -> list[int]:
        store = await folder.store()
        rows = [row.sequence for row in await store.all(CardRow)]
        await store.close()
        return rows

    assert asyncio.run(recorded()) == [1, 2, 3], "peers take them one at a time"


def test_a_renewed_card_and_a_new_epoch_follow_each_other(folder: Folder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(card_command, "_hand_over", lambda *_: False)
    root = str(folder.place.folder / "offline" / "root.key")
    with cheap_passphrases():
        words = ["card", "renew", "--root", root, "--rotate", "tls", "--config", folder.place.config]
        assert CliRunner().invoke(art18, words).exit_code == 0
    done = json.loads(folder.ask().stdout)
    assert (done["card"], folder.card.log.origin) == (3, done["log"])


# -- what it refuses


def test_it_asks_before_it_does_anything(folder: Folder):
    before = folder.card.sha256
    refused = folder.ask(yes=False)
    assert refused.exit_code == 2
    assert "has 3 entries here" in refused.output
    assert "No peer that answers" in refused.output
    assert "--yes" in refused.output
    assert folder.card.sha256 == before


def test_nobody_opens_nothing(folder: Folder):
    assert folder.ask("--by", " ").exit_code == 2
    words = ["run", "--unwitnessed", "", "--config", folder.place.config]
    assert CliRunner().invoke(art18, words).exit_code == 2


def test_a_node_that_runs_keeps_it_out(folder: Folder):
    async def beside() -> Result:
        store = await folder.store()
        try:
            return await asyncio.to_thread(folder.ask)
        finally:
            await store.close()

    refused = asyncio.run(beside())
    assert (refused.exit_code, "another process" in refused.output) == (5, True)


def test_another_root_key_opens_nothing(folder: Folder, tmp_path: Path):
    other = set_up(tmp_path / "qp", "qp.justice").folder / "offline"
    for name in ("root.key", "root.passphrase"):
        (folder.place.folder / "offline" / name).write_bytes((other / name).read_bytes())
    refused = folder.ask()
    assert (refused.exit_code, "not a root key" in refused.output) == (5, True)


def test_a_folder_without_a_log_has_none_to_take_up(tmp_path: Path):
    refused = Folder(set_up(tmp_path / "qp", "qp.justice")).ask()
    assert (refused.exit_code, "no log" in refused.output) == (5, True)


def test_a_key_store_that_lacks_more_than_log_keys_is_not_whole(folder: Folder):
    stranger = Keyring.generate("qo.justice", ["127.0.0.1"])
    folder.write_vault(stranger)
    refused = folder.ask()
    assert (refused.exit_code, "older copy" in refused.output) == (5, True)
