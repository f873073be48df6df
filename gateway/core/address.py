"""Where webhooks may go: the form of a URL, and the addresses behind it.

Whoever may set up a webhook makes this node connect to a place of their choice, from inside the
authority's network. So only addresses of the public internet are dialled, and those of networks that
the settings name.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from gateway.core.errors import Malformed

Network = IPv4Network | IPv6Network

MAX_URL = 2048

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9.-]{1,253})(:(?P<port>[0-9]{1,5}))?"
    r"(?P<rest>[/?][!\"$-\[\]-~]*)?",
    re.ASCII,
)
_NAME = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
"""A name in the DNS. Its last label begins with a letter, so that no spelling of a number is one."""
_MAX_PORT = 65535

_NAT64 = ip_network("64:ff9b::/96")
_SIX_TO_FOUR = ip_network("2002::/16")
_CLOSED = tuple(
    map(
        ip_network,
        (
            "192.88.99.0/24",  # relays of 6to4 (RFC 7526)
            "::/96",  # IPv4-compatible (RFC 4291)
            "64:ff9b:1::/48",  # NAT64 of a local network (RFC 8215)
            "2001::/23",  # Teredo and other special purposes (RFC 6890)
            "3fff::/20",  # documentation (RFC 9637)
            "5f00::/16",  # segment routing (RFC 9602)
            "fec0::/10",  # site-local (RFC 3879)
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Reach:
    """Where webhooks may go besides the public internet, and whether without TLS."""

    networks: Sequence[Network] = ()
    plain_http: bool = False

    def allows(self, address: str) -> bool:
        """Return whether *address*, as a resolver gives it, may be dialled."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
            return False
        if any(parsed.version == network.version and parsed in network for network in self.networks):
            return True
        inner = _embedded(parsed)
        return self.allows(str(inner)) if inner is not None else _is_public(parsed)


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return address.sixtofour
    return None


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    special = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback
    return (
        address.is_global
        and not special
        and not any(address.version == network.version and address in network for network in _CLOSED)
    )


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that was taken apart: the host is a name, or `literal` is its address."""

    url: str
    host: str
    port: int
    literal: str | None


def parse_target(text: str, reach: Reach) -> Target:
    """Return where *text* leads.

    Nothing is mended: what another reader could take for another place is refused.

    Raises:
        Malformed: not a plain http or https URL, or http where the settings do not allow it.
    """
    found = _URL.fullmatch(text) if len(text) <= MAX_URL else None
    if found is None:
        raise Malformed(
            f"a URL is https://NAME[:PORT][/PATH], at most {MAX_URL} characters of ASCII, its name in lower "
            "case, without account or fragment"
        )
    scheme, host = found["scheme"], found["host"]
    if scheme == "http" and not reach.plain_http:
        raise Malformed("a webhook goes to https, unless hook.webhook_http allows http")
    port = int(found["port"] or (443 if scheme == "https" else 80))
    if not 1 <= port <= _MAX_PORT:
        raise Malformed("a port is from 1 to 65535")
    bare = host.removeprefix("[").removesuffix("]")
    if _NAME.fullmatch(host):
        return Target(text, host, port, None)
    try:
        literal = str(IPv6Address(bare) if host.startswith("[") else IPv4Address(bare))
    except ValueError:
        raise Malformed("the host of a URL is a name or an IP address in its usual form") from None
    return Target(text, bare, port, literal)
