"""The delivery of one outgoing message: what each event makes of it (protocol §8 "Sending").

The whole machine is `TABLE`, each row with the clause that it carries out: where it has no row, the
event is an error of whoever brought it. Nothing is sent or stored here; the caller writes the new
state and what the effects ask for in one transaction, and only then touches the network.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto

from gateway.core.backoff import wait_ms
from gateway.core.errors import Misuse
from gateway.core.proof import Statement


class State(StrEnum):
    """Where an outgoing message is."""

    QUEUED = "queued"
    ACCEPTED = "accepted"
    HANDED_OVER = "handed_over"
    REFUSED = "refused"
    EXPIRED = "expired"
    UNDETERMINED = "undetermined"
    HELD = "held"
    CANCELLED = "cancelled"


AWAITING = frozenset({State.QUEUED, State.UNDETERMINED})
"""States in which a signed answer of the peer is waited for."""
UNFINISHED = frozenset({State.QUEUED, State.UNDETERMINED, State.HELD})
"""States that a later event of its own is still to leave."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a decision needs of an outgoing message.

    `problem` is the code of the last unsigned answer; `next_ms` is when to try again.
    """

    state: State
    expires_ms: int
    attempt: int = 0
    next_ms: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Proved:
    """A receipt of the peer that holds."""

    statement: Statement


@dataclass(frozen=True, slots=True)
class Deferred:
    """An unsigned answer to a post, which concerns this message alone."""

    code: str
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Silent:
    """It has expired, and `close` brought no signed answer: what became of it is unknown."""

    code: str | None = None
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Resealed:
    """The same JWS was sealed again, under another key of the peer."""


@dataclass(frozen=True, slots=True)
class Block:
    """A message before it in the case was refused, expired or is undetermined."""


@dataclass(frozen=True, slots=True)
class Release:
    """An operator lets a held message go, signed anew; it expires at *expires_ms*."""

    expires_ms: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """An operator gives a held message up."""


@dataclass(frozen=True, slots=True)
class Retry:
    """An operator wants an attempt now."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The peer has lost it: its log was taken up again before the entry of its receipt (protocol §9).

    `kept` says whether its content is still here, to be sealed again.
    """

    kept: bool = True


Event = Proved | Deferred | Silent | Resealed | Block | Release | Cancel | Retry | Lost


@dataclass(frozen=True, slots=True)
class Log:
    """Write an audit entry about the message."""

    event: str
    outcome: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class DropEnvelopes:
    """Nothing more is posted: forget the bodies; the digests stay, since later receipts name them."""


@dataclass(frozen=True, slots=True)
class HoldFollowers:
    """Hold what is queued behind it in its case."""


@dataclass(frozen=True, slots=True)
class Reseal:
    """Seal the same JWS again, once the peer's card has another sealing key."""


@dataclass(frozen=True, slots=True)
class SealAgain:
    """Seal the same JWS again, for the bodies of its envelopes were forgotten."""


@dataclass(frozen=True, slots=True)
class Count:
    """Whether the message is part of the history of its case."""

    counts: bool


@dataclass(frozen=True, slots=True)
class Alarm:
    """Tell an operator."""

    code: str


@dataclass(frozen=True, slots=True)
class Calm:
    """What an operator was told is so no longer."""

    code: str


Effect = Log | DropEnvelopes | HoldFollowers | Reseal | SealAgain | Count | Alarm | Calm
Step = tuple[Delivery, tuple[Effect, ...]]


class Cue(StrEnum):
    """The events as the table tells them apart: a receipt by what it states."""

    ACCEPTED = "relay.accepted"
    REFUSED = "relay.refused"
    CONFLICT = "relay.conflict"
    UNKNOWN = "relay.unknown"
    HANDED_OVER = "content.handed_over"
    OPENED = "content.opened"
    DEFERRED = "deferred"
    SILENT = "silent"
    RESEALED = "resealed"
    BLOCK = "block"
    RELEASE = "release"
    CANCEL = "cancel"
    RETRY = "retry"
    LOST = "lost"
    LOST_FOR_GOOD = "lost_for_good"


