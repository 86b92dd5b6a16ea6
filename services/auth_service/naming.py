"""Which tenant a request without a bearer is about, by all sources and the body together."""

from dataclasses import replace

from auth_service.authority import Authority
from auth_service.caller import Caller
from auth_service.sessions.agreement import agrees
from mis_accounts.row_tokens import RowToken
from mis_tenancy.errors import TenantRequired
from mis_tenancy.http.sources import body_source
from mis_tenancy.tenant import Tenant, TenantStatus


async def named_tenant(
    authority: Authority, caller: Caller, tenant_slug: str | None
) -> tuple[Tenant | None, str, Caller]:
    """Return the tenant that all sources name, the realm its accounts are throttled in, and the caller.

    The caller's sources then include the body's. Raise TenantRequired where there is none at all, and what
    sources that are malformed or disagree are answered by.
    """
    sources = caller.sources
    if tenant_slug is not None:
        sources = (*sources, body_source(tenant_slug))
        caller = replace(caller, sources=sources)
    if not sources:
        raise TenantRequired
    await authority.tenancy.feed.confirm()
    tenant = await authority.tenancy.resolver.resolve_any(sources)
    if tenant is not None and tenant.is_purging:
        # Its accounts are going; a trace that were written down there would be left behind.
        tenant = None
    return tenant, f"?{sources[0].value}" if tenant is None else str(tenant.id), caller


async def named_by_token(authority: Authority, caller: Caller, token: RowToken) -> Tenant | None:
    """Return the tenant that the token names and all other sources agree on, if it is still there."""
    await authority.tenancy.feed.confirm()
    if not await agrees(authority, caller, token.tenant_id):
        return None
    tenant = await authority.tenancy.directory.by_id(token.tenant_id)
    if tenant is None or tenant.is_purging or tenant.status is TenantStatus.PURGED:
        return None
    return tenant
