"""Names, roles, passphrases, recovery codes, locks, and the codes of apps."""

import pytest

from gateway.core.account import (
    ACCOUNT_TRIES,
    Role,
    Secrets,
    check_passphrase,
    locked_ms,
    parse_name,
    parse_roles,
    recovery_sha256,
)
from gateway.core.custody import box_account, open_account
from gateway.core.errors import Malformed, Misuse
from keys import totp
from keys.errors import CannotOpen
from keys.passwords import LEAST, digest, matches
from keys.rest import StorageKey

RFC_6238 = b"12345678901234567890"
"""The secret of RFC 6238, appendix B; its codes there have eight digits, of which apps show the last six."""


@pytest.mark.parametrize(
    ("time_s", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
    ],
)
def test_codes_are_those_of_the_rfc(time_s, code):
    assert totp.step_of(RFC_6238, code, time_s * 1000) == time_s // 30


def test_a_code_holds_a_step_before_and_after_and_no_longer():
    code = totp.code_at(RFC_6238, 100)
    steps = [totp.step_of(RFC_6238, code, step * 30_000) for step in (98, 99, 100, 101, 102)]
    assert steps == [None, 100, 100, 100, None]


@pytest.mark.parametrize("code", ["", "28708", "2870822", "٢٨٧٠٨٢", "\udcff"])
def test_what_is_no_code_is_of_no_step(code):
    assert totp.step_of(RFC_6238, code, 59_000) is None


def test_what_an_app_reads():
    uri = totp.provisioning_uri(RFC_6238, issuer="qm.moj console", account="a.haddad")
    assert uri == (
        "otpauth://totp/qm.moj%20console%3Aa.haddad"
        "?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=qm.moj%20console"
    )


def test_a_passphrase_is_known_again():
    kept = digest("correct horse battery", LEAST)
    assert matches(kept, "correct horse battery")
    assert not matches(kept, "correct horse batterz")
    assert not matches(kept, "\udcff")
    assert "horse" not in kept


def test_a_passphrase_is_the_same_from_every_keyboard():
    assert matches(digest("caf\u00e9 noir bien serr\u00e9", LEAST), "cafe\u0301 noir bien serre\u0301")


@pytest.mark.parametrize("name", ["a", "A.haddad", "1a", "a b", "ä.b", "a" * 33, "a/b", 7])
def test_what_is_no_name(name):
    with pytest.raises(Malformed):
        parse_name(name)


@pytest.mark.parametrize("roles", [[], ["root"], "admin", ["viewer", 1]])
def test_what_are_no_roles(roles):
    with pytest.raises(Malformed):
        parse_roles(roles)


def test_roles_stand_once_and_in_order():
    assert parse_roles(["viewer", "admin", "viewer"]) == (Role.ADMIN, Role.VIEWER)


@pytest.mark.parametrize(
    "passphrase", ["short", "x" * 13, "x" * 40, "A.Haddad-1234567", "a.haddada.haddada.haddad", "y" * 201]
)
def test_a_weak_passphrase_is_refused(passphrase):
    with pytest.raises(Misuse) as refused:
        check_passphrase(passphrase, "a.haddad")
    assert refused.value.code == "weak_passphrase"
    assert passphrase not in str(refused.value)


@pytest.mark.parametrize(
    "passphrase", ["correct horse battery", "كلمة مرور طويلة جدا", "只有長的句子才算是好的通行短語吧"]
)
def test_nothing_is_asked_of_the_characters(passphrase):
    check_passphrase(passphrase, "a.haddad")


def test_a_recovery_code_is_used_once_however_it_is_typed():
    kept = Secrets(totp=RFC_6238, recovery=(recovery_sha256("abcd-efgh-2345-67ab"), recovery_sha256("bbbb")))
    left = kept.without(" ABCD EFGH 2345 67AB ")
    assert left is not None
    assert left.recovery == kept.recovery[1:]
    assert left.without("abcd-efgh-2345-67ab") is None


def test_secrets_open_for_their_own_account_alone():
    storage, kept = (
        StorageKey.generate(),
        Secrets(totp=RFC_6238, passphrase=digest("correct horse battery", LEAST), recovery=()),
    )
    box = box_account(storage, "a.haddad", kept)
    assert open_account(storage, "a.haddad", box) == kept
    with pytest.raises(CannotOpen):
        open_account(storage, "b.haddad", box)


def test_locks_double_up_to_an_hour():
    waits = [locked_ms(failures, ACCOUNT_TRIES) // 1000 for failures in (0, 4, 5, 6, 7, 11, 12, 10_000)]
    assert waits == [0, 0, 30, 60, 120, 1920, 3600, 3600]