class Timing(Enum):
    """When the next attempt is due after a transition."""

    REST = auto()
    """Never: the waiting is over."""
    NOW = auto()
    AGAIN = auto()
    """Now, and not for the first time: it has been in other envelopes."""
    LATER = auto()
    """After a backoff, though not after it expires: then something else is due."""
    KEEP = auto()
    """As before."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table: where an event leads, what else it asks for, and by which clause."""

    to: State
    timing: Timing
    effects: tuple[Effect, ...]
    clause: str


_RECEIPT, _REFUSAL = Log("receipt.recorded", "ok"), Log("receipt.recorded", "refused")
_EXPIRED = Log("delivery.expired", "failed")
_DROP, _HOLD = DropEnvelopes(), HoldFollowers()
_COUNTS, _COUNTS_NOT = Count(counts=True), Count(counts=False)
_ALARM, _CALM = Alarm("undetermined"), Calm("undetermined")
_REPEATED = (Log("delivery.repeated", "ok"), SealAgain())
_GONE = Alarm("lost_by_peer")
_LATE, _CONTRARY = Alarm("late_acceptance"), Alarm("contradiction")
_S, _C, _T = State, Cue, Timing

_FINAL = "only the peer's signed answer makes it accepted, refused or expired"
_LATER_RECEIPT = "a later receipt states more than an acceptance, and may overtake it"
_BEHIND = "behind a refused, expired or undetermined message the rest of its case is held"
_WINS = "a valid acceptance that comes later wins over undetermined"
_AGAINST = "against expired or refused it is an alarm"
_KEPT = "receipts that contradict each other are both kept, as proof of misbehaviour"
_SAME = "same message, same answer: a receipt under a new epoch is kept beside the old"
_UNSIGNED = "only a verified, signed answer is final: an unsigned one that comes late moves nothing"
_OPERATOR = "the operator releases or cancels each"
_RETRY_NOW = "an operator's retry now"
_LOST = "peers send again what was receipted beyond the size at which a new epoch began"
_TOO_LATE = "after it expires nothing more is posted, nor what was erased: the operator is told"

