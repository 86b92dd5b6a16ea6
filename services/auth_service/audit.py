"""What the auth service writes down: security events of a tenant, and what happens outside of any."""

from typing import Any, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.caller import Caller
from mis_models.platform import PlatformAuditRow
from mis_tenancy.audit_changes import without_personal_values
from mis_tenancy.identifiers import new_id
from mis_tenancy.tables import AuditRow
from mis_tenancy.tenant import PrincipalKind

Outcome = Literal["success", "refused"]


def record(
    session: AsyncSession,
    tenant_id: UUID | None,
    action: str,
    caller: Caller,
    *,
    kind: Literal["change", "security"] = "security",
    outcome: Outcome = "success",
    actor: UUID | None = None,
    resource: str | None = None,
    changes: dict[str, Any] | None = None,
) -> None:
    """Add a row to the tenant's audit log, or to the platform's where there is no tenant."""
    if tenant_id is None:
        record_platform(session, action, caller, kind=kind, outcome=outcome, actor=actor, resource=resource)
        return
    session.add(
        AuditRow(
            tenant_id=tenant_id,
            id=new_id(),
            kind=kind,
            actor=actor,
            actor_kind=None if actor is None else PrincipalKind.MEMBER.value,
            action=action,
            resource=resource,
            outcome=outcome,
            ip=caller.address,
            user_agent=caller.user_agent,
            request_id=caller.request_id,
            sources=[source.kind.value for source in caller.sources],
            changes=None if changes is None else without_personal_values(changes),
        )
    )


def record_by_operator(
    session: AsyncSession,
    tenant_id: UUID,
    operator_id: UUID,
    action: str,
    caller: Caller,
    *,
    reason: str,
    resource: str | None = None,
    kind: Literal["change", "security"] = "security",
    outcome: Outcome = "success",
) -> None:
    """Write what an operator does to a tenant, or to its `resource`, down on both sides, with the reason."""
    what = resource or f"tenant:{tenant_id}"
    session.add(
        AuditRow(
            tenant_id=tenant_id,
            id=new_id(),
            kind=kind,
            actor=operator_id,
            actor_kind=PrincipalKind.OPERATOR.value,
            action=action,
            resource=what,
            outcome=outcome,
            request_id=caller.request_id,
            sources=[],
            changes={"reason": {"old": None, "new": reason}},
        )
    )
    record_platform(
        session,
        action,
        caller,
        kind=kind,
        outcome=outcome,
        actor=operator_id,
        resource=what,
        tenant_id=tenant_id,
        reason=reason,
    )


def record_platform(
    session: AsyncSession,
    action: str,
    caller: Caller,
    *,
    kind: Literal["change", "security"] = "security",
    outcome: Outcome = "success",
    actor: UUID | None = None,
    resource: str | None = None,
    tenant_id: UUID | None = None,
    reason: str | None = None,
) -> None:
    """Add a row to the platform's audit log."""
    session.add(
        PlatformAuditRow(
            id=new_id(),
            kind=kind,
            actor=actor,
            action=action,
            resource=resource,
            tenant_id=tenant_id,
            outcome=outcome,
            reason=reason,
            ip=caller.address,
            user_agent=caller.user_agent,
            request_id=caller.request_id,
        )
    )
