import json
from dataclasses import replace

import pytest

from gateway.core.card import (
    MAX_BYTES,
    TYPE,
    Certificate,
    PublicKey,
    Window,
    build_card,
    check_apart,
    fingerprint,
    parse_card,
    parse_fingerprint,
    pin,
    successor,
)
from gateway.core.card_plan import encode_payload
from gateway.core.errors import Malformed, Misuse, Untrusted
from gateway.core.note import LogIdentity, WitnessIdentity
from gateway.core.strict import b64url, from_b64url, sha256
from keys.certificates import new_certificate
from keys.signing import LogKeys, SigningKey, sign_general
from keys.vault import Keyring
from tests.support.authorities import DAY_MS, NOW_MS, WINDOW, make_authority, plan_of
from tests.vectors.actors import twin

OURS, THEIRS = make_authority("qm.moj"), make_authority("qn.moj")
ROOT, CARD, PLAN = OURS.root, OURS.card, plan_of(OURS.card)
NEW_ROOT = SigningKey.generate()
NEXT = replace(PLAN, sequence=2, previous=CARD.sha256)


def signed(payload, *roots, typ=TYPE):
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return sign_general(raw, typ, roots or (ROOT,))


def payload(**members):
    found = json.loads(encode_payload(PLAN)) | members
    return {name: value for name, value in found.items() if value is not ...}


def test_a_card_is_read_as_it_was_planned():
    raw = build_card(PLAN, [ROOT])
    card = parse_card(raw)
    assert plan_of(card) == PLAN
    assert (card.raw, card.sha256) == (raw, sha256(raw))
    outer = json.loads(raw)
    assert set(outer) == {"payload", "signatures"}
    header = json.loads(from_b64url(outer["signatures"][0]["protected"]))
    assert header == {"alg": "Ed25519", "kid": ROOT.kid, "typ": "art18-card+jws"}
    assert json.loads(from_b64url(outer["payload"]))["log"]["vkeys"] == list(PLAN.log.vkeys())


def test_the_card_tells_which_key_to_use_now():
    fresh = Keyring.generate("qm.moj", ["127.0.0.1"])
    old, new = Window(NOW_MS - 9, NOW_MS + 9), Window(NOW_MS, NOW_MS + 20)
    signing = [PublicKey(key.kid, key.public, old) for key in OURS.keyring.signing.values()]
    signing += [PublicKey(key.kid, key.public, new) for key in fresh.signing.values()]
    sealing = [PublicKey(key.kid, key.public, old) for key in OURS.keyring.sealing.values()]
    sealing += [PublicKey(key.kid, key.public, new) for key in fresh.sealing.values()]
    tls = (
        Certificate(OURS.keyring.tls[0].certificate, old),
        Certificate(fresh.tls[0].certificate, new),
    )
    plan = replace(PLAN, signing=tuple(signing), sealing=tuple(sealing), tls=tls)
    card = parse_card(build_card(plan, [ROOT]))
    assert set(card.signing_keys()) == {signing[0].kid, signing[1].kid}
    # The newest valid key signs and is sealed to; before and after all of them the nearest.
    for now_ms, index in ((-9999, 0), (-9, 0), (-1, 0), (0, 1), (8, 1), (9, 1), (19, 1), (99, 1)):
        assert card.signing_kid(NOW_MS + now_ms) == signing[index].kid
        assert card.sealing_key(NOW_MS + now_ms) == sealing[index]
    # A server presents the valid certificate with the earliest `from`.
    for now_ms, index in ((-1, 0), (0, 0), (8, 0), (9, 1), (19, 1), (99, 0)):
        assert card.certificate(NOW_MS + now_ms) == tls[index]


def test_the_ceremony_confirms_authority_and_root():
    text = fingerprint(CARD)
    groups = text.split(" ")
    assert len(groups) == 16
    assert "".join(groups) == sha256(ROOT.public)
    for spelling in (text, text.upper(), text.replace(" ", ""), text.replace(" ", ":"), f" {text}\n"):
        assert pin(CARD.raw, authority=CARD.authority, fingerprint=spelling) == CARD
        assert parse_fingerprint(spelling) == sha256(ROOT.public)
    with pytest.raises(Misuse, match=r"qm\.moj"):
        pin(CARD.raw, authority=THEIRS.id, fingerprint=text)
    for wrong in (fingerprint(THEIRS.card), text[:-1], "", text + " 0000"):
        with pytest.raises(Misuse):
            pin(CARD.raw, authority=CARD.authority, fingerprint=wrong)


