"""Papers: what a request or a result rests on is attached, and is what it is said to be."""

from collections.abc import Iterator

from gateway.core.findings.circumstances import Circumstances
from gateway.core.findings.finding import Defect, Finding
from gateway.core.message import Message

OTHER_FILE = Defect("18(14)", "error", "No attachment has this digest and size.")
NO_ORDER = Defect(
    "13(3)(b)",
    "error",
    "The attachment that is named has the role neither of a court order nor of a judgment.",
)

_ORDERS = frozenset({"court_order", "judgment"})


def evidence(message: Message, _: Circumstances) -> Iterator[Finding]:
    """Article 18(14): evidence is what the message carries, or its authenticity cannot be established."""
    carried = {(attachment.sha256, attachment.size) for attachment in message.attachments}
    for index, piece in enumerate(message.body.get("evidence", ())):
        if (piece["attachment_sha256"], piece["size"]) not in carried:
            yield OTHER_FILE.at("body", "evidence", index, "attachment_sha256")


def order(message: Message, _: Circumstances) -> Iterator[Finding]:
    """Article 13(3)(b): what is attached as the order to be enforced is a decision, not something else."""
    named = message.body.get("order", {}).get("certified_copy_attachment")
    for attachment in message.attachments:
        if attachment.name == named and attachment.role not in _ORDERS:
            yield NO_ORDER.at("body", "order", "certified_copy_attachment")
