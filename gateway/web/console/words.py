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
        for table in (STATES, DIRECTIONS, ROLES, ACCOUNT_STATES, PROBLEMS, FAILURES)
        for sentence in table.values()
    ),
    OTHERWISE,
)
"""All of them, for the catalogues."""
