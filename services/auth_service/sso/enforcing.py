"""Whether a tenant has single sign-on, and whether it still lets its people in by any other way."""

from enum import Enum

from auth_service.authority import Authority
from auth_service.errors import SsoRequired, SsoUnavailable
from auth_service.sso.repository import provider_of
from mis_tenancy.encryption import Undecryptable
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Role, Tenant


class SsoUse(Enum):
    """How far a tenant has single sign-on."""

    NONE = "none"
    OFFERED = "offered"
    ENFORCED = "enforced"


async def sso_use(authority: Authority, tenant: Tenant) -> SsoUse:
    """Return how far the tenant has single sign-on, as its sign-in page offers it."""
    async with authority.tenant_transaction(tenant.id) as session:
        try:
            provider = await provider_of(session, authority.tenancy.tenant_keys)
        except Undecryptable:
            # The page stays up for owners, whose password still opens it.
            return SsoUse.NONE
    if provider is None:
        return SsoUse.NONE
    return SsoUse.ENFORCED if provider.is_enforced else SsoUse.OFFERED


async def require_local_sign_in(session: TenantSession, authority: Authority, role: Role) -> None:
    """Raise SsoRequired where the tenant signs members of `role` in through its provider alone.

    Owners keep their passwords: they set the provider up, and have to get in where it does not answer.
    """
    if role is Role.OWNER:
        return
    try:
        provider = await provider_of(session, authority.tenancy.tenant_keys)
    except Undecryptable as error:
        # Whether the other ways are closed cannot be told, so they are.
        raise SsoUnavailable from error
    if provider is not None and provider.is_enforced:
        raise SsoRequired
