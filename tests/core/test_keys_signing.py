"""keys.signing: what is signed verifies, and nothing else does."""

import base64
import hashlib
import json

import pytest

from keys.errors import BadSignature, MalformedToken, UnknownKey
from keys.signing import (
    LATTICE_PUBLIC_BYTES,
    LATTICE_SIGNATURE_BYTES,
    LatticeKey,
    LogKeys,
    SigningKey,
    Verified,
    check_lattice_public,
    check_public,
    kid,
    peek_general,
    sign_general,
    verify_compact,
    verify_general,
    verify_lattice,
    verify_raw,
)

TYP = "art18-message+jws"
KEY, OTHER = SigningKey.from_bytes(bytes(range(32))), SigningKey.from_bytes(bytes(32))
KEYS = {KEY.kid: KEY.public}
PRIME = 2**255 - 19

# RFC 8032 §7.1, tests 1 to 3: seed, public key, message, signature.
RFC8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(header, payload=b"{}", key=KEY):
    """A compact JWS with the exact *header* text, soundly signed whatever it says."""
    signed = f"{b64url(header.encode())}.{b64url(payload)}"
    return f"{signed}.{b64url(key.sign(signed.encode()))}"


def header(**changed):
    return json.dumps({"alg": "Ed25519", "kid": KEY.kid, "typ": TYP} | changed)


class TestEd25519:
    @pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC8032)
    def test_published_vectors(self, seed, public, message, signature):
        key = SigningKey.from_bytes(bytes.fromhex(seed))
        assert key.public.hex() == public
        assert key.private_bytes().hex() == seed
        assert key.sign(bytes.fromhex(message)).hex() == signature
        verify_raw(key.public, bytes.fromhex(signature), bytes.fromhex(message))

    def test_another_key_message_or_signature_does_not_verify(self):
        signature = KEY.sign(b"data")
        bent = bytes([signature[0] ^ 1]) + signature[1:]
        for public, found, data in (
            (OTHER.public, signature, b"data"),
            (KEY.public, signature, b"Data"),
            (KEY.public, bent, b"data"),
            (KEY.public, signature[:-1], b"data"),
            (KEY.public, b"", b"data"),
        ):
            with pytest.raises(BadSignature):
                verify_raw(public, found, data)

    def test_a_signature_with_s_beyond_the_order_is_refused(self):
        # RFC 8032 §5.1.7 and §8.4: else anybody makes a second signature from one.
        signature = KEY.sign(b"data")
        s = int.from_bytes(signature[32:], "little") + 2**252 + 27742317777372353535851937790883648493
        with pytest.raises(BadSignature):
            verify_raw(KEY.public, signature[:32] + s.to_bytes(32, "little"), b"data")

    def test_a_key_id_is_what_the_protocol_says(self):
        digest = hashlib.sha256(b"art18/kid/v1\x00Ed25519\x00" + KEY.public).digest()
        assert kid("Ed25519", KEY.public) == KEY.kid == b64url(digest)
        assert kid("MLKEM768-X25519", KEY.public) != KEY.kid

    def test_no_private_byte_is_printed(self):
        for shown in (repr(KEY), str(KEY), repr(LogKeys.generate())):
            assert KEY.private_bytes().hex() not in shown
            assert "0x" in shown  # the plain form of an object, without its values

    @pytest.mark.parametrize("length", [0, 31, 33, 64])
    def test_a_seed_has_32_bytes(self, length):
        with pytest.raises(MalformedToken):
            SigningKey.from_bytes(bytes(length))


# Arithmetic of edwards25519 in affine coordinates (RFC 8032 §5.1.4), apart from every library.
D = -121665 * pow(121666, -1, PRIME) % PRIME


def add(one, two):
    (x1, y1), (x2, y2) = one, two
    across = D * x1 * x2 * y1 * y2 % PRIME
    x = (x1 * y2 + x2 * y1) * pow(1 + across, -1, PRIME)
    y = (y1 * y2 + x1 * x2) * pow(1 - across, -1, PRIME)
    return x % PRIME, y % PRIME


def times(factor, point):
    found = (0, 1)
    for bit in f"{factor:b}":
        found = add(found, found)
        if bit == "1":
            found = add(found, point)
    return found


def decode(data):
    number = int.from_bytes(data, "little")
    y, odd = number & (2**255 - 1), number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, -1, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if x * x % PRIME != square:
        x = x * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
    assert x * x % PRIME == square
    return (x if x % 2 == odd else PRIME - x), y


def encode(point, offset=0):
    x, y = point
    return (y + offset | (x % 2) << 255).to_bytes(32, "little")


