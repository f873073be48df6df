"""The settings of a node: a TOML file, then the environment; every mistake is reported at once.

`Settings` is the whole list of keys, each with its default, its bounds and the comment that
`config.example.toml` shows. The key `port` of the table `[hook]` is overridden by the environment
variable `ART18_HOOK__PORT`. Paths are relative to the folder of the file.
"""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)
from typing_extensions import override

from gateway.core.address import Reach
from gateway.core.errors import Malformed, Misconfigured
from gateway.core.ids import parse_authority
from gateway.core.retention import Rule, Since

ENV_PREFIX = "ART18_"
_NESTED = "__"
_SQLITE = "sqlite:///"
_CREDENTIALS = "${CREDENTIALS_DIRECTORY}"
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_COSIGNING = frozenset({0x04, 0x06})
"""The types of keys that witnesses sign with (C2SP tlog-cosignature)."""
_UNITS_MS = {"_hours": 3_600_000, "_days": 24 * 3_600_000}
_DOMAIN = re.compile(rf"(?=.{{1,200}}\Z){_LABEL}(\.{_LABEL})+")


def parse_domain(text: str) -> str:
    """Return *text* as the domain of an authority. Raises ValueError."""
    if not _DOMAIN.fullmatch(text):
        raise ValueError("a domain is written in lower case, without a scheme: moj.qm.example")
    return text


def _authority(text: str) -> str:
    try:
        return parse_authority(text)
    except Malformed as fault:
        raise ValueError(str(fault)) from None


def _vkeys(texts: tuple[str, ...]) -> tuple[str, ...]:
    # Imported for the few that name witnesses: cryptography would double the start of every command.
    from gateway.core.signed_note import parse_vkey  # noqa: PLC0415 - see above

    try:
        keys = [parse_vkey(text) for text in texts]
    except Malformed as fault:
        raise ValueError(str(fault)) from None
    if any(key.kind not in _COSIGNING for key in keys):
        raise ValueError("a witness has keys of type 0x04 and 0x06, and no other")
    if len({key.name for key in keys}) != 1 or len({key.kind for key in keys}) != len(keys):
        raise ValueError("the keys of one witness bear one name, and are one of each type at the most")
    return texts


def _apart(witnesses: "tuple[OutsideWitness, ...]") -> "tuple[OutsideWitness, ...]":
    if len({witness.name for witness in witnesses}) != len(witnesses):
        raise ValueError("each witness is named once")
    return witnesses


def _store_url(text: str) -> str:
    if not text.startswith((_SQLITE, "postgresql://")) or text == _SQLITE:
        raise ValueError("sqlite:///FILE or postgresql://USER@HOST/DATABASE")
    return text


def _credential(path: Path) -> Path:
    """Fill in the folder of systemd's credentials: the one variable that a path may name."""
    text = str(path)
    if not text.startswith(_CREDENTIALS):
        return path
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise ValueError("CREDENTIALS_DIRECTORY is not set: the unit needs LoadCredential=")
    return Path(text.replace(_CREDENTIALS, folder, 1))


Port = Annotated[int, Field(ge=0, le=65535)]
Host = Annotated[str, Field(min_length=1, max_length=253)]


def _says(text: str) -> FieldInfo:
    """Return the comment that stands over a key."""
    return FieldInfo(description=text)


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Authority(_Table):
    """Who this node speaks for."""

    id: Annotated[
        str,
        AfterValidator(_authority),
        _says("The authority id: country code, a dot, a short name. It cannot change."),
    ] = "qm.moj"
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$"), _says("ISO 3166-1 code of the country.")] = "QM"
    name: Annotated[str, Field(min_length=1, max_length=200), _says("The name for people.")] = (
        "Ministry of Justice"
    )
    domain: Annotated[
        str,
        AfterValidator(parse_domain),
        _says("The domain that the audit log is named after. It cannot change."),
    ] = "moj.qm.example"


class Federation(_Table):
    """The door for peers: mutual TLS 1.3, keys pinned in cards."""

    host: Annotated[Host, _says("The address to listen on. What peers dial stands in the card.")] = "0.0.0.0"  # noqa: S104 - the one door that is meant for the network
    port: Annotated[Port, _says("The port to listen on; 0 takes a free one.")] = 8443


