"""What comes before a node records anything: whether it may; and then, that it has started.

A node that was restored from a backup bears a mark, the file `restored` in its data folder: it insists
on one peer that says how far its log was.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import gateway
from gateway.app.admission import admit_command_line
from gateway.app.identity import Identity
from gateway.app.own_card import record_cards
from gateway.config import Settings
from gateway.core import custody
from gateway.core.entry import Draft
from gateway.core.errors import Misconfigured
from gateway.peering.directory import Directory
from gateway.peering.profiles import Publisher
from gateway.peering.standing import Standing
from gateway.ports import Change, Clock, Store
from gateway.rows import DetailRow

MARK = "restored"


def mark_of(settings: Settings) -> Path:
    """Return where the mark of a restored node is."""
    return settings.keys.card.with_name(MARK)


@dataclass(slots=True, kw_only=True)
class Beginning:
    """The first entries of a run of the node: none until nothing stands against it.

    Attributes:
        unwitnessed: why an operator lets a restored node start that no peer has answered.
        done: they are recorded.
    """

    settings: Settings
    store: Store
    directory: Directory
    identity: Identity
    clock: Clock
    unwitnessed: str | None
    done: bool = False

    async def judge(self, standing: Standing) -> None:
        """Refuse to start as an old copy, or after a restore without a peer that agrees.

        Raises:
            Misconfigured: says what was found, and what to do.
        """
        if standing.found is not None:
            raise Misconfigured(str(standing.found))
        mark = mark_of(self.settings)
        marked = await asyncio.to_thread(mark.exists)
        if marked and not standing.agrees:
            if self.unwitnessed is not None:
                return
            raise Misconfigured(
                f"this node was restored ({mark}), and no peer that answers holds a checkpoint of its log: "
                "nobody can say whether it is an old copy. Nothing is recorded or signed. Try again when a "
                "peer can be reached, or take the risk on record: art18 run --unwitnessed REASON"
            )
        self.unwitnessed = None  # nothing is overridden
        if marked:
            await asyncio.to_thread(mark.unlink, missing_ok=True)

    async def record(self) -> None:
        """Record own cards, the token of the command line, and that the node has started.

        Raises:
            Misconfigured: the cards do not go together.
            Unavailable: it cannot be recorded now; what was not is recorded the next time.
        """
        await record_cards(self.store, self.settings.keys.card, self.clock)
        await admit_command_line(self.store, self.settings.hook.token_file, self.clock)
        if self.unwitnessed is not None:
            await self._override(self.unwitnessed)
        started = Draft(event="node.started", outcome="ok", extra=(("version", gateway.__version__),))
        await self.store.record(Change(name="start", entries=(started,)))
        await self.directory.refresh()
        await Publisher(self.store, self.directory, self.identity.keyring(), self.clock).renew()
        self.done = True

    async def _override(self, reason: str) -> None:
        """Put on record that nobody witnessed the restored log, and take the mark away."""
        detail = custody.box_detail(self.identity.keyring().storage, reason.encode())
        entry = Draft(event="log.unwitnessed", outcome="ok", commitment=detail.commitment)
        await self.store.record(Change(name="start", entries=(entry,), puts=(DetailRow.of(detail),)))
        await asyncio.to_thread(mark_of(self.settings).unlink, missing_ok=True)
        self.unwitnessed = None
