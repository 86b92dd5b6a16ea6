"""Whether a host is served at all: what a gateway asks before it obtains a certificate for it.

It says yes only for what strangers may know of: the subdomain or the proven domain of a tenant that is in
service. Anything else, also not knowing, is no.
"""

from mis_tenancy.http.hosts import HostMalformed, host_source
from mis_tenancy.tenancy import Tenancy
from tenant_service.domains.errors import DomainUnknown


async def ask(tenancy: Tenancy, host: str) -> str:
    """Return the host as it is compared; raise DomainUnknown where no visible tenant is served at it."""
    try:
        source = host_source(host.encode("ascii"), tenancy.settings.base_domains)
    except (UnicodeEncodeError, HostMalformed) as error:
        raise DomainUnknown from error
    if source is None or ":" in host:
        raise DomainUnknown
    # A certificate outlives what a stale cache believes.
    await tenancy.feed.confirm()
    settled = await tenancy.resolver.settle((source,))
    if await tenancy.resolver.resolve_hints(settled) is None:
        raise DomainUnknown
    return host.lower().removesuffix(".")