TABLE: Mapping[tuple[State, Cue], Rule] = {
    # On its way.
    (_S.QUEUED, _C.ACCEPTED): Rule(_S.ACCEPTED, _T.REST, (_RECEIPT, _DROP), _FINAL),
    (_S.QUEUED, _C.OPENED): Rule(_S.ACCEPTED, _T.REST, (_RECEIPT, _DROP), _LATER_RECEIPT),
    (_S.QUEUED, _C.HANDED_OVER): Rule(_S.HANDED_OVER, _T.REST, (_RECEIPT, _DROP), _LATER_RECEIPT),
    (_S.QUEUED, _C.REFUSED): Rule(_S.REFUSED, _T.REST, (_REFUSAL, _DROP, _HOLD, _COUNTS_NOT), _BEHIND),
    (_S.QUEUED, _C.CONFLICT): Rule(_S.REFUSED, _T.REST, (_REFUSAL, _DROP, _HOLD, _COUNTS_NOT), _BEHIND),
    (_S.QUEUED, _C.UNKNOWN): Rule(
        _S.EXPIRED, _T.REST, (_RECEIPT, _EXPIRED, _DROP, _HOLD, _COUNTS_NOT), _BEHIND
    ),
    (_S.QUEUED, _C.DEFERRED): Rule(
        _S.QUEUED, _T.LATER, (), "any other unsigned answer backs off the message alone"
    ),
    (_S.QUEUED, _C.RESEALED): Rule(
        _S.QUEUED, _T.NOW, (), "after a 421 the same JWS is sealed again under the same id"
    ),
    (_S.QUEUED, _C.SILENT): Rule(
        _S.UNDETERMINED,
        _T.LATER,
        (Log("relay.undetermined", "failed"), _HOLD, _COUNTS_NOT, _ALARM),
        "until a signed answer comes it is undetermined, and the operator is told",
    ),
    (_S.QUEUED, _C.BLOCK): Rule(_S.HELD, _T.REST, (Log("delivery.held", "ok"), _DROP, _COUNTS_NOT), _BEHIND),
    (_S.QUEUED, _C.RETRY): Rule(_S.QUEUED, _T.NOW, (Log("delivery.retried", "ok"),), _RETRY_NOW),
    # Expired without an answer. What followed in the case is held already.
    (_S.UNDETERMINED, _C.ACCEPTED): Rule(_S.ACCEPTED, _T.REST, (_RECEIPT, _DROP, _COUNTS, _CALM), _WINS),
    (_S.UNDETERMINED, _C.OPENED): Rule(_S.ACCEPTED, _T.REST, (_RECEIPT, _DROP, _COUNTS, _CALM), _WINS),
    (_S.UNDETERMINED, _C.HANDED_OVER): Rule(
        _S.HANDED_OVER, _T.REST, (_RECEIPT, _DROP, _COUNTS, _CALM), _WINS
    ),
    (_S.UNDETERMINED, _C.REFUSED): Rule(_S.REFUSED, _T.REST, (_REFUSAL, _DROP, _CALM), _FINAL),
    (_S.UNDETERMINED, _C.CONFLICT): Rule(_S.REFUSED, _T.REST, (_REFUSAL, _DROP, _CALM), _FINAL),
    (_S.UNDETERMINED, _C.UNKNOWN): Rule(_S.EXPIRED, _T.REST, (_RECEIPT, _EXPIRED, _DROP, _CALM), _FINAL),
    (_S.UNDETERMINED, _C.DEFERRED): Rule(_S.UNDETERMINED, _T.KEEP, (), _UNSIGNED),
    (_S.UNDETERMINED, _C.SILENT): Rule(
        _S.UNDETERMINED, _T.LATER, (), "close asks for the outcome until a signed answer comes"
    ),
    (_S.UNDETERMINED, _C.RETRY): Rule(_S.UNDETERMINED, _T.NOW, (Log("delivery.retried", "ok"),), _RETRY_NOW),
    # Accepted.
    (_S.ACCEPTED, _C.ACCEPTED): Rule(_S.ACCEPTED, _T.KEEP, (_RECEIPT,), _SAME),
    (_S.ACCEPTED, _C.OPENED): Rule(_S.ACCEPTED, _T.KEEP, (_RECEIPT,), _LATER_RECEIPT),
    (_S.ACCEPTED, _C.HANDED_OVER): Rule(_S.HANDED_OVER, _T.REST, (_RECEIPT,), _LATER_RECEIPT),
    (_S.ACCEPTED, _C.REFUSED): Rule(_S.ACCEPTED, _T.KEEP, (_REFUSAL, _CONTRARY), _KEPT),
    (_S.ACCEPTED, _C.CONFLICT): Rule(_S.ACCEPTED, _T.KEEP, (_REFUSAL, _CONTRARY), _KEPT),
    (_S.ACCEPTED, _C.UNKNOWN): Rule(_S.ACCEPTED, _T.KEEP, (_RECEIPT, _CONTRARY), _KEPT),
    (_S.ACCEPTED, _C.DEFERRED): Rule(_S.ACCEPTED, _T.KEEP, (), _UNSIGNED),
    (_S.ACCEPTED, _C.SILENT): Rule(_S.ACCEPTED, _T.KEEP, (), _UNSIGNED),
    # Accepted, and taken over by the peer's own system.
    (_S.HANDED_OVER, _C.ACCEPTED): Rule(_S.HANDED_OVER, _T.KEEP, (_RECEIPT,), _LATER_RECEIPT),
    (_S.HANDED_OVER, _C.OPENED): Rule(_S.HANDED_OVER, _T.KEEP, (_RECEIPT,), _LATER_RECEIPT),
    (_S.HANDED_OVER, _C.HANDED_OVER): Rule(_S.HANDED_OVER, _T.KEEP, (_RECEIPT,), _SAME),
    (_S.HANDED_OVER, _C.REFUSED): Rule(_S.HANDED_OVER, _T.KEEP, (_REFUSAL, _CONTRARY), _KEPT),
    (_S.HANDED_OVER, _C.CONFLICT): Rule(_S.HANDED_OVER, _T.KEEP, (_REFUSAL, _CONTRARY), _KEPT),
    (_S.HANDED_OVER, _C.UNKNOWN): Rule(_S.HANDED_OVER, _T.KEEP, (_RECEIPT, _CONTRARY), _KEPT),
    (_S.HANDED_OVER, _C.DEFERRED): Rule(_S.HANDED_OVER, _T.KEEP, (), _UNSIGNED),
    (_S.HANDED_OVER, _C.SILENT): Rule(_S.HANDED_OVER, _T.KEEP, (), _UNSIGNED),
    # Lost by a peer that was restored from an old copy. Every receipt stays.
    (_S.ACCEPTED, _C.LOST): Rule(_S.QUEUED, _T.AGAIN, _REPEATED, _LOST),
    (_S.HANDED_OVER, _C.LOST): Rule(_S.QUEUED, _T.AGAIN, _REPEATED, _LOST),
    (_S.ACCEPTED, _C.LOST_FOR_GOOD): Rule(_S.ACCEPTED, _T.KEEP, (_GONE,), _TOO_LATE),
    (_S.HANDED_OVER, _C.LOST_FOR_GOOD): Rule(_S.HANDED_OVER, _T.KEEP, (_GONE,), _TOO_LATE),
    # Refused by the peer.
    (_S.REFUSED, _C.ACCEPTED): Rule(_S.REFUSED, _T.KEEP, (_RECEIPT, _LATE), _AGAINST),
    (_S.REFUSED, _C.OPENED): Rule(_S.REFUSED, _T.KEEP, (_RECEIPT, _LATE), _AGAINST),
    (_S.REFUSED, _C.HANDED_OVER): Rule(_S.REFUSED, _T.KEEP, (_RECEIPT, _LATE), _AGAINST),
    (_S.REFUSED, _C.REFUSED): Rule(_S.REFUSED, _T.KEEP, (_REFUSAL,), _SAME),
    (_S.REFUSED, _C.CONFLICT): Rule(_S.REFUSED, _T.KEEP, (_REFUSAL,), _SAME),
    (_S.REFUSED, _C.UNKNOWN): Rule(_S.REFUSED, _T.KEEP, (_RECEIPT, _CONTRARY), _KEPT),
    (_S.REFUSED, _C.DEFERRED): Rule(_S.REFUSED, _T.KEEP, (), _UNSIGNED),
    (_S.REFUSED, _C.SILENT): Rule(_S.REFUSED, _T.KEEP, (), _UNSIGNED),
    # The peer has never accepted it, and never will.
    (_S.EXPIRED, _C.ACCEPTED): Rule(_S.EXPIRED, _T.KEEP, (_RECEIPT, _LATE), _AGAINST),
    (_S.EXPIRED, _C.OPENED): Rule(_S.EXPIRED, _T.KEEP, (_RECEIPT, _LATE), _AGAINST),
    (_S.EXPIRED, _C.HANDED_OVER): Rule(_S.EXPIRED, _T.KEEP, (_RECEIPT, _LATE), _AGAINST),
    (_S.EXPIRED, _C.REFUSED): Rule(_S.EXPIRED, _T.KEEP, (_REFUSAL, _CONTRARY), _KEPT),
    (_S.EXPIRED, _C.CONFLICT): Rule(_S.EXPIRED, _T.KEEP, (_REFUSAL, _CONTRARY), _KEPT),
    (_S.EXPIRED, _C.UNKNOWN): Rule(_S.EXPIRED, _T.KEEP, (_RECEIPT,), _SAME),
    (_S.EXPIRED, _C.DEFERRED): Rule(_S.EXPIRED, _T.KEEP, (), _UNSIGNED),
    (_S.EXPIRED, _C.SILENT): Rule(_S.EXPIRED, _T.KEEP, (), _UNSIGNED),
    # Behind one that failed. It was never posted, so that nothing can be known of it elsewhere.
    (_S.HELD, _C.BLOCK): Rule(_S.HELD, _T.KEEP, (), _BEHIND),
    (_S.HELD, _C.RELEASE): Rule(_S.QUEUED, _T.NOW, (Log("delivery.released", "ok"), _COUNTS), _OPERATOR),
    (_S.HELD, _C.CANCEL): Rule(_S.CANCELLED, _T.REST, (Log("delivery.cancelled", "ok"),), _OPERATOR),
}


