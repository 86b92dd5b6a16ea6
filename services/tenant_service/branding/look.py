"""A tenant's look as a value, and the platform's own."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tenant_service.branding.colors import Colors
from tenant_service.branding.logos import Logo


@dataclass(frozen=True, slots=True)
class Look:
    """What a tenant has set; the rest is the platform's. Version 0 is that of one that never set anything."""

    name: str | None
    colors: Colors
    logo: Logo | None
    version: int


DEFAULT_LOOK: Final = Look(None, MappingProxyType({}), None, 0)


def logo_url(slug: str, logo: Logo | None) -> str | None:
    """Return where a browser finds the logo: it names the tenant, because an image sends no headers."""
    return None if logo is None else f"/api/v1/tenants/branding/logo?tenant={slug}&v={logo.id.hex}"
