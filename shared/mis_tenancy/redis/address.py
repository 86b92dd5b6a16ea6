"""Where a Redis is, and how to sign in to it: what `MIS_REDIS_URL` says, checked before anything connects."""

import re
import ssl
from dataclasses import dataclass, field, replace
from typing import Any, Final

from redis.asyncio.connection import parse_url

from mis_tenancy.settings import SettingsError

_CLUSTER: Final = re.compile(r"(rediss?)\+cluster://(?:([^/?#]*)@)?([^/?#@]*)([/?#].*)?", re.S)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Redis is and how to sign in to it; `is_of_cluster` where it must be a node of a cluster."""

    host: str
    port: int
    path: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls: ssl.SSLContext | None = None
    is_of_cluster: bool = False

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Read a `redis://`, `rediss://` or `unix://` URL; raise SettingsError where it is none.

        `rediss://` takes the parameters `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, `ssl_cert_reqs=none`.
        """
        try:
            parts: dict[str, Any] = dict(parse_url(url))
        except ValueError:
            # What the parser says may quote a password that has a slash in it.
            raise SettingsError(
                "MIS_REDIS_URL is not of the form redis://user:password@host:port/0, with what is special in "
                "the password percent-encoded; a cluster's nodes go into redis+cluster://host:port,host:port"
            ) from None
        parts.pop("connection_class", None)
        tls = _tls_context(parts) if url.startswith("rediss://") else None
        address = cls(
            host=parts.pop("host", "localhost"),
            port=parts.pop("port", 6379),
            path=parts.pop("path", None),
            username=parts.pop("username", None),
            password=parts.pop("password", None),
            database=parts.pop("db", 0),
            tls=tls,
        )
        if parts:
            unknown = ", ".join(sorted(parts))
            raise SettingsError(f"MIS_REDIS_URL has parameters that mean nothing here: {unknown}")
        return address


def addresses_of(url: str) -> tuple[Address, ...]:
    """Read the URL of one Redis, or `redis+cluster://user:password@host:port,host:port` (`rediss+cluster://`).

    A cluster's other nodes are found through those that are named. Raises SettingsError where it is no URL.
    """
    if "+cluster" not in url.partition("://")[0]:
        return (Address.parse(url),)
    parts = _CLUSTER.fullmatch(url)
    if parts is None:
        raise SettingsError(
            "MIS_REDIS_URL is not of the form redis+cluster://user:password@host:port,host:port, with what "
            "is special in the password percent-encoded"
        )
    scheme, user, hosts, rest = parts.groups()
    before = f"{scheme}://" if user is None else f"{scheme}://{user}@"
    named = hosts.split(",")
    if not all(host.strip() for host in named):
        raise SettingsError("MIS_REDIS_URL lacks a host: a cluster's nodes are host:port,host:port")
    first, *others = (Address.parse(f"{before}{host.strip()}{rest or ''}") for host in named)
    if first.database:
        raise SettingsError("MIS_REDIS_URL names a database, and a cluster has none but 0: leave it out")
    places = dict.fromkeys((node.host, node.port) for node in (first, *others))
    return tuple(replace(first, host=host, port=port, is_of_cluster=True) for host, port in places)


def _tls_context(parts: dict[str, Any]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=parts.pop("ssl_ca_certs", None))
        certificate = parts.pop("ssl_certfile", None)
        if certificate:
            context.load_cert_chain(certificate, parts.pop("ssl_keyfile", None))
    except OSError as error:
        raise SettingsError(f"MIS_REDIS_URL: a certificate file cannot be read: {error}") from error
    if parts.pop("ssl_cert_reqs", "required") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
