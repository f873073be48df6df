import pytest

from tests.support import nodes


@pytest.fixture(scope="session", autouse=True)
def cheap_passphrases():
    """Let the key stores of the nodes that the example works with cost little."""
    with nodes.cheap_passphrases():
        yield
