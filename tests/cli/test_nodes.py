"""The command line against two real node processes."""

import json
import queue
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from standardwebhooks import Webhook

import schemas
from gateway.app.logs import KEYS
from gateway.app.own_card import read_card
from gateway.cli.demo.authority import Authority
from gateway.cli.program import art18
from gateway.cli.trail import verify_stream
from gateway.core.errors import WrongSubject
from gateway.core.proof import parse_proof, parse_receipt
from gateway.core.soundness import Unsound

UNKNOWN = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
CONTENT = ("Exemple Deux", "convocation.pdf", "Camille")


def call(authority: Authority | Path, *words: str, code: int = 0, language: str = "en") -> str:
    """Run a command; return standard output, or standard error if it is to fail."""
    config = authority.config if isinstance(authority, Authority) else authority
    environment = {"ART18_CONFIG": str(config), "ART18_LANGUAGE": language}
    result = CliRunner(env=environment).invoke(art18, list(words))
    assert result.exit_code == code, result.output
    return result.stderr if code else result.stdout


def ask(authority: Authority, *words: str) -> dict:
    return json.loads(call(authority, *words, "--output", "json"))


def run(config: Path) -> tuple[int, str]:
    """Start a node that is to fail at once; return its exit code and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "run", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "ready" not in done.stdout
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two authorities whose nodes run and have pinned each other; at the end they stop in order."""
    folder = tmp_path_factory.mktemp("authorities")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ART18_HOOK__WEBHOOK_NETWORKS", '["127.0.0.0/8"]')
        patch.setenv("ART18_HOOK__WEBHOOK_HTTP", "true")
        yield from running(folder)


def running(folder):
    here, there = Authority(folder, "qo.justice"), Authority(folder, "qp.justice")
    try:
        for side in (here, there):
            side.set_up()
            side.start()
        for side in (here, there):
            side.until_ready()
        for one, other in ((here, there), (there, here)):
            card = str(one.folder / "peer.card")
            confirmed = ask(other, "card", "export", card)["fingerprint"]
            assert f"Pinned card 1 of {other.id}" in call(
                one, "peers", "add", card, "--id", other.id, "--fingerprint", confirmed
            )
        yield here, there
        for side in (here, there):
            side.stop()
    finally:
        for side in (here, there):
            side.kill()


@pytest.fixture
def draft(tmp_path):
    """A sound request, as a file."""
    found = schemas.sample(2)["steps"][0]["draft"]
    path = tmp_path / "draft.json"
    path.write_text(json.dumps({**found, "to": "qp.justice"}))
    return path


@pytest.fixture
def summons(tmp_path):
    path = tmp_path / "convocation.pdf"
    path.write_bytes(schemas.sample_file("convocation.pdf"))
    return path


def sent(here: Authority, draft: Path, *words: str) -> str:
    return str(ask(here, "send", str(draft), "--wait", *words)["id"])


def without_config(here: Authority, folder: Path) -> Path:
    """Return a copy of what the command line needs of *here*, to be spoiled."""
    folder.mkdir()
    for name in ("config.toml", "cli.token", "card.json"):
        shutil.copy(here.folder / name, folder)
    return folder / "config.toml"


def test_a_message_goes_out_is_fetched_and_taken_over(pair, draft, summons, tmp_path):
    here, there = pair
    told = call(here, "send", str(draft), "--attach", f"{summons}:other", "--wait")
    assert "\nstate    accepted\n" in told
    message = ask(here, "outbox", "--limit", "1")["items"][0]["id"]
    assert message in told
    assert message in call(there, "inbox", "--kind", "request.mla", "--state", "available")
    assert "art18 fetch" in call(there, "show", message)
    written = call(there, "fetch", message, "--to", str(tmp_path / "got"))
    assert "01-convocation.pdf" in written
    assert (tmp_path / "got" / "01-convocation.pdf").read_bytes() == summons.read_bytes()
    assert json.loads((tmp_path / "got" / "content.json").read_text())["id"] == message
    assert len((tmp_path / "got" / "message.jws").read_bytes().split(b".")) == 3
    for path in (tmp_path / "got").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    inodes = {path.name: path.stat().st_ino for path in (tmp_path / "got").iterdir()}
    assert len(inodes) == 3
    call(there, "fetch", message, "--to", str(tmp_path / "got"))
    assert {path.name: path.stat().st_ino for path in (tmp_path / "got").iterdir()} == inodes
    (tmp_path / "got" / "01-convocation.pdf").write_text("mine")
    told = call(there, "fetch", message, "--to", str(tmp_path / "got"), code=2)
    assert "already has another 01-convocation.pdf" in told
    assert (tmp_path / "got" / "01-convocation.pdf").read_text() == "mine"
    assert "gets a receipt" in call(there, "acknowledge", message)
    found = here.until(
        lambda: found if (found := ask(here, "show", message))["state"] == "handed_over" else None,
        failing="no handover",
    )
    assert [one["event"] for one in found["timeline"]].count("receipt.recorded") == 2
    assert found["case"] in call(there, "cases", "--peer", here.id)
    shown = call(there, "case", found["case"])
    assert "qp.justice may send" in shown
    assert message in shown
    (line,) = [line for line in shown.splitlines() if line.startswith("Acknowledgment")]
    assert "6 days 23 hours left" in line
    assert line.endswith(there.id)


