"""TLS contexts whose only trust anchors are pinned certificates (protocol §3, §4, §8).

TLS 1.3 both ways, and both ends show a certificate. Whoever does not hold the key of a pinned one,
compared by its exact DER bytes, does not get past the handshake: no byte of HTTP is read from or
sent to a stranger. Names and dates inside a certificate decide nothing. A live context can be
given certificates but not relieved of them, so which peer it is, and whether it still may, is asked
again on each request.
"""

import ssl
from collections.abc import Iterable

from typing_extensions import override

from keys.certificates import TlsKey, load_into

_NO_CHECK_TIME = 0x20_0000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL: the card says when a certificate is used (protocol §4)."""


class _Pinned(ssl.SSLObject):
    """A connection that ends in its handshake unless the other end shows a pinned certificate."""

    @override
    def do_handshake(self) -> None:
        super().do_handshake()
        context = self.context
        if not isinstance(context, _Context) or self.getpeercert(binary_form=True) not in context.pinned:
            raise ssl.SSLCertVerificationError("the certificate is not one that is pinned")


class _Context(ssl.SSLContext):
    """A context with the exact certificates (DER) that it admits.

    Chains are OpenSSL's to check; that the leaf is itself a pinned certificate, and not something
    that the holder of one has signed, is checked in the handshake.
    """

    sslobject_class = _Pinned
    pinned: frozenset[bytes] = frozenset()


def server_context(tls: TlsKey, certificates: Iterable[bytes]) -> ssl.SSLContext:
    """Return the context of the federation door; *certificates* are those of all pinned peers, DER."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, tls)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # every connection shows its certificate anew
    admit(context, certificates)
    return context


def client_context(tls: TlsKey, certificates: Iterable[bytes]) -> ssl.SSLContext:
    """Return the context for one peer, whose card has *certificates* (DER).

    No name is compared: the peer is whoever holds the key of one of exactly these.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, tls)
    context.check_hostname = False
    admit(context, certificates)
    return context


def admit(context: ssl.SSLContext, certificates: Iterable[bytes]) -> None:
    """Let holders of more *certificates* (DER) past the handshakes of a live *context*."""
    if not isinstance(context, _Context):
        raise TypeError("not a context of this module")
    fresh = frozenset(certificates) - context.pinned
    for certificate in fresh:
        context.load_verify_locations(cadata=certificate)
    context.pinned |= fresh


def _context(protocol: int, tls: TlsKey) -> _Context:
    context = _Context(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    load_into(context, tls)
    return context
