"""A draft on disk and the files that go with it: what `art18 send` and `art18 validate` begin with."""

import datetime as dt
import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from gateway.cli.begun import Begun
from gateway.cli.hook import Hook
from gateway.cli.program import UsageFault
from gateway.cli.progress import transfers
from gateway.cli.terminal import Terminal, plain
from gateway.cli.uploads import AttachedFile, Upload

_F = TypeVar("_F", bound=Callable[..., object])


def draft_and_files(function: _F) -> _F:
    """Give a command the draft that it is about, and the files to attach."""
    function = click.option(
        "--attach", "attached", multiple=True, metavar="PATH[:ROLE]", help="Attach a file. May be repeated."
    )(function)
    path = click.Path(exists=True, dir_okay=False, path_type=Path)
    return click.argument("file", metavar="FILE", type=path)(function)


def read_draft(path: Path) -> dict[str, object]:
    """Return the draft in *path*: TOML by its suffix, else JSON. Raises UsageFault."""
    try:
        text = path.read_text(encoding="utf-8")
        draft = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise UsageFault(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        form = "TOML" if path.suffix == ".toml" else "JSON"
        raise UsageFault(f"{path} is not {form}: {error}") from None
    if not isinstance(draft, dict):
        raise UsageFault(f"{path} is not a draft: a draft is an object")
    return {name: _as_json(value) for name, value in draft.items()}


def named_files(attached: Sequence[str]) -> list[AttachedFile]:
    """Return the files that `--attach` named. Raises UsageFault if one is not there."""
    files = [AttachedFile.parse(text) for text in attached]
    for each in files:
        if not each.path.is_file():
            raise UsageFault(f"--attach: there is no file {each.path}")
    return files


def uploaded(
    hook: Hook, terminal: Terminal, files: Sequence[AttachedFile], draft: dict[str, object], begun: Begun
) -> dict[str, object]:
    """Return *draft* with *files* among its attachments, once they lie in the node.

    Raises:
        UsageFault, Unreachable, Refused, WrongSubject: as of `Upload.run`.
    """
    members = []
    with transfers(terminal) as display:
        for each in files:
            advance = display.begin(plain(each.path.name), each.path.stat().st_size)
            members.append(each.member(Upload(hook, begun, advance).run(each.path), draft.get("language")))
    return {**draft, "attachments": [*own_attachments(draft), *members]} if members else draft


def own_attachments(draft: dict[str, object]) -> list[object]:
    """Return the attachments that *draft* itself names."""
    found = draft.get("attachments")
    return found if isinstance(found, list) else []


def _as_json(value: object) -> object:
    """Return a TOML *value* as it stands in JSON: times as on the wire."""
    match value:
        case dict():
            return {name: _as_json(member) for name, member in value.items()}
        case list():
            return [_as_json(item) for item in value]
        case dt.datetime() if value.tzinfo is not None:
            return value.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case dt.date() | dt.time():
            return value.isoformat()
        case _:
            return value
