"""Where webhooks may go: nothing inside, however it is spelled."""

from ipaddress import ip_network

import pytest

from gateway.core.address import Reach, parse_target
from gateway.core.errors import Malformed

PUBLIC = Reach()
HTTP = Reach(plain_http=True)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "203.0.114.1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ],
)
def test_public_addresses_may_be_dialled(address: str):
    assert PUBLIC.allows(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104 - an address like any other here
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:a00:1::",
        "2002:7f00:1::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%1",
        "2606:4700::1111%1",
        "fec0::1",
        "ff02::1",
        "localhost",
        "0x7f000001",
        "",
    ],
)
def test_anything_else_may_not(address: str):
    assert not PUBLIC.allows(address)


def test_networks_of_the_settings_may_be_dialled_and_no_others():
    reach = Reach((ip_network("10.1.0.0/16"), ip_network("fd00:1::/32")))
    for address in ("10.1.255.1", "::ffff:10.1.0.1", "64:ff9b::a01:1", "fd00:1::1"):
        assert reach.allows(address), address
    for address in ("10.2.0.1", "::ffff:10.2.0.1", "fd00:2::1", "127.0.0.1", "::1"):
        assert not reach.allows(address), address


@pytest.mark.parametrize(
    ("text", "host", "port", "literal"),
    [
        ("https://hooks.qm.example", "hooks.qm.example", 443, None),
        ("https://hooks.qm.example:8443/a/b?c=d%20&e=@", "hooks.qm.example", 8443, None),
        ("https://localhost/", "localhost", 443, None),
        ("https://8.8.8.8/x", "8.8.8.8", 443, "8.8.8.8"),
        ("https://[2606:4700::1111]:1/x", "2606:4700::1111", 1, "2606:4700::1111"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443, None),
    ],
)
def test_a_url_is_taken_apart(text: str, host: str, port: int, literal: str | None):
    target = parse_target(text, PUBLIC)
    assert (target.url, target.host, target.port, target.literal) == (text, host, port, literal)


def test_http_only_where_the_settings_allow_it():
    assert parse_target("http://hooks.qm.example/", HTTP).port == 80
    with pytest.raises(Malformed, match="webhook_http"):
        parse_target("http://hooks.qm.example/", PUBLIC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hooks.qm.example",
        "//hooks.qm.example/",
        "ftp://hooks.qm.example/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "HTTPS://hooks.qm.example/",
        "https://Hooks.qm.example/",
        "https:///path",
        "https://user@hooks.qm.example/",
        "https://user:word@hooks.qm.example/",
        "https://8.8.8.8@10.0.0.1/",
        "https://hooks.qm.example#@10.0.0.1/",
        "https://hooks.qm.example/#part",
        "https://hooks.qm.example\\@10.0.0.1/",
        "https://hooks.qm.example/a\\b",
        "https://hooks.qm.example/a b",
        "https://hooks.qm.example/\r\nHost: x",
        "https://hooks.qm.example/\n",
        "https://hooks.qm.example./",
        "https://.qm.example/",
        "https://hooks..example/",
        "https://-hooks.example/",
        "https://hooks_1.example/",
        "https://hooks.qm.example:0/",
        "https://hooks.qm.example:65536/",
        "https://hooks.qm.example:/",
        "https://hooks.qm.example:+80/",
        "https://hooks.qm.example:8a/",
        "https://\N{FULLWIDTH DIGIT ONE}27.0.0.1/",
        "https://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.0.0.1/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://127.0.0.1./",
        "https://1.2.3.4.5/",
        "https://hooks.127/",
        "https://hooks.0x7f/",
        "https://[::1/",
        "https://[::1%25eth0]/",
        "https://[v1.x]/",
        "https://[127.0.0.1]/",
        "https://::1/",
        "https://%31%32%37.0.0.1/",
        f"https://hooks.qm.example/{'a' * 2048}",
    ],
)
def test_what_another_reader_could_take_for_another_place_is_refused(text: str):
    with pytest.raises(Malformed):
        parse_target(text, HTTP)