def test_a_clock_that_ran_out_is_an_alarm_on_both_sides(pair, draft, tmp_path):
    here, there = pair
    assert "There are no alarms." in call(there, "alarms")
    message = sent(here, draft)
    found = ask(there, "show", message)
    acknowledgment = schemas.sample(2)["steps"][1]["draft"]
    acknowledgment["body"] |= {
        "received_at": found["recorded"],
        "request_sha256": found["message_sha256"],
        "next_update_by": "2026-01-31",
    }
    members = {"to": here.id, "case": found["case"], "in_reply_to": message}
    path = tmp_path / "acknowledgment.json"
    path.write_text(json.dumps(acknowledgment | members))
    reply = sent(there, path, "--override", "The day is past, and nobody has written since.")
    for side, other in ((here, there), (there, here)):
        told = side.until(
            lambda side=side: told if (told := ask(side, "alarms"))["items"] else None,
            failing="nobody was told",
        )
        assert [(one["code"], one["subject"], one["detail"]) for one in told["items"]] == [
            ("clock_update", f"{other.id}/{found['case']}", reply)
        ]
        assert "announced its next update" in call(side, "alarms")
        assert "update ran out" in call(side, "cases")
        (line,) = [line for line in call(side, "case", found["case"]).splitlines() if " ago" in line]
        assert line.startswith("Next update  18(24)   2026-01-31 23:59:59Z")
        assert line.endswith(there.id)


def test_an_empty_and_a_large_attachment_arrive_whole(pair, draft, tmp_path):
    here, there = pair
    (tmp_path / "empty.txt").touch()
    (tmp_path / "large.bin").write_bytes(bytes(range(256)) * 40_000)
    words = [word for name in ("empty.txt", "large.bin") for word in ("--attach", str(tmp_path / name))]
    call(there, "fetch", sent(here, draft, *words), "--to", str(tmp_path / "got"))
    assert (tmp_path / "got" / "01-empty.txt").read_bytes() == b""
    assert (tmp_path / "got" / "02-large.bin").read_bytes() == (tmp_path / "large.bin").read_bytes()


def test_what_an_article_asks_for_is_refused_unless_overridden(pair, draft):
    here, _ = pair
    found = json.loads(draft.read_text())
    del found["body"]["purpose"]
    draft.write_text(json.dumps(found))
    assert "/body/purpose: 18(15)(f)" in call(here, "send", str(draft), code=1)
    told = json.loads(call(here, "send", str(draft), "--output", "json", code=1))
    assert [error["pointer"] for error in told["errors"]] == ["/body/purpose"]
    assert "article 18(15)(f)" in call(here, "send", str(draft), "--override", "The court sends it tomorrow.")


def test_findings_are_told_in_the_language_of_the_caller(pair, draft):
    here, _ = pair
    request = json.loads(draft.read_text())
    del request["body"]["purpose"]
    draft.write_text(json.dumps(request))
    told = call(here, "send", str(draft), code=1, language="fr")
    assert "/body/purpose: 18(15)(f): Le but de la demande n\u2019est pas indiqué." in told
    sent = call(here, "send", str(draft), "--override", "The court sends it.", language="ru")
    assert "Цель просьбы не указана." in sent


