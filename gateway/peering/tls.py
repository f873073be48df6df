"""TLS contexts whose only trust anchors are pinned certificates (protocol §3, §4, §8).

TLS 1.3 both ways, client certificates required. The handshake admits nobody but holders of pinned
certificates; which of them it is, and whether it still may, is read from the exact DER bytes on
each request, since a live context can be given anchors but not relieved of them.
"""

import ssl
from collections.abc import Collection, Iterable

from typing_extensions import override

from keys.certificates import TlsKey, load_into


def server_context(tls: TlsKey, certificates: Iterable[bytes]) -> ssl.SSLContext:
    """Return the context of the federation door; *certificates* are those of all pinned peers, DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # every connection shows its certificate anew
    load_into(context, tls)
    admit(context, certificates)
    return context


def admit(context: ssl.SSLContext, certificates: Iterable[bytes]) -> None:
    """Let holders of more *certificates* (DER) past the handshakes of a live *context*."""
    for certificate in certificates:
        context.load_verify_locations(cadata=certificate)


def client_context(tls: TlsKey, certificates: Collection[bytes]) -> ssl.SSLContext:
    """Return the context for one peer, whose card has *certificates* (DER).

    No name is compared: the peer is whoever holds the key of one of exactly these.
    """
    pinned = frozenset(certificates)

    class Pinned(ssl.SSLObject):
        """A connection that ends in its handshake unless the other end shows a pinned certificate."""

        @override
        def do_handshake(self) -> None:
            super().do_handshake()
            if self.getpeercert(binary_form=True) not in pinned:
                raise ssl.SSLCertVerificationError("the certificate is not one of the pinned card")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.sslobject_class = Pinned
    load_into(context, tls)
    admit(context, pinned)
    return context
