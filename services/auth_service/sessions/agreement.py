"""Whether a token that names its tenant itself agrees with what else the request names."""

from uuid import UUID

from auth_service.authority import Authority
from auth_service.caller import Caller
from mis_tenancy.errors import TenantMismatch


async def agrees(authority: Authority, caller: Caller, tenant_id: UUID | None) -> bool:
    """Return whether all of the request's hints name the tenant; an operator's token goes with any."""
    if tenant_id is None or not caller.sources:
        return True
    tenant = await authority.tenancy.directory.by_id(tenant_id)
    if tenant is None:
        return False
    try:
        authority.tenancy.resolver.agree_with_principal(caller.sources, tenant)
    except TenantMismatch:
        return False
    return True
