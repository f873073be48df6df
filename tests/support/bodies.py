"""A body of each kind that opens a case or first answers it: complete, and without findings.

`BODIES` has a builder for each kind; `payload` is the message around one. A builder fills in
every member that goes together with the others, so that documents can show them.
"""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from gateway.core.ids import Digest
from gateway.core.strict import sha256
from tests.support import conduct
from tests.support.cases import blob, message_id
from tests.support.conduct import Body

ATTACHED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "request.confiscation": {"order.pdf": "court_order"},
        "request.provisional_arrest": {"warrant.pdf": "warrant"},
        "request.extradition": {
            "photograph.pdf": "identity",
            "judgment.pdf": "judgment",
            "penal-code.pdf": "enactment",
            "statement.pdf": "evidence",
        },
        "request.transfer_sentenced": {
            "passport.pdf": "identity",
            "judgment.pdf": "judgment",
            "penal-code.pdf": "enactment",
            "consent.pdf": "consent",
            "medical-report.pdf": "other",
        },
        "request.transfer_proceedings": {"case-file.pdf": "evidence"},
    }
)
"""The attachments that bodies name, each with its role."""


def payload(kind: str, body: Body | None = None) -> dict[str, Any]:
    """Return a message of *kind* with its complete body, or with *body*, and its attachments."""
    found = conduct.payload(kind, BODIES[kind]() if body is None else body)
    return found | {"attachments": attachments(kind)}


def attachments(kind: str) -> list[dict[str, Any]]:
    """Return the attachments that the complete body of *kind* names, as members of a message."""
    found = []
    for name, role in ATTACHED.get(kind, {}).items():
        file = {"name": name, "media_type": "application/pdf", "role": role, "language": "en"}
        found.append(file | _content(name) | {"blob": blob(_content(name))})
    return found


def _content(name: str) -> Body:
    plain = f"%PDF-1.4 {name}".encode()
    return {"sha256": sha256(plain), "size": len(plain)}


# -- before a request


