"""Where a provider sends the browser back to: an address that the tenant is known to have, never a header's.

Providers compare it with what was registered there. Its scheme and port are those of the public URL, its host
one of the tenant's own names, and the `Host` of the request only says which of these the browser is at.
"""

from typing import Final
from urllib.parse import urlsplit

from starlette.types import Scope

from mis_tenancy.http.hosts import HostMalformed, host_name
from mis_tenancy.http.requests import header_values
from mis_tenancy.settings import TenancySettings
from mis_tenancy.tenant import Tenant

CALLBACK: Final = "/login/sso/callback"


def callback_of(scope: Scope, tenant: Tenant, settings: TenancySettings) -> str:
    """Return the address of the tenant's callback, on the host that the browser is at."""
    public = urlsplit(settings.issuer)
    own = {f"{tenant.subdomain}.{base}" for base in settings.base_domains} | {tenant.domain}
    sent = [value for name in (b"x-forwarded-host", b"host") for value in header_values(scope, name)]
    for raw in sent:
        name = _name(raw)
        if name in own:
            return f"{public.scheme}://{name}{_port(public.port)}{CALLBACK}"
    return f"{settings.issuer}{CALLBACK}?tenant={tenant.slug}"


def _name(raw: bytes) -> str:
    try:
        return host_name(raw.strip(b" \t"))
    except HostMalformed:
        return ""


def _port(port: int | None) -> str:
    return "" if port is None else f":{port}"
