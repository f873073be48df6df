"""keys.vault and keys.passwords: the key store opens whole, for its passphrase, or with one clear error."""

import base64
import dataclasses
import json
import os
import stat
import traceback

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from nacl.pwhash import argon2id

from keys import passwords, vault
from keys.errors import MalformedToken, VaultFault
from keys.passwords import LEAST, MODERATE, MOST, Strength, derive
from keys.sealing import SealingKey, seal
from keys.signing import LatticeKey, LogKeys, SigningKey, verify_lattice, verify_raw
from keys.vault import Keyring, read_passphrase, read_root, read_vault, write_root, write_vault

PASSPHRASE = b"correct horse"
RING = Keyring.generate("qm.moj", ["gateway.moj.qm.example"])
ROOT = SigningKey.generate()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vault"


def write(path, ring=RING, **more):
    write_vault(path, ring, PASSPHRASE, strength=LEAST, **more)


def fault(path, passphrase=PASSPHRASE, read=read_vault):
    """What the one error says; nothing of the store may be in it, nor behind it."""
    with pytest.raises(VaultFault) as caught:
        read(path, passphrase)
    error = caught.value
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    shown = "".join(traceback.format_exception(error))
    assert base64.b64encode(RING.storage.private_bytes()).decode() not in shown
    assert PASSPHRASE.decode() not in str(error)
    assert str(path) in str(error)
    return str(error)


class TestRoundTrip:
    def test_every_key_comes_back(self, path):
        write(path)
        found = read_vault(path, PASSPHRASE)
        assert vault._encode(found) == vault._encode(RING)
        assert found.tls == RING.tls
        assert (set(found.signing), set(found.sealing)) == (set(RING.signing), set(RING.sealing))

    def test_they_do_their_work(self, path):
        write(path)
        found = read_vault(path, PASSPHRASE)
        for kid, key in found.sealing.items():
            assert key.open(seal(RING.sealing[kid].public, b"x", b"i"), b"i") == b"x"
        assert found.storage.open(RING.storage.seal(b"x", b"c"), b"c") == b"x"
        for mine, theirs in ((found.log, RING.log), (found.witness, RING.witness)):
            verify_raw(theirs.ed.public, mine.ed.sign(b"x"), b"x")
            verify_lattice(theirs.lattice.public, mine.lattice.sign(b"x"), b"x")

    def test_more_keys_of_a_role(self, path):
        signing, sealing = SigningKey.generate(), SealingKey.generate()
        ring = dataclasses.replace(
            RING,
            signing={**RING.signing, signing.kid: signing},
            sealing={**RING.sealing, sealing.kid: sealing},
            tls=(*RING.tls, vault.new_certificate("qm.moj", ["::1"])),
        )
        write(path, ring)
        assert vault._encode(read_vault(path, PASSPHRASE)) == vault._encode(ring)

    def test_the_root_key(self, path):
        write_root(path, ROOT, PASSPHRASE, strength=LEAST)
        assert read_root(path, PASSPHRASE).private_bytes() == ROOT.private_bytes()

    def test_nothing_recurs_and_nothing_is_in_the_clear(self, path, tmp_path):
        write(path)
        write(tmp_path / "again")
        one, two = (json.loads(file.read_bytes()) for file in (path, tmp_path / "again"))
        assert all(one[name] != two[name] for name in ("salt", "nonce", "sealed"))
        assert [len(base64.b64decode(one[name])) for name in ("salt", "nonce")] == [16, 24]
        assert set(one) == {"format", "purpose", "passes", "memory_bytes", "salt", "nonce", "sealed"}

    def test_the_default_strength_is_moderate(self):
        for write_any in (write_vault, write_root):
            assert write_any.__kwdefaults__["strength"] == MODERATE
        assert Strength(3, 256 << 20) == MODERATE


