"""Peers at the hook: the ceremony that pins a card, suspending, and what is wrong with the way there."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from aiohttp import web

from gateway.core.card import Card, check_apart, fingerprint, parse_card, pin
from gateway.core.entry import Draft
from gateway.core.errors import Malformed, Misuse, NotProved, Stale, Unavailable, Untrusted
from gateway.core.ids import AuthorityId, parse_authority
from gateway.core.profile import Profile, follows, verify_profile
from gateway.core.strict import as_text, parse_time, time_text
from gateway.peering.client import PeerClient
from gateway.peering.directory import PinnedPeer
from gateway.peering.replies import PeerUnavailable
from gateway.ports import Change, Store
from gateway.rows import CardRow, ForkRow, PeerRow
from gateway.web.context import CONTEXT, Context
from gateway.web.documents import query, read_document, respond, respond_part
from gateway.web.middleware import BEARER

_TRIES = 16
_CLOCK_MS = 5 * 60 * 1000
_ACTIVE, _SUSPENDED = "active", "suspended"


async def index(request: web.Request) -> web.Response:
    """List every pinned peer."""
    context = request.app[CONTEXT]
    known = await _Known.of(context.store)
    peers = sorted(context.directory.peers.values(), key=lambda peer: peer.row.authority)
    return respond_part(request, [_summary(peer, known) for peer in peers])


async def show(request: web.Request) -> web.Response:
    """Show a peer with its pinned card."""
    context, peer = request.app[CONTEXT], _pinned(request)
    return respond(_view(peer, await _Known.of(context.store)))


async def add(request: web.Request) -> web.Response:
    """Pin a card in a ceremony: its id and root fingerprint were confirmed over another channel.

    For a peer that is pinned already this is a new ceremony: of a lost root, say. Its older cards
    are kept.
    """
    found = await read_document(request, required=("card", "id", "fingerprint"))
    context, authority = request.app[CONTEXT], parse_authority(found["id"])
    raw, confirmed = as_text(found["card"]).encode(), as_text(found["fingerprint"])
    if authority == context.directory.own.authority:
        raise Misuse(HTTPStatus.CONFLICT, "own_card", "that is the card of this authority itself")
    card = pin(raw, authority=authority, fingerprint=confirmed)
    for _ in range(_TRIES):
        await context.directory.refresh()
        check_apart(card, _others(context, authority))
        known = context.directory.peers.get(authority)
        if known is not None and known.card.sha256 == card.sha256:
            return respond(_view(known, await _Known.of(context.store)))
        with suppress(Stale):
            await context.store.record(await _ceremony(context, card, known, request[BEARER].id))
            await context.directory.refresh()
            context.cards_wanted(authority)
            added = context.directory.peers[authority]
            headers = {"Location": f"/v1/peers/{authority}"}
            return respond(_view(added, _Known()), status=HTTPStatus.CREATED, headers=headers)
    raise Unavailable("others are changing the same peer")


async def suspend(request: web.Request) -> web.Response:
    """Serve a peer no more, and send it nothing, until it is activated."""
    return await _moved(request, active=False)


async def activate(request: web.Request) -> web.Response:
    """Serve a suspended peer again."""
    return await _moved(request, active=True)


async def check(request: web.Request) -> web.Response:
    """Dial a peer and say what is wrong, if anything."""
    context, peer = request.app[CONTEXT], _pinned(request)
    found = await dialled(context, peer)
    shown = {name: found.answer[name] for name in ("authority", "time", "version") if name in found.answer}
    return respond(
        {
            "peer": peer.row.authority,
            "reachable": found.reachable,
            "problems": list(found.problems),
            "answer": shown,
            "profile_sequence": None if peer.profile is None else peer.profile.sequence,
            "newer_profile": found.newer_profile,
        }
    )


@dataclass(frozen=True, slots=True)
class Dialled:
    """What came of dialling a peer; `newer_profile` is the sequence of one that is not here yet."""

    answer: Mapping[str, object]
    problems: tuple[str, ...]
    newer_profile: int | None

    @property
    def reachable(self) -> bool:
        """Say whether the peer answered."""
        return bool(self.answer)


async def dialled(context: Context, peer: PinnedPeer) -> Dialled:
    """Dial *peer*; what is newer there is fetched soon."""
    problems = [] if peer.active else ["suspended"]
    if peer.card.expires_ms <= context.clock.now_ms():
        problems.append("card_expired")
    answer: Mapping[str, object] = {}
    offered: int | None = None
    try:
        async with context.dial(peer) as client:
            answer = await client.ping()
            problems += _differences(context, peer, answer)
            problems += await _card_problems(client, peer)
            offered = await _profile_offered(client, peer)
    except PeerUnavailable as fault:
        problems.append(fault.code)
    except (Malformed, Untrusted):
        problems.append("bad_profile")
    if offered is not None or "newer_card" in problems:
        context.cards_wanted(peer.row.authority)
    return Dialled(answer, tuple(problems), offered)


async def _moved(request: web.Request, *, active: bool) -> web.Response:
    context, peer = request.app[CONTEXT], _pinned(request)
    now = await set_active(context, peer, active=active, actor=request[BEARER].id)
    return respond(_view(now, await _Known.of(context.store)))


async def set_active(context: Context, peer: PinnedPeer, *, active: bool, actor: str) -> PinnedPeer:
    """Serve *peer*, or serve it no more, as *actor* says; return it as it is then. Raises Unavailable."""
    state, event = (_ACTIVE, "peer.activated") if active else (_SUSPENDED, "peer.suspended")
    for _ in range(_TRIES):
        row = await context.store.get(PeerRow, peer.row.authority)
        if row is None or row.state == state:
            break
        entry = Draft(event=event, outcome="ok", peer=row.authority, actor_ref=actor)
        moved = replace(row, state=state, attempt=0, next_ms=0, problem=None)
        with suppress(Stale):
            await context.store.record(Change(name="peer", entries=(entry,), puts=(moved,)))
            break
    await context.directory.refresh()
    now = context.directory.peers[peer.row.authority]
    if now.row.state != state:
        raise Unavailable("others are changing the same peer")
    if now.active:
        context.cards_wanted(now.row.authority)
    return now


async def _ceremony(context: Context, card: Card, known: PinnedPeer | None, actor: str) -> Change:
    """Return what pins *card*; a card that was seen before keeps its row.

    Raises:
        Misuse: 409 `older_card`: the peer's pinned card follows it under the same root.
    """
    now_ms = context.clock.now_ms()
    if known is not None and known.card.root[0] == card.root[0] and known.card.sequence > card.sequence:
        raise Misuse(HTTPStatus.CONFLICT, "older_card", "a card that follows this one is pinned already")
    peer = PeerRow(
        authority=card.authority,
        version=0 if known is None else known.row.version,
        state=_ACTIVE,
        sequence=card.sequence,
        card_sha256=card.sha256,
        added_ms=now_ms if known is None else known.row.added_ms,
    )
    seen = await context.store.get(CardRow, card.authority, card.sequence, card.sha256)
    row = CardRow.of(card, now_ms)
    entry = Draft(
        event="peer.added" if known is None else "card.pinned",
        outcome="ok",
        peer=card.authority,
        actor_ref=actor,
        extra=(("card_sequence", card.sequence), ("card_sha256", card.sha256)),
    )
    return Change(name="pin", entries=(entry,), puts=(peer, *(() if seen else (row,))))


def _others(context: Context, authority: AuthorityId) -> Iterable[Card]:
    yield context.directory.own
    for peer in context.directory.peers.values():
        if peer.row.authority != authority:
            yield from peer.cards


def _differences(context: Context, peer: PinnedPeer, answer: Mapping[str, object]) -> list[str]:
    problems = []
    if answer.get("authority") != peer.row.authority:
        problems.append("wrong_authority")
    try:
        apart_ms = abs(parse_time(answer.get("time")) - context.clock.now_ms())
    except Malformed:
        return [*problems, "bad_answer"]
    return [*problems, "clock_apart"] if apart_ms > _CLOCK_MS else problems


async def _card_problems(client: PeerClient, peer: PinnedPeer) -> list[str]:
    raw = await client.card()
    try:
        newest = None if raw is None else parse_card(raw)
    except (Malformed, NotProved):
        newest = None
    if newest is None:
        return ["bad_card"]
    if newest.sha256 == peer.card.sha256:
        return []
    return ["newer_card" if newest.sequence > peer.card.sequence else "other_card"]


async def _profile_offered(client: PeerClient, peer: PinnedPeer) -> int | None:
    """Return the sequence of a profile of *peer* that is newer than the one at hand, or None.

    Raises:
        PeerUnavailable: the peer cannot be reached.
        Malformed, Untrusted: its profile does not verify, or says other things under one sequence.
    """
    raw = await client.profile()
    if raw is None:
        return None
    found = verify_profile(raw, peer.row.authority, peer.card.signing_keys())
    return found.sequence if follows(found, peer.profile) else None


def _pinned(request: web.Request) -> PinnedPeer:
    query(request)
    return pinned(request.app[CONTEXT], request.match_info["id"])


def pinned(context: Context, authority: str) -> PinnedPeer:
    """Return the peer *authority*. Raises Malformed, or Misuse: 404, none of this id is pinned."""
    peer = context.directory.peers.get(parse_authority(authority))
    if peer is None:
        raise Misuse(HTTPStatus.NOT_FOUND, "not_found", "no card of this authority is pinned")
    return peer


@dataclass(frozen=True, slots=True)
class _Known:
    """What the store knows of all peers: how much is queued, and whose logs contradict themselves."""

    depths: Mapping[AuthorityId, int] = field(default_factory=dict)
    accused: frozenset[AuthorityId] = frozenset()

    @classmethod
    async def of(cls, store: Store) -> "_Known":
        accused = frozenset(row.peer for row in await store.all(ForkRow))
        return cls(await store.queue_depth(), accused)


def _summary(peer: PinnedPeer, known: _Known) -> dict[str, object]:
    row = peer.row
    return {
        "id": row.authority,
        "state": row.state,
        "sequence": row.sequence,
        "added": time_text(row.added_ms),
        "expires": time_text(peer.card.expires_ms),
        "profile_sequence": None if peer.profile is None else peer.profile.sequence,
        "queued": known.depths.get(row.authority, 0),
        "log_contradicts": row.authority in known.accused,
        "attempt": row.attempt,
        "next_attempt": time_text(row.next_ms) if row.attempt else None,
        "problem": row.problem,
    }


def _view(peer: PinnedPeer, known: _Known) -> dict[str, object]:
    return {**_summary(peer, known), **card_view(peer.card), **profile_view(peer.profile)}


def card_view(card: Card) -> dict[str, object]:
    """Return what the hook shows of a card; `card` is its exact text."""
    return {
        "fingerprint": fingerprint(card),
        "card_sha256": card.sha256,
        "endpoints": list(card.endpoints),
        "log": card.log.origin,
        "card": card.raw.decode(),
    }


def profile_view(profile: Profile | None) -> dict[str, object]:
    """Return what the hook shows of a profile: all its members, and the digest of its exact text."""
    return {
        "profile": None if profile is None else profile.payload,
        "profile_sha256": None if profile is None else profile.sha256,
    }