def step(delivery: Delivery, event: Event, now_ms: int, jitter: float) -> Step:
    """Return *delivery* after *event*, and what has to be done with it.

    Raises:
        Misuse: `wrong_state`: the state has no such event, or is called undetermined too soon.
    """
    rule = TABLE.get((delivery.state, _cue(event, posts=now_ms < delivery.expires_ms)))
    if rule is None:
        state = delivery.state.replace("_", " ")
        raise Misuse(409, "wrong_state", f"a message that is {state} cannot take this step")
    if isinstance(event, Silent) and now_ms < delivery.expires_ms:
        raise Misuse(409, "wrong_state", "before a message expires its fate is open, not unknown")
    if isinstance(event, Release):
        delivery = replace(delivery, expires_ms=event.expires_ms)
    timed = _timed(delivery, rule.timing, event, now_ms, jitter)
    effects = tuple(_explained(effect, event) for effect in rule.effects)
    if isinstance(event, Deferred) and event.code == "unknown_sealing_key" and rule.to is State.QUEUED:
        effects = (*effects, Reseal())
    return replace(timed, state=rule.to), effects


def _cue(event: Event, *, posts: bool) -> Cue:
    """Return what *event* is to the table; *posts* says whether the message may still be posted."""
    if isinstance(event, Proved):
        return Cue(event.statement.event)
    if isinstance(event, Lost):
        return Cue.LOST if posts and event.kept else Cue.LOST_FOR_GOOD
    return Cue(type(event).__name__.lower())


def _timed(delivery: Delivery, timing: Timing, event: Event, now_ms: int, jitter: float) -> Delivery:
    match timing:
        case Timing.KEEP:
            return delivery
        case Timing.REST:
            return replace(delivery, attempt=0, next_ms=0, problem=None)
        case Timing.NOW:
            return replace(delivery, next_ms=now_ms, problem=None)
        case Timing.AGAIN:
            return replace(delivery, attempt=max(delivery.attempt, 1), next_ms=now_ms, problem=None)
        case Timing.LATER:
            code, after_s = (
                (event.code, event.retry_after_s) if isinstance(event, Deferred | Silent) else (None, None)
            )
            attempt = delivery.attempt + 1
            next_ms = now_ms + wait_ms(attempt, jitter, after_s)
            if now_ms < delivery.expires_ms:
                next_ms = min(next_ms, delivery.expires_ms)
            return replace(delivery, attempt=attempt, next_ms=next_ms, problem=code)


def _explained(effect: Effect, event: Event) -> Effect:
    """Return the entry of a refusal with the reason that the peer gave."""
    if effect == _REFUSAL and isinstance(event, Proved):
        return Log("receipt.recorded", "refused", event.statement.reason)
    return effect
