"""`art18 validate`: what is wrong with a draft, before anybody else sees it."""

import hashlib
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path

import click
from rich.console import Console

import schemas
from gateway.cli.begun import Begun
from gateway.cli.drafts import draft_and_files, named_files, own_attachments, read_draft, uploaded
from gateway.cli.hook import Refused, Unreachable, path_of
from gateway.cli.program import UsageFault
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import plain, table
from gateway.cli.uploads import VERSION, AttachedFile
from gateway.core.findings import Finding, in_language
from gateway.core.preview import FORM, judge
from gateway.core.strict import as_list, as_object, as_text
from gateway.core.template import GAP, members
from schemas.outline import Member
from schemas.wording import by_article

_ABOUT_THE_DRAFT = frozenset({HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY})
_STYLES = {"error": "bold red", "warning": "bold yellow"}
_WITHIN = " \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} "
_GAP_TOLD = "Nothing is filled in."
_NOTES = {
    "schema": "Only the form was looked at: what the articles ask for is told once it is right.",
    "offline": "Checked without the node: neither the case nor the peer's profile was looked at.",
}
_MS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found, and by whom.

    Attributes:
        checked: `schema`: nothing else, since the form is not right; `node`: all; `offline`: all but
            what the node alone knows.
        state: what the message would be, `queued` or `held`, if the node would take it.
    """

    findings: Sequence[Finding]
    checked: str
    state: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A finding for a person; `place` is the titles that lead to `path`, a JSON pointer."""

    severity: str
    article: str | None
    place: str
    path: str
    text: str


@click.command()
@draft_and_files
@click.option(
    "--offline", is_flag=True, help="Do not ask the node: leave out its case and the peer's profile."
)
@with_session
def validate(session: Session, /, *, file: Path, attached: tuple[str, ...], offline: bool) -> None:
    """Say what is wrong with the draft in FILE, TOML or JSON, and send nothing.

    The node judges it as it would a message, by its case and the peer's profile; with --offline only
    the schema and the articles count. Exit code 1 if it cannot be sent as it is.
    """
    draft, files = read_draft(file), named_files(attached)
    if offline and own_attachments(draft):
        raise UsageFault("the draft names uploads, which the node alone knows: check it without --offline")
    report = _report(session, draft, files, offline=offline)
    kind = draft.get("kind")
    known = members(kind) if isinstance(kind, str) and kind in schemas.KINDS else ()
    told = list(dict.fromkeys(_told(finding, report, draft, known) for finding in report.findings))
    errors = sum(one.severity == "error" for one in told)
    document = {
        "sendable": not errors,
        "checked": report.checked,
        "state": report.state,
        "findings": [asdict(one) for one in told],
    }
    session.terminal.show(document, lambda console: _say(console, report, told))
    click.get_current_context().exit(1 if errors else 0)


def _report(
    session: Session, draft: dict[str, object], files: Sequence[AttachedFile], *, offline: bool
) -> Report:
    """Return the judgment: of the schema first, since nothing else can be said of what breaks it."""
    sender = session.settings().authority.id if session.config.is_file() else None
    attached = [_described(each, draft.get("language")) for each in files]
    found = judge(draft, sender=sender, now_ms=int(time.time() * _MS), attached=attached)
    if any(finding.article == FORM for finding in found):
        return Report(findings=found, checked="schema")
    if offline:
        told = in_language((finding.document() for finding in found), session.language)
        return Report(findings=_findings({"findings": told}), checked="offline")
    try:
        return _asked(session, draft, files)
    except Unreachable as fault:
        raise Unreachable(f"{fault} With --offline the draft is checked without it.") from None


def _described(file: AttachedFile, language: object) -> dict[str, object]:
    """Return the member of *file* as the message will have it."""
    with file.path.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    member = {name: value for name, value in file.member("", language).items() if name != "upload"}
    return {**member, "size": file.path.stat().st_size, "sha256": digest}


def _asked(session: Session, draft: dict[str, object], files: Sequence[AttachedFile]) -> Report:
    """Return what the node says of *draft*; the files lie there only as long as that takes."""
    hook = session.hook()
    whole = uploaded(hook, session.terminal, files, draft, Begun.nothing())
    try:
        answer = hook.post("messages", document=whole, query={"dry_run": "true"}).document()
        return Report(findings=_findings(answer), checked="node", state=plain(answer["state"]))
    except Refused as refusal:
        if refusal.status not in _ABOUT_THE_DRAFT:
            raise
        return Report(findings=_refusal(refusal), checked="node")
    finally:
        for member in own_attachments(whole)[len(own_attachments(draft)) :]:
            hook.ask("DELETE", path_of("uploads", as_text(as_object(member)["upload"])), headers=VERSION)


