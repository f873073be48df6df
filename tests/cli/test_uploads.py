"""The client side of tus against a node that says what no sound node says, and what is remembered."""

import base64
import hashlib
import io
import subprocess
import sys

import pytest
from rich.console import Console

from gateway.cli import progress
from gateway.cli.begun import Begun
from gateway.cli.hook import Answer, BrokenOff, Refused, Unreachable
from gateway.cli.patience import Patience
from gateway.cli.uploads import Upload
from gateway.core.errors import WrongSubject

ID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


class Scripted:
    """Stands for the hook; takes an upload as told, and says `digest` of what it has, or none if empty."""

    def __init__(self, *refusals: tuple[str, int, str], digest: bytes | None = None):
        self.refusals, self.digest = list(refusals), digest
        self.taken, self.asked = bytearray(), []

    def ask(self, method, _path, *, body=None, **_headers):
        self.asked.append(method)
        if self.refusals and self.refusals[0][0] == method:
            _, status, code = self.refusals.pop(0)
            raise Refused(status, {"type": f"urn:art18:problem:{code}", "title": code})
        if method == "PATCH":
            self.taken += b"".join(body)
        told = {"location": f"/v1/uploads/{ID}", "upload-offset": str(len(self.taken))}
        digest = hashlib.sha256(self.taken).digest() if self.digest is None else self.digest
        if digest:
            told["repr-digest"] = f"sha-256=:{base64.b64encode(digest).decode()}:"
        return Answer(204, told, b"")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    return path


def sent(hook, file, patience=None):
    return Upload(hook, Begun.nothing(), lambda _done: None, patience or still()).run(file)


def still(waits=None, patience_s=60.0):
    """Return a patience whose clock moves by its waits alone."""
    waits = [] if waits is None else waits
    return Patience(patience_s, now=lambda: sum(waits), sleep=waits.append)


def test_what_the_node_has_is_compared(file):
    hook = Scripted()
    assert sent(hook, file) == ID
    assert hook.taken == b"content"
    for digest, said in ((bytes(32), "not the file"), (b"", "does not say")):
        hook = Scripted(digest=digest)
        with pytest.raises(WrongSubject, match=said):
            sent(hook, file)
        assert hook.asked[-1] == "DELETE"


@pytest.mark.parametrize(
    "refusal",
    [("POST", 429, "too_many_uploads"), ("PATCH", 409, "upload_busy"), ("HEAD", 503, "unavailable")],
)
def test_what_passes_is_waited_for(file, refusal):
    waits = []
    assert sent(Scripted(refusal, refusal), file, still(waits)) == ID
    assert waits == [0.25, 0.5]


@pytest.mark.parametrize(("status", "code"), [(507, "storage_full"), (413, "too_large")])
def test_a_node_without_room_says_so(file, status, code):
    for method in ("POST", "PATCH"):
        with pytest.raises(Refused, match="no room"):
            sent(Scripted((method, status, code)), file)


@pytest.mark.parametrize("status", [404, 410])
def test_an_upload_that_is_gone_is_begun_anew_a_few_times(file, status):
    gone = ("PATCH", status, "not_found")
    hook = Scripted(gone, gone)
    assert sent(hook, file) == ID
    assert hook.asked.count("POST") == 3
    with pytest.raises(Unreachable, match="again and again"):
        sent(Scripted(gone, gone, gone), file)


def test_patience_ends_a_minute_after_the_last_progress():
    waits = []
    patience = still(waits)
    for _ in range(3):
        patience.wait(BrokenOff("broken"))
    patience.progressed()
    with pytest.raises(Unreachable, match="goes on where"):
        _wait_for_ever(patience)
    assert waits[:7] == [0.25, 0.5, 1.0, 0.25, 0.5, 1.0, 2.0]
    assert 60 <= sum(waits[3:]) < 64
    assert max(waits) == 3


def _wait_for_ever(patience):
    while True:
        patience.wait(Unreachable("away"))


# -- what is remembered


def test_what_another_run_is_at_is_left_alone(file, tmp_path):
    token = tmp_path / "cli.token"
    with Begun.beside(token) as begun:
        begun.remember(begun.key(file, file.stat()), ID)
        program = (
            "import sys; from pathlib import Path; from gateway.cli.begun import Begun\n"
            "token, file = map(Path, sys.argv[1:])\n"
            "with Begun.beside(token) as begun: print(begun.recall(begun.key(file, file.stat())))"
        )
        words = [sys.executable, "-c", program, str(token), str(file)]
        assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "None\n"
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == f"{ID}\n"


def test_a_file_is_known_as_it_is(file, tmp_path):
    token = tmp_path / "cli.token"
    with Begun.beside(token) as begun:
        first, second = begun.key(file, file.stat()), begun.key(file, file.stat())
        assert first != second, "attached twice, it is two uploads"
        begun.remember(first, ID)
    with Begun.beside(token) as begun:
        assert begun.recall(begun.key(file, file.stat())) == ID
    file.write_bytes(b"changed")
    with Begun.beside(token) as begun:
        assert begun.recall(begun.key(file, file.stat())) is None
    for damaged in ("", "[]", '{"a": 1}'):
        token.with_name("uploads.json").write_text(damaged)
        with Begun.beside(token) as begun:
            assert begun.recall(first) is None


def test_where_nothing_can_be_kept_nothing_is_remembered(file, tmp_path):
    with Begun.beside(tmp_path / "nowhere" / "cli.token") as begun:
        key = begun.key(file, file.stat())
        begun.remember(key, ID)
        assert begun.recall(key) is None
        begun.forget()


# -- how far it has come


def test_a_line_every_ten_seconds_says_rate_and_time_left():
    seconds, out = [0.0], io.StringIO()
    advance = progress.Lines(Console(file=out, width=200), now=lambda: seconds[0]).begin("a.bin", 100_000_000)
    for now, done in ((5, 10_000_000), (10, 20_000_000), (15, 30_000_000), (20, 60_000_000)):
        seconds[0] = now
        advance(done)
    assert out.getvalue().splitlines() == [
        "a.bin: 20.0 MB of 100.0 MB, 2.0 MB/s, 40 s left",
        "a.bin: 60.0 MB of 100.0 MB, 4.0 MB/s, 10 s left",
    ]


def test_a_bar_shows_rate_and_time_left():
    out = io.StringIO()
    with progress.bars(Console(file=out, width=120, force_terminal=True)) as display:
        display.begin("[b]a.bin", 100)(100)
    told = out.getvalue()
    assert "[b]a.bin" in told
    assert "100/100 bytes" in told
    assert "0:00:00" in told
