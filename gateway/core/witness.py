"""Witnessing: what a node decides about a checkpoint of another log (C2SP tlog-witness; protocol §9).

A witness cosigns a checkpoint only if it goes on from the one that it cosigned before. What it
decides is a value here; that the newest checkpoint is compared and replaced in one statement is the
store's part, since every verdict names the checkpoint that it was judged on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.errors import Malformed, NotIncluded
from gateway.core.merkle import EMPTY_ROOT, verify_consistency
from gateway.core.note import Checkpoint
from gateway.core.proof import encode_hashes, parse_hashes
from gateway.core.strict import INTEGER_LIMIT

MAX_BYTES = 256 * 1024
"""Of a submission: 63 hashes and the largest note."""
MAX_HASHES = 63
SIZE_TYPE = "text/x.tlog.size"
"""The media type by which a 409 says how large the checkpoint is that was cosigned last."""

_OLD = "old "
_SIZE_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Submission:
    """A request to cosign: the size that was cosigned before, a proof from there, the signed note."""

    old: int
    proof: tuple[bytes, ...]
    note: str


@dataclass(frozen=True, slots=True)
class GoesOn:
    """The checkpoint goes on from the newest one: to be kept, and cosigned."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The proof does not begin where the newest checkpoint ends, which has *size*."""

    size: int


@dataclass(frozen=True, slots=True)
class Contradicts:
    """The log has signed two roots for one *size*: both checkpoints are the proof of misbehaviour.

    *begun* says whether the proof begins there: if not, whoever asks learns no more than the size.
    """

    size: int
    begun: bool


@dataclass(frozen=True, slots=True)
class Unconnected:
    """The proof does not lead from the newest checkpoint to this one."""


Verdict = GoesOn | Elsewhere | Contradicts | Unconnected


def encode_submission(old: int, proof: Sequence[bytes], note: str) -> bytes:
    """Return the body of `add-checkpoint`."""
    return f"{_OLD}{old}\n{encode_hashes(proof)}\n{note}".encode()


def parse_submission(raw: bytes) -> Submission:
    """Return what the body of `add-checkpoint` asks; the note is for `verify_checkpoint` to judge.

    Raises:
        Malformed: not in form, or with more than 63 hashes.
    """
    if len(raw) > MAX_BYTES:
        raise Malformed(f"a submission larger than {MAX_BYTES} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None
    first, _, rest = text.partition("\n")
    size = first.removeprefix(_OLD)
    if not first.startswith(_OLD) or not size.isascii() or not size.isdigit():
        raise Malformed("a submission begins with old and a size")
    if len(size) > _SIZE_DIGITS or str(int(size)) != size or int(size) >= INTEGER_LIMIT:
        raise Malformed("the old size is a decimal below 2^53 without leading zeroes")
    if rest.startswith("\n"):
        lines, note = "", rest[1:]
    else:
        lines, blank, note = rest.partition("\n\n")
        lines += "\n" if blank else ""
    hashes = parse_hashes(lines)
    if len(hashes) > MAX_HASHES:
        raise Malformed(f"a proof of more than {MAX_HASHES} hashes")
    return Submission(int(size), hashes, note)


def judge(submission: Submission, offered: Checkpoint, newest: Checkpoint | None) -> Verdict:
    """Decide about the *offered* checkpoint, which both keys of its log have signed.

    *newest* is the one of the same log that was cosigned last, None before the first. Two roots for one
    size are noticed wherever the proof begins.

    Raises:
        Malformed: the old size is above that of the checkpoint.
    """
    if submission.old > offered.size:
        raise Malformed("the old size is above that of the checkpoint")
    size, root = (0, EMPTY_ROOT) if newest is None else (newest.size, newest.root)
    if newest is not None and offered.size == size and offered.root != root:
        return Contradicts(size, submission.old == size)
    if submission.old != size:
        return Elsewhere(size)
    try:
        verify_consistency(size, offered.size, root, offered.root, submission.proof)
    except NotIncluded:
        return Unconnected()
    return GoesOn()