class TestKeyring:
    def test_no_key_serves_two_roles(self):
        signing = next(iter(RING.signing.values()))
        for changed in (
            {"log": LogKeys(signing, RING.log.lattice)},
            {"witness": LogKeys(signing, RING.witness.lattice)},
            {"witness": LogKeys(RING.log.ed, LatticeKey.generate())},
            {"witness": LogKeys(SigningKey.generate(), RING.log.lattice)},
        ):
            with pytest.raises(MalformedToken):
                dataclasses.replace(RING, **changed)

    def test_a_key_stands_under_its_own_kid(self):
        for role in ("signing", "sealing"):
            with pytest.raises(MalformedToken):
                dataclasses.replace(RING, **{role: {"another": next(iter(getattr(RING, role).values()))}})

    def test_two_generated_share_nothing(self):
        other = Keyring.generate("qm.moj", ["gateway.moj.qm.example"])
        mine, theirs = vault._encode(RING), vault._encode(other)
        assert all(mine[role] != theirs[role] for role in mine)

    def test_no_private_byte_is_printed(self):
        shown = repr(RING) + repr(RING.tls) + repr(RING.storage)
        assert RING.tls[0].private.hex()[:20] not in shown
        assert repr(RING.tls[0].private) not in shown
        assert repr(RING.storage.private_bytes()) not in shown


