"""Where a passkey is at home: the relying party's id and the origin, by the host that a request came to.

A browser keeps passkeys by the relying party's id, a domain that the page's host is or lies below, and hides
them from all others (WebAuthn Level 3 §5.1.2). At a base domain's subdomains it is the base domain, so that a
person's passkeys are at hand at all of them; which tenant one belongs to is decided by its row. It takes no
`localhost` for `x.localhost`, and no address at all, so there the whole host, or nothing, is the id.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Self
from urllib.parse import urlsplit

from starlette.types import Scope

from auth_service.errors import PasskeyOriginUnsupported
from mis_tenancy.http.hosts import HostMalformed, host_name, is_trusted
from mis_tenancy.http.requests import header_values
from mis_tenancy.settings import TenancySettings
from mis_tenancy.tenant import Tenant

SIGN_IN_PATH: Final = "/login"
_LOCAL: Final = "localhost"
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class Place:
    """A relying party's id, and the one origin whose page may ask its authenticators."""

    rp_id: str
    origin: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """The host that a request came to, as the browser named it."""

    host: bytes
    settings: TenancySettings

    @classmethod
    def of(cls, scope: Scope, settings: TenancySettings) -> Self:
        """Return where the request came to: what a proxy of ours forwards, else what was sent."""
        peer = scope.get("client")
        forwarded = header_values(scope, b"x-forwarded-host")
        if forwarded and is_trusted(str(peer[0]) if peer else "", settings.trusted_proxies):
            return cls(forwarded[0].strip(b" \t"), settings)
        return cls(next(iter(header_values(scope, b"host")), b"").strip(b" \t"), settings)

    def has_passkeys_of(self, tenant: Tenant) -> bool:
        """Return whether browsers keep passkeys of the tenant for this host."""
        name = _name_of(self.host)
        return name is not None and _rp_id(name, tenant, self.settings) is not None

    def place_for(self, tenant: Tenant) -> Place:
        """Return the place of a request that was admitted for the tenant.

        Raise PasskeyOriginUnsupported, with an address that will do, where the host is no name of the
        platform's or the tenant's.
        """
        scheme = urlsplit(self.settings.issuer).scheme
        name = _name_of(self.host)
        rp_id = None if name is None else _rp_id(name, tenant, self.settings)
        if rp_id is None:
            raise PasskeyOriginUnsupported(usable_url(tenant, self.settings))
        port = _port_of(self.host)
        is_default = port in ("", _DEFAULT_PORTS[scheme])
        return Place(rp_id, f"{scheme}://{name}" if is_default else f"{scheme}://{name}:{port}")


def usable_url(tenant: Tenant, settings: TenancySettings) -> str:
    """Return the address of the tenant's sign-in page at a host that passkeys work at."""
    public = urlsplit(settings.issuer)
    host = public.hostname or ""
    base = next((one for one in settings.base_domains if _is_below(host, one)), None)
    if base is None and _LOCAL in settings.base_domains and _is_address(host):
        base = _LOCAL
    if base is None:
        return f"{public.scheme}://{tenant.subdomain}.{settings.base_domains[0]}{SIGN_IN_PATH}"
    port = "" if public.port is None else f":{public.port}"
    return f"{public.scheme}://{tenant.subdomain}.{base}{port}{SIGN_IN_PATH}"


def _rp_id(name: str, tenant: Tenant, settings: TenancySettings) -> str | None:
    bases = [base for base in settings.base_domains if _is_below(name, base)]
    if not bases:
        return name if name == tenant.domain else None
    base = max(bases, key=len)
    if "." in name.removesuffix(base).removesuffix("."):
        return None
    return name if base == _LOCAL else base


def _name_of(raw: bytes) -> str | None:
    try:
        return host_name(raw)
    except HostMalformed:
        return None


def _port_of(raw: bytes) -> str:
    """Return the port in a Host that `host_name` takes, as browsers write it, or nothing."""
    port = raw.decode("ascii").rpartition("]")[2].partition(":")[2]
    return str(int(port)) if port else ""


def _is_below(name: str, base: str) -> bool:
    return name == base or name.endswith(f".{base}")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
