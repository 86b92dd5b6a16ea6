"""Where a URL that a stranger gave us leads: read once, strictly, so that what is judged is connected to."""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final
from urllib.parse import urlsplit

import httpx

LONGEST_URL: Final = 2048

_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
_LABELS: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_][a-z0-9_-]{0,62})*")
# A last label like this makes a host an IPv4 address to some readers, in decimal, octal or hexadecimal.
_NUMERIC: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LOCAL_NAMES: Final = ("localhost", "local", "internal", "home.arpa", "localdomain")
_WEB_PORTS: Final = frozenset({80, 443})
# Databases, caches, queues and control planes: no web server is there.
_SERVICE_PORTS: Final = frozenset(
    {
        *(1433, 1521, 2049, 2181, 2375, 2376, 2379, 2380, 3306, 3389, 4369, 5432, 5672, 5900, 5984),
        *(5985, 5986, 6379, 6380, 6443, 7000, 8500, 9042, 9092, 9200, 9300, 10250, 11211, 26379, 27017),
    }
)


class DestinationRefused(ValueError):
    """A URL that nothing is sent to; the message says why."""


class AddressRefused(DestinationRefused):
    """A host that leads to no public address."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL in its parts; `host` is a name or an address without brackets."""

    url: str
    scheme: str
    host: str
    port: int
    netloc: str
    target: str


def destination_of(url: str, *, allow_private: bool) -> Destination:
    """Return where `url` leads; raise DestinationRefused.

    `allow_private` also lets plain http and names of the local network through.
    """
    if len(url) > LONGEST_URL or not _PRINTABLE.fullmatch(url) or "\\" in url:
        raise DestinationRefused(f"takes an ASCII URL of at most {LONGEST_URL} characters, without spaces")
    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode("ascii").lower().removesuffix(".")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise DestinationRefused("is not a URL") from error
    if parsed.scheme != "https" and not (allow_private and parsed.scheme == "http"):
        raise DestinationRefused("takes an https:// URL")
    if parsed.userinfo or parsed.fragment:
        raise DestinationRefused("takes a URL without user, password and fragment")
    _judge_host(host, allow_private=allow_private)
    standard = 443 if parsed.scheme == "https" else 80
    port = standard if parsed.port is None else parsed.port
    _judge_port(port)
    netloc, target = parsed.netloc.decode("ascii"), parsed.raw_path.decode("ascii")
    return Destination(str(parsed), parsed.scheme, host, port, netloc, target)


def origin_of(url: str) -> str:
    """Return a destination's URL without path and query, which may hold a token of the receiver's."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _judge_host(host: str, *, allow_private: bool) -> None:
    if _is_address(host):
        # Where it leads is judged with the addresses of names.
        return
    if len(host) > 253 or not _LABELS.fullmatch(host) or _NUMERIC.fullmatch(host.rpartition(".")[2]):
        raise DestinationRefused("names a host that is neither a domain name nor a plain IP address")
    local = "." not in host or any(host == name or host.endswith(f".{name}") for name in _LOCAL_NAMES)
    if local and not allow_private:
        raise AddressRefused("names a host of a local network; only public addresses are reached")


def _judge_port(port: int) -> None:
    allowed = port in _WEB_PORTS or (1024 <= port <= 65_535 and port not in _SERVICE_PORTS)
    if not allowed:
        raise DestinationRefused(
            "names a port of another service; take 443, or one from 1024 on that no database has"
        )


def _is_address(host: str) -> bool:
    if "%" in host:
        # A zone names an interface of this machine (RFC 6874); the internet has none.
        return False
    try:
        IPv6Address(host) if ":" in host else IPv4Address(host)
    except AddressValueError:
        return False
    return True
