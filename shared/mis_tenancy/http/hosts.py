"""What a Host header says: which name, and which tenant's subdomain or domain that may be.

The raw header is parsed here because frameworks turn a malformed one into "no host" without a word, or into
a URL whose path is the attacker's (CVE-2026-48710).
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from mis_tenancy.http.requests import Network
from mis_tenancy.slugs import is_reserved, parse_slug
from mis_tenancy.tenant import Source, SourceKind

_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,254})(?::([0-9]{0,5}))?")
# Underscores are no host names, but service names of container networks have them.
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LONGEST_NAME: Final = 253
_LONGEST_HEADER: Final = 300


class HostMalformed(ValueError):
    """A Host is no name or address with an optional port, or no possible subdomain of a base domain."""


def host_name(raw: bytes) -> str:
    """Return the normalised name or address of a `Host` value: lower case, no port, no trailing dot.

    An IPv6 literal keeps its brackets. Raise HostMalformed where RFC 3986 §3.2 knows no such authority.
    """
    if len(raw) > _LONGEST_HEADER or not raw.isascii():
        raise HostMalformed
    match = _AUTHORITY.fullmatch(raw.decode("ascii").lower())
    if match is None or int(match[2] or 0) > 65_535:
        raise HostMalformed
    name = match[1]
    if name.startswith("["):
        return f"[{_address(name[1:-1])}]"
    name = name.removesuffix(".")
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise HostMalformed
    if name.rpartition(".")[2].isdigit():
        # What ends in a number is an IPv4 address or a way of disguising one (WHATWG URL, "ends in a
        # number").
        return _address(name)
    return name


@lru_cache(maxsize=4096)
def host_source(raw: bytes, base_domains: tuple[str, ...]) -> Source | None:
    """Return the tenant source in a `Host` value; raise HostMalformed.

    One label under a base domain is a SUBDOMAIN. None are addresses, single names, base domains themselves,
    deeper or reserved labels. Any other name is a DOMAIN, which is a source only if the directory knows it.
    """
    name = host_name(raw)
    if name.startswith("[") or "." not in name or name.rpartition(".")[2].isdigit():
        return None
    bases = [base for base in base_domains if name == base or name.endswith(f".{base}")]
    if not bases:
        return Source(SourceKind.DOMAIN, host=name)
    label = name.removesuffix(max(bases, key=len)).removesuffix(".")
    if not label or "." in label or is_reserved(label):
        return None
    slug = parse_slug(label)
    if slug is None:
        raise HostMalformed
    return Source(SourceKind.SUBDOMAIN, slug=slug)


def is_trusted(peer: str, proxies: Sequence[Network]) -> bool:
    """Return whether the direct peer is one of our proxies, whose forwarded headers count."""
    if not proxies:
        return False
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return any(address in network for network in proxies)


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise HostMalformed from error
