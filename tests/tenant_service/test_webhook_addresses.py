"""Where webhooks may lead: tables of addresses and URLs, without a network."""

import asyncio

import pytest

from mis_http.outbound.addresses import is_public
from mis_http.outbound.destinations import AddressRefused, DestinationRefused, destination_of
from mis_http.outbound.reach import NameUnresolved, Reach

PUBLIC = [
    *("93.184.215.14", "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1"),
    *("192.167.1.1", "198.17.0.1", "223.255.255.254", "2606:4700::1111", "2a00:1450:4001::1", "2001:4860::8"),
]
SPECIAL = [
    *("127.0.0.1", "127.255.255.254", "0.0.0.1", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1"),
    *("192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1"),
    *("239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16"),
    *("::1", "::", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b::808:808"),
    *("64:ff9b:1::1", "100::1", "2001::1", "2001:0:7f00:1::1", "2001:db8::1", "2002:7f00:1::1", "3fff::1"),
    *("5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "4000::1"),
    *("", "localhost", "127.1", "0x7f000001", "2130706433", "8.8.8.8:443", " 8.8.8.8"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", SPECIAL)
def test_any_other_address_is_not(address: str) -> None:
    """Catalogue 120."""
    assert not is_public(address)


REFUSED = [
    *("http://hooks.example.com/", "ftp://hooks.example.com/", "file:///etc/passwd", "gopher://x.example/1"),
    *("javascript:alert(1)", "hooks.example.com", "//hooks.example.com/", "https:///path", "https://", ""),
    *(
        "https://user@hooks.example.com/",
        "https://user:secret@hooks.example.com/",
        "https://h.example.com/#a",
    ),
    *(
        "https://hooks.example.com/a b",
        "https://hooks.example.com\\@127.0.0.1/",
        "https://hooks.example.com/\n",
    ),
    *("https://hooks.example.com:22/", "https://hooks.example.com:6379/", "https://hooks.example.com:5432/"),
    *("https://hooks.example.com:0/", "https://hooks.example.com:25/", "https://hooks.example.com:99999/"),
    *("https://hooks.example.com:1023/", "https://hooks.example.com:x/", "https://hööks.example.com/"),
    *(
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://0x7f000001/",
    ),
    *("https://1.2.3/", "https://1.2.3.4.5/", "https://256.1.1.1/", "https://%31%32%37.0.0.1/"),
    *("https://hooks..example.com/", "https://-hooks.example.com/", "https://.example.com/"),
    *("https://localhost/", "https://localhost./", "https://LOCALHOST/", "https://a.localhost/"),
    *("https://redis/", "https://postgres.internal/", "https://printer.local/", "https://nas.home.arpa/"),
    *("https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[2606:4700::1111%25lo]/"),
    *("https://[::1/", "https://[::ffff:127.0.0.1", "https://" + "a" * 64 + ".example.com/"),
    "https://hooks.example.com/" + "a" * 2048,
]


@pytest.mark.parametrize("url", REFUSED)
def test_a_url_that_no_webhook_may_have_is_refused(url: str) -> None:
    """Catalogue 120."""
    with pytest.raises(DestinationRefused):
        destination_of(url, allow_private=False)


@pytest.mark.parametrize(
    ("url", "canonical", "host", "port", "target"),
    [
        ("https://hooks.example.com", "https://hooks.example.com", "hooks.example.com", 443, "/"),
        (
            "https://HOOKS.Example.com./x?a=1",
            "https://hooks.example.com./x?a=1",
            "hooks.example.com",
            443,
            "/x?a=1",
        ),
        ("https://hooks.example.com:443/a", "https://hooks.example.com/a", "hooks.example.com", 443, "/a"),
        (
            "https://hooks.example.com:8443/",
            "https://hooks.example.com:8443/",
            "hooks.example.com",
            8443,
            "/",
        ),
        (
            "https://xn--hks-sna.example/%20",
            "https://xn--hks-sna.example/%20",
            "xn--hks-sna.example",
            443,
            "/%20",
        ),
        ("https://93.184.215.14/", "https://93.184.215.14/", "93.184.215.14", 443, "/"),
        ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/", "2606:4700::1111", 443, "/"),
    ],
)
def test_a_url_is_read_once_into_what_is_connected_to(
    url: str, canonical: str, host: str, port: int, target: str
) -> None:
    read = destination_of(url, allow_private=False)
    assert (read.url, read.host, read.port, read.target) == (canonical, host, port, target)


@pytest.mark.parametrize("url", ["http://localhost:9000/", "http://receiver:8080/", "http://127.0.0.1/"])
def test_the_setting_for_closed_networks_lets_names_and_plain_http_of_them_through(url: str) -> None:
    assert destination_of(url, allow_private=True).scheme == "http"


@pytest.mark.parametrize("url", ["ftp://localhost/", "http://a@localhost/", "http://localhost:6379/"])
def test_the_setting_for_closed_networks_opens_nothing_else(url: str) -> None:
    with pytest.raises(DestinationRefused):
        destination_of(url, allow_private=True)


async def test_of_a_names_addresses_only_the_public_ones_are_kept() -> None:
    """Catalogue 120, 121."""
    answers = {
        "mixed.example": ["10.0.0.1", "93.184.215.14", "::1"],
        "inside.example": ["10.0.0.1", "fd00::1"],
    }

    async def resolve(host: str, port: int) -> list[str]:
        if host not in answers:
            raise NameUnresolved(host)
        return answers[host]

    reach = Reach(allow_private=False, resolve=resolve)
    assert await reach.addresses("mixed.example", 443) == ["93.184.215.14"]
    with pytest.raises(AddressRefused):
        await reach.addresses("inside.example", 443)
    with pytest.raises(NameUnresolved):
        await reach.addresses("nowhere.example", 443)
    loose = Reach(allow_private=True, resolve=resolve)
    assert await loose.addresses("inside.example", 443) == ["10.0.0.1", "fd00::1"]


async def test_the_machines_own_look_up_judges_what_it_finds() -> None:
    reach = Reach(allow_private=False)
    for host in ("127.0.0.1", "localhost", "::1"):
        with pytest.raises(AddressRefused):
            await reach.addresses(host, 443)
    assert await reach.addresses("93.184.215.14", 443) == ["93.184.215.14"]
    with pytest.raises(NameUnresolved):
        async with asyncio.timeout(30):
            await reach.addresses("nobody.invalid", 443)
