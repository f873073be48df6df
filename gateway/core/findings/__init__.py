"""Findings: legal defects of a message, each with its article; shown, and never a refusal on arrival.

What a schema can say stands there, as annotations (`annotations`). The rest are rules, one function
each with its article, in the modules beside it; `rules` has the table of which kind they are for.
"""

from gateway.core.findings.circumstances import NOTHING_KNOWN, Circumstances
from gateway.core.findings.finding import Defect, Finding, in_language, to_json
from gateway.core.findings.rules import findings
from gateway.core.findings.subjects import identities

__all__ = [
    "NOTHING_KNOWN",
    "Circumstances",
    "Defect",
    "Finding",
    "findings",
    "identities",
    "in_language",
    "to_json",
]
