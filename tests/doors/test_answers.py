"""Refusals of a peer are counted with one query a second, and none is lost from the count."""

from gateway.core.entry import Draft
from gateway.core.ids import AuthorityId, Digest, MessageId
from gateway.ports import Unprobed
from gateway.web.answers import Answers
from tests.support.authorities import FixedClock, FixedEntropy, make_authority
from tests.support.memory import MemoryStore

PEER = AuthorityId("qn.justice")


def refusal(number: int) -> Draft:
    return Draft(
        event="relay.refused",
        outcome="refused",
        reason="unopenable",
        peer=PEER,
        message_id=MessageId(f"00000000-0000-4000-8000-{number:012x}"),
        envelope_sha256=Digest("0" * 64),
    )


class Counted(MemoryStore):
    """A store that counts how often it was asked; `meanwhile` happens once before it answers."""

    asked = 0
    meanwhile = None

    async def refusals_since(self, peer: AuthorityId, time_ms: int) -> int:
        found = await super().refusals_since(peer, time_ms)
        self.asked += 1
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            await happens()
        return found


def counted() -> tuple[Counted, FixedClock, Answers]:
    clock = FixedClock()
    store = Counted(make_authority("qm.moj"), clock, FixedEntropy())
    return store, clock, Answers(store, clock, Unprobed())


async def test_the_count_is_read_once_a_second():
    store, clock, answers = counted()
    assert [await answers.refusals(PEER) for _ in range(3)] == [0, 0, 0]
    assert store.asked == 1
    clock.time_ms += 1_000
    assert await answers.refusals(PEER) == 0
    assert store.asked == 2


async def test_a_refusal_counts_at_once():
    _, _, answers = counted()
    for number in range(3):
        assert await answers.refusals(PEER) == number
        await answers.refuse(refusal(number))
    assert await answers.refusals(PEER) == 3


async def test_one_that_is_recorded_while_the_count_is_read_is_in_the_next():
    store, _, answers = counted()
    store.meanwhile = lambda: answers.refuse(refusal(1))
    await answers.refusals(PEER)
    assert await answers.refusals(PEER) == 1
