"""What is read of tenants: one of them whole, and the operators' list of all."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from mis_http.pages import Page
from mis_tenancy.plans import Feature, PlanName
from mis_tenancy.session import PlatformSession, TenantSession
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import Tenant
from tenant_service.lifecycle import list_repository, repository
from tenant_service.lifecycle.document import TenantDocument, features_of
from tenant_service.lifecycle.filters import TenantFilter

Lookup = Callable[[UUID], Awaitable[Tenant | None]]


@dataclass(frozen=True, slots=True)
class Listed:
    """A tenant in the list, with its features in force."""

    row: TenantRow
    features: dict[Feature, bool]


async def read(session: TenantSession) -> TenantDocument:
    """Return the session's tenant, whole and as of one moment."""
    row, profile = await repository.tenant_and_profile(session)
    overrides = await repository.feature_overrides(session)
    return TenantDocument(row, profile.settings, features_of(PlanName(row.plan), overrides))


async def shown(session: TenantSession, row: TenantRow, tenant: Tenant) -> TenantDocument:
    """Return the tenant of `row`, which has just changed; its features are those of `tenant`.

    The platform's role reads no tenant's configuration, so they come from the directory.
    """
    profile = await repository.profile(session)
    return TenantDocument(row, profile.settings, {feature: tenant.has(feature) for feature in Feature})


async def list_tenants(
    session: PlatformSession, asked: TenantFilter, page: Page, lookup: Lookup
) -> Sequence[Listed]:
    """Return a page of tenants, and one more where there is more.

    Features come from the directory through `lookup`: the platform's role reads no tenant's configuration.
    """
    return [
        Listed(row, await _features(row, lookup))
        for row in await list_repository.listed(session, asked, page)
    ]


async def _features(row: TenantRow, lookup: Lookup) -> dict[Feature, bool]:
    tenant = await lookup(row.id)
    return {feature: tenant is not None and tenant.has(feature) for feature in Feature}
