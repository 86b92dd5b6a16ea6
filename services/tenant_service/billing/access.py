"""What billing does to a tenant's access: closes it for unpaid invoices or its own notice, and opens it."""

from datetime import datetime
from typing import Any, Final

from mis_jobs.outbox import EventType, publish
from mis_tenancy.audit_changes import record_change
from mis_tenancy.gate import PAST_DUE
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import TenantStatus
from tenant_service.lifecycle.steps import Step, move

CANCELED: Final = "canceled"
_SUSPENDED: Final = "tenant.suspended"


async def close(session: TenantSession, tenant: TenantRow, reason: str, now: datetime) -> None:
    """Suspend the tenant, as the worker does by itself.

    Unpaid invoices end the tokens too: what its owner may still do takes another kind of token.
    """
    step = Step(TenantStatus.SUSPENDED, _SUSPENDED, reason, ends_tokens=reason == PAST_DUE)
    changes = await move(session, tenant, step, now)
    publish(session, EventType.TENANT_SUSPENDED, {"tenantId": str(tenant.id), "reason": reason})
    record_change(
        session,
        action=step.action,
        actor=None,
        actor_kind="system",
        resource=f"tenants/{tenant.id}",
        changes=changes,
    )


async def lift(session: TenantSession, tenant: TenantRow, reason: str, now: datetime) -> dict[str, Any]:
    """Undo what billing did to the tenant for this reason; return what changed, for the trail of its cause.

    A tenant that was closed is let back in, and a deletion that is under way leads back to an open one.
    """
    if tenant.status_reason != reason:
        return {}
    if tenant.status == TenantStatus.SUSPENDED:
        return await _reopen(session, tenant, now)
    return _forgive(tenant) if tenant.status_before == TenantStatus.SUSPENDED else {}


async def _reopen(session: TenantSession, tenant: TenantRow, now: datetime) -> dict[str, Any]:
    was_past_due = tenant.status_reason == PAST_DUE
    step = Step(TenantStatus.ACTIVE, "tenant.reactivated", ends_tokens=was_past_due)
    publish(session, EventType.TENANT_REACTIVATED, {"tenantId": str(tenant.id)})
    return await move(session, tenant, step, now)


def _forgive(tenant: TenantRow) -> dict[str, Any]:
    changes = {"status_before": {"old": tenant.status_before, "new": TenantStatus.ACTIVE.value}}
    tenant.status_before, tenant.status_reason = TenantStatus.ACTIVE.value, None
    return changes
