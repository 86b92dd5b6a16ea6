"""Whether a tenant's state lets one of its members sign in, and with what."""

from mis_tenancy.errors import TenantPendingDeletion, TenantSuspended, TenantUnavailable
from mis_tenancy.gate import PAST_DUE
from mis_tenancy.tenant import Role, Tenant, TenantStatus


def is_restricted_in(tenant: Tenant, role: Role) -> bool:
    """Return whether a member of `role` gets only the narrow token of an ending tenant's owner.

    Raise TenantSuspended, TenantPendingDeletion or TenantUnavailable for those who may not enter at all.
    """
    if tenant.status is TenantStatus.ACTIVE:
        return False
    if tenant.status is TenantStatus.SUSPENDED:
        if role is Role.OWNER and tenant.status_reason == PAST_DUE:
            return True
        raise TenantSuspended(reason=tenant.status_reason, since=tenant.status_since)
    if tenant.status is TenantStatus.PENDING_DELETION:
        if role is Role.OWNER and not tenant.is_purging:
            return True
        raise TenantPendingDeletion(purgeAt=tenant.purge_at)
    raise TenantUnavailable(retry_after=5)
