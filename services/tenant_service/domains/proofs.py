"""What DNS says about a claim: whether the TXT record at `_mis-verification.<domain>` holds its token.

An alias at that name proves nothing: a wildcard of the domain would hand the proof to whoever owns the
alias's target. That the record is not there and that nobody answers are told apart, because only the former
says anything about the domain's owner.
"""

import asyncio
import re
import secrets
from collections.abc import Sequence
from functools import cached_property
from ipaddress import ip_address
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.resolver
import structlog

from mis_tenancy.settings import SettingsError

log = structlog.get_logger(__name__)

_LABEL: Final = "_mis-verification"
# Seconds that a look-up may take in all, over every server and retry.
_PATIENCE: Final = 5.0
# And with the wait for its turn.
_LONGEST: Final = 15.0
_AT_ONCE: Final = 16
_PORT: Final = 53
_SERVER: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[0-9.]+)(?::([0-9]{1,5}))?")


class LookupFailed(Exception):
    """No name server gave an answer to judge by."""


def new_token() -> str:
    """Return what proves one claim."""
    return secrets.token_hex(16)


def record_name(domain: str) -> str:
    """Return the name of the TXT record that proves a claim of `domain`."""
    return f"{_LABEL}.{domain}"


class Proofs:
    """Looks proofs up through `servers`, each an address with an optional port; the system's where empty.

    Raise SettingsError for a server that is none.
    """

    def __init__(self, servers: Sequence[str] = ()) -> None:
        self._servers = [_server(text) for text in servers]
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._queues: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def holds(self, domain: str, token: str, *, for_tenant: UUID) -> bool:
        """Return whether `domain` proves the claim that `token` belongs to; raise LookupFailed.

        A tenant's look-ups wait for one another: name servers that are slow on purpose hold up only the
        tenant that asks them.
        """
        queue = self._queues.setdefault(for_tenant, asyncio.Lock())
        try:
            async with asyncio.timeout(_LONGEST), queue, self._turns:
                return token.encode() in await self._texts(record_name(domain))
        except (dns.exception.DNSException, OSError) as error:
            # A TimeoutError is an OSError.
            log.info("domains.lookup_failed", domain=domain, error=repr(error))
            raise LookupFailed from error

    async def _texts(self, name: str) -> set[bytes]:
        """Return the TXT records that stand at exactly that name."""
        wanted = dns.name.from_text(name)
        try:
            answer = await self._resolver.resolve(wanted, "TXT", lifetime=_PATIENCE, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return set()
        return {b"".join(record.strings) for record in answer} if answer.canonical_name == wanted else set()

    @cached_property
    def _resolver(self) -> dns.asyncresolver.Resolver:
        # Made with the first look-up: a machine without a network has no resolver to configure, and serves.
        resolver = dns.asyncresolver.Resolver(configure=not self._servers)
        if self._servers:
            resolver.nameservers = self._servers
        return resolver


def _server(text: str) -> dns.nameserver.Nameserver:
    match = _SERVER.fullmatch(text)
    try:
        if match is None or not 0 < int(match[2] or _PORT) < 65_536:
            raise ValueError
        address = ip_address(match[1].strip("[]"))
    except ValueError as error:
        raise SettingsError(
            f"MIS_DNS_SERVERS: {text!r} is not an address with an optional port, such as 192.0.2.53 or "
            "[2001:db8::53]:53."
        ) from error
    return dns.nameserver.Do53Nameserver(str(address), int(match[2] or _PORT))
