"""Which tenant a request names: all of its sources are read, and each must name the same one.

Reading is pure and comes before any lookup. A verified token is proof and is compared by value, so that a
request learns nothing about another tenant; without one the hints must agree on a tenant that strangers may
know of.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, Protocol
from uuid import UUID

from starlette.types import Scope

from mis_tenancy.errors import TenantConflict, TenantMismatch
from mis_tenancy.http.sources import Reading, survey
from mis_tenancy.settings import TenancySettings
from mis_tenancy.tenant import Source, SourceKind, Tenant, TenantStatus

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
