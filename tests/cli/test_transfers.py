"""`art18 send` and `art18 fetch` over a line that breaks, against a real node."""

import fcntl
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import schemas
from gateway.cli import fetching, uploads
from gateway.cli.demo.authority import Authority
from gateway.cli.patience import Patience
from gateway.cli.program import art18
from tests.support.breaking import Line, line_to

MIB = 1 << 20
SIZE = 5 * MIB + 7
PLAIN = (bytes(range(251)) * (SIZE // 251 + 1))[:SIZE]
DRAFT = {**schemas.sample(2)["steps"][0]["draft"], "to": "qp.justice"}
NAME = "Zitronenfalter.bin"
WHOLE, NOTHING = (None, None), (0, 0)


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A running node that has pinned a peer."""
    folder = tmp_path_factory.mktemp("node")
    here, there = Authority(folder, "qo.justice"), Authority(folder, "qp.justice")
    try:
        for side in (here, there):
            side.set_up()
        here.start()
        here.until_ready()
        card = str(folder / "peer.card")
        shown = there.art18("card", "export", card)["fingerprint"]
        here.art18("peers", "add", card, "--id", there.id, "--fingerprint", shown)
        yield here
    finally:
        here.kill()


@dataclass
class Desk:
    """The command line of *node* over *line*, with something to send and a folder for what comes."""

    node: Authority
    line: Line
    draft: Path
    file: Path
    folder: Path

    def __call__(self, *words: str, code: int = 0) -> str:
        environment = {"ART18_CONFIG": str(self.node.config), "ART18_HOOK__PORT": str(self.line.port)}
        result = CliRunner(env=environment).invoke(art18, list(words))
        assert result.exit_code == code, result.output
        return result.stderr if code else result.stdout

    def send(self, code: int = 0) -> dict[str, Any]:
        """Send the draft with the file; return the answer, or the problem."""
        words = ("send", str(self.draft), "--attach", str(self.file), "--output", "json")
        return json.loads(self(*words, code=code))

    def outbox(self) -> set[str]:
        """Return the messages that the node has sent."""
        return {str(one["id"]) for one in json.loads(self("outbox", "--output", "json"))["items"]}

    def fetch(self, message: str, code: int = 0) -> str:
        return self("fetch", message, "--to", str(self.folder), code=code)

    @property
    def fetched(self) -> Path:
        return self.folder / f"01-{NAME}"

    @property
    def hidden(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path.name.startswith(".")]

    @property
    def begun(self) -> Path:
        return self.node.folder / "uploads.json"

    def came_whole(self, message: str) -> bool:
        self.line.cuts.clear()
        self.fetch(message)
        return self.fetched.read_bytes() == PLAIN


@pytest.fixture
def desk(node, tmp_path):
    (tmp_path / NAME).write_bytes(PLAIN)
    (tmp_path / "draft.json").write_text(json.dumps(DRAFT))
    with line_to(int(node.doors["hook"].rpartition(":")[2])) as line:
        yield Desk(node, line, tmp_path / "draft.json", tmp_path / NAME, tmp_path / "got")


@pytest.fixture(scope="module")
def message(node, tmp_path_factory):
    """The id of a message with an attachment of SIZE bytes."""
    folder = tmp_path_factory.mktemp("sent")
    (folder / NAME).write_bytes(PLAIN)
    (folder / "draft.json").write_text(json.dumps(DRAFT))
    return str(node.art18("send", str(folder / "draft.json"), "--attach", str(folder / NAME))["id"])


def patient(monkeypatch, patience_s=60.0, sleep=lambda _s: None):
    """Let commands wait by *sleep*, for *patience_s* of a clock that stands still."""
    for module in (fetching, uploads):
        monkeypatch.setattr(module, "Patience", partial(Patience, patience_s, now=lambda: 0.0, sleep=sleep))


# -- send


def test_an_upload_goes_on_where_the_line_broke(desk, monkeypatch):
    patient(monkeypatch)
    desk.line.cuts = [WHOLE, WHOLE, *[(2 * MIB, None), WHOLE] * 2]
    sent = desk.send()
    assert sum(desk.line.up) < 2 * SIZE
    assert desk.came_whole(sent["id"])


def test_the_next_run_goes_on_where_one_was_interrupted(desk, monkeypatch):
    patient(monkeypatch, patience_s=0)
    desk.line.cuts = [WHOLE, WHOLE, (4 * MIB, None), NOTHING]
    assert "goes on where this one ended" in desk("send", str(desk.draft), "--attach", str(desk.file), code=3)
    assert desk.begun.stat().st_mode & 0o777 == 0o600
    assert len(json.loads(desk.begun.read_text())) == 1
    assert not any(word in desk.begun.read_text() for word in (NAME, str(desk.file), str(SIZE)))
    desk.line.up.clear()
    sent = desk.send()
    assert sum(desk.line.up) < SIZE - 2 * MIB
    assert json.loads(desk.begun.read_text()) == {}
    assert desk.came_whole(sent["id"])


def test_what_is_whole_is_not_sent_again_when_the_draft_is_mended(desk):
    desk.draft.write_text(json.dumps({**DRAFT, "to": "qq.nobody"}))
    desk("send", str(desk.draft), "--attach", str(desk.file), code=1)
    desk.line.up.clear()
    desk.draft.write_text(json.dumps(DRAFT))
    desk.send()
    assert sum(desk.line.up) < MIB
    assert json.loads(desk.begun.read_text()) == {}


@pytest.mark.parametrize("attached", [True, False])
def test_a_message_whose_answer_was_lost_is_not_sent_twice(desk, attached):
    words = ("send", str(desk.draft), *(("--attach", str(desk.file)) if attached else ()), "--output", "json")
    before = desk.outbox()
    if attached:  # POST, HEAD, PATCH, HEAD
        desk.line.cuts = [WHOLE] * 4
    desk.line.cuts.append((None, 1))
    desk(*words, code=3)
    assert len(json.loads(desk.begun.read_text())) == 1 + attached
    assert "purpose" not in desk.begun.read_text()
    assert len(desk.outbox() - before) == 1, "the node has sent it"
    again = json.loads(desk(*words))
    assert desk.outbox() - before == {again["id"]}
    assert json.loads(desk.begun.read_text()) == {}
    assert json.loads(desk(*words))["id"] != again["id"], "what was answered can be meant twice"


def test_a_file_that_is_attached_twice_is_two_uploads(desk):
    words = ("--attach", str(desk.file), "--attach", f"{desk.file}:evidence")
    told = desk("send", str(desk.draft), *words, code=1)
    assert "/attachments/1/name" in told, "the second is refused for its name, not as the same upload"


def test_a_node_that_starts_anew_is_waited_for(desk, monkeypatch):
    starts = []

    def restart(_s):
        if not starts:
            desk.node.stop()
            with monkeypatch.context() as patch:
                patch.setenv("ART18_HOOK__PORT", str(desk.line.to))
                desk.node.start()
                desk.node.until_ready()
        starts.append(1)

    patient(monkeypatch, sleep=restart)
    desk.line.cuts = [WHOLE, WHOLE, (3 * MIB, None), NOTHING]
    sent = desk.send()
    assert starts
    assert desk.came_whole(sent["id"])


def test_a_file_that_changes_while_it_is_sent_is_not_sent(desk, monkeypatch):
    patient(monkeypatch, sleep=lambda _s: desk.file.write_bytes(b"another"))
    desk.line.cuts = [WHOLE, WHOLE, (MIB, None), NOTHING]
    desk.begun.unlink(missing_ok=True)
    assert "changed while it was sent" in desk("send", str(desk.draft), "--attach", str(desk.file), code=2)
    assert json.loads(desk.begun.read_text()) == {}


# -- fetch


def test_a_download_goes_on_where_the_line_broke(desk, message, monkeypatch):
    patient(monkeypatch)
    desk.line.cuts = [WHOLE, (None, 2 * MIB), (None, MIB + 5), NOTHING]
    desk.fetch(message)
    assert desk.fetched.read_bytes() == PLAIN
    assert desk.hidden == []
    assert sum(desk.line.down) < SIZE + 2 * MIB


def test_the_next_fetch_goes_on_where_one_was_interrupted(desk, message, monkeypatch):
    patient(monkeypatch, patience_s=0)
    desk.line.cuts = [WHOLE, (None, 4 * MIB), NOTHING]
    assert "goes on where this one ended" in desk.fetch(message, code=3)
    (part,) = desk.hidden
    assert NAME not in part.name
    assert part.stat().st_mode & 0o777 == 0o600
    assert PLAIN.startswith(part.read_bytes())
    assert part.stat().st_size >= 2 * MIB
    desk.line.down.clear()
    desk.line.cuts.clear()
    desk.fetch(message)
    assert sum(desk.line.down) < SIZE - MIB
    assert desk.fetched.read_bytes() == PLAIN
    assert desk.hidden == []


@pytest.mark.parametrize("there", [b"altered", b"x" * SIZE, b"x" * (SIZE - 1)])
def test_what_is_not_what_was_signed_is_deleted(desk, message, there):
    desk.fetch(message)
    (listed,) = json.loads((desk.folder / "content.json").read_text())["attachments"]
    desk.fetched.unlink()
    part = desk.folder / f".art18-01-{listed['sha256'][:16]}.part"
    part.write_bytes(there)
    assert "not what the sender signed" in desk.fetch(message, code=4)
    assert sorted(path.name for path in desk.folder.iterdir()) == ["content.json", "message.jws"]


def test_what_is_longer_than_it_can_be_is_begun_anew(desk, message):
    desk.fetch(message)
    (listed,) = json.loads((desk.folder / "content.json").read_text())["attachments"]
    desk.fetched.unlink()
    (desk.folder / f".art18-01-{listed['sha256'][:16]}.part").write_bytes(b"x" * (SIZE + 1))
    desk.fetch(message)
    assert desk.fetched.read_bytes() == PLAIN


def test_a_link_in_place_of_what_is_written_is_not_followed(desk, message):
    desk.folder.mkdir()
    desk.file.write_text("mine")
    for path in (desk.folder / "content.json", desk.fetched):
        path.symlink_to(desk.file)
        assert "already has another" in desk.fetch(message, code=2)
        path.unlink()
    (desk.folder / ".art18-message.jws.part").symlink_to(desk.file)
    assert "cannot be written" in desk.fetch(message, code=2)
    assert desk.file.read_text() == "mine"


def test_two_runs_do_not_write_to_one_file(desk, message):
    desk.fetch(message)
    (listed,) = json.loads((desk.folder / "content.json").read_text())["attachments"]
    desk.fetched.unlink()
    with (desk.folder / f".art18-01-{listed['sha256'][:16]}.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "another art18 fetch" in desk.fetch(message, code=2)
