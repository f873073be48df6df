"""Receivers of webhooks: what is dialled was judged, whatever names say and when they say it."""

import socket
from collections.abc import AsyncIterator

import pytest

from gateway.core.address import Reach
from gateway.core.errors import Malformed, Misuse
from gateway.peering.receivers import ForbiddenAddress, Receivers, check_target
from tests.support.webhooks import LOOPBACK, Names, Receiver, receiving, says

HTTP = Reach(plain_http=True)
HEADERS = {"webhook-id": "x"}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as opened:
        yield opened


async def told(receivers: Receivers, url: str) -> tuple[int | None, str | None]:
    try:
        answer = await receivers.post(url, b"{}", HEADERS)
    finally:
        await receivers.close()
    return answer.status, answer.problem


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://[::1]:1/", "http://[::ffff:127.0.0.1]:1/"])
async def test_a_forbidden_literal_is_not_dialled(url: str):
    assert await told(Receivers(HTTP), url) == (None, "forbidden_address")


async def test_a_literal_that_may_be_dialled(receiver: Receiver):
    assert await told(Receivers(LOOPBACK), receiver.url) == (204, None)


async def test_a_name_is_dialled_where_it_was_judged(receiver: Receiver):
    names, url = Names(hooks_example=[["127.0.0.1"]]), receiver.url.replace("127.0.0.1", "hooks.example")
    assert await told(Receivers(LOOPBACK, resolver=names), url) == (204, None)
    assert names.asked == ["hooks.example"], "once"
    assert receiver.told[0][0]["host"].startswith("hooks.example:")


@pytest.mark.parametrize(
    "found",
    [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:10.0.0.1"], ["169.254.169.254"], []],
)
async def test_a_name_with_one_forbidden_address_is_not_dialled_at_all(found: list[str]):
    names = Names(hooks_example=[found])
    assert await told(Receivers(HTTP, resolver=names), "http://hooks.example/") == (None, "forbidden_address")


async def test_a_name_that_changes_between_check_and_post_gains_nothing(receiver: Receiver):
    names = Names(hooks_example=[["8.8.8.8"], ["127.0.0.1"]])
    url = receiver.url.replace("127.0.0.1", "hooks.example")
    await check_target(url, HTTP, names)
    assert await told(Receivers(HTTP, resolver=names), url) == (None, "forbidden_address")
    assert receiver.told == []


async def test_what_a_resolver_lets_through_is_judged_again_before_it_is_dialled(receiver: Receiver):
    """The last door: a socket is made only for an address that may be dialled."""
    receivers = Receivers(HTTP)
    with pytest.raises(ForbiddenAddress):
        receivers._socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80)))
    receivers._session.connector._resolver._reach = LOOPBACK  # type: ignore[union-attr]  # judged amiss
    receivers._session.connector._resolver._resolver = Names(hooks_example=[["127.0.0.1"]])  # type: ignore[union-attr]
    url = receiver.url.replace("127.0.0.1", "hooks.example")
    status, problem = await told(receivers, url)
    assert (status, receiver.told) == (None, [])
    assert problem is not None


async def test_a_redirect_is_not_followed(receiver: Receiver):
    async with receiving(says(307, Location=receiver.url)) as moved:
        assert await told(Receivers(LOOPBACK), moved.url) == (307, None)
    assert receiver.told == []


async def test_proxies_of_the_environment_are_not_asked(receiver: Receiver, monkeypatch):
    async with receiving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert await told(Receivers(LOOPBACK), receiver.url) == (204, None)
    assert (len(receiver.told), proxy.told) == (1, [])


async def test_a_receiver_without_tls_gets_nothing_under_https(receiver: Receiver):
    url = receiver.url.replace("http:", "https:")
    assert await told(Receivers(LOOPBACK), url) == (None, "tls")
    assert receiver.told == []


async def test_a_name_that_is_not_known():
    assert await told(Receivers(HTTP, resolver=Names()), "http://nobody.example/") == (None, "unresolvable")


class TestCheck:
    async def test_a_target_that_may_be_reached(self):
        await check_target("https://8.8.8.8/", HTTP)
        await check_target("https://hooks.example/", HTTP, Names(hooks_example=[["8.8.8.8"]]))

    @pytest.mark.parametrize(
        ("url", "code"),
        [
            ("https://127.0.0.1/", "forbidden_address"),
            ("https://inside.example/", "forbidden_address"),
            ("https://nobody.example/", "unresolvable"),
        ],
    )
    async def test_one_that_may_not(self, url: str, code: str):
        with pytest.raises(Misuse) as caught:
            await check_target(url, HTTP, Names(inside_example=[["10.0.0.1"]]))
        assert (caught.value.status, caught.value.code) == (422, code)

    async def test_one_that_is_none(self):
        with pytest.raises(Malformed):
            await check_target("https://user@8.8.8.8/", HTTP)

    async def test_the_name_of_this_machine_is_found_out(self):
        with pytest.raises(Misuse) as caught:
            await check_target("https://localhost/", HTTP)
        assert caught.value.code == "forbidden_address"
