import functools

import pytest

from gateway.cli import card, foundation
from keys.passwords import LEAST


@pytest.fixture(scope="session", autouse=True)
def cheap_passphrases():
    """Let key stores that are made in this process cost little: what is tested is what is in them."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((foundation, "write_vault"), (foundation, "write_root"), (card, "write_vault")):
            patch.setattr(module, name, functools.partial(getattr(module, name), strength=LEAST))
        yield
