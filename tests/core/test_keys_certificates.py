"""keys.certificates: pinned identities that TLS 1.3 takes, and keys that never lie open on disk."""

import datetime as dt
import os
import ssl
import tempfile
import warnings
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from keys import certificates
from keys.certificates import TlsKey, check_certificate, load_into, new_certificate, subject
from keys.errors import MalformedToken

ONE = new_certificate("qm.moj", ["gateway.moj.qm.example", "192.0.2.7", "[2001:db8::7]"])
TWO = new_certificate("qn.moj", ["gateway.moj.qn.example"])
LONGEST = "qm." + "a" * 61


def parsed(tls):
    return x509.load_der_x509_certificate(tls.certificate)


class TestMaking:
    def test_what_it_says(self):
        found = parsed(ONE)
        assert isinstance(found.public_key().curve, ec.SECP256R1)
        assert found.issuer == found.subject
        found.verify_directly_issued_by(found)
        assert found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["gateway.moj.qm.example"]
        assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "2001:db8::7"]

    def test_its_dates_never_matter(self):
        found = parsed(ONE)
        assert found.not_valid_before_utc < dt.datetime(2021, 1, 1, tzinfo=dt.UTC)
        assert found.not_valid_after_utc.year == 9999

    @pytest.mark.parametrize("authority", ["qm.moj", LONGEST])
    def test_two_of_one_authority_differ_in_their_subject(self, authority):
        made = [new_certificate(authority, ["a.example"]) for _ in range(3)]
        assert len({subject(one.certificate) for one in made}) == 3
        for one in made:
            (name,) = parsed(one).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
            assert len(name.value) <= 64
            assert name.value.startswith(authority[:40])

    @pytest.mark.parametrize("hosts", [[], ["b\u00fccher.example"], ["a.example", "\u00e9"]])
    def test_hosts_that_no_certificate_can_name(self, hosts):
        with pytest.raises(MalformedToken):
            new_certificate("qm.moj", hosts)

    def test_the_private_key_is_not_printed(self):
        assert "private" not in repr(ONE)


def certificate_of(key, algorithm):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1)
    start, end = (dt.datetime(year, 1, 1, tzinfo=dt.UTC) for year in (2020, 2030))
    builder = builder.not_valid_before(start).not_valid_after(end)
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.DER)


class TestChecking:
    def test_its_own_pass(self):
        assert check_certificate(ONE.certificate) == ONE.certificate
        assert subject(ONE.certificate) == parsed(ONE).subject.public_bytes()

    @pytest.mark.parametrize(
        "der",
        [
            certificate_of(ec.generate_private_key(ec.SECP384R1()), hashes.SHA256()),
            certificate_of(ec.generate_private_key(ec.SECP256K1()), hashes.SHA256()),
            certificate_of(ed25519.Ed25519PrivateKey.generate(), None),
            certificate_of(rsa.generate_private_key(65537, 2048), hashes.SHA256()),
            b"",
            b"\x30\x00",
            ONE.certificate[:-1],
            ONE.certificate + b"\x00",
            ssl.DER_cert_to_PEM_cert(ONE.certificate).encode(),
            ONE.private,
        ],
        ids=["P-384", "secp256k1", "Ed25519", "RSA", "empty", "no fields", "cut", "extended", "PEM", "a key"],
    )
    def test_what_is_no_certificate_over_p256(self, der):
        for check in (check_certificate, subject):
            with pytest.raises(MalformedToken):
                check(der)

    @pytest.mark.parametrize("warned", [False, True])
    def test_a_serial_number_is_positive(self, warned):
        # Today the library warns of it; a card that is pinned must not stop parsing when it refuses.
        start = ONE.certificate.index(bytes.fromhex("a00302010202")) + 7  # version, tag, length
        altered = bytearray(ONE.certificate)
        altered[start] |= 0x80
        with warnings.catch_warnings():
            warnings.simplefilter("error" if warned else "ignore")
            with pytest.raises(MalformedToken):
                check_certificate(bytes(altered))

    @pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
    def test_no_bit_makes_it_fail_otherwise(self):
        # A peer's card brings these bytes: whatever is wrong in them is one error, not a crash.
        refused = 0
        for position in range(len(ONE.certificate)):
            altered = bytearray(ONE.certificate)
            altered[position] ^= 1 << position % 8
            try:
                assert check_certificate(bytes(altered)) == altered
                assert subject(bytes(altered))
            except MalformedToken:
                refused += 1
        assert refused > 100

    def test_the_cases_that_bits_were_seen_to_reach(self):
        version = ONE.certificate.index(bytes.fromhex("a003020102"))
        algorithm = ONE.certificate.index(bytes.fromhex("06072a8648ce3d0201"))
        curve = ONE.certificate.index(bytes.fromhex("06082a8648ce3d030107"))
        for position in (version + 4, algorithm + 8, curve + 9):
            altered = bytearray(ONE.certificate)
            altered[position] ^= 1 << 3
            for check in (check_certificate, subject):
                with pytest.raises(MalformedToken):
                    check(bytes(altered))


