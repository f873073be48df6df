"""What we seal, others open; what they seal, we open (RFC 9180, draft-ietf-hpke-pq).

The others: an implementation from the standards (hpke.py), itself held against the published vector of
exactly our suite; and Go's crypto/hpke.
"""

import json
import subprocess
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag

from keys.errors import CannotOpen
from keys.sealing import SealingKey, check_sealing_public, seal
from tests.interop import golang, hpke

SEED = bytes(range(32))
KEY = SealingKey.from_bytes(hpke.expand_seed(SEED))
INFO = b'art18/envelope/v1\x00{"v":1}'
CONTENTS = [b"", b"x", bytes(range(256)) * 40]


class TestFromTheStandards:
    @pytest.mark.parametrize("content", CONTENTS)
    def test_it_opens_what_we_seal(self, content):
        assert hpke.open_sealed(KEY.private_bytes(), seal(KEY.public, content, INFO), INFO) == content

    @pytest.mark.parametrize("content", CONTENTS)
    def test_we_open_what_it_seals(self, content):
        assert KEY.open(hpke.seal(KEY.public, content, INFO), INFO) == content

    def test_it_is_no_more_lenient(self):
        sealed = seal(KEY.public, b"content", INFO)
        for private, info in ((KEY.private_bytes(), b""), (SealingKey.generate().private_bytes(), INFO)):
            with pytest.raises(InvalidTag):
                hpke.open_sealed(private, sealed, info)

    def test_ours_has_no_associated_data(self):
        with pytest.raises(InvalidTag):
            hpke.open_sealed(KEY.private_bytes(), seal(KEY.public, b"content", INFO), INFO, aad=b"a")
        with pytest.raises(CannotOpen):
            KEY.open(hpke.seal(KEY.public, b"content", INFO, aad=b"a"), INFO)


@pytest.fixture(scope="module")
def vector():
    """The published vector of our suite, as the draft's authors made it; Go carries a copy."""
    path = golang.ROOT / "src/crypto/hpke/testdata/hpke-pq.json"
    suite = {"mode": 0, "kem_id": hpke.KEM, "kdf_id": hpke.KDF, "aead_id": hpke.AEAD}
    found = [one for one in json.loads(path.read_bytes()) if suite.items() <= one.items()]
    assert len(found) == 1
    return found[0]


class TestPublishedVector:
    def test_our_key_is_the_published_one(self, vector):
        key = SealingKey.from_bytes(hpke.expand_seed(bytes.fromhex(vector["skRm"])))
        assert key.public.hex() == vector["pkRm"]
        assert check_sealing_public(key.public)

    def test_the_second_implementation_reproduces_it(self, vector):
        private = hpke.expand_seed(bytes.fromhex(vector["skRm"]))
        enc = bytes.fromhex(vector["enc"])
        shared_secret = hpke.decapsulate(private, enc)
        assert shared_secret.hex() == vector["shared_secret"]
        context = hpke.Context.of(shared_secret, bytes.fromhex(vector["info"]))
        assert (context.key.hex(), context.base_nonce.hex()) == (vector["key"], vector["base_nonce"])
        first = vector["encryptions"][0]
        assert first["nonce"] == vector["base_nonce"]
        sealed, aad = enc + bytes.fromhex(first["ct"]), bytes.fromhex(first["aad"])
        assert hpke.open_sealed(private, sealed, bytes.fromhex(vector["info"]), aad).hex() == first["pt"]

    def test_we_open_under_its_encapsulation(self, vector):
        # Its ciphertexts have associated data, ours never; so its key seals another for us.
        key = SealingKey.from_bytes(hpke.expand_seed(bytes.fromhex(vector["skRm"])))
        cipher = hpke.ChaCha20Poly1305(bytes.fromhex(vector["key"]))
        ciphertext = cipher.encrypt(bytes.fromhex(vector["base_nonce"]), b"content", b"")
        sealed = bytes.fromhex(vector["enc"]) + ciphertext
        assert key.open(sealed, bytes.fromhex(vector["info"])) == b"content"


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    """Return a function that asks the program hpke.go."""
    program = golang.build(Path(__file__).parent / "hpke.go", tmp_path_factory.mktemp("go"))

    def ask(op, key, info=b"", data=b""):
        request = json.dumps({"op": op, "key": key.hex(), "info": info.hex(), "data": data.hex()})
        done = subprocess.run(
            [program], input=request + "\n", capture_output=True, text=True, check=True, timeout=60
        )
        answer = done.stdout.strip()
        return None if answer == "error" else bytes.fromhex(answer)

    return ask


class TestGo:
    def test_one_seed_makes_one_key(self, peer):
        assert peer("public", SEED) == KEY.public

    @pytest.mark.parametrize("content", CONTENTS)
    def test_it_opens_what_we_seal(self, peer, content):
        assert peer("open", SEED, INFO, seal(KEY.public, content, INFO)) == content

    @pytest.mark.parametrize("content", CONTENTS)
    def test_we_open_what_it_seals(self, peer, content):
        assert KEY.open(peer("seal", KEY.public, INFO, content), INFO) == content

    def test_it_refuses_what_we_refuse(self, peer):
        sealed = seal(KEY.public, b"content", INFO)
        altered = [
            sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
            for at in (0, 1088, 1120, len(sealed) - 1)
        ]
        for info, found in ((b"", sealed), (INFO, sealed[:-1]), *((INFO, one) for one in altered)):
            assert peer("open", SEED, info, found) is None
            with pytest.raises(CannotOpen):
                KEY.open(found, info)
