"""A case: its hash-linked history, and the state that both sides reach from it (protocol §5, §8).

Both sides may speak at once. Each message names what its sender held when it spoke
(`previous`, `case_head`), so its *causal ancestors* are the same set of messages on both sides.
A message is accepted if it is legal after the replay of its ancestors alone, whatever has arrived
meanwhile: what a sender may send, its peer cannot refuse. The state of the case is the replay of
all accepted messages in an order that depends on nothing but the set, so that both sides
end in the same state, whichever message arrived where first. In that order the requesting
side goes first where nothing else decides; what is illegal at its turn moves nothing and is *crossed*.
So a withdrawal that crosses a result wins.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from gateway.core.errors import GatewayFault, Malformed
from gateway.core.ids import AuthorityId, Digest, MessageId, parse_authority, parse_digest, parse_message_id
from gateway.core.machine import MACHINE, Scalar, Standing
from gateway.core.message import Message, SignedMessage
from gateway.core.record import recorded
from gateway.core.strict import (
    as_integer,
    as_list,
    as_object,
    as_text,
    check_constants,
    encode_json,
    members,
    parse_json,
)

_STEP_PARTS = 10


class NotAllowed(GatewayFault):
    """The case machine has no such move for this side in this state (422 `not_allowed`)."""


class PredecessorMissing(GatewayFault):
    """The sender's own message before this one is not here yet (425 `predecessor_missing`)."""


class UnknownCaseHead(GatewayFault):
    """The message names one of ours that we never sent (422 `unknown_case_head`)."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the case keeps of one message: what its replay needs, and what later messages ask about.

    Attributes:
        sha256: digest of the compact JWS.
        by: who sent it.
        previous: the sender's own message before it in the case, or None.
        case_head: the newest message of the other side that the sender had accepted, or None.
        when: those members of the body on which its move depends.
        recorded: those that findings and clocks look at later (core.record): JSON values under the
            names that lead to them. They are part of the case's row for good, so that whoever
            writes a schema keeps them few and short.
        counts: accepted, or one of ours that is on its way. One of ours that was refused,
            expired, is held or cancelled does not count; one whose fate is undetermined counts
            only once the peer has built on it.
    """

    sha256: Digest
    id: MessageId
    by: AuthorityId
    kind: str
    created_ms: int
    previous: Digest | None
    case_head: Digest | None
    when: Mapping[str, Scalar]
    recorded: Mapping[str, object] = field(default_factory=dict)
    counts: bool = True

    @property
    def links(self) -> tuple[Digest, ...]:
        """Return the digests that it names."""
        return tuple(link for link in (self.previous, self.case_head) if link is not None)


