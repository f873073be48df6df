"""Where a node stands, and what an epoch says: values in, verdict out."""

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.entry import Draft, encode_entry
from gateway.core.errors import GatewayFault, Malformed, NotIncluded, Untrusted, WrongSubject
from gateway.core.ids import AuthorityId
from gateway.core.merkle import Frontier, inclusion, leaf_hash, root
from gateway.core.note import Checkpoint, LogIdentity, sign_checkpoint
from gateway.core.proof import Receipt, encode_proof
from gateway.core.standing import (
    Epoch,
    Place,
    consistent_from,
    contradiction,
    epoch_of,
    is_lost,
    known,
    members,
    names_later_epoch,
    next_origin,
    verify_epoch,
)
from keys.signing import LogKeys

US, PEER = AuthorityId("qn.justice"), AuthorityId("qm.moj")
NOW_MS = 1_795_000_000_000
OLD, NEW, NEWEST = (f"moj.qm.example/audit/{number}" for number in (1, 2, 3))
KEYS = {origin: LogKeys.generate() for origin in (OLD, NEW, NEWEST)}
LOGS = {origin: LogIdentity(origin, keys.ed.public, keys.lattice.public) for origin, keys in KEYS.items()}


def signed(origin: str, size: int, top: bytes, keys: LogKeys | None = None) -> Checkpoint:
    return sign_checkpoint(origin, size, top, NOW_MS, keys or KEYS[origin])


# -- the own log


TOP = b"t" * 32


def test_what_peers_hold_counts_only_with_both_our_signatures_and_under_todays_origin():
    checkpoint = signed(OLD, 7, TOP)
    text = checkpoint.text
    assert known(text, LOGS[OLD]) == checkpoint
    assert known(text, LOGS[NEW]) is None, "an origin of before"
    stranger = signed(OLD, 7, TOP, LogKeys.generate()).text
    assert known(stranger, LOGS[OLD]) is None
    ours, theirs = text.splitlines(keepends=True), stranger.splitlines(keepends=True)
    assert known("".join([*ours[:-1], theirs[-1]]), LOGS[OLD]) is None, "one signature is not enough"
    assert known("nothing of the kind", LOGS[OLD]) is None


def test_what_lies_on_our_way_agrees():
    assert contradiction(PEER, signed(OLD, 7, TOP), 7, TOP) is None
    assert contradiction(PEER, signed(OLD, 7, TOP), 9, TOP) is None
    assert contradiction(PEER, signed(OLD, 0, TOP), 0, TOP) is None


@pytest.mark.parametrize(
    ("size", "top", "says"),
    [(6, None, "has 6 entries here, but qm.moj holds"), (9, b"o" * 32, "another one")],
)
def test_a_larger_log_or_another_root_contradicts(size: int, top: bytes | None, says: str):
    found = contradiction(PEER, signed(OLD, 7, TOP), size, top)
    assert found is not None
    assert says in str(found)
    assert "art18 audit new-epoch" in str(found)
    assert "7" in str(found)


# -- origins


def test_origins_count():
    assert epoch_of("moj.qm.example/audit/12") == 12
    assert next_origin(OLD) == NEW
    assert next_origin(NEW, OLD) == next_origin(OLD, NEW) == NEWEST
    for wrong in ("moj.qm.example/witness", "moj.qm.example/audit/0", "moj.qm.example/audit/01", "/audit/1"):
        with pytest.raises(Malformed):
            epoch_of(wrong)


@pytest.mark.parametrize(
    ("origin", "logs", "later"),
    [
        (NEW, [OLD], True),
        (NEWEST, [OLD, NEW], True),
        (NEW, [OLD, NEW], False),
        (OLD, [NEW], False),
        (NEW, ["other.example/audit/1"], False),
        (NEW, ["other.example/audit/9", OLD], True),
        (NEW, [], False),
        ("moj.qm.example/witness", [OLD], False),
    ],
)
def test_a_receipt_may_be_of_an_epoch_whose_card_is_not_pinned_yet(origin: str, logs: list[str], later: bool):
    note = signed(origin, 1, TOP, KEYS[NEW]).text
    assert names_later_epoch(Receipt(b"", encode_proof(0, [], note)), logs) is later
    assert not names_later_epoch(Receipt(b"", "no proof"), logs)


# -- how an epoch began


