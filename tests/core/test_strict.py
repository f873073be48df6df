import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import Malformed
from gateway.core.strict import (
    INTEGER_LIMIT,
    MAX_DEPTH,
    b64,
    b64url,
    check_constants,
    from_b64,
    from_b64url,
    members,
    parse_json,
    parse_object,
    parse_time,
    sha256,
    time_text,
)

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)))
INTEGERS = st.integers(-INTEGER_LIMIT + 1, INTEGER_LIMIT - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_what_json_writes_is_read(value, ascii_only, indent):
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()) == value


@given(st.binary(max_size=60) | st.text(string.printable, max_size=60).map(str.encode))
def test_whatever_is_read_is_plain_json(data):
    try:
        value = parse_json(data)
    except Malformed:
        return
    assert json.loads(data) == value
    assert "\\u0000" not in json.dumps(value)


@given(st.text('"\\\\[]{},:a', max_size=40).map(str.encode))
def test_the_depth_check_never_misreads_where_a_string_ends(data):
    nested = b"[" * (MAX_DEPTH // 2) + data + b"]" * (MAX_DEPTH // 2)
    try:
        expected = json.loads(nested, object_pairs_hook=distinct)
    except ValueError:
        expected = None
    if expected is None or depth(expected) > MAX_DEPTH:
        with pytest.raises(Malformed):
            parse_json(nested)
    else:
        assert parse_json(nested) == expected


def distinct(pairs):
    if len(dict(pairs)) != len(pairs):
        raise ValueError
    return dict(pairs)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max((depth(item) for item in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth(item) for item in value), default=0)
    return 0


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b'"\xc0\x80"', "UTF-8"),
        ("{}".encode("utf-16-le"), "JSON"),
        (b'"\xff"', "UTF-8"),
        (b'"\\u0000"', "U+0000"),
        (b'"\x00"', "JSON"),
        (b'{"a\\u0000":1}', "U+0000"),
        (b'"\\ud83d"', "lone surrogate"),
        (b'"\\uDE00\\uD83D"', "lone surrogate"),
        (b'{"\\ud800":1}', "lone surrogate"),
        (b'[{"a":["\\udfff"]}]', "lone surrogate"),
        (b"-0", "shortest form"),
        (b"01", "JSON"),
        (b"+1", "JSON"),
        (b"1.0", "not an integer"),
        (b"1e3", "not an integer"),
        (b"9007199254740992", "2^53"),
        (b"-9007199254740992", "2^53"),
        (b"1" * 5000, "2^53"),
        (b"NaN", "not an integer"),
        (b"-Infinity", "not an integer"),
        ("\u0661".encode(), "JSON"),
        (b'{"a":1,"a":1}', "repeats"),
        (b'{"a":1,"\\u0061":2}', "repeats"),
        (b'[{"b":{"a":1,"a":2}}]', "repeats"),
        (b"{'a':1}", "JSON"),
        (b"[1,]", "JSON"),
        (b"{} {}", "JSON"),
        (b"", "JSON"),
        (b"\xc2\xa0{}", "JSON"),
        (b'"\n"', "JSON"),
        (b"[" * 33 + b"]" * 33, "32 levels"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "32 levels"),
        (b'["\\\\",' * 33 + b"1" + b"]" * 33, "32 levels"),
        (b"[" * 200_000, "32 levels"),
        (b'{"a":' * 200_000, "32 levels"),
        (b'"' + b'\\"' * 200_000, "JSON"),
    ],
)
def test_what_is_not_strict_is_refused(data, rule):
    with pytest.raises(Malformed, match=rule.replace("^", r"\^").replace("+", r"\+")):
        parse_json(data)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\\\u0000"', "\\u0000"),
        (b'"\\\\ud800"', "\\ud800"),
        (b"-1", -1),
        (b"9007199254740991", 9007199254740991),
        (b"[" * 32 + b"]" * 32, None),
        (b'["[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["]', None),
        ('"é"'.encode(), "é"),
        ('"e\u0301"'.encode(), "e\u0301"),  # never normalised
        (b" \t\r\n1 ", 1),
    ],
)
def test_what_is_strict_is_read(data, value):
    found = parse_json(data)
    assert value is None or found == value


def test_size_is_checked_first():
    assert parse_json(b"[1]", max_bytes=3) == [1]
    with pytest.raises(Malformed, match="larger"):
        parse_json(b"[1] ", max_bytes=3)


def test_the_text_of_an_error_never_shows_the_bytes():
    for data in (b'{"secret":', b'"secret\\ud800"', b'{"secret":1,"secret":2}', b"[12345678901234567]"):
        with pytest.raises(Malformed) as caught:
            parse_json(data)
        assert "secret" not in str(caught.value)
        assert "12345" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_members_are_exactly_those_named():
    assert members({"a": 1}, required=("a",), optional=("b",)) == {"a": 1}
    assert members({"a": 1, "b": 2}, required=("a",), optional=("b",)) == {"a": 1, "b": 2}
    for wrong in ({}, {"b": 1}, {"a": 1, "c": 1}, {"a": 1, "b": 1, "c": 1}, [], None):
        with pytest.raises(Malformed):
            members(wrong, required=("a",), optional=("b",))
    with pytest.raises(Malformed):
        parse_object(b"[]")


def test_a_constant_is_compared_with_its_type():
    check_constants({"v": 1, "type": "card"}, v=1, type="card")
    for wrong in ({"v": True}, {"v": "1"}, {"v": 2}, {}):
        with pytest.raises(Malformed):
            check_constants(wrong, v=1)


@given(st.binary(max_size=80))
def test_base64_has_one_spelling(data):
    assert from_b64(b64(data)) == data
    assert from_b64url(b64url(data)) == data


@given(st.text("AQgw/+-_=\n ABCZaz09é", max_size=12))
def test_any_other_spelling_of_base64_is_refused(text):
    for decode, encode in ((from_b64, b64), (from_b64url, b64url)):
        try:
            data = decode(text)
        except Malformed:
            continue
        assert encode(data) == text


@pytest.mark.parametrize("text", ["AB", "AA=", "A", "AA==A", "A A=", "\n", None, 1, b"AA"])
def test_lax_base64_is_refused(text):
    with pytest.raises(Malformed):
        from_b64(text)
    with pytest.raises(Malformed):
        from_b64url("AB" if text == "AB" else text)


@given(st.integers(-62135596800000, 253402300799999))
def test_times_go_and_come(time_ms):
    text = time_text(time_ms)
    assert len(text) == 24
    assert parse_time(text) == time_ms


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T14:05:09Z",
        "2026-11-23T14:05:09.12Z",
        "2026-11-23T14:05:09.1234Z",
        "2026-11-23T14:05:09,123Z",
        "2026-11-23t14:05:09.123Z",
        "2026-11-23T14:05:09.123z",
        "2026-11-23 14:05:09.123Z",
        "2026-11-23T14:05:09.123+00:00",
        "2026-02-29T14:05:09.123Z",
        "2026-11-23T24:00:00.000Z",
        "2026-11-23T14:05:60.000Z",
        "0000-11-23T14:05:09.123Z",
        "2026-11-23T14:05:09.123Z\n",
        "２026-11-23T14:05:09.123Z",  # noqa: RUF001  the point is the full-width digit
        1795000000000,
        None,
    ],
)
def test_times_have_one_form(text):
    with pytest.raises(Malformed):
        parse_time(text)


def test_a_known_time_and_digest():
    assert parse_time("2026-11-23T14:05:09.123Z") == 1795442709123
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