def test_the_first_root_is_the_one_that_a_fingerprint_names():
    two = replace(PLAN, root=(NEW_ROOT.public, ROOT.public))
    raw = build_card(two, [ROOT, NEW_ROOT])
    card = parse_card(raw)
    assert fingerprint(card).replace(" ", "") == sha256(NEW_ROOT.public)
    with pytest.raises(Misuse):
        pin(raw, authority=CARD.authority, fingerprint=fingerprint(CARD))


def test_every_own_root_signs():
    two = replace(PLAN, root=(ROOT.public, NEW_ROOT.public))
    assert len(parse_card(build_card(two, [ROOT, NEW_ROOT])).root) == 2
    for roots in ([ROOT], [NEW_ROOT], [SigningKey.generate()]):
        with pytest.raises(Untrusted):
            build_card(two, roots)
    for roots in ([THEIRS.root], [THEIRS.signing]):
        with pytest.raises(Untrusted):
            build_card(PLAN, roots)
    raw = bytearray(json.loads(CARD.raw)["signatures"][0]["signature"].encode())
    raw[5] = ord("A") if raw[5] != ord("A") else ord("B")
    outer = json.loads(CARD.raw)
    outer["signatures"][0]["signature"] = raw.decode()
    with pytest.raises(Untrusted):
        parse_card(json.dumps(outer).encode())


def test_the_payload_cannot_be_changed_under_the_signature():
    outer = json.loads(CARD.raw)
    outer["payload"] = b64url(encode_payload(replace(PLAN, endpoints=("https://evil.example",))))
    with pytest.raises(Untrusted):
        parse_card(json.dumps(outer).encode())


def test_a_signature_of_another_type_does_not_count():
    with pytest.raises(Malformed):
        parse_card(signed(payload(), typ="art18-profile+jws"))


KEY = {**payload()["signing"][0]}
SEALING = {**payload()["sealing"][0]}
TLS = {**payload()["tls"][0]}
LOG_VKEYS, WITNESS_VKEYS = list(PLAN.log.vkeys()), list(PLAN.witness.vkeys())
OTHER_KEYS = LogKeys.generate()


def vkeys_of(name, keys, kind=LogIdentity):
    return list(kind(name, keys.ed.public, keys.lattice.public).vkeys())