def context(side, mine, pinned):
    made = ssl.SSLContext(side)
    made.check_hostname = False
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    load_into(made, mine)
    made.load_verify_locations(cadata=pinned.certificate)
    return made


def handshake(server, client):
    """Both ends of a handshake in memory; returns the certificates that each saw."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server),
    ]
    waiting = ends[::-1]
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
        if not waiting:
            return [end.getpeercert(binary_form=True) for end in ends], ends[0].version()
    raise AssertionError("the handshake does not end")


class TestLoading:
    @pytest.mark.parametrize("memory", [True, False])
    def test_both_ends_of_tls_13(self, monkeypatch, memory):
        if not memory:
            monkeypatch.delattr(os, "memfd_create", raising=False)
        seen, version = handshake(
            context(ssl.PROTOCOL_TLS_SERVER, ONE, TWO), context(ssl.PROTOCOL_TLS_CLIENT, TWO, ONE)
        )
        assert seen == [TWO.certificate, ONE.certificate]
        assert version == "TLSv1.3"

    def test_a_stranger_does_not_get_past_it(self):
        stranger = new_certificate("qm.moj", ["gateway.moj.qm.example"])
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(
                context(ssl.PROTOCOL_TLS_SERVER, ONE, TWO), context(ssl.PROTOCOL_TLS_CLIENT, stranger, ONE)
            )

    @pytest.mark.parametrize("memory", [True, False])
    def test_what_openssl_reads_is_encrypted_and_gone_after(self, monkeypatch, tmp_path, memory):
        if not memory:
            monkeypatch.delattr(os, "memfd_create", raising=False)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        seen = []

        class Spy(ssl.SSLContext):
            def load_cert_chain(self, certfile, keyfile=None, password=None):
                seen.append((Path(certfile).read_bytes(), password, certfile, list(tmp_path.iterdir())))
                super().load_cert_chain(certfile, keyfile, password)

        load_into(Spy(ssl.PROTOCOL_TLS_SERVER), ONE)
        load_into(Spy(ssl.PROTOCOL_TLS_SERVER), ONE)
        (one, password, name, on_disk), (two, another, _, _) = seen
        assert one.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        assert b"-----BEGIN PRIVATE KEY-----" not in one
        assert password != another
        assert password.encode() not in one
        assert one != two
        with pytest.raises((TypeError, ValueError)):
            serialization.load_pem_private_key(one, None)
        assert name.startswith("/proc/self/fd/") == memory == (not on_disk)
        assert not list(tmp_path.iterdir())
        assert not Path(name).exists() or memory

    def test_the_descriptor_is_closed(self):
        def is_open():
            return {handle for handle in range(100) if os.path.lexists(f"/proc/self/fd/{handle}")}

        before = is_open()
        for _ in range(3):
            load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ONE)
        assert is_open() == before

    @pytest.mark.parametrize(
        "tls",
        [
            TlsKey(ONE.certificate, TWO.private),
            TlsKey(ONE.certificate, b""),
            TlsKey(ONE.certificate, ONE.private[:-1]),
            TlsKey(b"", ONE.private),
        ],
    )
    def test_a_key_without_its_certificate_is_one_clear_fault(self, tls):
        with pytest.raises(MalformedToken, match=r"not a TLS key and its certificate|not an X"):
            load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls)

    def test_the_folder_is_private_where_there_is_no_memory_file(self, monkeypatch):
        monkeypatch.delattr(os, "memfd_create", raising=False)
        with certificates._as_file(b"data") as name:
            assert Path(name).read_bytes() == b"data"
            assert Path(name).parent.stat().st_mode & 0o077 == 0
        assert not Path(name).parent.exists()
