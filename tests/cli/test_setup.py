"""Commands that need no node: set-up, the own card, and what a mistake becomes."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.app.identity import check_keys
from gateway.app.own_card import read_card
from gateway.app.renewal import KNOWN_MS
from gateway.cli import card as card_commands
from gateway.cli import foundation
from gateway.cli.drafts import read_draft
from gateway.cli.fetching import file_name
from gateway.cli.program import COMMANDS, art18
from gateway.cli.terminal import plain
from gateway.cli.uploads import AttachedFile
from gateway.config import load
from gateway.core.card import LIFETIME_MS, OVERLAP_MS, fingerprint, successor
from gateway.core.errors import Misconfigured
from keys.vault import read_passphrase, read_root, read_vault

OPTIONS = {
    "authority": "qm.moj",
    "country": "QM",
    "name": "Ministère de la Justice",
    "domain": "moj.qm.example",
    "endpoint": "https://127.0.0.1:8443",
}


def call(*words: str, code: int = 0) -> str:
    """Run a command in this process; return standard output, or standard error if it is to fail."""
    result = CliRunner(env={"ART18_CONFIG": None}).invoke(art18, list(words))
    assert result.exit_code == code, result.output
    return result.stderr if code else result.stdout


def options(**changed: str) -> list[str]:
    return [word for name, value in {**OPTIONS, **changed}.items() for word in (f"--{name}", value)]


@pytest.fixture(scope="module")
def founded(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("node") / "qm"
    call("init", str(folder), *options(), "--hook-port", "9480")
    return folder


@pytest.fixture
def folder(founded, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(founded, tmp_path / "qm"))


# -- help


def test_help_imports_nothing_that_is_slow():
    program = (
        "import sys\n"
        "from gateway.cli.program import art18\n"
        "art18.main(['--help'], standalone_mode=False)\n"
        "slow = {'pydantic', 'sqlalchemy', 'aiohttp', 'rich', 'cryptography', 'nacl', 'structlog'}\n"
        "sys.exit(', '.join(slow & set(sys.modules)) or None)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name):
    assert call(name, "--help").startswith(f"Usage: art18 {name} ")


# -- init


def test_init_makes_a_node_with_its_root_key_apart(founded):
    settings = load(founded / "config.toml")
    assert (settings.authority.id, settings.hook.port) == ("qm.moj", 9480)
    card = read_card(settings.keys.card)
    assert (card.sequence, card.authority, card.endpoints) == (1, "qm.moj", ("https://127.0.0.1:8443",))
    assert card.expires_ms - card.issued_ms == LIFETIME_MS
    assert card.log.origin == "moj.qm.example/audit/1"
    keyring = read_vault(settings.keys.vault, read_passphrase(settings.keys.passphrase_file))
    check_keys(card, keyring, "qm.moj")
    offline = founded / "offline"
    root = read_root(offline / "root.key", read_passphrase(offline / "root.passphrase"))
    assert card.root == (root.public,)
    assert (founded / "cli.token").read_text().startswith("art18_")


def test_init_keeps_secrets_to_their_owner(founded):
    assert founded.stat().st_mode & 0o777 == 0o700
    for name in ("vault", "passphrase", "cli.token", "offline/root.key", "offline/root.passphrase"):
        assert (founded / name).stat().st_mode & 0o777 == 0o600, name


def test_init_takes_a_passphrase_from_a_file(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("correct horse\n")
    folder = tmp_path / "qm"
    call("init", str(folder), *options(), "--passphrase-file", str(secret))
    assert not (folder / "passphrase").exists()
    settings = load(folder / "config.toml")
    assert settings.keys.passphrase_file == secret
    read_vault(settings.keys.vault, b"correct horse")


def test_init_touches_no_folder_that_has_content(tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "is not empty" in call("init", str(tmp_path), *options(), code=1)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("existed", [False, True])
def test_a_failing_init_leaves_what_there_was(tmp_path, monkeypatch, existed):
    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    folder = tmp_path / "qm"
    if existed:
        folder.mkdir()
    monkeypatch.setattr(foundation, "write_vault", full)
    assert "No space left" in call("init", str(folder), *options(), code=1)
    assert folder.exists() == existed
    assert not existed or not list(folder.iterdir())


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"authority": "QM"}, "--authority: "),
        ({"country": "QN"}, "begins with qn"),
        ({"domain": "https://moj"}, "--domain: "),
        ({"endpoint": "http://127.0.0.1:1"}, "--endpoint: "),
        ({"endpoint": "https://127.0.0.1:1/path"}, "--endpoint: "),
    ],
)
def test_a_wrong_option_of_init_is_usage_and_makes_nothing(tmp_path, changed, told):
    assert told in call("init", str(tmp_path / "qm"), *options(**changed), code=2)
    assert not (tmp_path / "qm").exists()


# -- the own card


def test_the_card_is_shown_and_exported_with_one_fingerprint(founded, tmp_path):
    config = str(founded / "config.toml")
    shown = json.loads(call("card", "show", "--config", config, "--output", "json"))
    exported = json.loads(call("--output", "json", "--config", config, "card", "export", str(tmp_path / "c")))
    card = read_card(tmp_path / "c")
    assert shown["fingerprint"] == exported["fingerprint"] == fingerprint(card)
    assert fingerprint(card) in call("card", "show", "--config", config)


def renew(folder: Path, *words: str, code: int = 0) -> str:
    config, root = str(folder / "config.toml"), str(folder / "offline" / "root.key")
    return call("card", "renew", "--config", config, "--root", root, *words, code=code)


def test_renewing_keeps_the_keys_unless_a_role_is_rotated(folder):
    before = read_card(folder / "card.json")
    assert "takes it up at its next start" in renew(folder)
    after = successor(read_card(folder / "card.json").raw, before)
    assert [key.public for key in after.signing] == [key.public for key in before.signing]
    assert after.signing[0].window.until_ms == after.expires_ms


def test_rotated_keys_stay_for_their_overlap(folder):
    before = read_card(folder / "card.json")
    renew(folder, "--rotate", "signing", "--rotate", "sealing", "--rotate", "tls")
    after = successor(read_card(folder / "card.json").raw, before)
    settings = load(folder / "config.toml")
    keyring = read_vault(settings.keys.vault, read_passphrase(settings.keys.passphrase_file))
    check_keys(after, keyring, "qm.moj")
    for old, (kept, new) in zip(
        (before.signing, before.sealing, before.tls), (after.signing, after.sealing, after.tls), strict=True
    ):
        assert kept.window.from_ms == old[0].window.from_ms
        assert kept.window.until_ms == after.issued_ms + OVERLAP_MS
        assert new.window.until_ms == after.expires_ms
    assert after.signing_kid(after.issued_ms) == before.signing[0].kid
    assert after.signing_kid(after.issued_ms + KNOWN_MS) == after.signing[1].kid
    assert after.sealing_key(after.issued_ms).kid == after.sealing[1].kid
    assert after.certificate(after.issued_ms) == after.tls[0]


def test_each_card_is_kept_for_peers_that_are_behind(folder):
    first = read_card(folder / "card.json")
    renew(folder)
    renew(folder, "--endpoint", "https://other.qm.example:8443")
    assert read_card(folder / "card-1.json") == first
    second = successor(read_card(folder / "card-2.json").raw, first)
    third = successor(read_card(folder / "card.json").raw, second)
    assert third.endpoints == ("https://other.qm.example:8443",)


@pytest.mark.parametrize("step", [1, 2])
def test_a_crash_while_renewing_leaves_a_node_that_starts(folder, monkeypatch, step):
    written = []

    def write_card(path, raw):
        written.append(path)
        if len(written) == step:
            raise KeyboardInterrupt
        path.write_bytes(raw)

    before = read_card(folder / "card.json")
    monkeypatch.setattr(card_commands, "write_card", write_card)
    renew(folder, "--rotate", "signing", code=1)
    assert read_card(folder / "card.json") == before
    settings = load(folder / "config.toml")
    check_keys(
        before, read_vault(settings.keys.vault, read_passphrase(settings.keys.passphrase_file)), "qm.moj"
    )
    monkeypatch.undo()
    renew(folder, "--rotate", "signing")
    successor(read_card(folder / "card.json").raw, before)


@pytest.mark.parametrize("role", ["log", "witness"])
def test_keys_that_belong_to_a_name_for_ever_are_not_rotated(folder, role):
    before = read_card(folder / "card.json")
    assert f"the {role} keys cannot be replaced" in renew(folder, "--rotate", role, code=1)
    assert read_card(folder / "card.json") == before


def test_a_root_key_of_another_authority_signs_nothing(folder, tmp_path):
    other = tmp_path / "other"
    call("init", str(other), *options(authority="qn.moj", country="QN", domain="moj.qn.example"))
    config, root = str(folder / "config.toml"), str(other / "offline" / "root.key")
    assert "is not a root key of the card" in call(
        "card", "renew", "--config", config, "--root", root, code=5
    )


# -- what is wrong before a node is asked


def test_without_a_configuration_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "--config or ART18_CONFIG" in call("inbox", code=5)
    monkeypatch.setenv("ART18_CONFIG", str(tmp_path / "none.toml"))
    assert CliRunner().invoke(art18, ["inbox"]).exit_code == 5


def test_an_error_is_json_where_a_program_reads(tmp_path):
    told = json.loads(call("inbox", "--config", str(tmp_path / "none.toml"), "--output", "json", code=5))
    assert told["exit_code"] == 5
    assert "none.toml" in told["error"]


def test_an_unreachable_node_is_exit_code_3(folder, free_port):
    config = folder / "config.toml"
    config.write_text(config.read_text().replace("port = 9480", f"port = {free_port}"))
    assert "art18 run" in call("inbox", "--config", str(config), code=3)


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_an_unreadable_token_is_misconfigured(folder):
    (folder / "cli.token").unlink()
    assert "cli.token" in call("inbox", "--config", str(folder / "config.toml"), code=5)


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["send"],
        ["send", "no-such-file.toml"],
        ["inbox", "--limit", "0"],
        ["audit", "show", "minus"],
        ["token", "create", "--scope", "everything"],
        ["webhooks", "add", "https://hooks.example/", "--type", "everything"],
        ["webhooks", "change", "3f2504e0-4f89-41d3-9a0c-0305e82c3301"],
        ["fetch", "3f2504e0-4f89-41d3-9a0c-0305e82c3301"],
    ],
)
def test_a_wrong_command_line_is_exit_code_2(words):
    call(*words, code=2)


def test_a_card_of_another_authority_or_root_is_not_pinned(founded, folder, tmp_path):
    config, card = str(folder / "config.toml"), str(founded / "card.json")
    wrong = " ".join(["0000"] * 16)
    told = call("peers", "add", card, "--id", "qm.moj", "--fingerprint", wrong, "--config", config, code=4)
    assert fingerprint(read_card(Path(card))) in told
    call("peers", "add", card, "--id", "qn.moj", "--fingerprint", wrong, "--config", config, code=4)
    spoiled = tmp_path / "spoiled"
    found = json.loads(Path(card).read_bytes())
    found["signatures"][0]["signature"] = "A" * 86
    spoiled.write_text(json.dumps(found))
    call("peers", "add", str(spoiled), "--id", "qm.moj", "--fingerprint", wrong, "--config", config, code=4)
    spoiled.write_text("no card")
    call("peers", "add", str(spoiled), "--id", "qm.moj", "--fingerprint", wrong, "--config", config, code=2)


# -- small things


def test_a_draft_may_be_toml_or_json(tmp_path):
    toml, plain_json = tmp_path / "draft.toml", tmp_path / "draft.json"
    toml.write_text(
        'kind = "request.mla"\nexpires = 2026-12-24T12:00:00+02:00\n'
        "[body]\nborn = 1985-06-14\nlist = [1, {a = 2026-01-01}]\n"
    )
    plain_json.write_text(
        '{"kind":"request.mla","expires":"2026-12-24T10:00:00.000Z",'
        '"body":{"born":"1985-06-14","list":[1,{"a":"2026-01-01"}]}}'
    )
    assert read_draft(toml) == read_draft(plain_json)


@pytest.mark.parametrize(("name", "text"), [("a.toml", "kind = "), ("a.json", "{"), ("a.json", "[]")])
def test_a_draft_that_cannot_be_read_is_usage(founded, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    call("send", str(tmp_path / name), "--config", str(founded / "config.toml"), code=2)


def test_a_role_follows_the_last_colon_of_a_path(tmp_path):
    odd = tmp_path / "a:b"
    odd.write_text("")
    assert AttachedFile.parse(str(odd)) == AttachedFile(odd, "other")
    assert AttachedFile.parse(f"{odd}:warrant") == AttachedFile(odd, "warrant")
    assert AttachedFile.parse("x.pdf:evidence") == AttachedFile(Path("x.pdf"), "evidence")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("convocation.pdf", "01-convocation.pdf"),
        ("../../etc/passwd", "01-_.._etc_passwd"),
        ("/root/.ssh/id", "01-_root_.ssh_id"),
        ("a\x00b\n.txt", "01-a_b_.txt"),
        ("..", "01-attachment"),
        ("", "01-attachment"),
        ("أمر قضائي.pdf", "01-أمر قضائي.pdf"),
        ("gpj.\u202efdp.exe", "01-gpj._fdp.exe"),
        ("x" * 300 + ".pdf", "01-" + "x" * 248 + ".pdf"),
        ("CON.pdf", "01-_CON.pdf"),
    ],
)
def test_a_name_of_the_sender_is_never_a_path(name, written):
    assert file_name(1, name) == written
    assert os.sep not in written
    assert len(written.encode()) <= 255


def test_text_of_others_cannot_move_the_cursor():
    assert plain("a\x1b[2Jb\u202ec\nd") == "a\ufffd[2Jb\ufffdc\ufffdd"
    assert plain(None) == "-"


def test_a_key_store_that_lacks_a_key_of_the_card_is_misconfigured(folder):
    settings = load(folder / "config.toml")
    passphrase = read_passphrase(settings.keys.passphrase_file)
    older = read_vault(settings.keys.vault, passphrase)
    renew(folder, "--rotate", "sealing")
    with pytest.raises(Misconfigured, match="lacks a sealing key"):
        check_keys(read_card(folder / "card.json"), older, "qm.moj")