ORDER = 2**252 + 27742317777372353535851937790883648493
SMALL = {times(ORDER, times(k, decode((3).to_bytes(32, "little")))) for k in range(8)}


class TestPublicKeys:
    def test_the_points_under_test_are_those_of_small_order(self):
        assert len(SMALL) == 8
        assert all(times(8, point) == (0, 1) for point in SMALL)

    @pytest.mark.parametrize("point", sorted(SMALL))
    def test_small_order_is_refused(self, point):
        forms = {encode(point), bytes(31) + b"\x80", b"\x01" + bytes(30) + b"\x80"}
        if point[1] < 19:
            forms.add(encode(point, PRIME))
        for form in forms:
            with pytest.raises(MalformedToken):
                check_public(form)

    def test_under_small_order_one_signature_would_fit_many_messages(self):
        # Why it is refused: R = S·B with the neutral element as the key fits every message.
        neutral = encode((0, 1))
        signature = neutral + bytes(32)
        for message in (b"one", b"two"):
            with pytest.raises(MalformedToken):
                verify_raw(neutral, signature, message)

    def test_a_key_with_a_part_of_small_order_is_refused(self):
        mixed = [encode(add(decode(KEY.public), point)) for point in SMALL - {(0, 1)}]
        assert len(mixed) == 7
        for form in mixed:
            with pytest.raises(MalformedToken):
                check_public(form)

    @pytest.mark.parametrize("y", range(PRIME, 2**255))
    def test_a_y_that_is_not_reduced_is_refused(self, y):
        for sign in (0, 1):
            with pytest.raises(MalformedToken):
                check_public((y | sign << 255).to_bytes(32, "little"))

    def test_what_is_no_point_is_refused(self):
        with pytest.raises(MalformedToken):
            check_public((2).to_bytes(32, "little"))

    @pytest.mark.parametrize("length", [0, 31, 33, 64])
    def test_a_key_has_32_bytes(self, length):
        with pytest.raises(MalformedToken):
            check_public(KEY.public[:length].ljust(length, b"\x00"))

    def test_an_honest_key_passes(self):
        for key in (KEY, OTHER, SigningKey.generate()):
            assert check_public(key.public) == key.public


