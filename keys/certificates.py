"""TLS identities: a self-signed ECDSA P-256 certificate, pinned whole (protocol §3, §4).

Why this is safe. Nobody certifies these certificates and no name in them is believed: the card pins
their exact bytes, and the card is what was verified. X.509 dates are ignored for the same reason and
set wide. The private key stays in the vault; OpenSSL reads keys from files only, so it is handed
over encrypted, under a one-time passphrase, in memory-backed storage where there is such.
"""

import contextlib
import datetime as dt
import ipaddress
import os
import secrets
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keys.errors import MalformedToken

_NOT_BEFORE = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_NOT_AFTER = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)  # RFC 5280 §4.1.2.5


@dataclass(frozen=True, slots=True)
class TlsKey:
    """A certificate and its private key, both DER; the private one is for the vault only."""

    certificate: bytes
    private: bytes = field(repr=False)


def new_certificate(authority: str, hosts: Sequence[str]) -> TlsKey:
    """Return a fresh key with its certificate; the subject is unlike that of any other."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{authority} {secrets.token_hex(4)}"[:64])]
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return TlsKey(made.public_bytes(serialization.Encoding.DER), private)


def check_certificate(der: bytes) -> bytes:
    """Return *der*, an X.509 certificate over ECDSA P-256. Raises MalformedToken."""
    _parsed(der)
    return der


def subject(der: bytes) -> bytes:
    """Return the subject of a certificate, DER."""
    return _parsed(der).subject.public_bytes()


def load_into(context: ssl.SSLContext, tls: TlsKey) -> None:
    """Give *context* the certificate and private key of *tls*."""
    passphrase = secrets.token_urlsafe(32)
    private = serialization.load_der_private_key(tls.private, None)
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode("ascii")),
    ) + _parsed(tls.certificate).public_bytes(serialization.Encoding.PEM)
    with _as_file(pem) as path:
        context.load_cert_chain(path, password=passphrase)


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """Yield a path under which *data* can be read: in memory on Linux, else a private file."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("tls", os.MFD_CLOEXEC)
        try:
            os.write(handle, data)
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tls.pem"
        path.write_bytes(data)
        yield str(path)


def _general_name(host: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    return x509.DNSName(host)


@lru_cache(maxsize=256)
def _parsed(der: bytes) -> x509.Certificate:
    try:
        found = x509.load_der_x509_certificate(der)
        key = found.public_key()
    except ValueError:
        raise MalformedToken("not an X.509 certificate") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise MalformedToken("a TLS certificate is over ECDSA P-256")
    if found.public_bytes(serialization.Encoding.DER) != der:
        raise MalformedToken("a certificate is nothing but its DER bytes")
    return found