class Hook(_Table):
    """The door for the authority's own systems and for art18."""

    host: Annotated[
        Host, _says("The address to listen on. It speaks plain HTTP: keep it on this machine.")
    ] = "127.0.0.1"
    port: Annotated[Port, _says("The port to listen on; 0 takes a free one.")] = 8480
    token_file: Annotated[
        Path, _says("The token of art18: what it shows here. The node lets it in at its first start.")
    ] = Path("cli.token")
    webhook_networks: Annotated[
        tuple[IPv4Network | IPv6Network, ...],
        _says('Networks that webhooks may reach besides the public internet: ["10.1.0.0/16"].'),
    ] = ()
    webhook_http: Annotated[
        bool, _says("Whether webhooks may go to http: too. What they carry is then read on the way.")
    ] = False
    socket: Annotated[
        str, _says('A Unix socket beside the port, for this machine: "hook.sock". Empty: there is none.')
    ] = ""
    socket_mode: Annotated[
        str,
        Field(pattern=r"^0?[67][0-7]0$"),
        _says("Who may open it, in octal: the owner, and the group with 0660. Never everybody."),
    ] = "0600"
    socket_scopes: Annotated[
        tuple[Literal["messages:read", "messages:write", "audit:read", "admin"], ...],
        _says("What whoever can open it may do."),
    ] = ("messages:read", "messages:write", "audit:read", "admin")

    @property
    def socket_permissions(self) -> int:
        """The mode of the socket's file."""
        return int(self.socket_mode, 8)

    @property
    def reach(self) -> Reach:
        """Where webhooks may go."""
        return Reach(self.webhook_networks, self.webhook_http)


class Console(_Table):
    """The door for the authority's operators, in a browser."""

    enabled: Annotated[bool, _says("Whether the console is there at all.")] = True
    host: Annotated[
        Host, _says("The address to listen on. One that is not of this machine alone needs a certificate.")
    ] = "127.0.0.1"
    port: Annotated[Port, _says("The port to listen on; 0 takes a free one.")] = 8490
    url: Annotated[
        str,
        Field(pattern=r"^(https?://[^\s/?#]+)?$", max_length=300),
        _says("How browsers reach it, where that is another address: https://console.moj.qm.example."),
    ] = ""
    certificate_file: Annotated[
        str, _says("A certificate with its chain, in PEM: the console then speaks TLS. Empty: plain HTTP.")
    ] = ""
    key_file: Annotated[str, _says("The private key of that certificate, in PEM.")] = ""
    idle_minutes: Annotated[
        int, Field(ge=1, le=1440), _says("How long a session may rest before it ends.")
    ] = 30
    session_hours: Annotated[int, Field(ge=1, le=168), _says("How long a session lasts at most.")] = 12

    @property
    def tls(self) -> bool:
        """Whether it speaks TLS itself."""
        return bool(self.certificate_file)

    @property
    def address(self) -> str:
        """What a browser is told to open."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return self.url or f"{'https' if self.tls else 'http'}://{shown}:{self.port}"


class Storage(_Table):
    """Where everything but the keys is kept."""

    url: Annotated[
        str,
        AfterValidator(_store_url),
        _says("sqlite:///FILE serves one process, postgresql://USER@HOST/DATABASE several."),
    ] = "sqlite:///gateway.db"
    blobs: Annotated[Path, _says("The folder of encrypted attachments; several processes share it.")] = Path(
        "blobs"
    )

    @property
    def file(self) -> Path | None:
        """The database, where it is a file."""
        return Path(self.url.removeprefix(_SQLITE)) if self.url.startswith(_SQLITE) else None


class Keys(_Table):
    """Keys and the card. Secrets come from files, never from these settings themselves."""

    vault: Annotated[Path, _says("The encrypted key store.")] = Path("vault")
    passphrase_file: Annotated[
        Path,
        AfterValidator(_credential),
        _says("The file with its passphrase; ${CREDENTIALS_DIRECTORY}/NAME is a systemd credential."),
    ] = Path("passphrase")
    card: Annotated[Path, _says("The authority's own card; public.")] = Path("card.json")


class Delivery(_Table):
    """Messages on their way out."""

    expires_days: Annotated[
        int,
        Field(ge=1, le=90),
        _says("How long delivery is tried when a message does not say itself."),
    ] = 30


class OutsideWitness(_Table):
    """A witness that is no peer: where its C2SP tlog-witness service is, and its keys."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$", max_length=500)]
    vkeys: Annotated[tuple[str, ...], Field(min_length=1, max_length=2), AfterValidator(_vkeys)]

    @property
    def name(self) -> str:
        """The name that its keys bear."""
        return self.vkeys[0].partition("+")[0]