def test_a_draft_is_validated_by_the_node_and_not_sent(pair, draft, summons):
    here, _ = pair
    before = [one["id"] for one in ask(here, "outbox")["items"]], stored(here)
    assert "Nothing was sent; it could be." in call(here, "validate", str(draft), "--attach", str(summons))
    assert ([one["id"] for one in ask(here, "outbox")["items"]], stored(here)) == before
    found = json.loads(draft.read_text())
    draft.write_text(json.dumps(found | {"case": UNKNOWN}))
    (told,) = refused(here, "validate", str(draft))["findings"]
    assert (told["severity"], told["path"], told["place"]) == ("error", "/case", "Case")
    draft.write_text(json.dumps(found | {"to": "qq.nobody"}))
    (told,) = refused(here, "validate", str(draft))["findings"]
    assert told["path"] == "/to"
    assert told["text"] == "no card of this authority is pinned; expected: a pinned peer."
    del found["body"]["purpose"]
    draft.write_text(json.dumps(found))
    report = refused(here, "validate", str(draft))
    assert (report["sendable"], report["checked"]) == (False, "node")
    errors = [one["article"] for one in report["findings"] if one["severity"] == "error"]
    assert errors == ["18(15)(f)"], "that the person is in other cases of these tests is a warning"
    call(here, "send", str(draft), code=1)


def test_a_kind_that_the_case_does_not_allow_is_told(pair, draft, tmp_path):
    here, _ = pair
    case = ask(here, "show", sent(here, draft))["case"]
    path = tmp_path / "again.json"
    path.write_text(json.dumps({**json.loads(draft.read_text()), "case": case}))
    (told,) = refused(here, "validate", str(path))["findings"]
    allowed = told["text"].partition("allowed now: ")[2].split(", ")
    assert "withdrawal" in allowed
    assert "request.mla" not in allowed


def stored(authority: Authority) -> set[Path]:
    return {path for path in (authority.folder / "blobs").rglob("*") if path.is_file()}


def refused(authority: Authority, *words: str) -> dict:
    """Return what a command prints that ends with exit code 1."""
    words = (*words, "--output", "json")
    result = CliRunner(env={"ART18_CONFIG": str(authority.config)}).invoke(art18, list(words))
    assert result.exit_code == 1, result.output
    return json.loads(result.stdout)


def test_a_message_that_is_accepted_takes_no_further_step(pair, draft):
    here, _ = pair
    message = sent(here, draft)
    for verb in ("retry", "release", "cancel"):
        assert "accepted" in call(here, verb, message, code=1)


def test_a_suspended_peer_is_served_no_more(pair):
    here, there = pair
    assert "suspended" in call(here, "peers", "suspend", there.id)
    assert "suspended" in call(there, "peers", "check", here.id, code=1)
    assert "active" in call(here, "peers", "activate", there.id)
    assert "answers" in call(there, "peers", "check", here.id)
    assert f"{there.id}  active" in call(here, "peers", "list")
    assert ask(here, "peers", "show", there.id)["fingerprint"] in call(there, "card", "show")


def test_a_profile_is_published_and_reaches_the_peer(pair, tmp_path):
    here, there = pair
    content, path = schemas.sample_profile("qp"), tmp_path / "profile.json"
    path.write_text(json.dumps(content))
    assert "Nothing was published" in call(there, "profile", "publish", str(path), "--dry-run")
    (tmp_path / "profile.toml").write_text(toml(content))
    judged = ask(there, "profile", "publish", str(tmp_path / "profile.toml"), "--dry-run")
    assert {**judged["profile"], **content} == judged["profile"]
    told = call(there, "profile", "publish", str(path))
    own = ask(there, "profile", "show")
    assert told.startswith(f"Profile {own['sequence']} of qp.justice is in force.")
    assert {**own["profile"], **content} == own["profile"]
    assert f"Its profile {own['sequence']} is being fetched." in call(here, "peers", "check", there.id)
    here.until(
        lambda: (
            found if (found := ask(here, "peers", "show", there.id)["profile"]) == own["profile"] else None
        ),
        failing="no profile",
    )
    assert f"Its profile {own['sequence']} is at hand." in call(here, "peers", "check", there.id)
    shown = call(here, "peers", "show", there.id)
    assert call(there, "profile", "show") in shown
    for part in ("Permanence", "fr; in an emergency also en", "delai-signification", "Indian/Mauritius"):
        assert part in shown
    assert "has published no profile" in call(there, "peers", "check", here.id)
    assert "is not known here" in call(there, "peers", "show", here.id)


