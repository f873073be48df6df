"""The table of rules: which are for which kinds of message.

A new rule is a function of a message and its circumstances, with its article in the docstring, and a
row here. Kinds are named as patterns, `request.*`; the rows of a kind are found once.
"""

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import cache

from gateway.core.findings import (
    annotations,
    answers,
    channels,
    languages,
    limits,
    papers,
    requests,
    subjects,
)
from gateway.core.findings.circumstances import NOTHING_KNOWN, Circumstances
from gateway.core.findings.finding import Finding
from gateway.core.message import Message

Rule = Callable[[Message, Circumstances], Iterator[Finding]]

RULES: tuple[tuple[str, tuple[Rule, ...]], ...] = (
    ("*", (annotations.demanded, annotations.distinct, annotations.attached)),
    ("*", (languages.certified, languages.scripts)),
    ("*", (channels.taken, channels.requirements)),
    ("request.*", (languages.accepted, requests.deadline, requests.seriousness, subjects.elsewhere)),
    ("request.oral_notice", (channels.oral,)),
    ("request.confiscation", (papers.order,)),
    ("request.transfer_sentenced", (requests.consent, requests.transfer_basis)),
    ("spontaneous.information", (languages.accepted,)),
    ("supplement", (languages.accepted, answers.subject)),
    ("info.reply", (languages.accepted,)),
    ("acknowledgment", (answers.subject,)),
    ("decision.*", (answers.grounds,)),
    ("decision.refuse", (answers.consultation, answers.extradition)),
    ("decision.partial", (answers.consultation,)),
    ("decision.postpone", (answers.consultation,)),
    ("status.report", (answers.delay,)),
    ("execution.result", (papers.evidence,)),
    ("spontaneous.feedback", (limits.restrictions,)),
)


def findings(message: Message, circumstances: Circumstances = NOTHING_KNOWN) -> tuple[Finding, ...]:
    """Return what is legally wrong with *message*, which satisfies the schema of its kind."""
    found = (finding for rule in rules_of(message.kind) for finding in rule(message, circumstances))
    return tuple(sorted(found, key=lambda finding: (finding.severity, finding.article, finding.path)))


@cache
def rules_of(kind: str) -> tuple[Rule, ...]:
    """Return the rules for messages of *kind*."""
    return tuple(rule for pattern, rules in RULES if fnmatchcase(kind, pattern) for rule in rules)
