"""What a message is judged by besides itself: whose rules apply, what went before, who is known."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gateway.core.case import History, Step
from gateway.core.ids import AuthorityId, CaseId
from gateway.core.message import Message
from gateway.core.profile import Profile, cooperation_type

CONSULTATION = "consultation"
"""The type of cooperation of what is asked, or shown as a draft, before a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is known around a message; where nothing is, the rules that need it find nothing.

    The day is always that on which the message was made, so that both sides say the same,
    whenever it arrives.

    Attributes:
        profile: the recipient's: the peer's where a message is sent, one's own where it arrives.
        history: the case before the message.
        elsewhere: a pending other case for each identity (`subjects.identities`) that is in one.
    """

    profile: Profile | None = None
    history: History = field(default_factory=History)
    elsewhere: Mapping[str, CaseId] = field(default_factory=dict)

    def steps(self, by: AuthorityId, *kinds: str) -> Iterator[Step]:
        """Yield what *by* sent of *kinds* in the case, in the order in which it came."""
        for step in self.history.effective:
            if step.by == by and step.kind in kinds:
                yield step

    def cooperation(self, message: Message) -> str | None:
        """Return the type of cooperation that *message* is about, or None.

        A message that does not begin one is of the type that its case has; a request of whatever type
        goes before the consultation that led to it. What was sent tells the type, even if its fate is
        not known yet.
        """
        own = cooperation_type(message.kind)
        if own is not None:
            return own
        begun = [cooperation_type(step.kind) for step in self.history.steps]
        found = [one for one in begun if one is not None]
        return next((one for one in found if one != CONSULTATION), found[0] if found else None)


NOTHING_KNOWN = Circumstances()
"""The message alone."""
