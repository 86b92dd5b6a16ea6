"""What the middleware needs to know, frozen and checked at construction.

Nothing here reads the environment: an application reads its own and hands over values, so that two
configurations can live in one process and a mistake shows at start, with its fix.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

from mis_tenancy.http.requests import Network

_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names it and says what to do."""


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """The keys that wrap tenants' data keys: by id, the first one current."""

    keys: Mapping[str, bytes]
    current_id: str

    @classmethod
    def parse(cls, text: str) -> "MasterKeys":
        """Read `id:base64(32 bytes)[,…]`; raise SettingsError where it is not that."""
        keys: dict[str, bytes] = {}
        for entry in filter(None, (part.strip() for part in text.split(","))):
            key_id, _, encoded = entry.partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                key = b""
            if not key_id or len(key) != 32 or key_id in keys:
                raise SettingsError(
                    "MIS_MASTER_KEYS: each entry is a unique `id:` and the base64 of 32 random bytes, "
                    f"which entry {len(keys) + 1} is not. Make one with `openssl rand -base64 32`."
                )
            keys[key_id] = key
        if not keys:
            raise SettingsError(
                "MIS_MASTER_KEYS is empty. Set `id:base64(32 bytes)`; the first entry is current."
            )
        return cls(keys, next(iter(keys)))

    def __repr__(self) -> str:
        return f"MasterKeys({', '.join(self.keys)})"


@dataclass(frozen=True, slots=True)
class TenancySettings:
    """The middleware's settings.

    `database_url` is that of the application role, `issuer` the public URL in every token's `iss`,
    `base_domains` the domains whose one-label subdomains name tenants. Without `query_selector` the parameter
    `tenant` is the application's own and names nobody. Times are seconds.
    """

    database_url: str
    issuer: str
    spool_directory: Path
    master_keys: MasterKeys
    redis_url: str | None = None
    replica_database_url: str | None = None
    audience: str = "mis"
    base_domains: tuple[str, ...] = ("mis.local",)
    query_selector: bool = True
    trusted_proxies: tuple[Network, ...] = ()
    expected_processes: int = 1
    anonymous_per_second: int = 20
    service: str = "service"
    pool_size: int = 8
    spool_limit_bytes: int = 256 * 2**20
    feed_interval: float = 0.5
    feed_stale_after: float = 1.0
    redis_timeout: float = 0.05
    metrics_tenants: int = 50

    @property
    def platform_hosts(self) -> tuple[str, ...]:
        """The hosts that are no tenant's, nor are those below them: the base domains and the public one."""
        return (*self.base_domains, urlsplit(self.issuer).hostname or "")

    def __post_init__(self) -> None:
        if not self.database_url.startswith(("postgresql://", "postgres://")):
            raise SettingsError(
                "MIS_DATABASE_URL must be a postgresql:// URL of the application role (mis_app)."
            )
        if not self.issuer.startswith(("http://", "https://")):
            raise SettingsError("MIS_PUBLIC_URL must be the http(s) URL under which clients reach the suite.")
        for domain in self.base_domains:
            if not _HOST.fullmatch(domain):
                raise SettingsError(f"MIS_BASE_DOMAINS: {domain!r} is not a lower-case host name.")
        if self.replica_database_url is not None and self.redis_url is None:
            raise SettingsError(
                "MIS_REPLICA_DATABASE_URL needs MIS_REDIS_URL, by which processes know how far a replica has "
                "to be. Set it, or leave the replica out."
            )
        if self.expected_processes < 1:
            raise SettingsError(
                "MIS_EXPECTED_PROCESSES must be the number of processes that serve, at least 1."
            )


def parse_networks(entries: list[str]) -> tuple[Network, ...]:
    """Read trusted proxies' addresses and CIDR networks; raise SettingsError naming what is neither."""
    networks: list[Network] = []
    for entry in entries:
        try:
            networks.append(ip_network(entry, strict=False))
        except ValueError as error:
            raise SettingsError(
                f"MIS_TRUSTED_PROXIES: {entry!r} is not an address or CIDR network."
            ) from error
    return tuple(networks)