def toml(value: dict) -> str:
    """Return *value* as TOML, in which every nested value stands inline and days are days."""
    return "".join(f"{name} = {inline(member)}\n" for name, member in value.items())


def inline(value: object) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{name} = {inline(member)}" for name, member in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(inline, value)) + "]"
        case str() if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
            return value
        case _:
            return json.dumps(value, ensure_ascii=False)


def test_a_profile_that_is_wrong_is_exit_code_1_with_its_places(pair, tmp_path):
    path = tmp_path / "profile.json"
    path.write_text(json.dumps({**schemas.sample_profile("qo"), "country": "QP", "sequence": 7}))
    assert "  /sequence: left out" in call(pair[0], "profile", "publish", str(path), code=1)
    path.write_text("[]")
    call(pair[0], "profile", "publish", str(path), code=2)
    assert "no profile was published yet" in call(pair[0], "profile", "show", code=1)


def test_a_token_does_what_it_is_for_until_it_is_revoked(pair, tmp_path):
    here, _ = pair
    made = ask(here, "token", "create", "--scope", "messages:read", "--name", "case system")
    config = without_config(here, tmp_path / "copy")
    (config.parent / "cli.token").write_text(made["token"])
    call(config, "inbox")
    assert "lacks the scope" in call(config, "audit", "list", code=1)
    call(here, "token", "revoke", made["id"])
    assert "not one that this node accepts" in call(config, "inbox", code=1)
    assert "case system" in call(here, "token", "list")


class Receiver(BaseHTTPRequestHandler):
    """Takes what webhooks bring."""

    told: queue.Queue

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self.told.put((dict(self.headers), body))

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    """A URL, and what is told there."""
    Receiver.told = queue.Queue()
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/told", Receiver.told
        server.shutdown()
        thread.join()


def test_a_webhook_is_added_tried_changed_and_removed(pair, receiver):
    here, (url, told) = pair[0], receiver
    made = ask(here, "webhooks", "add", url, "--type", "message.received")
    webhook = made["id"]
    for _ in range(2):
        call(here, "webhooks", "test", webhook)
        headers, body = told.get(timeout=10)
        assert Webhook(made["secret"]).verify(body, headers)["type"] == "webhook.ping"
    shown = ask(here, "webhooks", "show", webhook)
    assert shown["deliveries"][1]["state"] == "delivered", "the second came after it"
    assert "delivered" in call(here, "webhooks", "show", webhook)
    rotated = ask(here, "webhooks", "rotate", webhook)
    call(here, "webhooks", "redeliver", webhook, shown["deliveries"][1]["id"])
    headers, body = told.get(timeout=10)
    for secret in (made["secret"], rotated["secret"]):
        assert Webhook(secret).verify(body, headers)["id"] == shown["deliveries"][1]["id"]
    assert "disabled" in call(here, "webhooks", "change", webhook, "--disable")
    assert "message.received" in call(here, "webhooks", "list")
    call(here, "webhooks", "test", webhook, code=1)
    call(here, "webhooks", "remove", webhook)
    assert "There are no webhooks." in call(here, "webhooks", "list")
    assert "not of the public internet" in call(here, "webhooks", "add", "https://10.0.0.1/", code=1)


# -- the audit log


def test_the_log_is_verified_here_and_an_entry_is_proved(pair, draft, tmp_path):
    here, _ = pair
    message = sent(here, draft)
    listed = ask(here, "audit", "list", "--message", message, "--event", "submission.accepted")["items"]
    number = listed[0]["index"]
    assert message in call(here, "audit", "show", str(number))
    proved = ask(here, "audit", "prove", str(number), "-o", str(tmp_path / "receipt.json"))
    receipt = parse_receipt((tmp_path / "receipt.json").read_bytes())
    assert parse_proof(receipt.proof).index == number == proved["index"]
    assert receipt.entry == listed[0]["entry"].encode()
    found = ask(here, "audit", "verify")
    assert found["verified"]
    assert found["size"] >= proved["size"]
    assert "both signatures" in call(here, "audit", "verify")