@pytest.mark.parametrize(
    "members",
    [
        {"v": 2},
        {"v": True},
        {"type": "profile"},
        {"authority": "QM.moj"},
        {"authority": ...},
        {"more": 1},
        {"sequence": 0, "previous": None},
        {"sequence": "1"},
        {"sequence": 2},
        {"sequence": 1, "previous": "aa" * 32},
        {"previous": "AA" * 32, "sequence": 2},
        {"issued": "2026-11-23T14:05:09Z"},
        {"expires": payload()["issued"]},
        {"root": []},
        {"root": payload()["root"] * 2},
        {"root": [{**payload()["root"][0], "alg": "EdDSA"}]},
        {"root": [{**payload()["root"][0], "kid": KEY["kid"]}]},
        {"root": [{**payload()["root"][0], "from": KEY["from"]}]},
        {"signing": []},
        {"signing": [KEY, KEY]},
        {"signing": [{**KEY, "alg": "ES256"}]},
        {"signing": [{**KEY, "kid": SEALING["kid"]}]},
        {"signing": [{**KEY, "public": SEALING["public"]}]},
        {"signing": [{**KEY, "public": b64url(bytes(32))}]},
        {"signing": [{**KEY, "from": KEY["until"]}]},
        {"signing": [{name: value for name, value in KEY.items() if name != "until"}]},
        {"signing": [KEY | {"public": b64url(ROOT.public), "kid": ROOT.kid}]},
        {"sealing": []},
        {"sealing": [SEALING, SEALING]},
        {"sealing": [{**SEALING, "kem": "X25519"}]},
        {"sealing": [{**SEALING, "kid": KEY["kid"]}]},
        {"sealing": [{**SEALING, "public": SEALING["public"][:-43]}]},
        {"tls": []},
        {"tls": [TLS, TLS]},
        {"tls": [{**TLS, "certificate": b64url(b"\x30\x00")}]},
        {"tls": [{**TLS, "certificate": TLS["certificate"] + "AAAA"}]},
        {"log": {"origin": "moj.qm.example/audit/1", "vkeys": LOG_VKEYS}},
        {"log": {"origin": PLAN.log.origin, "vkeys": LOG_VKEYS[:1]}},
        {"log": {"origin": PLAN.log.origin, "vkeys": LOG_VKEYS[::-1]}},
        {"log": {"origin": PLAN.log.origin, "vkeys": "ab"}},
        {"log": {"origin": PLAN.log.origin, "vkeys": LOG_VKEYS, "more": 1}},
        *(
            {"log": {"origin": origin, "vkeys": vkeys_of(origin, OTHER_KEYS)}}
            for origin in ("moj.qm.example", "moj.qm.example/audit/0", "MOJ.example/audit/1", "a/b/audit/1")
        ),
        {"witness": {"name": PLAN.witness.name, "vkeys": LOG_VKEYS}},
        {"witness": {"name": "", "vkeys": WITNESS_VKEYS}},
        {
            "witness": {
                "name": PLAN.log.origin,
                "vkeys": vkeys_of(PLAN.log.origin, OTHER_KEYS, WitnessIdentity),
            }
        },
        {"witness": {"name": "w", "vkeys": vkeys_of("w", OURS.keyring.log, WitnessIdentity)}},
        {"endpoints": []},
        {"endpoints": "https://a.example"},
        *(
            {"endpoints": [endpoint]}
            for endpoint in (
                "http://a.example",
                "https://",
                "https://a.example/",
                "https://a.example/path",
                "https://a.example?q",
                "https://a.example#f",
                "https://user@a.example",
                "https://A.example",
                "https://a b.example",
                "https://a.example:0",
                "https://a.example:08443",
                "https://a.example:65536",
                "https://a.example:",
                "https://-a.example",
                "https://[::1",
                "HTTPS://a.example",
                " https://a.example",
                "https://a.example\n",
            )
        ),
    ],
)
def test_what_no_card_may_say_is_refused_whoever_signed_it(members):
    with pytest.raises(Malformed):
        parse_card(signed(payload(**members)))


@pytest.mark.parametrize("endpoint", ["https://a.example", "https://127.0.0.1:65535", "https://[::1]:8443"])
def test_an_endpoint_is_an_origin(endpoint):
    assert parse_card(signed(payload(endpoints=[endpoint]))).endpoints == (endpoint,)


def test_two_certificates_differ_in_their_subject():
    other = twin(OURS.keyring.tls[0].certificate)
    with pytest.raises(Malformed, match="subject"):
        parse_card(signed(payload(tls=[TLS, {**TLS, "certificate": b64url(other)}])))
    other = new_certificate("qm.moj", ["127.0.0.1"]).certificate
    assert len(parse_card(signed(payload(tls=[TLS, {**TLS, "certificate": b64url(other)}]))).tls) == 2


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        CARD.raw.replace(b'{"payload"', b'{"more":1,"payload"'),
        CARD.raw.replace(b'{"payload"', b'{"signatures":[],"payload"'),
        CARD.raw.replace(b'{"protected"', b'{"header":{},"protected"'),
        CARD.raw + b" " * MAX_BYTES,
        signed(b"not json"),
        signed(encode_payload(PLAN).replace(b'"v":1', b'"v":1,"v":1')),
        json.dumps({"payload": "e30", "signatures": []}).encode(),
        signed(payload(), *(SigningKey.generate() for _ in range(5))),
        signed(payload(), ROOT, ROOT),
    ],
)
def test_what_is_not_a_card_is_refused(raw):
    with pytest.raises(Malformed):
        parse_card(raw)


def test_a_successor_takes_the_place_of_the_pinned_card():
    raw = build_card(replace(NEXT, endpoints=("https://new.example",)), [ROOT])
    assert successor(raw, CARD).endpoints == ("https://new.example",)


def test_the_root_changes_in_one_step_or_in_two():
    swap = build_card(replace(NEXT, root=(NEW_ROOT.public,)), [ROOT, NEW_ROOT])
    assert successor(swap, CARD).root == (NEW_ROOT.public,)
    assert parse_card(swap).root == (NEW_ROOT.public,)
    both = successor(build_card(replace(NEXT, root=(ROOT.public, NEW_ROOT.public)), [ROOT, NEW_ROOT]), CARD)
    plan = replace(plan_of(both), sequence=3, previous=both.sha256, root=(NEW_ROOT.public,))
    assert successor(build_card(plan, [NEW_ROOT]), both).sequence == 3


