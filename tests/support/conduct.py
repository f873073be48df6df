"""A body of each kind by which a case is conducted, complete and without findings.

`BODIES` has a builder for each kind; `payload` is the message around one. A builder fills in
every member that goes together with the others, so that documents can show them.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from gateway.core.strict import sha256
from tests.support.cases import blob, message_id, payload_of

Body = dict[str, Any]
ATTACHED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "notice.adverse_decision": {"decision.pdf": "judgment"},
        "notice.consent_to_surrender": {"record.pdf": "consent"},
        "surrender.postpone": {"medical-report.pdf": "certificate"},
        "custody_transfer.agree": {"consent.pdf": "consent"},
        "proceedings.outcome": {"judgment.pdf": "judgment"},
    }
)
"""The attachments that bodies name, each with its role."""


def payload(kind: str, body: Body | None = None) -> dict[str, Any]:
    """Return a message of *kind* with its complete body, or with *body*, and its attachments."""
    draft = {
        "kind": kind,
        "to": "qn.moj",
        "language": "en",
        "own_ref": "EX-2026-001",
        "urgency": "normal",
        "handling": "normal",
        "authorised_by": {"name": "Example Officer One", "function": "Head of Unit"},
        "body": BODIES[kind]() if body is None else body,
        "translations": [],
    }
    return payload_of(draft, sender="qm.moj", attachments=attachments(kind))


def attachments(kind: str) -> list[dict[str, Any]]:
    """Return the attachments that the complete body of *kind* names, as members of a message."""
    found = []
    for name, role in ATTACHED.get(kind, {}).items():
        plain = f"%PDF-1.4 {name}".encode()
        file = {"name": name, "media_type": "application/pdf", "role": role, "language": "en"}
        about = {"sha256": sha256(plain), "size": len(plain)}
        found.append(file | about | {"blob": blob(about)})
    return found


def person() -> Body:
    """Return a person whom a case concerns."""
    return {
        "role": "accused",
        "name": {"original": "Example Person Four", "latin": "Example Person Four"},
        "born": "1979-03-08",
        "nationality": ["QM"],
        "location": "In custody in Specimen Harbour (QN)",
        "protected": False,
    }


# -- requests that change, consultations, conditions, assurances


def supplement() -> Body:
    return {
        "changes": [
            {"path": "/body/measures/1/target", "op": "replace", "value": "9 Placeholder Quay"},
            {"path": "/body/persons/-", "op": "add", "value": person()},
            {"path": "/body/use_limits", "op": "remove"},
        ],
        "reason": "The company has moved, and another suspect became known.",
        "supersedes_sha256": "0" * 64,
    }


def consultation_mandatory() -> Body:
    return {
        "about": "refusal_18_21",
        "grounds": [
            {"code": "18_21_b", "text": "The books name suppliers of the armed forces."},
            {"code": "other", "text": "A parliamentary inquiry holds some of the books."},
        ],
        "possible_conditions": ["The names of suppliers are blackened."],
        "reply_by": "2026-12-15",
    }


def consultation_position() -> Body:
    return {
        "position": "The names of suppliers are of no interest to the investigation.",
        "further_information": "Only the entries on freight between March 2024 and May 2026 are needed.",
        "accepts_conditions": True,
    }


def conditions_offer() -> Body:
    return {
        "conditions": [
            {
                "id": "c1",
                "type": "use_limit",
                "text": "The books are used in the proceeding SPO 77/2026 alone.",
                "enforceable_by": "Section 12 of the Cooperation Act",
            },
            {"id": "c2", "type": "return", "text": "The originals come back within a year."},
        ],
        "scope": "measures",
        "measure_ids": ["m2"],
        "reply_by": "2026-12-15",
    }


def conditions_reply() -> Body:
    return {
        "decisions": [
            {"condition_id": "c1", "accepted": True},
            {"condition_id": "c2", "accepted": False, "comment": "Two years would be acceptable."},
        ]
    }


def assurance_request() -> Body:
    return {
        "topics": [
            {
                "id": "a1",
                "type": "detention_conditions",
                "text": "In which prison, and in a cell of which size, would the person be held?",
                "source_case_law": "Court of Appeal of Specimen Harbour, 4 May 2025, no. 118",
            }
        ],
        "reply_by": "2026-12-15",
    }


def assurance_give() -> Body:
    return {
        "assurances": [
            {
                "topic_id": "a1",
                "text": "The person will be held in Sampletown prison, in a single cell of nine metres.",
                "authority_giving": "Ministry of Justice, directorate of prisons",
                "binding": True,
                "monitoring": "A consular officer may visit at any time.",
            }
        ]
    }


# -- decisions and notices of the requested side


def decision_partial() -> Body:
    return {
        "granted": ["m1", "m3"],
        "refused": [
            {
                "measure_id": "m2",
                "ground": "18_21_b",
                "reasons": "The search would lay open the suppliers of the armed forces to the public.",
            }
        ],
        "conditions_ref": "Offer of 2 December, accepted on 5 December",
        "consultation_ref": "Consultation opened on 1 December",
    }


def decision_postpone() -> Body:
    return {
        "ground": "interferes_ongoing_18_25",
        "reason": "The same company is being observed in an investigation of our own.",
        "review_at": "2027-02-15",
        "consultation_ref": "Consultation opened on 1 December",
    }


def notice_adverse_decision() -> Body:
    return {
        "court": "District Court of Specimen Harbour",
        "decision_date": "2026-11-20",
        "decision": {"text": "The warrant was not granted.", "attachment": "decision.pdf"},
        "appeal_available": True,
        "appeal_deadline": "2026-12-04",
        "needed_for_appeal": ["A closer description of the books that are to be seized."],
    }


def notice_defence_arguments() -> Body:
    return {
        "arguments": [
            {"id": "d1", "text": "The offence is barred by lapse of time.", "issue": "Limitation"},
            {"id": "d2", "text": "Another person of that name is meant.", "issue": "Identity"},
        ],
        "evidence_would_help": ["The text of the provision on limitation.", "Fingerprints."],
        "hearing_at": "2026-12-10T09:00:00.000Z",
        "reply_by": "2026-12-07",
    }


def notice_custody() -> Body:
    return {
        "event": "arrested",
        "at": "2026-11-23T21:40:00.000Z",
        "documents_due_by": "2026-12-11",
        "place": "Remand prison of Specimen Harbour",
    }


def notice_consent_to_surrender() -> Body:
    return {
        "person": person(),
        "consented_at": "2026-11-24T09:30:00.000Z",
        "before": "District Court of Specimen Harbour",
        "irrevocable": True,
        "renounces_specialty": False,
        "record": "record.pdf",
    }


# -- surrender, transfer in custody, safe conduct


def surrender_arrange() -> Body:
    return {
        "window": {"from": "2026-12-14", "to": "2026-12-18"},
        "place": "Specimen Harbour airport, gate for official flights",
        "escort": "Two officers of the Sampletown police",
        "time_served": "In custody since 23 November 2026, 21 days until 14 December.",
        "property": "One telephone and the papers found on the person.",
    }


def surrender_postpone() -> Body:
    return {
        "humanitarian_reason": "illness",
        "explanation": "An operation is due; the person cannot fly before it.",
        "review_at": "2027-01-15",
        "evidence": ["medical-report.pdf"],
    }


def surrender_done() -> Body:
    return {
        "at": "2026-12-15T11:20:00.000Z",
        "place": "Specimen Harbour airport",
        "days_in_custody": 22,
    }


def custody_transfer_agree() -> Body:
    return {
        "person_consent": {"informed": True, "attachment": "consent.pdf"},
        "agreement": "The person is brought to Sampletown for the hearing of 12 January, and held there.",
        "conditions": ["The person is held apart from the accused."],
        "return_by": "2027-01-20",
        "credit_for_time": True,
        "immunity_18_12": True,
    }


def custody_transfer_return() -> Body:
    return {"returned_at": "2027-01-19T16:00:00.000Z", "days_in_custody": 9}


def safe_conduct() -> Body:
    return {
        "person": person() | {"role": "witness"},
        "proceeding": "Hearing of 12 January 2027 before the Criminal Court of Sampletown",
        "no_longer_required_at": "2027-01-14",
        "ceases_after_days": 30,
        "period_agreed_ref": "Exchange of letters of 3 December 2026",
    }


# -- evidence, its use, confidentiality


def execution_receipt_of_evidence() -> Body:
    return {
        "evidence_ids": [
            {"id": "e1", "hash_ok": True, "readable": True},
            {"id": "e2", "hash_ok": True, "readable": False},
        ],
        "missing": ["The annual accounts of 2025."],
    }


def use_consent_request() -> Body:
    return {
        "evidence_ids": ["e1"],
        "new_purpose": "To prove where the money came from.",
        "new_proceeding": "Tax proceeding 14/2027 before the Fiscal Court of Sampletown",
        "recipients": ["Fiscal Court of Sampletown"],
    }


def use_consent_reply() -> Body:
    return {
        "granted": True,
        "scope": "The register entries alone.",
        "reasons": "The accounts were given by the bank for the criminal proceeding alone.",
    }


def use_exculpatory_notice() -> Body:
    return {
        "evidence_ids": ["e1"],
        "info_ref": "Information of 3 November 2026",
        "timing": "without_delay",
        "why_no_advance": "The court ordered the disclosure during the hearing.",
        "consult_if_asked": True,
    }


def confidentiality_cannot_comply() -> Body:
    return {
        "why": "The holder of an account is told of its freezing by law.",
        "disclosure_expected": "domestic_duty",
        "proceed_anyway": "ask",
        "reply_by": "2026-12-01",
    }


def confidentiality_position() -> Body:
    return {"decision": "proceed"}


# -- costs, outcomes, and what concerns the case itself


def costs_notice() -> Body:
    return {
        "nature": "extraordinary",
        "estimate": {"amount": "48500.00", "currency": "EUR"},
        "basis": "Divers are needed to raise the boat: four days, with a ship.",
        "execution_held": True,
        "proposal": "Each State bears one half.",
    }


def costs_reply() -> Body:
    return {"decision": "share", "terms": "One half, at most 25000 EUR."}


def proceedings_outcome() -> Body:
    return {
        "outcome": "convicted",
        "decision": {"text": "Four years of imprisonment; final.", "attachment": "judgment.pdf"},
    }


def asset_disposal() -> Body:
    return {
        "proposal": "share_14_3b",
        "amount": "620000.00",
        "currency": "EUR",
        "agreement_ref": "Agreement on the sharing of assets of 12 June 2024",
    }


def reopen() -> Body:
    return {"reason": "The goods turned out to be civil ones.", "of_state": "refused"}


def correction() -> Body:
    return {
        "of_message_id": message_id(7),
        "what": "The account ends in 0042, not in 0024.",
        "why": "Two digits were exchanged in typing.",
    }


BODIES: Mapping[str, Callable[[], Body]] = MappingProxyType(
    {
        "supplement": supplement,
        "consultation.mandatory": consultation_mandatory,
        "consultation.position": consultation_position,
        "conditions.offer": conditions_offer,
        "conditions.reply": conditions_reply,
        "assurance.request": assurance_request,
        "assurance.give": assurance_give,
        "decision.partial": decision_partial,
        "decision.postpone": decision_postpone,
        "notice.adverse_decision": notice_adverse_decision,
        "notice.defence_arguments": notice_defence_arguments,
        "notice.custody": notice_custody,
        "notice.consent_to_surrender": notice_consent_to_surrender,
        "surrender.arrange": surrender_arrange,
        "surrender.postpone": surrender_postpone,
        "surrender.done": surrender_done,
        "custody_transfer.agree": custody_transfer_agree,
        "custody_transfer.return": custody_transfer_return,
        "safe_conduct": safe_conduct,
        "execution.receipt_of_evidence": execution_receipt_of_evidence,
        "use.consent_request": use_consent_request,
        "use.consent_reply": use_consent_reply,
        "use.exculpatory_notice": use_exculpatory_notice,
        "confidentiality.cannot_comply": confidentiality_cannot_comply,
        "confidentiality.position": confidentiality_position,
        "costs.notice": costs_notice,
        "costs.reply": costs_reply,
        "proceedings.outcome": proceedings_outcome,
        "asset.disposal": asset_disposal,
        "reopen": reopen,
        "correction": correction,
    }
)
"""The builder of the body of each kind."""
