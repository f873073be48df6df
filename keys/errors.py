"""What can be wrong with a key or with bytes under one.

Each class says what happened, never which bytes: a text built from key material or plain
content must not reach a log.
"""


class KeyFault(Exception):
    """The root of every error that `keys` raises."""


class MalformedToken(KeyFault):
    """Not a token, key or vault in the one form that is accepted."""


class UnknownKey(KeyFault):
    """Signed or sealed under a key id that is not among those offered."""

    def __init__(self, kid: str) -> None:
        super().__init__(f"no key with the id {kid} is known here")
        self.kid = kid


class BadSignature(KeyFault):
    """The signature does not verify under the key that it names."""


class CannotOpen(KeyFault):
    """The ciphertext was not made for this key and context, or was altered.

    Attributes:
        code: what is wrong, as far as can be told: `truncated`, `extended`, `reordered` (these of
            attachments alone), else `altered`.
    """

    def __init__(self, text: str, code: str = "altered") -> None:
        super().__init__(text)
        self.code = code


class VaultFault(KeyFault):
    """The key store cannot be read: wrong passphrase, truncated or altered (exit 5)."""