class TestCompact:
    @pytest.mark.parametrize("size", [0, 1, 2, 3, 4096, 127_999, 1 << 20])
    def test_round_trip_up_to_the_largest_message(self, size):
        # 1 MiB is what protocol §5 allows; the library's own limit is an eighth of it.
        payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
        assert verify_compact(KEY.sign_compact(payload, TYP), TYP, KEYS) == Verified(payload, KEY.kid)

    def test_the_header_is_exactly_three_members(self):
        head = KEY.sign_compact(b"{}", TYP).split(".")[0]
        assert base64.urlsafe_b64decode(head + "==") == (
            f'{{"alg":"Ed25519","kid":"{KEY.kid}","typ":"{TYP}"}}'.encode()
        )

    def test_members_may_come_in_another_order(self):
        shuffled = json.dumps({"typ": TYP, "kid": KEY.kid, "alg": "Ed25519"})
        assert verify_compact(token(shuffled), TYP, KEYS).payload == b"{}"

    @pytest.mark.parametrize(
        "text",
        [
            header(alg="EdDSA"),
            header(alg="none"),
            header(alg="HS256"),
            header(alg="ed25519"),
            header(alg=["Ed25519"]),
            header(typ="art18-card+jws"),
            header(typ=None),
            header(kid=None),
            header(kid=7),
            header(kid=""),
            header(kid=KEY.kid[:-1]),
            header(kid=KEY.kid + "\n"),
            header(kid="a" * 300),
            header(kid="\ud800" + KEY.kid[1:]),
            header(crit=["exp"], exp=1),
            header(b64=False),
            header(b64=True),
            header(jwk={}),
            header(cty="x"),
            json.dumps({"alg": "Ed25519", "kid": KEY.kid}),
            json.dumps({"alg": "Ed25519", "typ": TYP}),
            json.dumps({"kid": KEY.kid, "typ": TYP}),
            header()[:-1] + ',"alg":"Ed25519"}',
            header()[:-1] + ',"\\u0061lg":"Ed25519"}',
            "\ufeff" + header(),
            header() + "{}",
            header()[:-1] + ",}",
            header() + " " * 512,
            "[]",
            '"alg"',
            "",
            "[" * 100_000,
        ],
    )
    def test_any_other_header_is_malformed_however_well_signed(self, text):
        with pytest.raises(MalformedToken):
            verify_compact(
                f"{b64url(text.encode('utf-8', 'surrogatepass'))}.e30.{b64url(KEY.sign(b''))}", TYP, KEYS
            )
        if text.isascii():
            with pytest.raises(MalformedToken):
                verify_compact(token(text), TYP, KEYS)

    def test_an_unknown_key_is_named(self):
        with pytest.raises(UnknownKey) as caught:
            verify_compact(KEY.sign_compact(b"{}", TYP), TYP, {OTHER.kid: OTHER.public})
        assert caught.value.kid == KEY.kid

    def test_the_key_under_the_kid_decides(self):
        with pytest.raises(BadSignature):
            verify_compact(KEY.sign_compact(b"{}", TYP), TYP, {KEY.kid: OTHER.public})

    def test_each_part_is_signed(self):
        head, payload, signature = KEY.sign_compact(b"abc", TYP).split(".")
        another = KEY.sign_compact(b"abd", TYP).split(".")
        for altered in (
            f"{head}.{another[1]}.{signature}",
            f"{head}.{payload}.{another[2]}",
            f"{head}..{signature}",
            f"{head}.{payload}.",
            f"{b64url(header().encode())}.{payload}.{signature}",  # the same members, other spaces
        ):
            with pytest.raises(BadSignature):
                verify_compact(altered, TYP, KEYS)

    def test_only_the_canonical_text_of_each_part_is_taken(self):
        head, payload, signature = KEY.sign_compact(b"a", TYP).split(".")
        assert payload == "YQ"
        for altered in (
            f"{head}.YR.{signature}",
            f"{head}.YQ==.{signature}",
            f"{head}.Y Q.{signature}",
            f"{head}.YQ\n.{signature}",
            f"{head}.+/.{signature}",
            f"{head}.Y.{signature}",
            f"{head}.\u00e9\u00e9.{signature}",
            f"{head}.\ud800.{signature}",
            f"{head}=.{payload}.{signature}",
            f"{head}.{payload}.{signature}==",
            f"{head}.{payload}.{signature[:-1]}{chr(ord(signature[-1]) + 1)}",
            f"{head}.{payload}.{signature}\n",
            f" {head}.{payload}.{signature}",
        ):
            with pytest.raises(MalformedToken):
                verify_compact(altered, TYP, KEYS)

    @pytest.mark.parametrize("text", ["", ".", "a.b", "a.b.c.d", "." * 1_000_000])
    def test_there_are_three_parts(self, text):
        with pytest.raises(MalformedToken):
            verify_compact(text, TYP, KEYS)

    def test_no_error_carries_content(self):
        head, payload, _ = KEY.sign_compact(b"a name that is nobody's business", TYP).split(".")
        with pytest.raises(BadSignature) as caught:
            verify_compact(f"{head}.{payload}.{b64url(bytes(64))}", TYP, KEYS)
        assert payload not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


