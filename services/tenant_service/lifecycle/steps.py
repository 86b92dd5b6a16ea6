"""One step of a tenant from a state to another: what it changes, who is told, and whose tokens end.

Suspensions, reactivations, deletions and restorations are all such steps, so none can forget the trail or
the news.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mis_accounts.departures import end_all_sessions
from mis_tenancy.revocations import Kind, revoke
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow
from mis_tenancy.tenant import TenantStatus
from mis_tenancy.turns import lock_tenant
from tenant_service.lifecycle.errors import TenantStateConflict
from tenant_service.trail import Caller


@dataclass(frozen=True, slots=True)
class Step:
    """Where a step leads, what the logs call it, and whether all tokens and sign-ins from before end."""

    to: TenantStatus
    action: str
    reason: str | None = None
    ends_tokens: bool = False


async def tenant_in(session: TenantSession, states: frozenset[TenantStatus]) -> TenantRow:
    """Return the session's tenant, locked against other steps; raise TenantStateConflict for other states."""
    row = await lock_tenant(session)
    if row.status not in states:
        raise TenantStateConflict(tenantStatus=row.status)
    return row


async def take(session: TenantSession, row: TenantRow, step: Step, caller: Caller) -> None:
    """Take the step with the tenant of the locked `row`, and leave its trail and its news."""
    changes = await move(session, row, step, datetime.now(UTC))
    caller.record_directly(
        session, step.action, resource=f"tenants/{row.id}", reason=step.reason, changes=changes
    )


async def move(session: TenantSession, row: TenantRow, step: Step, now: datetime) -> dict[str, Any]:
    """Take the step and spread its news; return what changed, for the trail of whoever causes it."""
    changes: dict[str, Any] = {
        "status": {"old": row.status, "new": step.to.value},
        "status_reason": {"old": row.status_reason, "new": step.reason},
    }
    row.status, row.status_reason, row.status_since = step.to.value, step.reason, now
    row.version += 1
    row.updated_at = now
    if step.ends_tokens:
        row.epoch += 1
        await end_all_sessions(session, reason=step.action, now=now)
    revoke(session, Kind.TENANT, tenant_id=row.id, epoch=row.epoch if step.ends_tokens else None)
    return changes