class Audit(_Table):
    """The audit log: its origin and its keys are in the card, and every peer is a witness of it."""

    witnesses: Annotated[
        tuple[OutsideWitness, ...],
        AfterValidator(_apart),
        _says(
            "Witnesses besides the peers (C2SP tlog-witness): "
            '[{ url = "https://witness.example/", vkeys = ["witness.example+1234abcd+BA…"] }].'
        ),
    ] = ()


class RetentionRule(_Table):
    """Content of messages of some kinds is due to be erased so many days after something."""

    kinds: Annotated[str, Field(pattern=r"^[a-z_.*]{1,64}$")]
    days: Annotated[int, Field(ge=1, le=36_500)]
    after: Since = Since.CLOSED


class Retention(_Table):
    """How long content is kept. Nothing is erased by itself: what is due, two operators erase."""

    rules: Annotated[
        tuple[RetentionRule, ...],
        _says(
            "The first that fits a kind counts; without one it is kept for ever. after: closed (its case), "
            'or recorded. [{ kinds = "request.*", days = 3650, after = "closed" }].'
        ),
    ] = ()

    @property
    def policies(self) -> tuple[Rule, ...]:
        """The rules, as they are applied."""
        return tuple(Rule(rule.kinds, rule.days, rule.after) for rule in self.rules)


class Clocks(_Table):
    """How long practice waits before a clock of a case runs out and an alarm says so."""

    receipt_hours: Annotated[
        int, Field(ge=1, le=2160), _says("For the peer's receipt, from when a message was signed.")
    ] = 24
    acknowledgment_days: Annotated[
        int, Field(ge=1, le=365), _says("For the acknowledgment of a request.")
    ] = 7
    acknowledgment_urgent_days: Annotated[
        int, Field(ge=1, le=365), _says("For the acknowledgment of an urgent request.")
    ] = 1
    acknowledgment_emergency_hours: Annotated[
        int, Field(ge=1, le=2160), _says("For the acknowledgment of a request in an emergency.")
    ] = 4
    written_confirmation_hours: Annotated[
        int,
        Field(ge=1, le=2160),
        _says("For the written confirmation of an oral request, where the notice does not say."),
    ] = 48
    arrest_documents_days: Annotated[
        int,
        Field(ge=1, le=365),
        _says("For the documents after a provisional arrest, where the notice does not say."),
    ] = 18
    arrest_documents_most_days: Annotated[
        int, Field(ge=1, le=365), _says("For them at most, whatever the notice says.")
    ] = 40

    @cached_property
    def periods_ms(self) -> Mapping[str, int]:
        """Every period in milliseconds, by its key."""
        return {
            key: value * next(ms for unit, ms in _UNITS_MS.items() if key.endswith(unit))
            for key, value in self.model_dump().items()
        }


class Limits(_Table):
    """What one party may take of this machine."""

    peer_requests_at_once: Annotated[
        int, Field(ge=1, le=10_000), _says("Requests of one peer that may run at the same time.")
    ] = 64
    peer_requests_per_s: Annotated[
        int, Field(ge=1, le=100_000), _says("Requests of one peer in a second, on average.")
    ] = 500
    peer_unclaimed_bytes: Annotated[
        int, Field(ge=0), _says("Bytes of attachments that one peer may leave before their message comes.")
    ] = 20 * 2**30
    upload_bytes: Annotated[
        int,
        Field(ge=0),
        _says("Bytes of attachments that our own system may upload before messages carry them."),
    ] = 200 * 2**30
    unclaimed_bytes: Annotated[
        int, Field(ge=0), _says("Bytes of attachments that all peers together may leave so.")
    ] = 100 * 2**30
    hook_requests_at_once: Annotated[
        int, Field(ge=1, le=10_000), _says("Requests under one token that may run at the same time.")
    ] = 512
    hook_requests_per_s: Annotated[
        int, Field(ge=1, le=100_000), _says("Requests under one token in a second, on average.")
    ] = 5000
    free_disk_bytes: Annotated[
        int, Field(ge=0), _says("Bytes that stay free: with less, no attachment is taken.")
    ] = 2**30
    event_streams: Annotated[
        int, Field(ge=1, le=10_000), _says("Readers of events that may wait for the next at the same time.")
    ] = 100
    drain_s: Annotated[
        int,
        Field(ge=0, le=600),
        _says("Seconds that requests under way are given when the node is told to stop."),
    ] = 10


