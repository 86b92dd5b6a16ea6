"""What in a request may name a tenant: read from its raw headers, path and query, before any lookup.

Every source is read and none is judged yet. Requests of one tenant mostly name it alike, so what was read of
such a one is remembered.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from mis_tenancy.errors import TenantAmbiguous, TenantMalformed
from mis_tenancy.http.hosts import HostMalformed, host_name, host_source, is_trusted
from mis_tenancy.settings import TenancySettings
from mis_tenancy.slugs import parse_id, parse_slug
from mis_tenancy.tenant import Source, SourceKind

_HEADERS: Final = frozenset({b"x-tenant-id", b"x-tenant-slug", b"host", b"x-forwarded-host"})

# Longer requests than this come from nobody who means well, and are not worth their memory.
_LONGEST_REMEMBERED: Final = 1024


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found before judging: good sources, and which kinds are malformed or given more than once."""

    sources: tuple[Source, ...] = ()
    malformed: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()

    def judged(self) -> tuple[Source, ...]:
        """Return the sources; raise TenantMalformed, then TenantAmbiguous, naming the kinds and no values."""
        if self.malformed:
            raise TenantMalformed(sources=list(self.malformed))
        if self.repeated:
            raise TenantAmbiguous(sources=list(self.repeated))
        return self.sources


def survey(scope: Scope, settings: TenancySettings) -> Reading:
    """Read all sources of `scope` from its raw headers, path and query, without judging."""
    given = tuple([(name, value) for name, value in scope["headers"] if name in _HEADERS])
    path, query = scope["path"], scope.get("query_string", b"")
    may_select = settings.query_selector and (b"tenant" in query or b"%" in query)
    written = _Written(
        given,
        # What names nothing is left out, so that requests of one tenant are written alike.
        target="" if path[:1] == "/" else path,
        query=query if may_select else b"",
        is_forwarded=any(name == b"x-forwarded-host" for name, _ in given)
        and is_trusted(_peer(scope), settings.trusted_proxies),
        base_domains=settings.base_domains,
    )
    length = len(written.target) + len(written.query) + sum([len(value) for _, value in given])
    return _read(written) if length <= _LONGEST_REMEMBERED else _read.__wrapped__(written)


class _Written(NamedTuple):
    """Everything in a request that may name a tenant."""

    headers: tuple[tuple[bytes, bytes], ...]
    target: str
    query: bytes
    is_forwarded: bool
    base_domains: tuple[str, ...]


@lru_cache(maxsize=4096)
def _read(written: _Written) -> Reading:
    given: dict[bytes, list[bytes]] = {}
    for name, value in written.headers:
        given.setdefault(name, []).append(value)
    found = _Survey()
    hosts = given.get(b"host", ())

    def read_host(raw: bytes) -> Source | None:
        return host_source(raw, written.base_domains)

    if b"x-tenant-id" in given:
        found.take(SourceKind.HEADER_ID, _listed(given[b"x-tenant-id"]), _id_source)
    if b"x-tenant-slug" in given:
        found.take(SourceKind.HEADER_SLUG, _listed(given[b"x-tenant-slug"]), _slug_source)
    if hosts:
        found.take("host", _listed(hosts), read_host)
    if written.is_forwarded:
        found.take("forwarded_host", _listed(given[b"x-forwarded-host"]), read_host)
    if written.target:
        _compare_target(found, written.target, hosts)
    found.take(SourceKind.QUERY, _query_values(written.query), _query_source)
    return Reading(tuple(dict.fromkeys(found.sources)), tuple(found.malformed), tuple(found.repeated))


def body_source(slug: str) -> Source:
    """Return the source that a body's `tenantSlug` is; raise TenantMalformed."""
    parsed = parse_slug(slug)
    if parsed is None:
        raise TenantMalformed(sources=[SourceKind.BODY.value])
    return Source(SourceKind.BODY, slug=parsed)


class _Survey:
    """Collects sources while they are read."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.malformed: list[str] = []
        self.repeated: list[str] = []

    def take(self, kind: str, values: Sequence[bytes], read: Callable[[bytes], Source | None]) -> None:
        """Add what `read` makes of `values`; it raises ValueError where a value is malformed."""
        try:
            found = [read(value) for value in values]
        except ValueError:
            self.malformed.append(str(kind))
            return
        if len(found) > 1:
            self.repeated.append(str(kind))
        elif found and found[0] is not None:
            self.sources.append(found[0])


def _listed(values: Sequence[bytes]) -> Sequence[bytes]:
    """Split lists at commas: to HTTP two header lines and one line with a comma are the same."""
    if len(values) == 1 and b"," not in values[0]:
        return (values[0].strip(b" \t"),)
    return [value.strip(b" \t") for line in values for value in line.split(b",")]


def _id_source(raw: bytes) -> Source:
    tenant_id = parse_id(raw.decode("latin-1"))
    if tenant_id is None:
        raise ValueError
    return Source(SourceKind.HEADER_ID, id=tenant_id)


def _slug_source(raw: bytes, kind: SourceKind = SourceKind.HEADER_SLUG) -> Source:
    slug = parse_slug(raw.decode("latin-1"))
    if slug is None:
        raise ValueError
    return Source(kind, slug=slug)


def _query_values(query: bytes) -> list[bytes]:
    """Return the undecoded values of the parameters whose decoded name is exactly `tenant`."""
    if not query:
        return []
    values = []
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name == b"tenant" or (b"%" in name and unquote_to_bytes(name) == b"tenant"):
            values.append(value)
    return values


def _query_source(raw: bytes) -> Source:
    # A bad escape stays as it is, and a percent sign is in no slug and no UUID.
    value = unquote_to_bytes(raw)
    tenant_id = parse_id(value.decode("latin-1"))
    return (
        _slug_source(value, SourceKind.QUERY) if tenant_id is None else Source(SourceKind.QUERY, id=tenant_id)
    )


def _compare_target(found: _Survey, target: str, hosts: Sequence[bytes]) -> None:
    """Refuse an absolute-form target (RFC 9112 §3.2.2) that names another host than the Host header does."""
    scheme, separator, rest = target.partition("://")
    if not separator or not scheme.isalpha():
        return
    try:
        named = host_name(rest.partition("/")[0].encode("latin-1", "replace"))
        agrees = len(hosts) == 1 and host_name(hosts[0].strip(b" \t")) == named
    except HostMalformed:
        agrees = False
    if not agrees:
        found.malformed.append("target")


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""
