"""What an examination of evidence tells: line by line, and the first thing that does not hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.core.bundle import Broken
from gateway.core.ids import AuthorityId, Digest

CODES = {
    "zip": "The file is not a ZIP archive as bundles are, or it is damaged.",
    "manifest": "The manifest is missing, was altered, or is not in form.",
    "missing_file": "A file that the manifest or another file names is not there.",
    "extra_file": "There is a file that the manifest does not name.",
    "file_digest": "A file is not what the manifest says.",
    "card": "A card is not in form, or a signature of its own root keys is missing or wrong.",
    "message": "The message is not a signed message in form.",
    "message_signature": "The message was not signed by a key of the sender's cards.",
    "message_subject": "The message is another one than the manifest names.",
    "statement": "A statement is not an entry with a proof in form.",
    "log": "A statement is of a log that no card names, or of neither party.",
    "log_signature": "A signature of a log under its checkpoint is missing or wrong.",
    "inclusion": "An entry is not in the log at the place that its proof names.",
    "statement_subject": "An entry is about another message than the bundle.",
    "contradiction": "One log states two things that exclude each other, or has two roots for one size.",
    "consistency": "A checkpoint is not the beginning of the later one that covers it.",
    "cosignature": "A cosignature by a known witness is wrong.",
    "attachment": "A file is none of the message's attachments.",
    "misbehaviour": "It is no proof that a log contradicts itself.",
}
"""Every way in which verification fails; the first one ends it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of what was found.

    Attributes:
        proved: whether it is proved; else it is what is *not*, and no failure.
        what: a word for programs.
        text: a sentence for people.
        about: what it is about, for programs.
    """

    proved: bool
    what: str
    text: str
    about: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(slots=True)
class Examination:
    """What was found in a bundle, up to what does not hold.

    Attributes:
        findings: in the order in which they were found.
        failure: what does not hold; None if everything does.
        strangers: the authorities on whose word it rests and whom no trusted root authenticates.
        attachments: digest and name of each attachment that was signed.
    """

    findings: list[Finding] = field(default_factory=list)
    failure: Broken | None = None
    strangers: tuple[AuthorityId, ...] = ()
    attachments: Mapping[Digest, str] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Say whether all of it holds, and on the word of authenticated authorities alone."""
        return self.failure is None and not self.strangers
