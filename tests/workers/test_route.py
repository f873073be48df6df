import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from gateway.core.backoff import FIRST_MS
from gateway.core.case import newest, replay
from gateway.core.proof import parse_receipt
from gateway.peering.client import MAX_BATCH, MAX_BATCH_BYTES
from gateway.peering.replies import Reply
from gateway.peering.settlement import open_case
from gateway.ports import Change, EntryFilter, Outgoing
from gateway.rows import AlarmRow, AnswerRow, CaseRow, EnvelopeRow, MessageRow, NoticeRow
from gateway.workers.lanes import LANES_OF_PEER
from gateway.workers.route import _one_batch
from keys.vault import Keyring
from tests.support.authorities import DAY_MS, make_blob
from tests.support.ears import Ear
from tests.support.stations import GONE, LOST, Station
from tests.workers.conftest import PEER, SENDER, Bench

UNAVAILABLE = Reply(503, code="unavailable", retry_after_s=7)


async def state(bench: Bench, row: MessageRow) -> str:
    return (await bench.sender.message(row.peer, row.id)).state


async def events(station: Station, row: MessageRow) -> list[str]:
    """Return the events that *station* logged about a message, in order."""
    found = await station.store.entries(EntryFilter(message_id=row.id))
    return [entry.leaf.decode().split('"event":"')[1].split('"')[0] for entry in found]


async def alarms(bench: Bench) -> set[tuple[str, str]]:
    return {(row.code, row.subject) for row in await bench.store.all(AlarmRow)}


async def history(bench: Bench, row: MessageRow):
    case = await bench.store.get(CaseRow, row.peer, row.case)
    assert case is not None
    return open_case(bench.sender.party.keyring.storage, case)