class TestGeneral:
    CARD = "art18-card+jws"
    BOTH = KEYS | {OTHER.kid: OTHER.public}

    def test_round_trip(self):
        raw = sign_general(b'{"v":1}', self.CARD, [KEY, OTHER])
        assert peek_general(raw, self.CARD) == b'{"v":1}'
        found = verify_general(raw, self.CARD, self.BOTH)
        assert (found.payload, found.kids) == (b'{"v":1}', frozenset(self.BOTH))

    def test_a_card_of_the_greatest_size_verifies(self):
        payload = bytes(256 * 1024)
        assert verify_general(sign_general(payload, self.CARD, [KEY]), self.CARD, KEYS).payload == payload

    def test_every_signature_must_be_known_unless_told(self):
        raw = sign_general(b"{}", self.CARD, [KEY, OTHER])
        with pytest.raises(UnknownKey):
            verify_general(raw, self.CARD, KEYS)
        assert verify_general(raw, self.CARD, KEYS, others=True).kids == {KEY.kid}
        assert verify_general(raw, self.CARD, {}, others=True).kids == frozenset()

    def test_one_bad_signature_spoils_all(self):
        found = json.loads(sign_general(b"{}", self.CARD, [KEY, OTHER]))
        found["signatures"][1]["signature"] = found["signatures"][0]["signature"]
        for others in (False, True):
            with pytest.raises(BadSignature):
                verify_general(json.dumps(found).encode(), self.CARD, self.BOTH, others=others)

    def test_another_payload_does_not_verify(self):
        found = json.loads(sign_general(b"{}", self.CARD, [KEY]))
        with pytest.raises(BadSignature):
            verify_general(json.dumps(found | {"payload": "e30K"}).encode(), self.CARD, KEYS)

    @pytest.mark.parametrize(
        "change",
        [
            lambda found: found | {"header": {}},
            lambda found: found | {"payload": None},
            lambda found: found | {"payload": found["payload"] + "="},
            lambda found: found | {"payload": "e31"},
            lambda found: found | {"signatures": []},
            lambda found: found | {"signatures": {}},
            lambda found: found | {"signatures": found["signatures"] * 2},
            lambda found: found | {"signatures": [found["signatures"][0] | {"header": {}}]},
            lambda found: found | {"signatures": [found["signatures"][0] | {"signature": 1}]},
            lambda found: found | {"signatures": [{"signature": found["signatures"][0]["signature"]}]},
            lambda found: {"payload": found["payload"]} | found["signatures"][0],
            lambda found: {"signatures": found["signatures"]},
            lambda found: [found],
        ],
    )
    def test_any_other_form_is_malformed(self, change):
        raw = json.dumps(change(json.loads(sign_general(b"{}", self.CARD, [KEY])))).encode()
        with pytest.raises(MalformedToken):
            peek_general(raw, self.CARD)
        with pytest.raises(MalformedToken):
            verify_general(raw, self.CARD, KEYS)

    @pytest.mark.parametrize(
        "text",
        [header(typ=CARD, b64=True), header(typ=CARD, cty="x"), header(), header(typ=CARD) + " " * 512],
    )
    def test_a_header_is_as_strict_before_anything_is_verified(self, text):
        signature = {"protected": b64url(text.encode()), "signature": b64url(bytes(64))}
        with pytest.raises(MalformedToken):
            peek_general(json.dumps({"payload": "e30", "signatures": [signature]}).encode(), self.CARD)

    @pytest.mark.parametrize("raw", [b"", b"\xff", b"\xef\xbb\xbf{}", b'{"payload":"","payload":""}'])
    def test_what_is_not_strict_json_is_malformed(self, raw):
        with pytest.raises(MalformedToken):
            peek_general(raw, self.CARD)


class TestLattice:
    SEED = bytes(range(32))
    # The example of RFC 9881, appendix C.1.1, for this seed: in the expanded key, rho begins the public
    # key as well, and tr is SHAKE256 of the whole of it (FIPS 204 algorithms 6, 22 and 24).
    RHO = "d7b2b47254aae0db45e7930d4a98d2c97d8f1397d1789dafa17024b316e9bec9"
    TR = (
        "329a07b1fabb48f52a309f11a1898f848e2322ffe623ec810db3bee33685854a"
        "88269da320d5120bfcfe89a18e30f7114d83aa404a646b6c997389860d12522e"
    )

    def test_the_published_seed_makes_the_published_key(self):
        key = LatticeKey.from_seed(self.SEED)
        assert key.seed() == self.SEED
        assert len(check_lattice_public(key.public)) == LATTICE_PUBLIC_BYTES
        assert key.public[:32].hex() == self.RHO
        assert hashlib.shake_256(key.public).hexdigest(64) == self.TR

    def test_round_trip_and_what_does_not_verify(self):
        key, other = LatticeKey.from_seed(self.SEED), LatticeKey.generate()
        signature = key.sign(b"data")
        assert len(signature) == LATTICE_SIGNATURE_BYTES
        verify_lattice(key.public, signature, b"data")
        for public, found, data in (
            (other.public, signature, b"data"),
            (key.public, signature, b"Data"),
            (key.public, signature[:-1], b"data"),
            (key.public, signature + b"\x00", b"data"),
            (key.public, bytes([signature[0] ^ 1]) + signature[1:], b"data"),
            (key.public, b"", b"data"),
        ):
            with pytest.raises(BadSignature):
                verify_lattice(public, found, data)

    def test_signing_is_hedged(self):
        key = LatticeKey.from_seed(self.SEED)
        assert key.sign(b"data") != key.sign(b"data")

    def test_the_context_is_empty(self):
        key = LatticeKey.from_seed(self.SEED)
        with pytest.raises(BadSignature):
            verify_lattice(key.public, key._private.sign(b"data", b"context"), b"data")
        verify_lattice(key.public, key._private.sign(b"data", b""), b"data")

    @pytest.mark.parametrize("length", [0, 1311, 1313])
    def test_other_lengths_are_malformed(self, length):
        with pytest.raises(MalformedToken):
            check_lattice_public(bytes(length))
        with pytest.raises(MalformedToken):
            verify_lattice(bytes(length), bytes(LATTICE_SIGNATURE_BYTES), b"")
        with pytest.raises(MalformedToken):
            LatticeKey.from_seed(bytes(length))
