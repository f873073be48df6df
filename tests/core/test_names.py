"""core.names: a sender's name is data; what is made of it is a file's name and nothing else."""

import unicodedata
from email.message import Message

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.errors import Malformed
from gateway.core.names import MAX_BYTES, check_name, disposition, safe_name

DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}

TABLE = [
    ("convocation.pdf", "convocation.pdf"),
    ("أمر قضائي.pdf", "أمر قضائي.pdf"),
    ("résumé «1».txt", "résumé «1».txt"),
    ("l'arrêt (copie) [2].tar.gz", "l'arrêt (copie) [2].tar.gz"),
    ("判决书\uff08副本\uff09.pdf", "判决书\uff08副本\uff09.pdf"),
    # folders
    ("../../etc/passwd", "_.._etc_passwd"),
    ("/root/.ssh/id", "_root_.ssh_id"),
    ("..\\..\\boot.ini", "_.._boot.ini"),
    ("C:\\x.txt", "C__x.txt"),
    ("file.txt:stream", "file.txt_stream"),
    ("a\u2215b\u2044c\uff0fd\uff3ce", "a_b_c_d_e"),
    # what is not seen, or turns what is read
    ("a\x00b\n.txt", "a_b_.txt"),
    ("gpj.\u202efdp.exe", "gpj._fdp.exe"),
    ("\u2066a\u2069\u200f\u061c.txt", "_a___.txt"),
    ("a\u200bb\ufeffc\u00add", "a_b_c_d"),
    ("a\u2028b\u2029c", "a_b_c"),
    ("a\x85b\x1b[2Jc", "a_b_[2Jc"),
    ("a\ud800b\ue000c", "a_b_c"),
    ("a\u00a0\u3000 b", "a b"),
    # ends and beginnings
    (".bashrc", "bashrc"),
    ("...", "attachment"),
    ("..", "attachment"),
    (".", "attachment"),
    ("", "attachment"),
    (" \t ", "_"),
    ("-rf", "rf"),
    ("- .-x", "x"),
    ("x.txt. . .", "x.txt"),
    ("\uff0e\uff0e\uff0fx\u2025\u2026", "___x__"),
    # a device is not a file
    ("CON", "_CON"),
    ("con.txt", "_con.txt"),
    ("Nul.tar.gz", "_Nul.tar.gz"),
    ("COM1 .txt", "_COM1 .txt"),
    ("com¹", "_com¹"),
    ("LPT9.", "_LPT9"),
    ("console.txt", "console.txt"),
    ("a.con", "a.con"),
    # to a shell or a file system it would mean something
    ('a<b>c"d|e?f*g', "a_b_c_d_e_f_g"),
    ("$(id)`x`;&!~%#^", "_(id)_x________"),
    # one form
    ("e\u0301", "é"),
    # lengths
    ("x" * 300 + ".pdf", "x" * 251 + ".pdf"),
    ("é" * 200 + ".pdf", "é" * 125 + ".pdf"),
    ("x." + "y" * 300, "x." + "y" * 253),
    ("COM1" + " " * 300 + "x", "COM1 x"),
]


@pytest.mark.parametrize(("name", "safe"), TABLE)
def test_what_is_left_of_a_name(name, safe):
    assert safe_name(name) == safe


names = st.one_of(
    st.text(max_size=400),
    st.text(alphabet="./\\ -:CONcom1\u202e\u0301é\n", max_size=400),
    st.tuples(st.sampled_from(sorted(DEVICES)), st.text(max_size=5)).map("".join),
)


@given(names, st.sampled_from([64, 120, MAX_BYTES]))
@example("COM1" + "." * 300 + "x", 64)
@example("x" * 63 + " .txt", 64)
@example("\u0301" + "e" * 300, 64)
def test_whatever_a_sender_calls_a_file(name, most):
    safe = safe_name(name, most)
    assert safe
    assert len(safe.encode()) <= most
    assert not set(safe) & set('/\\:*?"<>|\0')
    assert not any(unicodedata.category(c)[0] in "CZ" for c in safe if c != " ")
    assert safe[0] not in ".- "
    assert safe[-1] not in ". "
    assert safe.partition(".")[0].strip().lower() not in DEVICES
    assert unicodedata.is_normalized("NFC", safe)
    assert safe_name(safe, most) == safe
    check_name(safe)


@given(names)
def test_a_header_says_the_name_and_nothing_else(name):
    header = disposition(name)
    assert header.isascii()
    assert header.isprintable()
    read = Message()
    read["Content-Disposition"] = header
    assert read.get_content_disposition() == "attachment"
    assert header.endswith(f"filename*=UTF-8''{_quoted(safe_name(name))}")
    fallback = header.split('"')[1]
    assert safe_name(fallback) == fallback
    assert header.count('"') == 2


def _quoted(text: str) -> str:
    kept = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
    return "".join(chr(byte) if byte in kept else f"%{byte:02X}" for byte in text.encode())


def test_a_browser_that_knows_ascii_alone_gets_a_name_too():
    assert disposition("résumé «1».txt") == (
        "attachment; filename=\"resume 1.txt\"; filename*=UTF-8''r%C3%A9sum%C3%A9%20%C2%AB1%C2%BB.txt"
    )
    assert disposition("判决书").startswith('attachment; filename="attachment"; ')


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "more than dots"),
        (".", "more than dots"),
        ("..", "more than dots"),
        (" . ", "more than dots"),
        ("a/b", "folders"),
        ("a\\b", "folders"),
        ("a\nb", "one line"),
        ("a\x00b", "one line"),
        ("a\x85b", "one line"),
        ("a\u2028b", "one line"),
        ("a\u2029b", "one line"),
        ("a\ud800b", "one line"),
        ("gpj.\u202efdp.exe", "direction"),
        ("\u2066a\u2069", "direction"),
        ("é" * 128, "255 bytes"),
    ],
)
def test_what_can_never_be_a_name_is_refused_without_repeating_it(name, told):
    with pytest.raises(Malformed, match=told) as raised:
        check_name(name)
    assert len(name) < 2 or name not in str(raised.value)


@pytest.mark.parametrize("name", ["é" * 127 + "a", "a\u200cb\u200f.pdf", "CON", ".profile", "a:b", "x" * 255])
def test_what_some_system_has_no_file_for_may_be_signed(name):
    assert check_name(name) == name
