"""TLS identities: a self-signed ECDSA P-256 certificate, pinned whole (protocol §3, §4).

Why this is safe. Nobody certifies these certificates and no name in them is believed: the card pins
their exact bytes, and the card is what was verified. X.509 dates are ignored for the same reason and
set wide. `CA:FALSE` keeps a holder from issuing others. The private key stays in the vault; `ssl` takes
keys from files only, so it is handed over encrypted, under a random passphrase that is used once and
never written, in a file that is only in memory where the system has such.
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
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import CryptographyDeprecationWarning

from keys.errors import MalformedToken

_NOT_BEFORE = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_NOT_AFTER = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)  # RFC 5280 §4.1.2.5
_NAME_MAX = 64  # characters of a common name, RFC 5280 appendix A.1
_UNIQUE_BYTES = 8


@dataclass(frozen=True, slots=True)
class TlsKey:
    """A certificate and its private key, both DER; the private one is for the vault only."""

    certificate: bytes
    private: bytes = field(repr=False)


def new_certificate(authority: str, hosts: Sequence[str]) -> TlsKey:
    """Return a fresh key with its certificate, for a node of *authority* at *hosts* (names or addresses).

    The subject ends in a random part, so that it is unlike that of any other (protocol §4): OpenSSL
    finds a trust anchor by its subject.

    Raises:
        MalformedToken: no host, or one that no certificate can name.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    unique = f" {secrets.token_hex(_UNIQUE_BYTES)}"
    common = authority[: _NAME_MAX - len(unique)] + unique
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])
    if not hosts:
        raise MalformedToken("a certificate names at least one host")
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
    """Return *der*, an X.509 certificate over ECDSA P-256, and nothing else. Raises MalformedToken."""
    _subject(der)
    return der


def subject(der: bytes) -> bytes:
    """Return the subject of a certificate, DER. Raises MalformedToken."""
    return _subject(der)


def load_into(context: ssl.SSLContext, tls: TlsKey) -> None:
    """Give *context* the certificate and private key of *tls*.

    Raises:
        MalformedToken: *tls* is not a key and its certificate.
    """
    passphrase = secrets.token_urlsafe(32)
    try:
        private = serialization.load_der_private_key(tls.private, None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase.encode("ascii")),
        )
        certificate = ssl.DER_cert_to_PEM_cert(check_certificate(tls.certificate)).encode("ascii")
        with _as_file(private + certificate) as path:
            context.load_cert_chain(path, password=passphrase)
    except (ValueError, UnsupportedAlgorithm, ssl.SSLError):
        raise MalformedToken("not a TLS key and its certificate") from None


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """Yield a path under which *data* can be read: in memory on Linux, else in a private folder."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("tls", os.MFD_CLOEXEC), "wb") as file:
            file.write(data)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tls.pem"
            path.write_bytes(data)
            yield str(path)


def _general_name(host: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    try:
        return x509.DNSName(host)
    except ValueError:
        raise MalformedToken("a host name is ASCII; one that is not is written in A-labels") from None


@lru_cache(maxsize=256)
def _subject(der: bytes) -> bytes:
    """Return the subject of a certificate, all of which was looked at that this node relies on."""
    try:
        found = x509.load_der_x509_certificate(der)
        key, name = found.public_key(), found.subject.public_bytes()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm, CryptographyDeprecationWarning):
        raise MalformedToken("not an X.509 certificate that can be used here") from None
    if found.serial_number <= 0:  # RFC 5280 §4.1.2.2; the library only warns, and will refuse it one day
        raise MalformedToken("a certificate has a positive serial number")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise MalformedToken("a TLS certificate is over ECDSA P-256")
    if found.public_bytes(serialization.Encoding.DER) != der:
        raise MalformedToken("a certificate is nothing but its DER bytes")
    return name