def other_log(origin):
    return LogIdentity(origin, OTHER_KEYS.ed.public, OTHER_KEYS.lattice.public)


def other_witness(name):
    return WitnessIdentity(name, OTHER_KEYS.ed.public, OTHER_KEYS.lattice.public)


@pytest.mark.parametrize(
    ("changes", "roots"),
    [
        ({"authority": "qm.police"}, [ROOT]),
        ({"sequence": 3}, [ROOT]),
        ({"sequence": 1, "previous": None}, [ROOT]),
        ({"previous": "aa" * 32}, [ROOT]),
        ({"root": (NEW_ROOT.public,)}, [NEW_ROOT]),
        ({"root": (NEW_ROOT.public,)}, [NEW_ROOT, THEIRS.root]),
        ({}, [ROOT, THEIRS.root]),
        ({"log": other_log(PLAN.log.origin)}, [ROOT]),
        ({"witness": other_witness(PLAN.witness.name)}, [ROOT]),
        (
            {
                "signing": (PublicKey(NEW_ROOT.kid, NEW_ROOT.public, WINDOW),),
                "log": LogIdentity("moj.example/audit/2", PLAN.signing[0].public, OTHER_KEYS.lattice.public),
            },
            [ROOT],
        ),
    ],
)
def test_what_does_not_follow_is_no_successor(changes, roots):
    raw = sign_general(encode_payload(replace(NEXT, **changes)), TYPE, roots)
    parse_card(raw)
    with pytest.raises(Untrusted):
        successor(raw, CARD)


def test_a_wrong_signature_of_a_root_of_the_pinned_card_is_refused():
    outer = json.loads(build_card(replace(NEXT, root=(NEW_ROOT.public,)), [ROOT, NEW_ROOT]))
    outer["signatures"][0]["signature"] = outer["signatures"][1]["signature"]
    raw = json.dumps(outer).encode()
    parse_card(raw)
    with pytest.raises(Untrusted):
        successor(raw, CARD)


def test_a_new_epoch_and_rotated_keys_are_a_successor():
    fresh = Keyring.generate("qm.moj", ["127.0.0.1"])
    changes = {
        "log": LogIdentity("moj.example/audit/2", fresh.log.ed.public, fresh.log.lattice.public),
        "signing": (
            *PLAN.signing,
            *(PublicKey(key.kid, key.public, WINDOW) for key in fresh.signing.values()),
        ),
        "expires_ms": PLAN.expires_ms + DAY_MS,
    }
    assert successor(build_card(replace(NEXT, **changes), [ROOT]), CARD).log.origin.endswith("/2")


def test_nothing_of_a_card_is_pinned_for_another_authority():
    check_apart(CARD, [THEIRS.card])
    check_apart(CARD, [CARD, parse_card(build_card(NEXT, [ROOT]))])
    plan = plan_of(THEIRS.card)
    borrowed = [
        {"root": PLAN.root},
        {"signing": (*plan.signing, *PLAN.signing)},
        {"sealing": PLAN.sealing},
        {"tls": PLAN.tls},
        {"tls": (Certificate(twin(PLAN.tls[0].der), WINDOW),)},
        {"log": other_log(PLAN.log.origin)},
        {"log": LogIdentity("moj.qn.example/audit/9", PLAN.log.ed_public, OTHER_KEYS.lattice.public)},
        {"log": LogIdentity("moj.qn.example/audit/9", OTHER_KEYS.ed.public, PLAN.log.lattice_public)},
        {"witness": other_witness(PLAN.witness.name)},
        {"witness": other_witness(PLAN.log.origin)},
        {"signing": (PublicKey(ROOT.kid, ROOT.public, WINDOW),)},
    ]
    for changes in borrowed:
        card = parse_card(build_card(replace(plan, **changes), [THEIRS.root, ROOT]))
        with pytest.raises(Misuse) as caught:
            check_apart(card, [make_authority("qo.moj").card, CARD])
        assert (caught.value.status, caught.value.code) == (409, "pinned_elsewhere")
