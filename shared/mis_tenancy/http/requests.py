"""What a request says about itself before any tenant is known: its id and its client's address.

Both come from headers that anybody can write, so each is accepted only in a shape that cannot hurt a log
line or a limiter's key.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from starlette.types import Scope

from mis_tenancy.identifiers import new_id

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_REQUEST_ID: Final = "mis.request_id"
_SANE_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:+/=-]{1,128}")


def header_values(scope: Scope, name: bytes) -> list[bytes]:
    """Return every value of the header `name` (lower case), in order; frameworks show only one of them."""
    return [value for key, value in scope["headers"] if key == name]


def request_id_of(scope: Scope) -> str:
    """Return the request's id: its `X-Request-ID` if that is sane, else a new one; the same at each call."""
    state = scope.setdefault("state", {})
    known: str | None = state.get(_REQUEST_ID)
    if known is None:
        sent = header_values(scope, b"x-request-id") if "headers" in scope else []
        sane = len(sent) == 1 and _SANE_REQUEST_ID.fullmatch(sent[0])
        known = state[_REQUEST_ID] = sent[0].decode() if sane else str(new_id())
    return known


def client_address_of(scope: Scope, trusted_proxies: Sequence[Network] = ()) -> str:
    """Return the client's address: the right-most `X-Forwarded-For` entry that no trusted proxy wrote.

    The header counts only when the peer itself is a trusted proxy. An unreadable entry ends the walk at the
    proxy that sent it, because nothing to its left can be believed.
    """
    client = scope.get("client")
    peer = client[0] if client else "unknown"
    if not trusted_proxies or not _trusted(peer, trusted_proxies):
        return str(peer)
    entries = [
        entry.strip() for line in header_values(scope, b"x-forwarded-for") for entry in line.split(b",")
    ]
    address = str(peer)
    for raw in reversed(entries):
        parsed = _parsed(raw.decode("latin-1"))
        if parsed is None:
            return address
        address = str(parsed)
        if not _trusted(address, trusted_proxies):
            return address
    return address


def network_of(address: str) -> str:
    """Return what a limiter counts under: an IPv4 address itself, an IPv6 address's /64."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Network((parsed, 64), strict=False))
    return address


def _parsed(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _trusted(address: str, networks: Sequence[Network]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)
