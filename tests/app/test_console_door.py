"""When the console speaks TLS, and when it does not open."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from gateway.app.doors import Door, console_tls
from gateway.config import Console
from gateway.core.errors import Misconfigured
from gateway.web.console.door import console_app
from tests.support.hooks import open_hook


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_this_machine_alone_needs_no_certificate(host):
    assert console_tls(Console(host=host)) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "console.example"])  # noqa: S104 - refused
def test_others_do_not_read_along(host):
    with pytest.raises(Misconfigured, match=r"console\.certificate_file"):
        console_tls(Console(host=host))


def test_a_certificate_that_is_none_is_refused(tmp_path):
    (tmp_path / "cert.pem").write_text("no certificate")
    for name in ("cert.pem", "missing.pem"):
        with pytest.raises(Misconfigured, match=r"console\.key_file") as refused:
            console_tls(Console(certificate_file=str(tmp_path / name)))
        assert str(tmp_path) not in str(refused.value)


def test_the_address_says_what_a_browser_opens():
    assert Console().address == "http://127.0.0.1:8490"
    assert Console(host="::1").address == "http://[::1]:8490"
    assert Console(certificate_file="c.pem").address == "https://127.0.0.1:8490"
    assert Console(url="https://console.example").address == "https://console.example"


def certificate(folder: Path) -> Console:
    """Return settings with a certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "console")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return Console(certificate_file=str(folder / "cert.pem"), key_file=str(folder / "key.pem"))


async def test_with_a_certificate_it_speaks_tls(tmp_path):
    settings = certificate(tmp_path)
    async with open_hook(tmp_path) as hook:
        app = console_app(hook.context)
        door = await Door.opened(app, "console", "127.0.0.1", 0, drain_s=1, tls=console_tls(settings))
        ((_, address),) = door.addresses
        assert address.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=settings.certificate_file)
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"{address}/sign-in", ssl=trusting) as answer,
        ):
            assert answer.status == 200
        await door.close()
