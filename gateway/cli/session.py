"""What every command has: the configuration it works with, and the terminal it writes to."""

import functools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec

import click

from gateway.cli.hook import Hook
from gateway.cli.program import DEFAULTS, JSON
from gateway.cli.terminal import Terminal
from gateway.config import Settings, load
from gateway.core.errors import Misconfigured
from schemas.catalogues import DEFAULT, LANGUAGES

_P = ParamSpec("_P")


@dataclass(frozen=True, slots=True)
class Session:
    """The configuration that was named, and the terminal."""

    config: Path
    terminal: Terminal

    def settings(self) -> Settings:
        """Return the settings of the node. Raises Misconfigured."""
        if not self.config.is_file():
            raise Misconfigured(
                f"there is no file {self.config}. Name the node's config.toml with --config or "
                "ART18_CONFIG, or create a node with art18 init."
            )
        return load(self.config)

    @property
    def language(self) -> str:
        """Return the language in which findings are told."""
        return language_of(os.environ)

    def hook(self) -> Hook:
        """Return the hook of the node: through its Unix socket if we may open it, else under the token.

        Raises:
            Misconfigured: the settings are wrong, or the token cannot be read.
        """
        settings = self.settings()
        local = settings.hook.socket
        if local and os.access(local, os.R_OK | os.W_OK):
            return Hook(settings.hook.host, settings.hook.port, "", self.language, local)
        path = settings.hook.token_file
        try:
            token = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(f"the token in {path} cannot be read: {error}") from None
        return Hook(settings.hook.host, settings.hook.port, token, self.language)


def language_of(environment: Mapping[str, str]) -> str:
    """Return the language of findings: ART18_LANGUAGE, else that of the locale, else English.

    A locale is named like fr_CH.UTF-8; C, POSIX and what is none of the six languages is English.
    """
    named = (environment.get(name) for name in ("ART18_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"))
    first = next((name for name in named if name), DEFAULT)
    language = re.split("[-_.@]", first, maxsplit=1)[0].lower()
    return language if language in LANGUAGES else DEFAULT


def with_session(command: Callable[Concatenate[Session, _P], None]) -> Callable[_P, None]:
    """Give a command `--config` and `--output`, and a session as its first argument."""

    @click.option(
        "--config",
        "art18_config",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="The node's config.toml; else ART18_CONFIG, else the one in this folder.",
    )
    @click.option(
        "--output",
        "art18_output",
        type=click.Choice(["text", "json"]),
        help="For a person, or for a program.",
    )
    @functools.wraps(command)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> None:
        meta = click.get_current_context().meta
        config, output = kwargs.pop("art18_config"), kwargs.pop("art18_output")
        before = meta.get(DEFAULTS, (None, None))
        meta[JSON] = (output or before[1]) == "json"
        chosen = config or before[0] or os.environ.get("ART18_CONFIG") or "config.toml"
        command(Session(Path(str(chosen)), Terminal(meta[JSON])), *args, **kwargs)

    return wrapped