def _refusal(refusal: Refused) -> tuple[Finding, ...]:
    """Return the node's refusal as findings: those of articles if it has them, else of the form."""
    if "findings" in refusal.problem:
        return _findings(refusal.problem)
    if refusal.flaws:
        told = (
            (flaw.pointer, f"{plain(refusal)}; expected: {plain(flaw.detail)}.") for flaw in refusal.flaws
        )
        return tuple(Finding(FORM, pointer, "error", text) for pointer, text in told)
    text = plain(refusal)
    if "allowed" in refusal.problem:
        allowed = [plain(kind) for kind in as_list(refusal.problem["allowed"])]
        text += f"; allowed now: {', '.join(allowed) or 'nothing'}"
    return (Finding(FORM, "", "error", text),)


def _findings(answer: Mapping[str, object]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            article=plain(one["article"]),
            path=plain(one["path"]),
            severity="error" if one["severity"] == "error" else "warning",
            text=plain(one["text"]),
        )
        for one in map(as_object, as_list(answer["findings"]))
    )


def _told(finding: Finding, report: Report, draft: Mapping[str, object], known: Sequence[Member]) -> Told:
    """Return *finding* for a person: its place by titles, and what broke the form in words."""
    place, member, value = _place(finding.path, draft, known)
    article: str | None = finding.article
    text = finding.text
    if article == FORM:
        article = None if member is None else member.article
        if report.checked == "schema":
            text = _form_told(member, value) or text
    return Told(severity=finding.severity, article=article, place=place, path=finding.path, text=text)


def _place(pointer: str, draft: object, known: Sequence[Member]) -> tuple[str, Member | None, object]:
    """Return the titles that lead to *pointer*, the member there, and the value that *draft* has."""
    names: list[str] = []
    member: Member | None = None
    body = next((one.members for one in known if one.name == "body"), ())
    value = draft
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list) and name.isdigit():
            names[-1:] = [f"{names[-1]} {int(name) + 1}"]
            value = value[int(name)] if int(name) < len(value) else None
            continue
        member = next((one for one in known if one.name == name), None)
        known = () if member is None else member.members or (body if name == "body" else ())
        names.append(member.title if member is not None else name)
        value = value.get(name) if isinstance(value, dict) else None
    return _WITHIN.join(names[1:] if names[1:] and pointer.startswith("/body") else names), member, value


def _form_told(member: Member | None, value: object) -> str | None:
    """Return what is asked for in place of *value*, or None where the schema's own words do."""
    if value == GAP:
        return _GAP_TOLD
    if member is None or member.is_object or isinstance(value, list):
        return None
    if member.codes:
        return f"Not one of {', '.join(map(str, member.codes))}."
    return f"Not in form. {member.hint}" if member.hint else f"Not in form: {member.form}."


def _say(console: Console, report: Report, told: Sequence[Told]) -> None:
    gaps = [one for one in told if one.text == _GAP_TOLD]
    if gaps:
        console.print("Not filled in yet", style="bold red")
        rows = [(f"  {one.place}", one.article or "", one.path) for one in gaps]
        table(console, ("  PLACE", "ARTICLE", "POINTER"), rows, none="")
        console.print()
    for one in told:
        if one.text != _GAP_TOLD:
            console.print(f"{one.severity}: ", style=_STYLES[one.severity], end="")
            console.print(plain(one.place) or "the draft", style="bold", end="")
            console.print(f"  {plain(one.path)}", style="dim")
            article = f" ({by_article(plain(one.article))})" if one.article else ""
            console.print(
                textwrap.indent(_wrapped(console, f"{plain(one.text)}{article}"), "  "), "\n", sep=""
            )
    if note := _NOTES.get(report.checked):
        console.print(note)
    console.print(_summary(told, report.state))


def _wrapped(console: Console, text: str) -> str:
    return textwrap.fill(text, console.width - len("  "), break_long_words=False, break_on_hyphens=False)


def _summary(told: Sequence[Told], state: str | None) -> str:
    counts = [
        f"{number} {severity}{'s' if number > 1 else ''}"
        for severity in _STYLES
        if (number := sum(one.severity == severity for one in told))
    ]
    found = f"{' and '.join(counts)}. " if counts else ""
    if any(one.severity == "error" for one in told):
        return f"{found}It cannot be sent as it is."
    held = " It would be held, behind one that was not taken." if state == "held" else ""
    return f"{found}Nothing was sent; it could be.{held}"