def test_a_log_that_the_own_card_does_not_sign_is_exit_code_4(pair, tmp_path):
    here, there = pair
    config = without_config(here, tmp_path / "copy")
    shutil.copy(there.folder / "card.json", config.parent)
    assert "verification failed" in call(config, "audit", "verify", code=4)
    call(config, "audit", "prove", "0", "-o", str(tmp_path / "receipt.json"), code=4)
    assert not (tmp_path / "receipt.json").exists()


def test_a_range_and_a_file_are_verified(pair, tmp_path):
    here, _ = pair
    found = ask(here, "audit", "verify", "--from", "1", "--to", "3")
    assert (found["verified"], found["from"], found["to"]) == (True, 1, 3)
    shown = ask(here, "card", "show")["fingerprint"]
    for form in ("jsonl", "csv", "leaves"):
        file = tmp_path / f"trail.{form}"
        made = ask(here, "audit", "export", "-o", str(file), "--format", form)
        assert made["files"][0] == str(file)
        found = ask(here, "audit", "verify", str(file), "--root", f"{here.id}={shown}")
        assert (found["verified"], found["entries"]) == (True, made["entries"])
    assert "nobody is authenticated" in CliRunner().invoke(art18, ["audit", "verify", str(file)]).output


def test_leaves_that_were_changed_do_not_lead_to_the_root(pair):
    here, there = pair
    card = read_card(here.folder / "card.json")
    whole = here.hook().ask("GET", "/audit/export", query={"form": "leaves"}).body.splitlines()
    verify_stream(iter(whole), card, 0, None)
    changed = whole[2].replace(b'"outcome":"ok"', b'"outcome":"failed"')
    for lines, told in (
        ([*whole[:2], changed, *whole[3:]], "root_differs"),
        ([whole[0], *whole[2:]], "count_differs"),
        (whole[:-1], "count_differs"),
        ([*whole[:2], whole[2] + b" ", *whole[3:]], "malformed_entry: entry 1"),
        ([whole[0], whole[-2], *whole[2:]], "time_goes_back: entry 1"),
    ):
        with pytest.raises(Unsound, match=told):
            verify_stream(iter(lines), card, 0, None)
    with pytest.raises(WrongSubject):
        verify_stream(iter(whole), read_card(there.folder / "card.json"), 0, None)
    with pytest.raises(WrongSubject):
        verify_stream(iter(whole), card, 1, None)


# -- what goes wrong, by exit code


@pytest.mark.parametrize(
    "words",
    [
        ["show", UNKNOWN],
        ["fetch", UNKNOWN, "--to", "/nonexistent"],
        ["acknowledge", UNKNOWN],
        ["retry", UNKNOWN],
        ["peers", "show", "qq.nobody"],
        ["peers", "check", "qq.nobody"],
        ["case", UNKNOWN],
        ["audit", "show", "999999"],
        ["token", "revoke", UNKNOWN],
        ["webhooks", "show", UNKNOWN],
        ["show", "../peers"],
    ],
)
def test_what_is_not_there_is_exit_code_1(pair, words):
    call(pair[0], *words, code=1)


def test_an_attachment_that_was_altered_is_exit_code_4_and_not_kept(pair, draft, summons, tmp_path):
    here, there = pair
    message = sent(here, draft, "--attach", str(summons))
    newest = max(
        (there.folder / "blobs" / "in" / here.id).iterdir(), key=lambda path: path.stat().st_mtime_ns
    )
    spoiled = bytearray(newest.read_bytes())
    spoiled[100] ^= 1
    newest.write_bytes(spoiled)
    assert "damaged" in call(there, "fetch", message, "--to", str(tmp_path / "got"), code=4)
    assert sorted(path.name for path in (tmp_path / "got").iterdir()) == ["content.json", "message.jws"]


def test_a_second_node_on_one_database_is_exit_code_5(pair):
    code, told = run(pair[0].config)
    assert code == 5
    assert "store.url" in told


# -- a node of its own


@pytest.fixture(scope="module")
def founded(tmp_path_factory):
    single = Authority(tmp_path_factory.mktemp("single"), "qm.moj")
    single.set_up()
    return single