def consultation_open() -> Body:
    return {
        "topic": "prerequest",
        "questions": [
            "Does the search of a freight company's office need an order of a court of ours?",
            "From which amount are bank records of such a company given?",
        ],
        "cooperation_type": "mla",
        "anonymised": True,
        "non_binding": True,
        "reply_by": "2026-12-08",
        "related_case_id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    }


def consultation_reply() -> Body:
    return {
        "answers": [
            "No. A reasoned decision of the prosecutor is enough.",
            "There is no such amount; the account has to be named.",
        ],
        "requirements_ref": ["account-number", "seal"],
        "likely_obstacles": [{"obstacle": "Books are kept for five years only."}],
        "suggested_basis": [untoc("18(3)(c) and (f)")],
        "non_binding": True,
    }


def draft_submit() -> Body:
    draft = request()
    for name in ("persons", "urgency_reason", "legal_basis"):
        del draft[name]
    return {
        "draft_kind": "request.mla",
        "draft": draft,
        "draft_sha256": digest_of(draft),
        "questions": ["Is the description of the second measure enough for a search?"],
        "anonymised": True,
    }


def draft_review() -> Body:
    return {
        "draft_sha256": digest_of(draft_submit()["draft"]),
        "findings": [
            {
                "path": "/measures/1/target",
                "severity": "blocking",
                "basis": "Code of Criminal Procedure, section 102",
                "comment": "The rooms that are to be searched have to be named.",
            },
            {"severity": "advisory", "comment": "A table of the payments would help."},
        ],
        "would_likely_be": "needs_changes",
        "non_binding": True,
    }


def digest_of(draft: Body) -> Digest:
    """Return SHA-256 of the JSON of *draft* as a message has it."""
    text = json.dumps(draft, ensure_ascii=False, separators=(",", ":"))
    return sha256(text.encode())


# -- requests


def request() -> Body:
    """Return what every request for assistance holds."""
    return {
        "requesting_authority": {
            "name": "Ministry of Justice, international cooperation unit",
            "function": "Central authority under article 18, paragraph 13",
            "country": "QM",
        },
        "conducting_authority": {
            "name": "Specialised prosecution office, Sampletown",
            "functions": "Directs the investigation and brings the charge",
        },
        "proceeding": {
            "subject": "Laundering of the proceeds of illegal fishing",
            "nature": "investigation",
            "reference": "SPO 77/2026",
        },
        "offences": [
            {
                "title": "Money-laundering",
                "provision": "Criminal Code, section 310",
                "text": "Whoever conceals the origin of the proceeds of a serious offence is liable to "
                "imprisonment of up to eight years.",
                "max_penalty": {"months": 96},
                "untoc_hook": "6",
            }
        ],
        "untoc_scope": {
            "transnational": "3_2c",
            "organized_criminal_group": True,
            "explanation": "The group works in both States.",
        },
        "facts": {
            "text": "Three boats landed protected fish; a company in the requested State got the earnings.",
            "language": "en",
        },
        "measures": [measure("m1", "records_3f", coercive=False), measure("m2", "search_seizure_freeze_3c")],
        "persons": [conduct.person()],
        "purpose": "To decide on a charge, and on the confiscation of the earnings.",
        "confidentiality": {
            "level": "fact_and_substance",
            "until": "2027-03-01",
            "reason": "The company's directors do not know of the investigation.",
        },
        "deadline": {"date": "2027-02-01", "reason": "The account can be emptied from then on."},
        "urgency_reason": "The books may lawfully be destroyed at the end of the year.",
        "dual_criminality": "Concealing the origin of proceeds is an offence in both States.",
        "use_limits": "Only in the proceeding named above.",
        "costs_note": "Ordinary costs only are expected.",
        "reciprocity": True,
        "legal_basis": [untoc("13 and 18")],
        "prior_contacts": ["Call between the two units on 2 November 2026"],
    }


def measure(name: str, form: str, *, coercive: bool = True) -> Body:
    return {
        "id": name,
        "type": form,
        "description": "The payments of Example Six Shipping from March 2024 to May 2026.",
        "procedure": "Certified copies, each page by itself.",
        "target": "Example Six Shipping, 4 Placeholder Quay, Specimen Harbour (QN)",
        "coercive": coercive,
    }


def untoc(article: str) -> Body:
    return {
        "instrument": "United Nations Convention against Transnational Organized Crime",
        "article": article,
        "applied_18_7": True,
    }


def treaty(subject: str) -> Body:
    return {"instrument": f"Treaty of 4 May 2011 between QM and QN on {subject}", "article": "3"}


def charge() -> Body:
    return {
        "title": "Participation in an organized criminal group",
        "provision": "Criminal Code, section 278",
        "text": "Whoever takes part in such a group is liable to imprisonment of up to ten years.",
        "max_penalty": {"months": 120},
        "untoc_hook": "5",
        "when": "From March 2024 to May 2026",
        "where": "Sampletown and Specimen Harbour",
    }


def warrant(attachment: str, form: str) -> Body:
    return {
        "exists": True,
        "type": form,
        "authority": "District court of Sampletown",
        "date": "2026-11-02",
        "reference": "12 W 41/2026",
        "attachment": attachment,
    }


def confiscation() -> Body:
    """Return a request that an order of confiscation be enforced, with all that another mode asks for."""
    return request() | {
        "mode": "enforce_order_13_1b",
        "property": [
            {
                "description": "What is in the account that ends in 0042",
                "type": "money_in_account",
                "location": "Example Bank, Specimen Harbour (QN)",
                "value": {"amount": "1240000.00", "currency": "EUR"},
                "holder": "Example Five Holdings Ltd.",
            }
        ],
        "facts_relied_on": "The money is what the boats' owner earned from protected fish.",
        "order": {
            "certified_copy_attachment": "order.pdf",
            "court": "District court of Sampletown",
            "date": "2026-03-03",
            "final": True,
        },
        "execution_extent": {"extent": "part", "amount": {"amount": "620000", "currency": "EUR"}},
        "actions_requested": "The account is frozen until the order is enforced.",
        "third_parties": [
            {"name": "Example Person Six", "interest": "Claims to have lent the company 20000 EUR."}
        ],
        "return_or_sharing": "One half for each State, after the victims are compensated.",
    }


def provisional_arrest() -> Body:
    return {
        "person": conduct.person(),
        "warrant_or_judgment": warrant("warrant.pdf", "arrest_warrant"),
        "intent_to_request_extradition": True,
        "offences": [charge()],
        "urgency_reason": "The person has a ticket for a flight tomorrow night.",
        "interpol_notice_ref": "A-0000/11-2026",
        "formal_request_by": "2026-12-15",
    }


def extradition() -> Body:
    statement = _content("statement.pdf")
    return {
        "person": {
            "identity": conduct.person(),
            "description": "1.80 m tall, with a scar on the left hand.",
            "photo_attachment": "photograph.pdf",
        },
        "purpose": "enforcement",
        "warrant_or_judgment": warrant("judgment.pdf", "judgment"),
        "sentence_remaining": {"months": 50, "days": 12, "life": False, "text": "Four years, two months"},
        "offences": [charge()],
        "facts": "The person kept the accounts of the group and paid its crews.",
        "enactments": ["penal-code.pdf"],
        "limitation": "The sentence can be enforced until 2 November 2046.",
        "absentia": {"tried": True, "notified": True, "retrial": True},
        "evidence": [
            {
                "id": "e1",
                "attachment_sha256": statement["sha256"],
                "size": statement["size"],
                "media_type": "application/pdf",
                "description": "Statement of the skipper of the second boat",
                "collected_at": "2026-05-04T09:30:00.000Z",
                "collected_by": "Sampletown police",
            }
        ],
        "assurances_offered": ["The person is held in Sampletown prison, in a cell of at least 6 m²."],
        "nationality_note": "The person is a national of the requesting State.",
        "legal_basis": [treaty("extradition"), untoc("16(4)")],
        "specialty_undertaking": "The person is prosecuted for these acts alone.",
    }


def transfer_sentenced() -> Body:
    return {
        "initiator": "sentencing_state",
        "person": conduct.person(),
        "nationality_proof": "passport.pdf",
        "judgment": {
            "attachment": "judgment.pdf",
            "court": "District court of Sampletown",
            "date": "2024-11-02",
            "final": True,
        },
        "law": {"text": "Criminal Code, section 278", "attachment": "penal-code.pdf"},
        "sentence": {
            "imposed": {"months": 72},
            "served": {"months": 24, "days": 21},
            "remaining": {"months": 47, "days": 9},
            "start": "2024-11-02",
            "remissions": "None so far; a third can be remitted.",
        },
        "consent": {"given": True, "date": "2026-10-20", "by": "person", "attachment": "consent.pdf"},
        "dual_criminality": "Taking part in such a group is an offence in both States.",
        "medical_social_reports": ["medical-report.pdf"],
        "family_ties": "Two children live in Specimen Harbour.",
        "legal_basis": [treaty("the transfer of sentenced persons"), untoc("17")],
    }


def joint_investigation() -> Body:
    return {
        "subject": "Smuggling of migrants from Sampletown to Specimen Harbour",
        "facts": "Since May 2026 eleven boats were found, and the same two men had chartered them all.",
        "composition": [
            {
                "name": "Specialised prosecution office, Sampletown",
                "function": "Directs the investigation",
                "country": "QM",
                "contact": {"function": "Duty desk", "phone": "+999 1 000 0000"},
            },
            {"name": "Coast guard, Specimen Harbour", "country": "QN"},
        ],
        "period": {"from": "2027-01-04", "to": "2027-06-30"},
        "place": "Specimen Harbour (QN)",
        "leader": {"name": "Example Officer Two", "function": "Prosecutor"},
        "rules_of_evidence": "Each statement is recorded on video.",
        "information_use": "Only for the offences that the body investigates.",
        "costs": "Each State bears those of its own members.",
        "basis": "case_by_case",
    }


def transfer_proceedings() -> Body:
    return {
        "person": conduct.person(),
        "facts": "The person chartered eleven boats in the requested State.",
        "offences": [charge() | {"untoc_hook": "protocol_som"}],
        "jurisdiction_assessment": {
            "bases": "Here the landing of the migrants; there the person's nationality and the charters.",
            "interests_of_justice": "One court can hear all witnesses.",
            "offenders": "The accused lives in the requested State.",
            "victims": "Most victims have applied for asylum in the requested State.",
            "costs": "Forty witnesses would have to travel otherwise.",
            "sovereignty": "Neither State acts on the soil of the other.",
        },
        "ground": "ets73_8_1_e",
        "evidence_summary": "Forty statements, the charters, and two telephones.",
        "case_file": {"attachment": "case-file.pdf"},
        "limitation": "Until 11 May 2036; nothing has interrupted the time.",
        "victims": [
            {
                "person": conduct.person() | {"role": "victim", "protected": True},
                "harm": "Frostbite on both feet.",
                "claim": "Compensation of 9000 EUR.",
            }
        ],
        "custody": {"held": True, "since": "2026-09-12", "place": "Specimen Harbour prison (QN)"},
    }


def oral_notice() -> Body:
    return {
        "made_at": "2026-11-24T09:40:00.000Z",
        "made_by": {"name": "Example Officer One", "function": "Duty prosecutor"},
        "received_by": {"function": "Duty desk", "phone": "+999 2 000 0000", "languages": ["en"]},
        "agreed_under": "Profile of the requested authority",
        "summary": "A server is to be seized tonight, before its operator can reach it.",
        "measures": [measure("m1", "search_seizure_freeze_3c")],
        "confirm_by": "2026-11-26T09:40:00.000Z",
    }


def written_confirmation() -> Body:
    return request() | {
        "oral_notice_ref": message_id(7),
        "differences": "The second server, which was not known yet, is named as well.",
    }


# -- information without a request


def information() -> Body:
    return {
        "information": "An account here received eleven payments from the company that you investigate.",
        "origin": "A report of a bank on a suspicious transaction.",
        "may_assist": "request",
        "restrictions": {
            "confidential": True,
            "until": "2027-10-01",
            "use_limits": "For inquiries only, until a request has been granted.",
        },
        "no_originating_request": True,
    }


def feedback() -> Body:
    return {"used": "none", "conditions_accepted": True, "request_follows": True}


# -- registration


def acknowledgment() -> Body:
    return {
        "received_at": "2026-11-24T09:58:00.000Z",
        "registered_ref": "IC 2026/4711",
        "case_officer": {
            "name": "Example Officer Three",
            "function": "Case officer",
            "phone": "+999 2 000 0001",
            "email": "officer@example.org",
            "languages": ["en", "es"],
        },
        "request_sha256": "0" * 64,
        "attachments_readable": True,
        "language_ok": True,
        "first_completeness_view": {"view": "incomplete", "paths": ["/body/measures/1/target"]},
        "next_update_by": "2026-12-24",
    }


def assignment() -> Body:
    return {
        "competent_authority": {
            "name": "Prosecution office, Specimen Harbour",
            "function": "Executes requests that concern the harbour",
            "country": "QN",
            "contact": {"function": "Registry", "email": "registry@example.org"},
        },
        "function": "execute",
        "assigned_at": "2026-11-24T09:59:00.000Z",
        "their_ref": "SH 88/2026",
        "expected_by": "2027-01-29",
        "contact_via": "direct",
    }


def misdirected() -> Body:
    return {"reason": "wrong_territory", "correct_authority_id": "qn-2.justice", "forwarded": True}


BODIES: Mapping[str, Callable[[], Body]] = MappingProxyType(
    {
        "consultation.open": consultation_open,
        "consultation.reply": consultation_reply,
        "draft.submit": draft_submit,
        "draft.review": draft_review,
        "request.confiscation": confiscation,
        "request.provisional_arrest": provisional_arrest,
        "request.extradition": extradition,
        "request.transfer_sentenced": transfer_sentenced,
        "request.jit": joint_investigation,
        "request.transfer_proceedings": transfer_proceedings,
        "request.oral_notice": oral_notice,
        "request.written_confirmation": written_confirmation,
        "spontaneous.information": information,
        "spontaneous.feedback": feedback,
        "acknowledgment": acknowledgment,
        "assignment": assignment,
        "misdirected": misdirected,
    }
)
"""The builder of the body of each kind."""
