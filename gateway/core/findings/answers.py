"""Answers: what is never a ground of refusal, who was consulted before, what is explained."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from gateway.core.findings.annotations import missing
from gateway.core.findings.circumstances import Circumstances
from gateway.core.findings.finding import Defect, Finding
from gateway.core.message import Message

BANK_SECRECY = Defect("18(8)", "error", "Bank secrecy is no ground of refusal.")
_FISCAL = "That fiscal matters are involved is by itself no ground of refusal."
FISCAL = Defect("18(22)", "error", _FISCAL)
FISCAL_EXTRADITION = Defect("16(15)", "error", _FISCAL)
NO_CONSULTATION = Defect(
    "16(16)",
    "error",
    "There was no consultation before the extradition was refused, and no reason is given.",
)
UNKNOWN_CONSULTATION = Defect(
    "18(26)", "error", "The consultation that is named is none on this decision in this case."
)
UNEXPLAINED_DELAY = Defect("18(24)", "error", "The delay is not explained.")
OTHER_CASE = Defect("practice", "error", "No message of this case has this digest.")

_CONSULTATION = "consultation.mandatory"
_ABOUT: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "decision.refuse": frozenset({"refusal_18_21", "refusal_extradition_16_16"}),
        "decision.partial": frozenset({"refusal_18_21"}),
        "decision.postpone": frozenset({"postponement_18_25"}),
    }
)
_NAMED: Mapping[str, str] = MappingProxyType(
    {"acknowledgment": "request_sha256", "supplement": "supersedes_sha256"}
)


def grounds(message: Message, circumstances: Circumstances) -> Iterator[Finding]:
    """Articles 18(8), 18(22) and 16(15): what is never a ground, and what is none by itself."""
    fiscal = FISCAL_EXTRADITION if circumstances.cooperation(message) == "extradition" else FISCAL
    codes = [ground["code"] for ground in message.body.get("grounds", ())]
    for index, code in enumerate(codes):
        if code == "18_8_bank_secrecy":
            yield BANK_SECRECY.at("body", "grounds", index, "code")
    if codes and set(codes) == {"18_22_fiscal"}:
        yield fiscal.at("body", "grounds")
    for index, refused in enumerate(message.body.get("refused", ())):
        if refused.get("ground") == "18_8_bank_secrecy":
            yield BANK_SECRECY.at("body", "refused", index, "ground")
        elif refused.get("ground") == "18_22_fiscal":
            yield fiscal.at("body", "refused", index, "ground")


def consultation(message: Message, circumstances: Circumstances) -> Iterator[Finding]:
    """Article 18(26): before refusing or postponing the two consult, on that and in this case."""
    reference = message.body.get("consultation_ref")
    if reference is None or not circumstances.history.steps:
        return
    held = circumstances.steps(message.sender, _CONSULTATION)
    about = _ABOUT[message.kind]
    if all(step.id != reference or step.recorded.get("about") not in about for step in held):
        yield UNKNOWN_CONSULTATION.at("body", "consultation_ref")


def extradition(message: Message, circumstances: Circumstances) -> Iterator[Finding]:
    """Article 16(16): before refusing extradition, on whatever ground, the two consult."""
    body = message.body
    if (
        circumstances.cooperation(message) == "extradition"
        and missing(body.get("consultation_ref"))
        and missing(body.get("consultation_omitted_reason"))
    ):
        yield NO_CONSULTATION.at("body", "consultation_ref")


def delay(message: Message, _: Circumstances) -> Iterator[Finding]:
    """Article 18(24): a day that was expected and has passed is explained."""
    expected = [measure.get("expected_by") for measure in message.body.get("per_measure", ())]
    late = any(day is not None and day < message.day.isoformat() for day in expected)
    if late and missing(message.body.get("delay_reason")):
        yield UNEXPLAINED_DELAY.at("body", "delay_reason")


def subject(message: Message, circumstances: Circumstances) -> Iterator[Finding]:
    """Practice: what acknowledges or changes a message says which; one of another case is a mistake."""
    member = _NAMED[message.kind]
    known = circumstances.history.by_digest
    if known and message.body[member] not in known:
        yield OTHER_CASE.at("body", member)
