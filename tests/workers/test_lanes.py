"""How many messages have their blobs brought at once, and which of them may begin."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.ids import AuthorityId
from gateway.workers.lanes import LANES, LANES_OF_PEER, SMALL_BYTES, Lanes, admits

SMALL, LARGE = SMALL_BYTES, SMALL_BYTES + 1
PEERS = [AuthorityId(f"q{letter}.justice") for letter in "nopqrs"]


def begun(lanes: Lanes, peer: AuthorityId, size_bytes: int) -> bool:
    return lanes.enter(peer, size_bytes, lambda: None)


def test_large_ones_leave_the_last_lane_of_a_peer_to_a_small_one():
    lanes = Lanes()
    assert [begun(lanes, PEERS[0], LARGE) for _ in range(3)] == [True, True, False]
    assert [begun(lanes, PEERS[0], SMALL) for _ in range(2)] == [True, False]


def test_who_has_lanes_leaves_some_to_those_who_have_none():
    lanes = Lanes()
    for peer in PEERS[:3]:
        begun(lanes, peer, LARGE)
        begun(lanes, peer, LARGE)
    assert sum(begun(lanes, peer, LARGE) for peer in PEERS[:3]) == 0
    assert begun(lanes, PEERS[5], SMALL)


def test_whoever_waits_is_told_once_that_a_lane_is_free():
    lanes, told = Lanes(), []
    begun(lanes, PEERS[0], LARGE)
    begun(lanes, PEERS[0], LARGE)
    assert not lanes.enter(PEERS[0], LARGE, lambda: told.append(PEERS[0]))
    lanes.leave(PEERS[0])
    lanes.leave(PEERS[0])
    assert told == [PEERS[0]]
    assert begun(lanes, PEERS[0], LARGE)


@given(st.lists(st.tuples(st.sampled_from(PEERS), st.sampled_from([SMALL, LARGE]), st.booleans())))
def test_no_more_than_there_are(moves: list[tuple[AuthorityId, int, bool]]):
    lanes, taken = Lanes(), []
    for peer, size_bytes, ends in moves:
        if ends and taken:
            lanes.leave(taken.pop(0))
        elif begun(lanes, peer, size_bytes):
            taken.append(peer)
        assert len(taken) <= LANES
        assert all(taken.count(one) <= LANES_OF_PEER for one in PEERS)


def test_a_peer_without_lanes_has_one_before_another_has_its_second():
    for in_all in range(LANES):
        assert admits(LARGE, of_peer=0, in_all=in_all) >= admits(LARGE, of_peer=1, in_all=in_all)
    assert any(
        admits(LARGE, of_peer=0, in_all=n) and not admits(LARGE, of_peer=1, in_all=n) for n in range(LANES)
    )
