"""The demo as a story: what each side does, what it can prove afterwards, printed as a timeline."""

import hashlib
import json
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

from rich.console import Console

import schemas
from gateway.app.own_card import read_card
from gateway.cli.demo.authority import Authority, Broken
from gateway.cli.terminal import plain
from gateway.core.entry import parse_entry
from gateway.core.ids import parse_authority, parse_digest, parse_message_id
from gateway.core.proof import Receipt, SentEnvelope, verify_receipt

_SHORT = 16


class Story:
    """Two authorities that meet, and the sample cases that they play."""

    def __init__(self, console: Console, requesting: Authority, requested: Authority) -> None:
        self._console = console
        self._sides = {"requesting": requesting, "requested": requested}
        self._sent: list[dict[str, str]] = []
        self._first = ""

    def play(self, *cases: Mapping[str, Any], serve: bool = False) -> None:
        """Play *cases*, one after another, from the founding of both nodes to their end. Raises Broken."""
        self._found()
        self._publish()
        self._meet()
        for case in cases:
            self._head(f"Case {case['number']}: {case['title']}")
            self._sent.clear()
            for step in case["steps"]:
                self._step(case["number"], step)
            self._first = self._sent[0]["id"]
        self._head("What both sides can prove")
        for side in self._sides.values():
            self._verify(side)
        for here, there in self._pairs():
            self._prove(here, there)
        if serve:
            self._serve()
        for side in self._sides.values():
            side.stop()
        self._good("both nodes ended by SIGTERM, in order")
        self._console.print("\nEvery check held.", style="bold green")

    def _prove(self, here: Authority, there: Authority) -> None:
        """Let *here* write the evidence of the first message, and a stranger verify it with both roots."""
        message, file = self._first, here.folder / "evidence.zip"
        for side in (there, here):
            side.hook().ask("POST", "/audit/witnesses")
        written = here.until(
            lambda: _complete(here.art18("evidence", message, "-o", str(file))),
            failing=f"no witness had cosigned the log of {here.country}",
        )
        roots = [
            word
            for side in (here, there)
            for word in ("--root", f"{side.id}={side.art18('card', 'show')['fingerprint']}")
        ]
        verified = here.art18("verify", str(file), *roots)
        times = [one["time"] for one in verified["findings"] if one["what"] == "cosigned"]
        self._good(
            f"{here.country} wrote the evidence: {written['proved']} things proved off line, cosigned "
            f"since {min(times)}"
        )

    def _found(self) -> None:
        self._head("Two authorities on this machine")
        for side in self._sides.values():
            fingerprint = side.set_up()
            side.start()
            self._console.print(f"  {side.country}  {side.id}\n      root key {fingerprint}")
        for side in self._sides.values():
            side.until_ready()
            peers, systems = side.doors["federation"], side.doors["hook"]
            self._good(f"{side.country} is up: peers at {peers}, own systems at {systems}")

    def _publish(self) -> None:
        """Let each authority say what it accepts and requires, before anybody asks anything of it."""
        for side in self._sides.values():
            made = side.publish()
            self._good(f"{side.country} published profile {made['sequence']}: what it accepts and requires")

    def _meet(self) -> None:
        """Let each operator pin the other's card, the fingerprint confirmed over another channel.

        The first look of who pins first fails, since it is not pinned over there yet; its node looks
        again about a second later, once it is asked.
        """
        for here, there in self._pairs():
            card = here.folder / f"{there.id}.card"
            there.art18("card", "export", str(card))
            confirmed = str(there.art18("card", "show")["fingerprint"])
            here.art18("peers", "add", str(card), "--id", there.id, "--fingerprint", confirmed)
        for here, there in self._pairs():
            here.art18("peers", "check", there.id)
            self._good(
                f"{here.country} pinned the card of {there.country} in a ceremony, and reaches its node"
            )
        for here, there in self._pairs():
            self._know(here, there)

    def _know(self, here: Authority, there: Authority) -> None:
        """Wait until *here* has what *there* has published."""
        profile = here.until(
            lambda: here.art18("peers", "show", there.id)["profile"],
            failing=f"{there.country}'s profile did not reach {here.country}",
        )
        self._good(
            f"{here.country} has fetched and verified profile {profile['sequence']} of {there.country}"
        )

    def _step(self, case: int, step: Mapping[str, Any]) -> None:
        here = self._sides[step["by"]]
        there = next(side for side in self._sides.values() if side is not here)
        folder = f"case-{case}-step-{len(self._sent) + 1}"
        draft, message = self._send(step, here.folder / folder, here, there)
        jws = self._fetch(step, draft, message, there.folder / folder, there)
        found = here.hook().get("messages", message, query={"direction": "out"})
        for side, known in ((here, found), (there, there.art18("show", message))):
            _check_findings(side, known)
        self._sent.append(
            {name: str(found[name]) for name in ("id", "case", "created")} | {"message_sha256": jws}
        )
        there.art18("acknowledge", message)
        here.until(
            lambda: found if _state(here, message) == "handed_over" else None,
            failing=f"{there.country}'s handover did not reach {here.country}",
        )
        for receipt in here.hook().items("messages", message, "receipts"):
            self._verify_receipt(receipt, here, there)
        self._case_state(step, str(found["case"]))

    def _send(
        self, step: Mapping[str, Any], folder: Path, here: Authority, there: Authority
    ) -> tuple[Mapping[str, Any], str]:
        """Let the sender send what the step says; return the draft and the id of the message."""
        folder.mkdir()
        words: list[str] = []
        attached: list[Mapping[str, str | int]] = []
        for one in step["attachments"]:
            body = schemas.sample_file(one["file"])
            (folder / one["name"]).write_bytes(body)
            words += ["--attach", f"{folder / one['name']}:{one['role']}"]
            attached.append({"sha256": hashlib.sha256(body).hexdigest(), "size": len(body)})
        today = datetime.now(UTC).date()
        draft = schemas.fill(step, to=there.id, today=today, sent=self._sent, attached=attached)
        file = folder / "draft.json"
        file.write_text(json.dumps(draft, ensure_ascii=False), encoding="utf-8")
        sent = here.art18("send", str(file), *words, "--wait")
        files = "".join(f", with {plain(one['name'])}" for one in step["attachments"])
        time, title = datetime.now(UTC).strftime("%H:%M:%S"), schemas.load(f"kinds/{draft['kind']}")["title"]
        way = f"{here.country} → {there.country}"
        self._console.print(f"\n  {time}  {way}  {title} ({draft['kind']}){files}", style="bold")
        return draft, str(sent["id"])

    def _fetch(
        self,
        step: Mapping[str, Any],
        draft: Mapping[str, Any],
        message: str,
        folder: Path,
        there: Authority,
    ) -> str:
        """Let the recipient write the message out; return its digest, once all of it is what was sent."""
        fetched = there.art18("fetch", message, "--to", str(folder))
        content = json.loads((folder / "content.json").read_text(encoding="utf-8"))
        if content["body"] != draft["body"]:
            raise Broken(f"the body that {there.country} fetched is not the one that was drafted")
        self._good(f"{there.country} fetched the content: its body is what was drafted")
        for number, one in enumerate(step["attachments"], 1):
            (path,) = folder.glob(f"{number:02d}-*")
            if path.read_bytes() != schemas.sample_file(one["file"]):
                raise Broken(f"{path.name} is not the file that was attached")
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            self._good(f"{there.country} fetched {path.name}, SHA-256 {digest[:_SHORT]}… as it was sent")
        return str(fetched["message_sha256"])

    def _verify_receipt(self, found: Mapping[str, Any], here: Authority, there: Authority) -> None:
        """Verify a receipt as a stranger would who has the recipient's card, and what was sent."""
        receipt = Receipt(str(found["entry"]).encode(), str(found["proof"]))
        sent, card = self._sent[-1], read_card(there.folder / "card.json")
        envelope = parse_entry(receipt.entry).envelope_sha256
        subject = SentEnvelope(
            message_id=parse_message_id(sent["id"]),
            sender=parse_authority(here.id),
            recipient=card.authority,
            message_sha256=parse_digest(sent["message_sha256"]),
            envelopes=frozenset({envelope} if envelope else ()),
        )
        proved = verify_receipt(receipt, subject, {card.log.origin: card.log})
        self._good(f"receipt: {proved.event} is entry {proved.index} of {card.log.origin}, proved and signed")

    def _case_state(self, step: Mapping[str, Any], case: str) -> None:
        for side in self._sides.values():
            found = side.hook().get("cases", case)
            if found["state"] != step["state"]:
                raise Broken(f"the case is {found['state']} at {side.country}, not {step['state']}")
        self._good(f"both sides: the case is {step['state']}")

    def _verify(self, side: Authority) -> None:
        """Verify the log as a stranger would: from its leaves, under the card."""
        found = side.art18("audit", "verify")
        self._good(
            f"{side.country}: {found['size']} entries lead to root {str(found['root'])[:_SHORT]}…, "
            "signed with Ed25519 and ML-DSA-44"
        )

    def _serve(self) -> None:
        self._head("Both nodes stay up until Ctrl-C")
        for side in self._sides.values():
            self._console.print(
                f"  {side.country}  hook {side.doors['hook']}, peers {side.doors['federation']}, "
                f"console {side.doors['console']}",
                soft_wrap=True,
            )
            self._console.print(f"      ART18_CONFIG={side.config} {_command()} inbox", soft_wrap=True)
            told = "users add you --role admin --role viewer"
            self._console.print(f"      ART18_CONFIG={side.config} {_command()} {told}", soft_wrap=True)
        stopping = Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
        while not stopping.wait(1):
            pass
        self._console.print()

    def _pairs(self) -> list[tuple[Authority, Authority]]:
        one, other = self._sides.values()
        return [(one, other), (other, one)]

    def _head(self, text: str) -> None:
        self._console.print(f"\n{text}", style="bold")

    def _good(self, text: str) -> None:
        self._console.print("            [green]✓[/green] ", end="", markup=True)
        self._console.print(text)


def _check_findings(side: Authority, message: Mapping[str, Any]) -> None:
    """Raise Broken if *side* found an error in *message*: a sample case has none."""
    errors = [one["path"] for one in message["findings"] if one["severity"] == "error"]
    if errors:
        raise Broken(f"{side.country} finds errors in {message['kind']}: {', '.join(errors)}")


def _state(side: Authority, message: str) -> object:
    return side.hook().get("messages", message, query={"direction": "out"})["state"]


def _command() -> str:
    """Return how `art18` is called from here."""
    script = Path(sys.executable).with_name("art18")
    return str(script) if script.exists() else f"{sys.executable} -m gateway"


def _complete(written: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what was written, once nothing in it is left unproved."""
    return None if written["not_proved"] else written
