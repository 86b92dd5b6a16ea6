"""Which tenant a request names: all of its sources are read, and each must name the same one.

Reading is pure and comes before any lookup. A verified token is proof and is compared by value, so that a
request learns nothing about another tenant; without one the hints must agree on a tenant that strangers may
know of.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes
from uuid import UUID

from starlette.types import Scope

from mis_tenancy.errors import TenantAmbiguous, TenantConflict, TenantMalformed, TenantMismatch
from mis_tenancy.http.hosts import HostMalformed, host_name, host_source, is_trusted
from mis_tenancy.settings import TenancySettings
from mis_tenancy.slugs import parse_id, parse_slug
from mis_tenancy.tenant import Source, SourceKind, Tenant, TenantStatus

_HEADERS: Final = frozenset({b"x-tenant-id", b"x-tenant-slug", b"host", b"x-forwarded-host"})

# To a stranger these do not exist.
HIDDEN: Final = frozenset({TenantStatus.SUSPENDED, TenantStatus.PENDING_DELETION, TenantStatus.PURGED})


class Directory(Protocol):
    """The lookups that resolution needs; each answers from a cache where it can."""

    async def by_id(self, tenant_id: UUID) -> Tenant | None:
        """Return the tenant, whatever its status, or None."""
        ...

    async def by_slug(self, slug: str) -> Tenant | None:
        """Return the tenant whose slug this is, or None."""
        ...

    async def by_subdomain(self, label: str) -> Tenant | None:
        """Return the tenant whose subdomain this is, or None."""
        ...

    async def by_domain(self, host: str) -> Tenant | None:
        """Return the tenant whose verified domain this is, or None."""
        ...


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
    given: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        if name in _HEADERS:
            given.setdefault(name, []).append(value)
    found = _Survey()
    hosts = given.get(b"host", ())

    def read_host(raw: bytes) -> Source | None:
        return host_source(raw, settings.base_domains)

    if b"x-tenant-id" in given:
        found.take(SourceKind.HEADER_ID, _listed(given[b"x-tenant-id"]), _id_source)
    if b"x-tenant-slug" in given:
        found.take(SourceKind.HEADER_SLUG, _listed(given[b"x-tenant-slug"]), _slug_source)
    if hosts:
        found.take("host", _listed(hosts), read_host)
    if b"x-forwarded-host" in given and is_trusted(_peer(scope), settings.trusted_proxies):
        found.take("forwarded_host", _listed(given[b"x-forwarded-host"]), read_host)
    if scope["path"][:1] != "/":
        _compare_target(found, scope["path"], hosts)
    if settings.query_selector:
        found.take(SourceKind.QUERY, _query_values(scope.get("query_string", b"")), _query_source)
    return Reading(tuple(dict.fromkeys(found.sources)), tuple(found.malformed), tuple(found.repeated))


def body_source(slug: str) -> Source:
    """Return the source that a body's `tenantSlug` is; raise TenantMalformed."""
    parsed = parse_slug(slug)
    if parsed is None:
        raise TenantMalformed(sources=[SourceKind.BODY.value])
    return Source(SourceKind.BODY, slug=parsed)


class Resolver:
    """Turns sources into the tenant they name, by what `directory` knows."""

    def __init__(self, directory: Directory, settings: TenancySettings) -> None:
        self._directory = directory
        self._settings = settings

    def survey(self, scope: Scope) -> Reading:
        """Read all sources of `scope` without judging them."""
        return survey(scope, self._settings)

    async def settle(self, sources: tuple[Source, ...], known: Tenant | None = None) -> tuple[Source, ...]:
        """Return `sources` with each domain's tenant filled in, and without hosts that are nobody's domain.

        `known` spares the lookup of its own domain.
        """
        if all(source.host is None for source in sources):
            return sources
        settled: list[Source] = []
        for source in sources:
            if source.host is None:
                settled.append(source)
                continue
            own = known is not None and known.domain == source.host
            tenant = known if own else await self._directory.by_domain(source.host)
            if tenant is not None:
                settled.append(replace(source, id=tenant.id))
        return tuple(settled)

    def agree_with_principal(self, sources: Iterable[Source], tenant: Tenant) -> None:
        """Raise TenantMismatch unless each settled hint names `tenant`, the one the token proves.

        Values are compared and nothing is looked up, so the refusal is the same whether the other tenant
        exists.
        """
        for source in sources:
            if not _names(source, tenant):
                raise TenantMismatch

    async def resolve_hints(self, sources: Sequence[Source]) -> Tenant | None:
        """Return the tenant that all settled hints of a stranger name, or None where there is none for him.

        Raise TenantConflict where hints of different text do not provably name one visible tenant: whether
        one of them names a suspended tenant or nobody must not show.
        """
        found = [_visible(await self._lookup(source)) for source in sources]
        if agreed := _same(found):
            return agreed
        if len({source.value for source in sources}) > 1:
            raise _conflict(sources)
        return None

    async def resolve_any(self, sources: Sequence[Source]) -> Tenant | None:
        """Return the tenant of whatever status that all settled hints name, for routes that sign in.

        Raise TenantConflict only for what a stranger may see: two values of one kind of name, or two visible
        tenants. Any other disagreement is None, like an unknown tenant.
        """
        names = {(_namespace(source), source.value) for source in sources}
        if len({namespace for namespace, _ in names}) < len(names):
            raise _conflict(sources)
        found = [await self._lookup(source) for source in sources]
        if agreed := _same(found):
            return agreed
        if len({tenant.id for tenant in map(_visible, found) if tenant is not None}) > 1:
            raise _conflict(sources)
        return None

    async def _lookup(self, source: Source) -> Tenant | None:
        if source.id is not None:
            tenant = await self._directory.by_id(source.id)
        elif source.kind is SourceKind.SUBDOMAIN:
            tenant = await self._directory.by_subdomain(source.slug or "")
        else:
            tenant = await self._directory.by_slug(source.slug or "")
        return tenant if tenant is not None and tenant.status is not TenantStatus.PURGED else None


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
    if b"tenant" not in query and b"%" not in query:
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


def _names(source: Source, tenant: Tenant) -> bool:
    if source.id is not None:
        return source.id == tenant.id
    return source.slug == (tenant.subdomain if source.kind is SourceKind.SUBDOMAIN else tenant.slug)


def _same(found: Sequence[Tenant | None]) -> Tenant | None:
    """Return the one tenant that all of `found` are, or None."""
    first = found[0] if found else None
    return first if all(tenant and first and tenant.id == first.id for tenant in found) else None


def _visible(tenant: Tenant | None) -> Tenant | None:
    return None if tenant is None or tenant.status in HIDDEN else tenant


def _namespace(source: Source) -> str:
    """Return which kind of name this is: two values of one kind cannot be the same tenant's."""
    if source.host is not None:
        return "domain"
    if source.id is not None:
        return "id"
    return "subdomain" if source.kind is SourceKind.SUBDOMAIN else "slug"


def _conflict(sources: Sequence[Source]) -> TenantConflict:
    return TenantConflict(sources=[source.kind.value for source in sources])