@pytest.fixture
def single(founded, tmp_path):
    """A node that a test may spoil."""
    shutil.copytree(founded.folder, tmp_path / founded.id)
    copy = Authority(tmp_path, founded.id)
    yield copy
    copy.kill()


def start(authority: Authority) -> Authority:
    authority.start()
    authority.until_ready()
    return authority


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "passphrase").write_text("another"), "does not open"),
        (lambda folder: (folder / "passphrase").unlink(), "passphrase"),
        (lambda folder: (folder / "vault").write_bytes((folder / "vault").read_bytes()[:-200]), "vault"),
        (lambda folder: (folder / "card.json").write_text("{}"), "card"),
        (lambda folder: (folder / "config.toml").write_text("[hook]\nprot = 1"), "hook.prot"),
        (lambda folder: (folder / "config.toml").write_text('[authority]\nid = "qn.moj"'), "authority.id"),
    ],
)
def test_a_node_that_is_not_set_up_well_is_exit_code_5(single, spoil, told):
    spoil(single.folder)
    code, text = run(single.config)
    assert code == 5, text
    assert told in text
    assert "Traceback" not in text


def test_a_port_that_is_taken_is_exit_code_5(pair, single, monkeypatch):
    monkeypatch.setenv("ART18_HOOK__PORT", pair[0].doors["hook"].rpartition(":")[2])
    code, told = run(single.config)
    assert code == 5, told
    assert "hook.port" in told


def test_port_0_is_told_as_the_port_it_became(single, monkeypatch):
    monkeypatch.setenv("ART18_HOOK__PORT", "0")
    node = start(single)
    monkeypatch.setenv("ART18_HOOK__PORT", node.doors["hook"].rpartition(":")[2])
    assert node.doors["hook"].rpartition(":")[2] != "0"
    assert call(node, "inbox") == "Nothing has come in.\n"
    node.stop()


def test_a_revoked_token_of_the_command_line_stays_revoked(single):
    node = start(single)
    (own,) = ask(node, "token", "list")["items"]
    call(node, "token", "revoke", own["id"])
    node.stop()
    node = start(single)
    call(node, "inbox", code=1)
    node.stop()


def test_a_profile_is_in_force_after_a_restart(single, tmp_path):
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(schemas.sample_profile("qm")))
    node = start(single)
    call(node, "profile", "publish", str(path))
    made = ask(node, "profile", "show")
    node.stop()
    node = start(single)
    assert ask(node, "profile", "show") == made
    call(node, "profile", "publish", str(path))
    assert ask(node, "profile", "show")["sequence"] == 2
    node.stop()


def test_cards_that_were_renewed_while_the_node_was_down_are_taken_up_in_order(single):
    root = str(single.folder / "offline" / "root.key")
    first = (single.folder / "card.json").read_bytes()
    node = start(single)
    node.stop()
    for _ in range(2):
        assert "at its next start" in call(single, "card", "renew", "--root", root, "--rotate", "tls")
    node = start(single)
    assert node.hook().get("card")["sequence"] == 3
    assert "taken it up" in call(single, "card", "renew", "--root", root, "--rotate", "signing")
    assert node.hook().get("card")["sequence"] == 4
    assert ask(node, "card", "show")["sequence"] == 4
    node.stop()
    (single.folder / "card.json").write_bytes(first)
    code, told = run(single.config)
    assert code == 5
    assert "keys.card" in told


def test_nothing_of_a_case_is_in_the_logs(pair, draft, summons):
    sent(pair[0], draft, "--attach", str(summons))
    for side in pair:
        lines = (side.folder / "node.log").read_text().splitlines()
        assert lines
        for line in lines:
            assert set(json.loads(line)) <= KEYS
            assert not any(word in line for word in CONTENT)


def test_accounts_of_the_console(pair):
    authority = pair[0]
    told = call(authority, "users", "add", "a.haddad", "--role", "officer", "--role", "viewer")
    assert f"{authority.doors['console']}/welcome/" in told
    assert "works once" in told
    assert "officer, viewer" in call(authority, "users", "list")
    assert ask(authority, "users", "reset", "a.haddad")["link"] not in told
    assert "signed out everywhere" in call(authority, "users", "disable", "a.haddad")
    assert "disabled" in call(authority, "users", "list")
    call(authority, "users", "disable", "nobody", code=1)
    call(authority, "users", "add", "b.haddad", code=2)