@dataclass(frozen=True)
class History:
    """The steps of one case, in the order in which this node came to know them."""

    steps: tuple[Step, ...] = ()

    @cached_property
    def by_digest(self) -> Mapping[Digest, Step]:
        """Return the steps by digest."""
        return {step.sha256: step for step in self.steps}

    @cached_property
    def effective(self) -> tuple[Step, ...]:
        """Return the steps that count, with all their ancestors."""
        if all(step.counts for step in self.steps):
            return self.steps
        found = self.ancestors(step.sha256 for step in self.steps if step.counts)
        return tuple(step for step in self.steps if step.sha256 in found)

    @cached_property
    def outcome(self) -> "Outcome":
        """Return what the replay of the steps that count gives."""
        return _replay(self.effective)

    def standing_after(self, links: Iterable[Digest | None]) -> Standing:
        """Return where the case stands after what *links* name, and all its ancestors."""
        known = self.ancestors(links)
        if len(known) == len(self.effective) and all(step.sha256 in known for step in self.effective):
            return self.outcome.standing
        return _replay(known.values()).standing

    def ancestors(self, links: Iterable[Digest | None]) -> Mapping[Digest, Step]:
        """Return the steps that *links* name, with all their ancestors, by digest."""
        found: dict[Digest, Step] = {}
        ahead = list(links)
        while ahead:
            link = ahead.pop()
            if link is not None and link not in found and (step := self.by_digest.get(link)) is not None:
                found[link] = step
                ahead += (step.previous, step.case_head)
        return found

    def encode(self) -> bytes:
        """Return the history as strict JSON."""
        steps = [_parts(step) for step in self.steps]
        return encode_json({"v": 1, "steps": steps})

    @classmethod
    def decode(cls, data: bytes) -> "History":
        """Return the history that *data* encodes. Raises Malformed."""
        found = members(parse_json(data), required=("v", "steps"))
        check_constants(found, v=1)
        return cls(tuple(_step(as_list(parts)) for parts in as_list(found["steps"])))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the replay of a history gives.

    Attributes:
        state: the state of the case.
        requesting: the requesting side; before roles exist, who opened; None of an empty case.
        crossed: the messages that moved nothing.
        order: every message that counts, in the order of the replay.
        states: the state of the case after each of them.
        standing: all that the machine knows.
    """

    state: str
    requesting: AuthorityId | None
    crossed: frozenset[Digest]
    order: tuple[Digest, ...]
    states: tuple[str, ...]
    standing: Standing


def step_of(signed: SignedMessage, *, counts: bool = True) -> Step:
    """Return the step of *signed*."""
    message = signed.message
    return Step(
        sha256=signed.sha256,
        id=message.id,
        by=message.sender,
        kind=message.kind,
        created_ms=message.created_ms,
        previous=message.previous,
        case_head=message.case_head,
        when=MACHINE.members_of(message.kind, message.body),
        recorded=recorded(message),
        counts=counts,
    )


def replay(history: History) -> Outcome:
    """Return the state of the case, and what crossed."""
    return history.outcome


def newest(history: History, authority: AuthorityId) -> Digest | None:
    """Return the newest message of *authority* that counts: what the next one names.

    Of one's own it is the next `previous`, of the other side's the next `case_head`.
    """
    for step in reversed(history.effective):
        if step.by == authority:
            return step.sha256
    return None


def may_send(history: History, sender: AuthorityId, message: Message) -> None:
    """Check that *sender* may send *message* now, so that its peer will not refuse it.

    It is judged on all that counts here, and on what its links say: those differ only after an
    undetermined message turned out to be accepted, and until the peer's next one joins the two.

    Raises:
        NotAllowed: it may not.
    """
    when = MACHINE.members_of(message.kind, message.body)
    standing = history.outcome.standing
    _judge(standing, sender, message.kind, when)
    linked = history.standing_after((message.previous, message.case_head))
    if linked is not standing:
        _judge(linked, sender, message.kind, when)


def check_received(history: History, step: Step) -> None:
    """Check that *step*, which a peer sent, is legal after its causal ancestors.

    Raises:
        PredecessorMissing: its `previous` is not here; to be tried again.
        UnknownCaseHead: its `case_head` is not a message of the other side.
        NotAllowed: it is not legal.
    """
    if step.previous is not None:
        previous = history.by_digest.get(step.previous)
        if previous is None or previous.by != step.by:
            raise PredecessorMissing("the message before this one in the case is not here")
    if step.case_head is not None:
        head = history.by_digest.get(step.case_head)
        if head is None or head.by == step.by:
            raise UnknownCaseHead("the case head is not a message of the other side")
    _judge(history.standing_after(step.links), step.by, step.kind, step.when)


def add(history: History, step: Step) -> History:
    """Return *history* with *step*; a message enters once."""
    if step.sha256 in history.by_digest:
        return history
    return History((*history.steps, step))


def set_counts(history: History, sha256: Digest, counts: bool) -> History:
    """Return *history* with the step *sha256* counting or not.

    One that counts again, and on which nothing built meanwhile, becomes its sender's newest, so
    that the next message joins it to the rest.

    Raises:
        KeyError: there is no such step.
    """
    found = history.by_digest[sha256]
    if found.counts == counts:
        return history
    changed = replace(found, counts=counts)
    if counts and not any(sha256 in step.links for step in history.steps if step.counts):
        return History((*(step for step in history.steps if step is not found), changed))
    return History(tuple(changed if step is found else step for step in history.steps))


def drop(history: History, sha256: Digest) -> History:
    """Return *history* without the step *sha256*, one of ours that was never posted.

    Raises:
        ValueError: it counts, or a message that counts builds on it.
    """
    if any(step.sha256 == sha256 for step in history.effective):
        raise ValueError("a step that counts stays in the history")
    return History(tuple(step for step in history.steps if step.sha256 != sha256))


def forget(history: History, sha256: Digest) -> History:
    """Return *history* without what it keeps of the message *sha256* for later ones to ask about.

    Its place, and what its move depends on, stay: both sides go on to reach the same state.
    """
    return History(
        tuple(replace(step, recorded={}) if step.sha256 == sha256 else step for step in history.steps)
    )


def allowed(history: History, parties: Iterable[AuthorityId]) -> dict[AuthorityId, tuple[str, ...]]:
    """Return which kinds each of the two *parties* may send now."""
    standing = history.outcome.standing
    return {
        party: tuple(kind for kind in MACHINE.kinds if MACHINE.may(standing, party, kind))
        for party in parties
    }


def _judge(standing: Standing, by: AuthorityId, kind: str, when: Mapping[str, Scalar]) -> None:
    if MACHINE.step(standing, by, kind, when) is None:
        raise NotAllowed(
            f"{kind} may not be sent by this side while the case is in the state {standing.state}"
        )


def _replay(steps: Iterable[Step]) -> Outcome:
    """Run *steps*, which hold each other's ancestors, through the machine in causal order.

    Taken next is always a step whose ancestors have had their turn: of the requesting side (or who
    opened) if it has one, then by `created`, then `id`. Before the first step both sides
    compete by `created` and `id`.
    """
    waiting: dict[Digest, int] = {}
    followers: dict[Digest, list[Step]] = {}
    ready: dict[AuthorityId, list[tuple[int, MessageId, Digest, Step]]] = {}
    present = {step.sha256: step for step in steps}
    for step in present.values():
        links = [link for link in step.links if link in present]
        waiting[step.sha256] = len(links)
        for link in links:
            followers.setdefault(link, []).append(step)
        if not links:
            _queue(ready, step)
    standing = MACHINE.initial
    order: list[Digest] = []
    states: list[str] = []
    crossed: set[Digest] = set()
    while (taken := _take(ready, standing.first)) is not None:
        order.append(taken.sha256)
        moved = MACHINE.step(standing, taken.by, taken.kind, taken.when)
        if moved is None:
            crossed.add(taken.sha256)
        else:
            standing = moved
        states.append(standing.state)
        for follower in followers.get(taken.sha256, ()):
            waiting[follower.sha256] -= 1
            if not waiting[follower.sha256]:
                _queue(ready, follower)
    return Outcome(
        state=standing.state,
        requesting=standing.first,
        crossed=frozenset(crossed),
        order=tuple(order),
        states=tuple(states),
        standing=standing,
    )


def _queue(ready: dict[AuthorityId, list[tuple[int, MessageId, Digest, Step]]], step: Step) -> None:
    heapq.heappush(ready.setdefault(step.by, []), (step.created_ms, step.id, step.sha256, step))


def _take(
    ready: dict[AuthorityId, list[tuple[int, MessageId, Digest, Step]]], first: AuthorityId | None
) -> Step | None:
    queue = ready.get(first) if first is not None else None
    if not queue:
        queue = min((queue for queue in ready.values() if queue), default=None, key=lambda queue: queue[0])
    return None if queue is None else heapq.heappop(queue)[3]


def _parts(step: Step) -> list[object]:
    return [
        step.sha256,
        step.id,
        step.by,
        step.kind,
        step.created_ms,
        step.previous,
        step.case_head,
        dict(step.when),
        dict(step.recorded),
        step.counts,
    ]


def _step(parts: list[object]) -> Step:
    if len(parts) != _STEP_PARTS:
        raise Malformed("not a step of a history")
    sha256, id_, by, kind, created_ms, previous, case_head, when, kept, counts = parts
    if not isinstance(counts, bool):
        raise Malformed("a step counts or does not")
    return Step(
        sha256=parse_digest(sha256),
        id=parse_message_id(id_),
        by=parse_authority(by),
        kind=as_text(kind),
        created_ms=as_integer(created_ms),
        previous=None if previous is None else parse_digest(previous),
        case_head=None if case_head is None else parse_digest(case_head),
        when={name: _scalar(value) for name, value in as_object(when).items()},
        recorded=as_object(kept),
        counts=counts,
    )


def _scalar(value: object) -> Scalar:
    if not isinstance(value, str | int):
        raise Malformed("a member that decides a move is no list or object")
    return value
