"""Who gets past a handshake: holders of exactly the pinned certificates, in TLS 1.3 (protocol §3, §4)."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.peering.tls import admit, client_context, server_context
from keys.certificates import TlsKey, load_into, new_certificate

HELLO = b"hello\n"


@asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncIterator[int]:
    """Answer whoever gets in; give the port."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HELLO)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def says(port: int, context: ssl.SSLContext) -> bytes:
    """Return what the server says; raise what the handshake ends with."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="any.example"
    )
    try:
        return await reader.read()
    finally:
        writer.close()


def issued(name: str, *, by: TlsKey | None = None, ca: bool = False, year: int = 2020) -> TlsKey:
    """Return a certificate as another implementation might make it, valid for one day of *year*."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer, signer = subject, key
    if by is not None:
        issuer = x509.load_der_x509_certificate(by.certificate).subject
        loaded = serialization.load_der_private_key(by.private, None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer = loaded
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(year, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(year, 1, 2, tzinfo=dt.UTC))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return TlsKey(made.public_bytes(serialization.Encoding.DER), private)


@pytest.fixture(scope="module")
def server() -> TlsKey:
    return new_certificate("qm.moj", ["127.0.0.1"])


@pytest.fixture(scope="module")
def client() -> TlsKey:
    return new_certificate("qn.justice", ["127.0.0.1"])


def pinned(tls: TlsKey, *others: TlsKey) -> Iterable[bytes]:
    return [one.certificate for one in (tls, *others)]


async def refused(port: int, context: ssl.SSLContext) -> None:
    """Check that nothing is said: in TLS 1.3 a client learns of its refusal when it reads."""
    try:
        said = await says(port, context)
    except (ssl.SSLError, ConnectionError):
        return
    assert said == b""


async def test_those_who_pinned_each_other_meet(server: TlsKey, client: TlsKey) -> None:
    async with listening(server_context(server, pinned(client))) as port:
        assert await says(port, client_context(client, pinned(server))) == HELLO


async def test_dates_in_certificates_decide_nothing() -> None:
    old, future = issued("old", year=1999), issued("future", year=2999)
    async with listening(server_context(old, pinned(future))) as port:
        assert await says(port, client_context(future, pinned(old))) == HELLO


async def test_a_stranger_is_refused_and_admitted_once_it_is_pinned(server: TlsKey, client: TlsKey) -> None:
    context = server_context(server, [])
    async with listening(context) as port:
        await refused(port, client_context(client, pinned(server)))
        admit(context, pinned(client))
        admit(context, pinned(client))
        assert await says(port, client_context(client, pinned(server))) == HELLO


async def test_whoever_shows_no_certificate_is_refused(server: TlsKey, client: TlsKey) -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.load_verify_locations(cadata=server.certificate)
    async with listening(server_context(server, pinned(client))) as port:
        await refused(port, bare)


async def test_tls_1_2_is_refused_by_both(server: TlsKey, client: TlsKey) -> None:
    older = client_context(client, pinned(server))
    older.minimum_version, older.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    async with listening(server_context(server, pinned(client))) as port:
        await refused(port, older)
    older = server_context(server, pinned(client))
    older.minimum_version, older.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    async with listening(older) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await says(port, client_context(client, pinned(server)))


async def test_another_certificate_of_the_same_name_is_not_the_pinned_one(server: TlsKey) -> None:
    one, other = issued("twin", year=2020), issued("twin", year=2020)
    async with listening(server_context(server, pinned(one))) as port:
        await refused(port, client_context(other, pinned(server)))
    async with listening(server_context(other, pinned(server))) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await says(port, client_context(server, pinned(one)))


async def test_what_a_pinned_certificate_has_signed_is_not_pinned(server: TlsKey, client: TlsKey) -> None:
    """The chain is sound, for the pinned certificate says that it may sign others."""
    signer = issued("signer", ca=True)
    leaf = issued("leaf", by=signer)
    async with listening(server_context(server, pinned(signer))) as port:
        assert await says(port, client_context(signer, pinned(server))) == HELLO
        await refused(port, client_context(leaf, pinned(server)))
    async with listening(server_context(leaf, pinned(client))) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await says(port, client_context(client, pinned(signer)))


async def test_a_rotated_certificate_is_shown_in_new_handshakes(server: TlsKey, client: TlsKey) -> None:
    later = new_certificate("qm.moj", ["127.0.0.1"])
    context = server_context(server, pinned(client))
    async with listening(context) as port:
        assert await says(port, client_context(client, pinned(server))) == HELLO
        load_into(context, later)
        with pytest.raises(ssl.SSLCertVerificationError):
            await says(port, client_context(client, pinned(server)))
        assert await says(port, client_context(client, pinned(server, later))) == HELLO