class TestWriting:
    def test_for_the_owner_only(self, path):
        old = os.umask(0)
        try:
            write(path)
            write(path, replace=True)
        finally:
            os.umask(old)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(path.parent.iterdir()) == [path]

    def test_a_file_is_not_replaced_unless_told(self, path):
        path.write_bytes(b"precious")
        for write_any, value in ((write_vault, RING), (write_root, ROOT)):
            with pytest.raises(VaultFault, match="exists already"):
                write_any(path, value, PASSPHRASE, strength=LEAST)
        assert path.read_bytes() == b"precious"
        assert list(path.parent.iterdir()) == [path]
        write(path, replace=True)
        assert read_vault(path, PASSPHRASE).tls == RING.tls

    def test_a_dangling_link_is_not_written_through(self, path, tmp_path):
        path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(VaultFault, match="exists already"):
            write(path)
        assert not (tmp_path / "elsewhere").exists()

    def test_a_missing_folder_is_said(self, tmp_path):
        with pytest.raises(VaultFault, match="cannot be written: No such file"):
            write(tmp_path / "none" / "vault")

    @pytest.mark.parametrize("point", ["fsync", "replace"])
    @pytest.mark.parametrize("replace", [False, True])
    def test_a_failure_leaves_what_was(self, path, monkeypatch, point, replace):
        if replace:
            path.write_bytes(b"old")

        def fail(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(*((os, "fsync") if point == "fsync" else (vault.Path, "replace")), fail)
        with pytest.raises(VaultFault, match="No space left"):
            write(path, replace=replace)
        assert [file.read_bytes() for file in path.parent.iterdir()] == ([b"old"] if replace else [])

    def test_file_and_folder_are_synced_around_the_rename(self, path, monkeypatch):
        done = []
        sync, rename = os.fsync, vault.Path.replace
        monkeypatch.setattr(
            os, "fsync", lambda handle: (done.append(stat.S_ISDIR(os.fstat(handle).st_mode)), sync(handle))
        )
        monkeypatch.setattr(
            vault.Path, "replace", lambda self, to: (done.append("rename"), rename(self, to))[1]
        )
        write(path)
        assert done == [False, "rename", True]

    def test_an_empty_passphrase_is_refused(self, path):
        with pytest.raises(VaultFault, match="not empty"):
            write_vault(path, RING, b"", strength=LEAST)
        assert not path.exists()


class TestFaults:
    def test_missing(self, path):
        assert fault(path).endswith("cannot be read: No such file or directory")

    def test_a_folder(self, tmp_path):
        assert "cannot be read" in fault(tmp_path)

    @pytest.mark.parametrize("passphrase", [b"Correct horse", PASSPHRASE + b"\n", b"\x00"])
    def test_wrong_passphrase(self, path, passphrase):
        write(path)
        assert "wrong passphrase" in fault(path, passphrase)

    def test_an_empty_passphrase(self, path):
        write(path)
        assert "not empty" in fault(path, b"")

    def test_truncated_anywhere(self, path):
        write(path)
        body = path.read_bytes()
        for end in {0, 1, 2, *range(0, len(body), 97), len(body) - 2, len(body) - 1}:
            path.write_bytes(body[:end])
            assert "not a whole key store" in fault(path)

    def test_extended(self, path):
        write(path)
        body = path.read_bytes()
        for more in (b"\n", b" ", b"{}", bytes(4), b" " * (1 << 20)):
            path.write_bytes(body + more)
            assert "not a whole key store" in fault(path)

    def test_every_bit_of_a_root_key_file(self, path):
        write_root(path, ROOT, PASSPHRASE, strength=LEAST)
        body = path.read_bytes()
        costly = {at for name in (b'"passes"', b'"memory_bytes"') for at in span(body, name)}
        for position in range(len(body)):
            if position in costly:
                continue  # they ask for real work when they are still in bounds: below
            for bit in range(8):
                path.write_bytes(flipped(body, position, bit))
                fault(path, read=read_root)

    def test_bits_of_a_vault(self, path):
        write(path)
        body = path.read_bytes()
        for position in range(0, len(body), 101):
            path.write_bytes(flipped(body, position, position % 8))
            fault(path)

    @pytest.mark.parametrize(
        ("member", "value"),
        [
            ("passes", 0),
            ("passes", MOST.passes + 1),
            ("passes", 2**32),
            ("passes", 10**30),
            ("passes", -1),
            ("memory_bytes", LEAST.memory_bytes - 1),
            ("memory_bytes", MOST.memory_bytes + 1),
            ("memory_bytes", 2**64),
            ("memory_bytes", -1),
            ("salt", "AAAA"),
            ("salt", ""),
        ],
    )
    def test_absurd_parameters_are_refused_before_any_work(self, path, monkeypatch, member, value):
        write(path)
        monkeypatch.setattr(argon2id, "kdf", lambda *_, **__: pytest.fail("derived a key"))
        rewrite(path, member, value)
        assert "out of bounds" in fault(path)

    @pytest.mark.parametrize(
        ("member", "value"),
        [("passes", 2), ("memory_bytes", 2 * LEAST.memory_bytes), ("memory_bytes", LEAST.memory_bytes + 1)],
    )
    def test_other_parameters_in_bounds_do_not_open(self, path, member, value):
        write(path)
        rewrite(path, member, value)
        assert "wrong passphrase, or it was altered" in fault(path)

    @pytest.mark.parametrize(
        ("member", "value"),
        [
            ("passes", True),
            ("passes", 1.0),
            ("passes", "1"),
            ("passes", None),
            ("memory_bytes", [8192]),
            ("salt", 7),
            ("salt", "A"),
            ("sealed", None),
            ("sealed", "\u00e9"),
            ("format", "art18-vault/v2"),
            ("format", None),
            ("more", 1),
        ],
    )
    def test_other_forms_are_refused(self, path, member, value):
        write(path)
        rewrite(path, member, value)
        assert "not a whole key store" in fault(path)

    @pytest.mark.parametrize("member", vault._HEADER)
    def test_a_member_that_is_missing(self, path, member):
        write(path)
        found = json.loads(path.read_bytes())
        del found[member]
        path.write_bytes(json.dumps(found, indent=1).encode() + b"\n")
        assert "not a whole key store" in fault(path)

    @pytest.mark.parametrize(
        "body",
        [b"", b"null", b"[]", b"{}", b"\xff\xfe{\x00}\x00", b"[" * 100_000, b'"' + b"a" * 100, b"\x00" * 50],
    )
    def test_what_is_no_key_store(self, path, body):
        path.write_bytes(body)
        assert "not a whole key store" in fault(path)

    def test_the_same_members_in_another_layout(self, path):
        write(path)
        found = json.loads(path.read_bytes())
        for text in (
            json.dumps(found),
            json.dumps(dict(reversed(found.items())), indent=1) + "\n",
            json.dumps(found, indent=1)[:-2] + ',\n "passes": 1\n}\n',
        ):
            path.write_text(text)
            assert "not a whole key store" in fault(path)

    def test_nonce_salt_and_ciphertext_of_another_write(self, path, tmp_path):
        write(path)
        write(tmp_path / "other")
        body, other = path.read_bytes(), json.loads((tmp_path / "other").read_bytes())
        for member in ("nonce", "salt", "sealed"):
            path.write_bytes(body)
            rewrite(path, member, other[member])
            assert "wrong passphrase, or it was altered" in fault(path)

    def test_too_little_memory_is_said(self, path, monkeypatch):
        write(path)

        def fail(*_, **__):
            raise passwords.SodiumError("Unexpected failure in key derivation")

        monkeypatch.setattr(argon2id, "kdf", fail)
        assert "of free memory" in fault(path)


class TestPurposes:
    def test_they_cannot_be_mixed_up(self, path, tmp_path):
        write(path)
        write_root(tmp_path / "root", ROOT, PASSPHRASE, strength=LEAST)
        assert "purpose root" in fault(path, read=read_root)
        assert "purpose vault" in fault(tmp_path / "root")

    def test_not_even_when_the_header_is_made_to_fit(self, path, tmp_path):
        write(path)
        write_root(tmp_path / "root", ROOT, PASSPHRASE, strength=LEAST)
        rewrite(path, "purpose", "root")
        rewrite(tmp_path / "root", "purpose", "vault")
        assert "altered" in fault(path, read=read_root)
        assert "altered" in fault(tmp_path / "root")

    @pytest.mark.parametrize(
        "secret", [{}, {"root": None}, {"root": "AAAA"}, {"root": "!"}, {"root": ["AAAA"]}, [], None, 7]
    )
    def test_content_of_another_form_is_one_clear_fault(self, path, secret):
        for purpose, read in (("root", read_root), ("vault", read_vault)):
            vault._write(path, purpose, secret, PASSPHRASE, LEAST, replace=True)
            assert "does not hold what it should" in fault(path, read=read)

    def test_a_vault_whose_keys_have_two_roles_is_refused(self, path):
        secret = vault._encode(RING)
        vault._write(path, "vault", secret | {"witness": secret["log"]}, PASSPHRASE, LEAST, replace=True)
        assert "does not hold what it should" in fault(path)


class TestPassphrase:
    @pytest.mark.parametrize(
        ("raw", "passphrase"),
        [
            (b"secret", b"secret"),
            (b"secret\n", b"secret"),
            (b"secret\r\n", b"secret"),
            (b"secret\n\n", b"secret\n"),
            (b" secret \n", b" secret "),
            (b"\xff\x00\n", b"\xff\x00"),
        ],
    )
    def test_one_newline_is_not_part_of_it(self, path, raw, passphrase):
        path.write_bytes(raw)
        assert read_passphrase(path) == passphrase

    @pytest.mark.parametrize("raw", [b"", b"\n", b"\r\n"])
    def test_an_empty_one_is_refused(self, path, raw):
        path.write_bytes(raw)
        with pytest.raises(VaultFault, match="is empty"):
            read_passphrase(path)

    def test_a_missing_file_is_said(self, path):
        with pytest.raises(VaultFault, match="No such file"):
            read_passphrase(path)

    @pytest.mark.parametrize("strength", [LEAST, Strength(2, 4 << 20)])
    def test_another_implementation_derives_the_same_key(self, strength):
        # OpenSSL's Argon2id (RFC 9106, version 0x13), one lane, as libsodium has it.
        salt = bytes(range(16))
        other = Argon2id(
            salt=salt, length=32, iterations=strength.passes, lanes=1, memory_cost=strength.memory_bytes >> 10
        )
        assert derive(PASSPHRASE, salt, strength) == other.derive(PASSPHRASE)


def rewrite(path, member, value):
    """Change one member and keep the form."""
    path.write_bytes(json.dumps(json.loads(path.read_bytes()) | {member: value}, indent=1).encode() + b"\n")


def flipped(body, position, bit):
    return bytes([*body[:position], body[position] ^ 1 << bit, *body[position + 1 :]])


def span(body, name):
    start = body.index(name)
    return range(start, body.index(b"\n", start))
