"""What the console says for words of closed lists; templates say the rest.

Every sentence here and in the templates stands in the catalogues (schemas/locale/*/LC_MESSAGES/console.po).
"""

from collections.abc import Mapping

STATES: Mapping[str, str] = {
    "queued": "Waiting for the peer",
    "accepted": "Accepted by the peer",
    "handed_over": "Taken over",
    "refused": "Refused by the peer",
    "expired": "Expired",
    "undetermined": "Fate unknown",
    "held": "Held",
    "cancelled": "Cancelled",
    "available": "To be taken over",
}
DIRECTIONS: Mapping[str, str] = {"in": "Incoming", "out": "Outgoing"}
ROLES: Mapping[str, str] = {
    "viewer": "Viewer",
    "officer": "Officer",
    "auditor": "Auditor",
    "admin": "Administrator",
}
ACCOUNT_STATES: Mapping[str, str] = {
    "invited": "Link not used yet",
    "active": "Active",
    "disabled": "Disabled",
}
COOPERATION: Mapping[str, str] = {
    "mla": "Mutual legal assistance",
    "confiscation": "Confiscation",
    "extradition": "Extradition",
    "transfer_sentenced": "Transfer of sentenced persons",
    "jit": "Joint investigations",
    "transfer_proceedings": "Transfer of proceedings",
    "spontaneous": "Spontaneous information",
    "consultation": "Consultation",
}
PEER_PROBLEMS: Mapping[str, str] = {
    "suspended": "It is suspended, here or over there.",
    "card_expired": "Its pinned card has expired. Ask the authority for a new one.",
    "clock_apart": "Its clock and ours are more than five minutes apart.",
    "newer_card": "It has a newer card, which is fetched within the hour.",
    "other_card": "It shows another card than the pinned one. Ask the authority what happened.",
    "bad_card": "It shows no card that holds.",
    "wrong_authority": "Another authority answers at its address.",
    "bad_profile": "It shows a profile that does not hold.",
    "bad_answer": "It answers in another form than the protocol has.",
    "unreachable": "Nobody answers at its address.",
    "timeout": "It does not answer in time.",
    "tls": "No handshake: it has not pinned our card, or its key is not the one in its pinned card.",
    "wrong_sender": "It no longer has our certificate pinned.",
}
_ASK = "Ask the authority over another channel what happened."
_PROOF = (
    "Keep the proof with art18 audit forks -o FILE, ask the authority over another channel, and have an "
    "administrator suspend it."
)
_BOTH = "Keep both answers, and ask the authority over another channel which of them holds."
_OWED = "Look whose turn it is in the case: send what is owed, or ask the authority how far it is."
_ENDED = "Nothing has to be sent. Decide what follows from the end of this time."
ALARMS: Mapping[str, tuple[str, str]] = {
    "undetermined": (
        "A message expired, and its fate is not known.",
        "Wait for the signed answer of the peer before you send it anew: the peer may have taken it.",
    ),
    "lost_by_peer": (
        "A peer that was restored has lost a message of ours.",
        "Send it anew if it still matters.",
    ),
    "late_acceptance": ("A peer accepted a message after it had refused it, or after it had expired.", _BOTH),
    "contradiction": ("A peer gave two signed answers that exclude each other.", _BOTH),
    "receipt_not_proved": ("A receipt of a peer does not hold.", _ASK),
    "notice_refused": ("A peer refused what we told it about a message of its own.", _ASK),
    "card_does_not_follow": ("A peer shows a card that does not follow the pinned one.", _ASK),
    "card_fork": ("A peer has signed two cards with one number.", _ASK),
    "profile_does_not_hold": ("A peer shows a profile that does not hold.", _ASK),
    "profile_fork": ("A peer has signed two profiles with one number.", _ASK),
    "epoch_not_proved": ("A peer does not prove how the new epoch of its log began.", _ASK),
    "log_two_roots": ("The log of a peer has signed two roots for one size.", _PROOF),
    "log_inconsistent": ("No proof leads from one checkpoint of a peer's log to another.", _PROOF),
    "witness_conflict": (
        "A witness has seen another log under our name.",
        "Stop this node: it is an old copy, or a second one runs with its keys.",
    ),
    "webhook_failing": (
        "A system of your own does not take the events that are sent to it.",
        "Have the receiving system looked at. The alarm ends with the next delivery that succeeds.",
    ),
    "clock_doubted": (
        "Most peers have another time than this machine.",
        "Compare the clock of this machine with a time that you trust.",
    ),
    "clock_receipt": (
        "A peer has neither accepted nor refused a message.",
        "Look whether the peer can be reached, and ask it over another channel.",
    ),
    "clock_acknowledgment": ("A request has not been acknowledged in time.", _OWED),
    "clock_written_confirmation": ("An oral request has not been confirmed in writing in time.", _OWED),
    "clock_update": ("An update that was announced has not come in time.", _OWED),
    "clock_arrest_documents": ("The documents after an arrest have not come in time.", _OWED),
    "clock_appeal": ("The time to appeal has ended.", _ENDED),
    "clock_embargo": ("The time in which information may not be used has ended.", _ENDED),
}
ALARM_OTHERWISE = "Ask your administrator: the handbook of this node knows the alarm by its name."
PROBLEMS: Mapping[str, str] = {
    "not_found": "There is no such page or thing here.",
    "method_not_allowed": "This cannot be asked in this way.",
    "no_link": "This link was used, is too old, or was replaced. Ask your administrator for another one.",
    "wrong_role": "Your account lacks the role for this. Ask your administrator.",
    "cross_site": "This request came from another page than this console. Nothing was changed.",
    "unavailable": "This cannot be done just now. Nothing was changed; try again in a moment.",
    "exists": "There is an account of this name already.",
    "own_account": "Somebody else has to do this to your own account.",
    "erased": "The content of this message was erased.",
    "malformed": "Something that was given is not in form. Nothing was changed.",
}
OTHERWISE = (
    "Something went wrong on our side. Nothing is lost; your administrator finds it under this number."
)
FAILURES: Mapping[str, str] = {
    "not_signed_in": "Name, passphrase and code do not belong together, or the code was used already.",
    "locked": "Too many attempts failed. Wait a while before the next one.",
    "weak_passphrase": (
        "Take a longer passphrase: at least 14 characters, more than your name, and not one character again "
        "and again."
    ),
    "two_passphrases": "The two passphrases are not the same.",
    "wrong_code": "This is not the code that the app shows now.",
}

SENTENCES = (
    *(
        sentence
        for table in (
            STATES,
            DIRECTIONS,
            ROLES,
            ACCOUNT_STATES,
            COOPERATION,
            PEER_PROBLEMS,
            PROBLEMS,
            FAILURES,
        )
        for sentence in table.values()
    ),
    *(sentence for pair in ALARMS.values() for sentence in pair),
    ALARM_OTHERWISE,
    OTHERWISE,
)
"""All of them, for the catalogues."""
