"""Which tenant a request without a bearer is about, by all sources and the body together."""

from dataclasses import replace

from auth_service.authority import Authority
from auth_service.caller import Caller
from mis_tenancy.errors import TenantRequired
from mis_tenancy.resolution import body_source
from mis_tenancy.tenant import Tenant


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
