"""Limits of use: information and evidence are used only as their sender allows."""

from collections.abc import Iterator

from gateway.core.findings.circumstances import Circumstances
from gateway.core.findings.finding import Defect, Finding
from gateway.core.message import Message

EMBARGO = Defect("18(5)", "error", "The information was used before the day until which it is restricted.")
CONDITIONS = Defect("18(5)", "error", "The information was used, though its restrictions are not accepted.")

_INFORMATION = "spontaneous.information"
_CONSENT = "use.consent_reply"
_RESTRICTIONS = ("restrictions/confidential", "restrictions/until", "restrictions/use_limits")


def restrictions(message: Message, circumstances: Circumstances) -> Iterator[Finding]:
    """Articles 18(5) and 18(19): no use against a restriction, unless its sender has consented."""
    body, source = message.body, message.recipient
    if body.get("used", "none") == "none":
        return
    if any(step.recorded.get("granted") is True for step in circumstances.steps(source, _CONSENT)):
        return
    received = [step.recorded for step in circumstances.steps(source, _INFORMATION)]
    if any(str(kept.get("restrictions/until", "")) > message.day.isoformat() for kept in received):
        yield EMBARGO.at("body", "used")
    restricted = any(kept.get(name) for kept in received for name in _RESTRICTIONS)
    if restricted and body["conditions_accepted"] is False:
        yield CONDITIONS.at("body", "conditions_accepted")
