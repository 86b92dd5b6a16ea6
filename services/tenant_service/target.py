"""The tenant that a path names, and who may name which.

Members reach their own tenant and learn nothing of others; operators of the platform reach every tenant that
still exists. An operator inside a tenant (act-as) is like a member of it.
"""

from typing import Annotated, Final

from fastapi import Depends, Path, Request

from mis_tenancy.access import is_platform_operator
from mis_tenancy.directory import TenantDirectory
from mis_tenancy.errors import (
    ActAsRequired,
    TenantConflict,
    TenantMismatch,
    TenantNotFound,
    TenantPendingDeletion,
)
from mis_tenancy.fastapi import Admitted, CurrentPrincipal, tenancy_of
from mis_tenancy.slugs import parse_id, parse_slug
from mis_tenancy.tenancy import Tenancy
from mis_tenancy.tenant import Admission, Principal, Tenant, TenantStatus
from tenant_service.errors import OPERATOR, operators_only

_PURGING: Final = "The purge of this tenant has begun. Ask for its deletion certificate to see how far it is."

Named = Annotated[str, Path(alias="id", description="The tenant's id or slug.", max_length=64)]


async def target(named: Named, request: Request, admitted: Admitted, principal: CurrentPrincipal) -> Tenant:
    """Return the tenant the path names; raise TenantNotFound where the caller may not know of it."""
    if is_platform_operator(principal):
        found = await _of_operator(tenancy_of(request), admitted, named)
        _refuse_purged(found)
        refuse_purging(found)
        return found
    own = admitted.tenant
    if own is None or (parse_id(named) != own.id and parse_slug(named) != own.slug):
        raise TenantNotFound
    return own


async def operator_only(principal: CurrentPrincipal) -> Principal:
    """Let operators of the platform through; raise PermissionDenied for everybody else."""
    if not is_platform_operator(principal):
        raise operators_only()
    return principal


async def inside_only(principal: CurrentPrincipal) -> None:
    """Let through whoever stands inside a tenant; raise ActAsRequired for an operator of the platform."""
    if is_platform_operator(principal):
        raise ActAsRequired


# Read by the table of routes in the tests, like the permissions of `requires`.
operator_only.permission = OPERATOR  # type: ignore[attr-defined]

OperatorOnly = Annotated[Principal, Depends(operator_only)]


async def former_target(named: Named, request: Request, admitted: Admitted, operator: OperatorOnly) -> Tenant:
    """Return the tenant the path names, a purged one too, which is known by its id alone; for operators."""
    return await _of_operator(tenancy_of(request), admitted, named)


Target = Annotated[Tenant, Depends(target)]
FormerTarget = Annotated[Tenant, Depends(former_target)]


async def existing(directory: TenantDirectory, named: str) -> Tenant:
    """Return the tenant of that id or slug; raise TenantNotFound where there is none that still exists."""
    found = await _known(directory, named)
    _refuse_purged(found)
    return found


def refuse_purging(tenant: Tenant) -> None:
    """Raise TenantPendingDeletion where the purge has begun.

    What is read then is half gone, and what is written would be left behind.
    """
    if tenant.is_purging:
        raise TenantPendingDeletion(_PURGING, purgeAt=tenant.purge_at)


def _refuse_purged(tenant: Tenant) -> None:
    if tenant.status is TenantStatus.PURGED:
        raise TenantNotFound


async def _known(directory: TenantDirectory, named: str) -> Tenant:
    tenant_id, slug = parse_id(named), parse_slug(named)
    found = None
    if tenant_id is not None:
        found = await directory.by_id(tenant_id)
    elif slug is not None:
        found = await directory.by_slug(slug)
    if found is None:
        raise TenantNotFound
    return found


async def _of_operator(tenancy: Tenancy, admitted: Admission, named: str) -> Tenant:
    found = await _known(tenancy.directory, named)
    # A hint beside the path is a second naming, and the two must agree like any others.
    hints = await tenancy.resolver.settle(admitted.sources, found)
    try:
        tenancy.resolver.agree_with_principal(hints, found)
    except TenantMismatch as error:
        raise TenantConflict(sources=["path", *(source.kind.value for source in hints)]) from error
    return found