class Log(_Table):
    """What the node writes to standard error. It never holds case content."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], _says("debug, info, warning or error.")
    ] = "info"
    format: Annotated[Literal["json", "text"], _says("json (one object a line) or text.")] = "json"


class Settings(BaseSettings):
    """Every key of config.toml, in its tables."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_nested_delimiter=_NESTED
    )

    authority: Authority = Authority()
    federation: Federation = Federation()
    hook: Hook = Hook()
    console: Console = Console()
    store: Storage = Storage()
    keys: Keys = Keys()
    delivery: Delivery = Delivery()
    audit: Audit = Audit()
    retention: Retention = Retention()
    clocks: Clocks = Clocks()
    limits: Limits = Limits()
    log: Log = Log()

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file; nothing else is read."""
        return env_settings, init_settings


def load(path: Path) -> Settings:
    """Return the settings of the file *path*, with absolute paths.

    Raises:
        Misconfigured: the file cannot be read, or names every key that is wrong.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} is not TOML: {error}") from None
    mistakes = [f"{name}: no such table" for name in _unknown_overrides()]
    try:
        settings = Settings(**tables)
    except SettingsError as error:
        mistakes.append(str(error))
    except ValidationError as error:
        mistakes += [_mistake(dict(flaw)) for flaw in error.errors(include_input=False, include_url=False)]
    else:
        if not mistakes:
            return _anchored(settings, path.absolute().parent)
    raise Misconfigured("\n  ".join([f"{path} needs mending:", *sorted(mistakes)]))


def _unknown_overrides() -> Iterator[str]:
    for name in os.environ:
        table, nested, _ = name.removeprefix(ENV_PREFIX).partition(_NESTED)
        if name.startswith(ENV_PREFIX) and nested and table.lower() not in Settings.model_fields:
            yield name


def _mistake(flaw: Mapping[str, object]) -> str:
    """Say which key is wrong and where it was set; never its value, which may be a secret."""
    place = flaw["loc"]
    keys = [str(part) for part in place] if isinstance(place, tuple) else []
    variable = ENV_PREFIX + _NESTED.join(keys).upper()
    source = f" (from {variable})" if variable in os.environ else ""
    text = "no such key" if flaw["type"] == "extra_forbidden" else str(flaw["msg"])
    return f"{'.'.join(keys)}{source}: {text.removeprefix('Value error, ')}"


def _anchored(settings: Settings, folder: Path) -> Settings:
    """Return *settings* with every path made absolute from the *folder* of the file."""
    store, keys, hook, console = settings.store, settings.keys, settings.hook, settings.console
    url = store.url
    if url.startswith(_SQLITE):
        url = _SQLITE + str(folder / url.removeprefix(_SQLITE))
    return settings.model_copy(
        update={
            "hook": hook.model_copy(
                update={
                    "token_file": folder / hook.token_file,
                    "socket": str(folder / hook.socket) if hook.socket else "",
                }
            ),
            "console": console.model_copy(
                update={
                    name: str(folder / path)
                    for name in ("certificate_file", "key_file")
                    if (path := getattr(console, name))
                }
            ),
            "store": store.model_copy(update={"url": url, "blobs": folder / store.blobs}),
            "keys": keys.model_copy(
                update={
                    "vault": folder / keys.vault,
                    "passphrase_file": folder / keys.passphrase_file,
                    "card": folder / keys.card,
                }
            ),
        }
    )


def config_text(chosen: Mapping[str, Mapping[str, object]], *, every: bool = False) -> str:
    """Return a config.toml with the *chosen* keys set and the others shown as comments.

    With *every* the others are set too, to their defaults: that is `config.example.toml`.
    """
    lines = [
        "# The settings of a node of the Article 18 Gateway.",
        "# The environment overrides a key: ART18_HOOK__PORT is the port of [hook].",
        "# Paths are relative to the folder of this file.",
    ]
    for table, field in Settings.model_fields.items():
        kind = type(field.default)
        lines += ["", f"# {kind.__doc__}", f"[{table}]"]
        for key, entry in kind.model_fields.items():
            value = chosen.get(table, {}).get(key, entry.default)
            mark = "" if every or key in chosen.get(table, {}) else "# "
            lines += [f"# {entry.description}", f"{mark}{key} = {_toml(value)}"]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """Return *value* as TOML; a JSON string is a TOML string too, but for DEL."""
    if isinstance(value, bool | int):
        return json.dumps(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
