"""Witnesses of the own log, and logs of peers that contradict themselves, at the hook."""

from gateway.config import Audit
from gateway.core.card import parse_card
from gateway.core.merkle import EMPTY_ROOT
from gateway.core.note import WitnessIdentity, sign_checkpoint, verify_checkpoint
from gateway.peering.forks import Fork, keep_fork
from gateway.ports import Change
from gateway.rows import WitnessRow
from keys.signing import LogKeys
from tests.support.authorities import NOW_MS, make_authority
from tests.support.hooks import PEER, open_hook

OUTSIDE = LogKeys.generate()
NAME = "witness.example"
VKEYS = WitnessIdentity(NAME, OUTSIDE.ed.public, OUTSIDE.lattice.public).vkeys()


async def test_every_active_peer_and_every_named_witness_is_listed(tmp_path):
    audit = Audit.model_validate({"witnesses": [{"url": "https://witness.example/", "vkeys": VKEYS}]})
    async with open_hook(tmp_path) as hook:
        hook.context.settings.__dict__["audit"] = audit
        peers = make_authority(PEER).card.witness.name
        row = WitnessRow(name=peers, version=0, size=3, cosigned_ms=NOW_MS, problem="two_roots")
        await hook.store.record(Change(name="cosigned", puts=(row,)))
        before = hook.counts()
        answer = await hook("GET", "/audit/witnesses")
        assert hook.counts() == before
    assert answer.json["items"] == [
        {
            "name": peers,
            "peer": PEER,
            "size": 3,
            "cosigned": "2026-11-18T11:06:40.000Z",
            "problem": "two_roots",
        },
        {"name": NAME, "peer": None, "size": 0, "cosigned": None, "problem": None},
    ]


async def test_a_log_that_contradicts_itself_is_shown_with_all_that_proves_it(tmp_path):
    async with open_hook(tmp_path) as hook:
        assert (await hook("GET", "/audit/forks")).json == {"items": []}
        assert (await hook("GET", f"/peers/{PEER}")).json["log_contradicts"] is False
        party = make_authority(PEER)
        pair = [
            sign_checkpoint(party.origin, 4, root, NOW_MS, party.keyring.log)
            for root in (EMPTY_ROOT, bytes(32))
        ]
        await keep_fork(hook.store, hook.clock, party.id, Fork.TWO_ROOTS, tuple(pair))
        await keep_fork(hook.store, hook.clock, party.id, Fork.TWO_ROOTS, tuple(pair))
        (item,) = (await hook("GET", "/audit/forks")).json["items"]
        assert (await hook("GET", f"/peers/{PEER}")).json["log_contradicts"] is True
        assert (await hook("GET", "/peers")).json["items"][0]["log_contradicts"] is True
    assert (item["peer"], item["code"], item["size"], item["origin"]) == (PEER, "two_roots", 4, party.origin)
    log = parse_card(item["cards"][0].encode()).log
    roots = {verify_checkpoint(item[name], log).root for name in ("first", "second")}
    assert roots == {EMPTY_ROOT, bytes(32)}