class TestAccepted:
    async def test_a_message_is_posted_and_its_receipt_kept(self, bench: Bench):
        row = await bench.sender.submit(PEER)
        await bench.work_off()
        assert bench.peer.calls == [("post", 1)]
        accepted = await bench.sender.message(PEER, row.id)
        assert (accepted.state, accepted.attempt, accepted.problem) == ("accepted", 0, None)
        assert await events(bench.sender, row) == ["submission.accepted", "receipt.recorded"]
        assert await events(bench.there, row) == ["relay.accepted"]
        (kept,) = await bench.store.receipts(PEER, row.id)
        envelopes = await bench.store.envelopes(row.id)
        logs = bench.sender.directory.peers[PEER].logs
        statement = bench.sender.settlement.verify(parse_receipt(kept.body), row, envelopes, logs)
        assert statement.event == kept.event == "relay.accepted"

    async def test_the_envelope_goes_and_its_digest_stays(self, bench: Bench):
        row = await bench.sender.submit(PEER)
        await bench.work_off()
        assert [(one.sha256, one.body) for one in await bench.store.envelopes(row.id)] == [
            (row.envelope_sha256, None)
        ]

    async def test_several_cases_share_a_post_and_a_commit(self, bench: Bench):
        rows = [await bench.sender.submit(PEER) for _ in range(8)]
        ear = Ear(bench.store)
        await bench.work_off()
        assert bench.peer.calls == [("batch", 8)]
        assert {await state(bench, row) for row in rows} == {"accepted"}
        assert ear.count == 1

    async def test_a_case_goes_in_order_while_others_do_not_wait(self, bench: Bench):
        first = await bench.sender.submit(PEER)
        second = await bench.sender.submit(PEER, case=first.case)
        other = await bench.sender.submit(PEER)
        bench.peer.script["batch"] = [lambda: [Reply(425, code="check_running"), None]]
        bench.peer.script["batch"] = [None]
        await bench.work_off()
        assert bench.peer.calls == [("batch", 2), ("post", 1)]
        assert [m.id for m in bench.there.store.of(MessageRow)] == [first.id, other.id, second.id]

    async def test_a_deep_queue_goes_in_full_batches(self, bench: Bench):
        for _ in range(MAX_BATCH + 3):
            await bench.sender.submit(PEER)
        await bench.work_off()
        assert bench.peer.calls == [("batch", MAX_BATCH), ("batch", 3)]

    def test_a_batch_has_at_most_64_envelopes_and_8_mib(self):
        def queued(size: int) -> Outgoing:
            envelope = EnvelopeRow(message_id="", sha256="", version=1, body=bytes(size))  # type: ignore[arg-type]
            return Outgoing(message=None, envelope=envelope)  # type: ignore[arg-type]

        assert len(_one_batch([queued(10)] * 100)) == MAX_BATCH
        assert len(_one_batch([queued(MAX_BATCH_BYTES // 4)] * 4)) == 3  # each line has its end
        assert len(_one_batch([queued(MAX_BATCH_BYTES // 4 - 1)] * 5)) == 4
        assert len(_one_batch([queued(MAX_BATCH_BYTES)] * 2)) == 1

    async def test_posting_goes_on_while_outcomes_are_recorded(self, bench: Bench):
        await bench.sender.submit(PEER)
        route, gate = bench.route(), asyncio.Event()
        recording = route._outcomes.posted

        async def slow(*answer):
            await gate.wait()
            await recording(*answer)

        route._outcomes.posted = slow
        assert await route._guarded_round() == 0
        second = await bench.sender.submit(PEER)
        assert await route._guarded_round() == 0
        assert bench.peer.calls == [("post", 1), ("post", 1)]  # the first one was left alone
        gate.set()
        await bench.work_off(route)
        assert len(bench.peer.calls) == 2
        assert await state(bench, second) == "accepted"


class TestTheWay:
    async def test_no_connection_backs_off_the_peer_and_not_the_message(self, bench: Bench):
        row = await bench.sender.submit(PEER)
        bench.peer.script["post"] = [GONE]
        await bench.work_off()
        peer = await bench.sender.peer(PEER)
        assert (peer.attempt, peer.problem) == (1, "unreachable")
        assert peer.next_ms == bench.clock.now_ms() + FIRST_MS // 2
        assert await bench.sender.message(PEER, row.id) == row
        bench.pass_by(FIRST_MS // 2 - 1)
        await bench.work_off()
        assert len(bench.peer.calls) == 1
        bench.pass_by(1)
        await bench.work_off()
        peer = await bench.sender.peer(PEER)
        assert (peer.attempt, peer.next_ms, peer.problem) == (0, 0, None)
        assert await state(bench, row) == "accepted"
        assert bench.peer.posted[0] == bench.peer.posted[1]  # a retry is byte-identical

    @pytest.mark.parametrize("status", [429, 503])
    async def test_a_busy_peer_is_left_alone_as_long_as_it_asks(self, bench: Bench, status: int):
        for _ in range(2):
            await bench.sender.submit(PEER)
        bench.peer.script["batch"] = [Reply(status, code="rate_limited", retry_after_s=600)]
        await bench.work_off()
        peer = await bench.sender.peer(PEER)
        assert (peer.attempt, peer.problem) == (1, "rate_limited")
        assert peer.next_ms == bench.clock.now_ms() + 600_000
        assert bench.peer.calls == [("batch", 2)]

    async def test_one_envelope_tries_the_way_and_another_one_each_time(self, bench: Bench):
        for _ in range(3):
            await bench.sender.submit(PEER)
        bench.peer.script = {"batch": [GONE], "post": [GONE, GONE]}
        for _ in range(4):
            await bench.work_off()
            bench.pass_by(30 * 60_000)
        assert bench.peer.calls == [("batch", 3), ("post", 1), ("post", 1), ("post", 1), ("batch", 2)]
        assert len(set(bench.peer.posted[3:5])) == 2

    async def test_a_peer_that_is_heard_of_gets_its_messages_at_once(self, bench: Bench):
        row = await bench.sender.submit(PEER)
        bench.peer.script["post"] = [GONE]
        await bench.work_off()
        peer = await bench.sender.peer(PEER)
        opened = replace(peer, attempt=0, next_ms=0, problem=None)
        await bench.store.record(Change(name="route", puts=(opened,)))
        await bench.work_off()
        assert await state(bench, row) == "accepted"

    async def test_a_suspended_peer_gets_nothing(self, bench: Bench):
        row = await bench.sender.submit(PEER)
        peer = await bench.sender.peer(PEER)
        await bench.store.record(Change(name="suspend", puts=(replace(peer, state="suspended"),)))
        await bench.work_off()
        assert bench.peer.calls == []
        assert await state(bench, row) == "queued"

    async def test_a_lost_answer_is_given_again(self, bench: Bench):
        row = await bench.sender.submit(PEER)
        bench.peer.script["post"] = [LOST]
        await bench.work_off()
        bench.pass_by(FIRST_MS)
        await bench.work_off()
        assert await state(bench, row) == "accepted"
        assert await events(bench.there, row) == ["relay.accepted"]

    async def test_a_new_card_is_dialled_anew(self, bench: Bench):
        route = bench.route()
        await bench.sender.submit(PEER)
        await bench.work_off(route)
        await bench.sender.repin(bench.there.party.succeeded())
        await bench.sender.submit(PEER)
        await bench.work_off(route)
        assert (bench.peer.clients, bench.peer.closed) == (2, 1)


class TestUnsignedAnswers:
    async def test_an_unsigned_answer_backs_off_the_message_alone(self, bench: Bench):
        rows = [await bench.sender.submit(PEER) for _ in range(3)]

        async def answer():
            sound = await bench.there.receive(SENDER, bench.peer.posted[-3:])
            return [sound[0], Reply(425, code="created_ahead", retry_after_s=30), sound[2]]

        bench.peer.script["batch"] = [answer]
        await bench.work_off()
        assert [await state(bench, row) for row in rows] == ["accepted", "queued", "accepted"]
        waiting = await bench.sender.message(PEER, rows[1].id)
        assert (waiting.attempt, waiting.problem) == (1, "created_ahead")
        assert waiting.next_ms == bench.clock.now_ms() + 30_000
        assert (await bench.sender.peer(PEER)).attempt == 0

    async def test_a_busy_line_of_a_batch_backs_off_that_message_alone(self, bench: Bench):
        rows = [await bench.sender.submit(PEER) for _ in range(2)]

        async def answer():
            sound = await bench.there.receive(SENDER, bench.peer.posted[-2:])
            return [Reply(429, code="too_many_refusals", retry_after_s=60), sound[1]]

        bench.peer.script["batch"] = [answer]
        await bench.work_off()
        assert [await state(bench, row) for row in rows] == ["queued", "accepted"]
        assert (await bench.sender.peer(PEER)).attempt == 0

    async def test_a_poison_message_does_not_block_its_batch(self, bench: Bench):
        rows = [await bench.sender.submit(PEER) for _ in range(3)]
        internal = Reply(500, code="internal")
        bench.peer.script = {"batch": [internal], "post": [None, internal, None]}
        await bench.work_off()
        assert [await state(bench, row) for row in rows] == ["accepted", "queued", "accepted"]
        assert (await bench.sender.message(PEER, rows[1].id)).problem == "internal"

    async def test_a_receipt_that_does_not_hold_is_no_answer_and_an_alarm(self, bench: Bench):
        row, other = await bench.sender.submit(PEER), await bench.sender.submit(PEER)

        async def swapped():
            return list(reversed(await bench.there.receive(SENDER, bench.peer.posted[-2:])))

        bench.peer.script["batch"] = [swapped]
        await bench.work_off()
        for one in (row, other):
            waiting = await bench.sender.message(PEER, one.id)
            assert (waiting.state, waiting.problem) == ("queued", "receipt_not_proved")
            assert ("receipt_not_proved", one.id) in await alarms(bench)
            assert await bench.store.receipts(PEER, one.id) == []
        bench.pass_by(FIRST_MS)
        await bench.work_off()
        assert await state(bench, row) == "accepted"

    async def test_what_nobody_foresaw_is_the_problem_of_one_message(self, bench: Bench):
        rows = [await bench.sender.submit(PEER) for _ in range(2)]
        route = bench.route()
        recording = route._outcomes.posted

        async def failing(peer, one, reply):
            if one.message.id == rows[0].id:
                raise LookupError("Zitronenfalter")
            await recording(peer, one, reply)

        route._outcomes.posted = failing
        with capture_logs() as logs:
            await bench.work_off(route)
        (line,) = [line for line in logs if line["event"] == "courier.message_failed"]
        assert line["error"] == "LookupError"
        assert "Zitronenfalter" not in str(logs)
        assert [await state(bench, row) for row in rows] == ["queued", "accepted"]
        assert (await bench.sender.message(PEER, rows[0].id)).problem == "internal"


class TestResealing:
    async def rotate(self, bench: Bench, *, known: bool) -> None:
        """Give the peer another sealing key; it holds the old one no more."""
        sealing = Keyring.generate(PEER, ["127.0.0.1"]).sealing
        there = bench.there
        there.party = there.party.succeeded(replace(there.party.keyring, sealing=sealing))
        if known:
            await bench.sender.repin(there.party)

    async def test_the_same_message_is_sealed_again_under_the_same_id(self, bench: Bench):
        row = await bench.sender.submit(PEER)
        await self.rotate(bench, known=True)
        await bench.work_off()
        assert bench.peer.calls == [("post", 1), ("post", 1)]
        accepted = await bench.sender.message(PEER, row.id)
        assert (accepted.state, accepted.message_sha256) == ("accepted", row.message_sha256)
        envelopes = await bench.store.envelopes(row.id)
        assert len(envelopes) == 2
        assert {one.body for one in envelopes} == {None}
        (there,) = bench.there.store.of(MessageRow)
        assert there.message_sha256 == row.message_sha256

    async def test_the_first_envelope_is_kept_until_the_final_answer(self, bench: Bench):
        row = await bench.sender.submit(PEER)
        await self.rotate(bench, known=True)
        bench.peer.script["post"] = [None, Reply(507, code="storage_full")]
        await bench.work_off()
        envelopes = await bench.store.envelopes(row.id)
        assert sorted(len(one.body or b"") > 0 for one in envelopes) == [True, True]
        assert (await bench.sender.message(PEER, row.id)).envelope_sha256 != row.envelope_sha256

    async def test_a_receipt_for_an_earlier_envelope_counts(self, bench: Bench):
        row = await bench.sender.submit(PEER)
        bench.peer.script["post"] = [LOST, Reply(421, code="unknown_sealing_key")]
        await bench.work_off()
        bench.pass_by(FIRST_MS)
        before = bench.there.party
        await self.rotate(bench, known=True)
        bench.there.party = replace(
            bench.there.party,
            keyring=replace(
                bench.there.party.keyring,
                sealing={**before.keyring.sealing, **bench.there.party.keyring.sealing},
            ),
        )
        await bench.work_off()
        accepted = await bench.sender.message(PEER, row.id)
        assert accepted.state == "accepted"
        (kept,) = await bench.store.receipts(PEER, row.id)
        assert row.envelope_sha256.encode() in kept.body
        assert accepted.envelope_sha256 != row.envelope_sha256

    async def test_without_another_key_a_newer_card_is_wanted(self, bench: Bench):
        row = await bench.sender.submit(PEER)
        await self.rotate(bench, known=False)
        await bench.work_off()
        waiting = await bench.sender.message(PEER, row.id)
        assert (waiting.state, waiting.problem) == ("queued", "unknown_sealing_key")
        assert bench.sender.cards_wanted == [PEER]
        assert bench.peer.calls == [("post", 1)]
        await bench.sender.repin(bench.there.party)
        bench.pass_by(FIRST_MS)
        await bench.work_off()
        assert await state(bench, row) == "accepted"


class TestRefused:
    async def refused(self, bench: Bench) -> tuple[MessageRow, MessageRow, MessageRow]:
        """Let the first message of a case be refused, with one behind it and one of another case."""
        first = await bench.sender.submit(PEER, lifetime_ms=60_000)
        second = await bench.sender.submit(PEER, case=first.case)
        other = await bench.sender.submit(PEER)
        bench.there.clock = bench.there.context.clock  # one clock for all
        late = type(bench.clock)(bench.clock.now_ms() + 120_000)
        object.__setattr__(bench.there.context, "clock", late)  # by the peer's clock it has expired
        await bench.work_off()
        return first, second, other

    async def test_a_signed_refusal_ends_it_and_holds_what_is_behind(self, bench: Bench):
        first, second, other = await self.refused(bench)
        assert [await state(bench, row) for row in (first, second, other)] == ["refused", "held", "accepted"]
        assert await events(bench.sender, first) == ["submission.accepted", "receipt.recorded"]
        assert await events(bench.sender, second) == ["submission.accepted", "delivery.held"]
        (kept,) = await bench.store.receipts(PEER, first.id)
        assert kept.event == "relay.refused"
        assert b'\\"reason\\":\\"expired\\"' in kept.body

    async def test_what_is_held_was_never_posted(self, bench: Bench):
        _, second, _ = await self.refused(bench)
        held = await bench.sender.message(PEER, second.id)
        assert held.envelope_sha256 is None
        assert await bench.store.envelopes(second.id) == []
        assert bench.there.store.of(MessageRow, id=second.id) == []

    async def test_neither_counts_in_the_case(self, bench: Bench):
        first, _, _ = await self.refused(bench)
        found = await history(bench, first)
        assert replay(found).state == "none"
        assert newest(found, SENDER) is None


class TestExpired:
    async def test_nothing_is_posted_after_it_expired(self, bench: Bench):
        row = await bench.sender.submit(PEER, lifetime_ms=1_000)
        bench.pass_by(1_000)
        await bench.work_off()
        assert bench.peer.calls == [("close", row.id)]
        assert await state(bench, row) == "expired"
        assert await events(bench.sender, row) == [
            "submission.accepted", "receipt.recorded", "delivery.expired",
        ]  # fmt: skip
        assert await events(bench.there, row) == ["relay.unknown"]

    async def test_an_answer_that_was_lost_is_learnt_at_the_end(self, bench: Bench):
        row = await bench.sender.submit(PEER, lifetime_ms=FIRST_MS)
        bench.peer.script["post"] = [LOST]
        await bench.work_off()
        bench.pass_by(FIRST_MS)
        await bench.work_off()
        assert [name for name, _ in bench.peer.calls] == ["post", "close"]
        assert await state(bench, row) == "accepted"

    async def undetermined(self, bench: Bench) -> tuple[MessageRow, MessageRow]:
        """Let the answer to a message be lost, and then the peer be gone when it expires."""
        row = await bench.sender.submit(PEER, lifetime_ms=FIRST_MS)
        behind = await bench.sender.submit(PEER, case=row.case)
        bench.peer.script = {"post": [LOST], "close": [GONE, GONE]}
        await bench.work_off()
        bench.pass_by(FIRST_MS)
        await bench.work_off()
        return row, behind

    async def test_without_an_answer_it_is_undetermined_and_the_operator_is_told(self, bench: Bench):
        row, behind = await self.undetermined(bench)
        assert [await state(bench, one) for one in (row, behind)] == ["undetermined", "held"]
        assert ("undetermined", row.id) in await alarms(bench)
        told = ["submission.accepted", "relay.undetermined"]
        assert await events(bench.sender, row) == [*told, "alarm.raised"]
        bench.pass_by(DAY_MS)
        await bench.work_off()
        assert [name for name, _ in bench.peer.calls] == ["post", "close", "close"]
        waiting = await bench.sender.message(PEER, row.id)
        assert (waiting.state, waiting.attempt) == ("undetermined", 2)
        assert await events(bench.sender, row) == [*told, "alarm.raised"]
        assert newest(await history(bench, row), SENDER) is None

    async def test_a_valid_acceptance_that_comes_later_wins(self, bench: Bench):
        row, behind = await self.undetermined(bench)
        bench.pass_by(DAY_MS)
        await bench.work_off()
        bench.pass_by(DAY_MS)
        await bench.work_off()
        assert [await state(bench, one) for one in (row, behind)] == ["accepted", "held"]
        assert await alarms(bench) == set()
        assert newest(await history(bench, row), SENDER) == row.message_sha256

    async def test_it_is_undetermined_even_while_the_peer_is_left_alone(self, bench: Bench):
        row = await bench.sender.submit(PEER, lifetime_ms=2_000)
        bench.peer.script["post"] = [Reply(503, code="unavailable", retry_after_s=900)]
        await bench.work_off()
        bench.pass_by(2_000)
        await bench.work_off()
        assert bench.peer.calls == [("post", 1)]
        waiting = await bench.sender.message(PEER, row.id)
        assert (waiting.state, waiting.problem) == ("undetermined", "unavailable")

    async def test_a_peer_by_whose_clock_it_has_not_expired_is_asked_again(self, bench: Bench):
        row = await bench.sender.submit(PEER, lifetime_ms=1_000)
        bench.peer.script["close"] = [Reply(409, code="not_expired")]
        bench.pass_by(1_000)
        await bench.work_off()
        assert await state(bench, row) == "queued"
        bench.pass_by(FIRST_MS)
        await bench.work_off()
        assert await state(bench, row) == "expired"
        assert [name for name, _ in bench.peer.calls] == ["close", "close"]

    async def test_an_acceptance_against_the_peers_own_word_is_an_alarm_and_kept(self, bench: Bench):
        row = await bench.sender.submit(PEER, lifetime_ms=1_000)
        raw = (await bench.store.envelopes(row.id))[0].body or b""
        bench.pass_by(1_000)
        await bench.work_off()
        assert await state(bench, row) == "expired"
        del bench.there.store.rows[AnswerRow, (SENDER, row.id)]  # it forgets that it refused the id for ever
        bench.clock.time_ms -= 1_000
        (reply,) = await bench.there.receive(SENDER, [raw])
        assert reply.receipt is not None
        message = await bench.sender.message(PEER, row.id)
        envelopes = await bench.store.envelopes(row.id)
        settlement = bench.sender.settlement
        statement = settlement.verify(
            reply.receipt, message, envelopes, bench.sender.directory.peers[PEER].logs
        )
        assert statement.event == "relay.accepted"
        await settlement.prove(message, statement, reply.receipt, envelopes)
        assert await state(bench, row) == "expired"
        assert ("late_acceptance", row.id) in await alarms(bench)
        kept = [receipt.event for receipt in await bench.store.receipts(PEER, row.id)]
        assert kept == ["relay.unknown", "relay.accepted"]


class TestNotices:
    async def handed_over(self, bench: Bench) -> tuple[MessageRow, Station]:
        """Let a message come in from the peer and be taken over here."""
        row = await bench.there.submit(SENDER)
        raw = (await bench.there.store.envelopes(row.id))[0].body or b""
        (reply,) = await bench.sender.receive(PEER, [raw])
        assert reply.receipt is not None
        envelopes = await bench.there.store.envelopes(row.id)
        logs = bench.there.directory.peers[SENDER].logs
        statement = bench.there.settlement.verify(reply.receipt, row, envelopes, logs)
        await bench.there.settlement.prove(row, statement, reply.receipt)
        await bench.sender.hand_over(PEER, row.id)
        return row, bench.there

    async def notice(self, bench: Bench) -> NoticeRow:
        (found,) = await bench.store.all(NoticeRow)
        return found

    async def test_a_later_receipt_reaches_the_sender(self, bench: Bench):
        row, there = await self.handed_over(bench)
        await bench.work_off()
        assert bench.peer.calls == [("receipt", row.id)]
        assert (await self.notice(bench)).state == "delivered"
        assert (await there.message(SENDER, row.id)).state == "handed_over"

    async def test_a_lost_answer_repeats_it_without_harm(self, bench: Bench):
        row, there = await self.handed_over(bench)
        bench.peer.script["receipt"] = [LOST]
        await bench.work_off()
        bench.pass_by(FIRST_MS)
        await bench.work_off()
        assert (await self.notice(bench)).state == "delivered"
        assert [one.event for one in await there.store.receipts(SENDER, row.id)] == [
            "relay.accepted", "content.handed_over",
        ]  # fmt: skip

    async def test_one_that_is_said_not_to_hold_is_dropped_with_an_alarm(self, bench: Bench):
        row, _ = await self.handed_over(bench)
        bench.peer.script["receipt"] = [Reply(422, code="not_proved")]
        await bench.work_off()
        found = await self.notice(bench)
        assert (found.state, found.problem) == ("dropped", "not_proved")
        assert ("notice_refused", row.id) in await alarms(bench)

    async def test_any_other_answer_backs_it_off_alone(self, bench: Bench):
        await self.handed_over(bench)
        bench.peer.script["receipt"] = [Reply(500, code="internal")]
        await bench.work_off()
        found = await self.notice(bench)
        assert (found.state, found.attempt, found.problem) == ("queued", 1, "internal")
        assert found.next_ms == bench.clock.now_ms() + FIRST_MS // 2

    async def test_no_connection_backs_off_the_peer(self, bench: Bench):
        await self.handed_over(bench)
        bench.peer.script["receipt"] = [GONE]
        await bench.work_off()
        assert (await self.notice(bench)).attempt == 0
        assert (await bench.sender.peer(PEER)).problem == "unreachable"


class TestBlobs:
    async def attached(self, bench: Bench, *plain: bytes) -> MessageRow:
        blobs = [make_blob(one, f"{number}.txt") for number, one in enumerate(plain)]
        members = [await bench.sender.upload(blob) for blob in blobs]
        return await bench.sender.submit(PEER, attachments=members)

    async def test_the_envelope_follows_its_blobs(self, bench: Bench):
        row = await self.attached(bench, b"one", b"another")
        await bench.work_off()
        assert [name for name, _ in bench.peer.calls] == ["blob", "blob", "post"]
        assert await state(bench, row) == "accepted"

    async def test_messages_without_blobs_do_not_wait(self, bench: Bench):
        heavy, light = await self.attached(bench, b"gigabytes"), await bench.sender.submit(PEER)
        gate, route = asyncio.Event(), bench.route()

        async def slow() -> None:
            await gate.wait()

        bench.peer.script["blob"] = [slow]
        await route._guarded_round()
        await asyncio.gather(*(task for key, task in route._under_way._tasks.items() if key != heavy.id))
        assert [await state(bench, row) for row in (heavy, light)] == ["queued", "accepted"]
        assert bench.peer.calls[0] == ("post", 1)
        gate.set()
        await bench.work_off(route)
        assert await state(bench, heavy) == "accepted"

    async def test_missing_blobs_are_brought_again(self, bench: Bench):
        row = await self.attached(bench, b"lost at the peer")
        bench.peer.script["blob"] = [Reply(204)]  # it says so, and has it not
        await bench.work_off()
        waiting = await bench.sender.message(PEER, row.id)
        assert (waiting.state, waiting.problem) == ("queued", "blobs_missing")
        bench.pass_by(FIRST_MS)
        route = bench.route()
        await bench.work_off(route)
        assert [name for name, _ in bench.peer.calls] == ["blob", "post", "blob", "post"]
        assert await state(bench, row) == "accepted"

    @pytest.mark.parametrize(
        ("answer", "problem"),
        [
            (Reply(413, code="quota"), "quota"),
            (Reply(429, code="rate_limited"), "rate_limited"),
            (UNAVAILABLE, "unavailable"),
            (GONE, "unreachable"),
            (OSError(), "attachment_unreadable"),
        ],
    )
    async def test_blobs_that_cannot_be_brought_back_off_their_message_alone(
        self, bench: Bench, answer: Reply | Exception, problem: str
    ):
        heavy, light = await self.attached(bench, b"too much"), await bench.sender.submit(PEER)
        bench.peer.script["blob"] = [answer]
        await bench.work_off()
        waiting = await bench.sender.message(PEER, heavy.id)
        assert (waiting.state, waiting.attempt, waiting.problem) == ("queued", 1, problem)
        assert await state(bench, light) == "accepted"
        assert (await bench.sender.peer(PEER)).attempt == 0

    async def test_a_peer_that_says_when_is_asked_then(self, bench: Bench):
        row = await self.attached(bench, b"not now")
        bench.peer.script["blob"] = [Reply(429, code="rate_limited", retry_after_s=1000)]
        await bench.work_off()
        waiting = await bench.sender.message(PEER, row.id)
        assert waiting.next_ms >= bench.clock.now_ms() + 1_000_000

    async def test_some_messages_have_their_blobs_brought_at_once(self, bench: Bench):
        rows = [await self.attached(bench, bytes([number])) for number in range(LANES_OF_PEER + 2)]
        gate, route = asyncio.Event(), bench.route()

        async def slow() -> None:
            await gate.wait()

        bench.peer.script["blob"] = [slow] * len(rows)
        await route._guarded_round()
        await asyncio.sleep(0)  # they begin
        await route._guarded_round()
        await asyncio.sleep(0)
        assert [name for name, _ in bench.peer.calls] == ["blob"] * LANES_OF_PEER
        gate.set()
        await bench.work_off(route)
        assert {await state(bench, row) for row in rows} == {"accepted"}

    async def test_blobs_go_over_a_connection_of_their_own(self, bench: Bench):
        await self.attached(bench, b"one")
        await bench.work_off()
        assert (bench.peer.clients, bench.peer.closed) == (1, 1)