class Log:
    """A log of PEER that was taken up again at *size* as *origin*, and has grown since."""

    def __init__(self, size: int = 3, origin: str = NEW, **changes: Any) -> None:
        extra = dict(
            members(origin=origin, previous_origin=OLD, restored_size=size, known=signed(OLD, 5, TOP))
        )
        draft = {"event": "log.epoch", "outcome": "ok", "authority": PEER} | changes.pop("draft", {})
        extra = {name: value for name, value in (extra | changes).items() if value is not None}
        authority = draft.pop("authority")
        entry = Draft(extra=tuple(extra.items()), **draft)
        started = Draft(event="node.started", outcome="ok")
        self.leaves = [
            encode_entry(
                one, authority=authority, entry_id=f"{n:08d}-0000-4000-8000-000000000000", time_ms=NOW_MS
            )
            for n, one in enumerate([started] * size + [entry, started])
        ]

    def receipt(self, index: int, signer: str = NEW, keys: LogKeys | None = None) -> Receipt:
        nodes: dict[tuple[int, int], bytes] = {}
        frontier, made = Frontier().append(map(leaf_hash, self.leaves))
        nodes = {(level, at): node for level, at, node in made}
        size = len(self.leaves)
        hashes = inclusion(index, size, lambda level, at: nodes[level, at])
        checkpoint = signed(signer, size, frontier.root(), keys)
        assert frontier.root() == root(map(leaf_hash, self.leaves))
        return Receipt(self.leaves[index], encode_proof(index, hashes, checkpoint.text))


def test_an_epoch_says_how_it_began():
    epoch = verify_epoch(Log().receipt(3), PEER, NEW, LOGS)
    assert (epoch.origin, epoch.previous_origin, epoch.restored_size, epoch.known_size) == (NEW, OLD, 3, 5)
    assert epoch.checkpoint.size == 5
    said = json.loads(Log().leaves[3])
    assert {name: said[name] for name in ("epoch", "restored_size", "known_size", "known_root")} == {
        "epoch": 2, "restored_size": 3, "known_size": 5, "known_root": TOP.hex(),
    }  # fmt: skip


def test_a_log_that_nobody_knew_more_of_names_no_checkpoint():
    unknown = dict(members(origin=NEW, previous_origin=OLD, restored_size=3, known=None))
    assert set(unknown) == {"epoch", "previous_origin", "restored_size"}
    log = Log(known_size=None, known_root=None)
    assert verify_epoch(log.receipt(3), PEER, NEW, LOGS).known_size is None


def test_the_entry_of_an_epoch_may_be_proved_under_a_later_one():
    assert verify_epoch(Log().receipt(3, NEWEST), PEER, NEW, LOGS).checkpoint.origin == NEWEST
    with pytest.raises(Untrusted):
        verify_epoch(Log(origin=NEWEST).receipt(3, NEW), PEER, NEWEST, LOGS)


@pytest.mark.parametrize(
    ("receipt", "fault"),
    [
        (Log().receipt(3, keys=LogKeys.generate()), Untrusted),
        (Log().receipt(3, OLD), Untrusted),
        (Log().receipt(2), WrongSubject),
        (replace(Log().receipt(3), entry=Log(known_size=6).leaves[3]), NotIncluded),
        (replace(Log().receipt(3), entry=Log().leaves[3].replace(b",", b", ", 1)), Malformed),
        (Log(restored_size=2).receipt(3), WrongSubject),
        (Log(origin=NEWEST).receipt(3), WrongSubject),
        (Log(previous_origin=NEW).receipt(3), WrongSubject),
        (Log(previous_origin="other.example/audit/1").receipt(3), WrongSubject),
        (Log(known_size="5").receipt(3), WrongSubject),
        (Log(restored_size=None).receipt(3), WrongSubject),
        (Log(draft={"authority": US}).receipt(3), WrongSubject),
        (Log(draft={"event": "node.started"}).receipt(3), WrongSubject),
    ],
)
def test_what_proves_no_epoch(receipt: Receipt, fault: type[GatewayFault]):
    with pytest.raises(fault):
        verify_epoch(receipt, PEER, NEW, LOGS)


# -- what was lost


EPOCH = Epoch(NEW, OLD, 100, 120, signed(NEW, 150, TOP))


@pytest.mark.parametrize(
    ("places", "lost"),
    [
        ([], False),
        ([("relay.accepted", OLD, 100)], True),
        ([("relay.accepted", OLD, 99)], False),
        ([("relay.accepted", OLD, 99), ("content.handed_over", OLD, 110)], False),
        ([("content.handed_over", OLD, 110)], True),
        ([("content.handed_over", OLD, 99)], False),
        ([("relay.accepted", OLD, 105), ("content.opened", OLD, 110)], True),
        ([("relay.accepted", OLD, 105), ("relay.accepted", NEW, 130)], False),
        ([("relay.accepted", NEWEST, 300)], False),
        ([("relay.refused", OLD, 105)], False),
        ([("relay.refused", OLD, 3), ("relay.accepted", OLD, 105)], True),
    ],
)
def test_a_message_is_lost_if_nothing_that_says_it_was_taken_survives(
    places: list[tuple[str, str, int]], lost: bool
):
    assert is_lost([Place(*place) for place in places], EPOCH) is lost


def test_consistency_is_proved_over_the_boundary_up_to_where_the_log_was_taken_up():
    assert consistent_from(signed(OLD, 100, TOP), EPOCH)
    assert not consistent_from(signed(OLD, 101, TOP), EPOCH)
    assert not consistent_from(signed(NEW, 90, TOP), EPOCH)
