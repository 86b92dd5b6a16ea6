"""The transactional outbox: an event commits with what it tells of, so neither exists alone."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import insert

from mis_models.work import OutboxRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.insertion import insert_many
from mis_tenancy.session import PlatformSession, TenantSession, tenant_of, wake_after_commit
from mis_tenancy.tracing import current_traceparent

# Woken by each commit that adds an event; `mis_jobs.waking.Wakeup` listens.
CHANNEL: Final = "mis:outbox"


class EventType(StrEnum):
    """What tenants can be told of by webhook."""

    TENANT_CREATED = "tenant.created"
    TENANT_UPDATED = "tenant.updated"
    TENANT_SUSPENDED = "tenant.suspended"
    TENANT_REACTIVATED = "tenant.reactivated"
    TENANT_DELETED = "tenant.deleted"
    TENANT_RESTORED = "tenant.restored"
    TENANT_MIGRATED = "tenant.migrated"
    CONFIG_CHANGED = "config.changed"
    USER_CREATED = "user.created"
    USER_UPDATED = "user.updated"
    USER_DISABLED = "user.disabled"
    USER_DELETED = "user.deleted"
    EXPORT_COMPLETED = "export.completed"
    EXPORT_FAILED = "export.failed"
    ALERT_OPENED = "alert.opened"
    ALERT_RESOLVED = "alert.resolved"
    INVOICE_ISSUED = "invoice.issued"
    INVOICE_PAID = "invoice.paid"


def publish(session: TenantSession, event: EventType, data: Mapping[str, Any]) -> None:
    """Add an event of the session's tenant, to commit with its cause.

    `data` is JSON that the tenant's administrators may see: ids rather than personal data, never a secret.
    """
    session.add(OutboxRow(tenant_id=tenant_of(session), **_columns(event, data)))
    wake_after_commit(session, CHANNEL)


async def publish_many(session: TenantSession, event: EventType, many: Iterable[Mapping[str, Any]]) -> None:
    """Add an event of the type for each of `many`, as `publish` does, in one statement."""
    if rows := [_columns(event, data) for data in many]:
        await insert_many(session, OutboxRow, rows)
        wake_after_commit(session, CHANNEL)


async def publish_for_each(
    session: PlatformSession, event: EventType, told: Iterable[tuple[UUID, Mapping[str, Any]]]
) -> None:
    """Add an event of the type for each tenant and its data, as `publish` does, in one statement."""
    if rows := [{"tenant_id": tenant_id, **_columns(event, data)} for tenant_id, data in told]:
        await session.execute(insert(OutboxRow), rows)
        wake_after_commit(session, CHANNEL)


def _columns(event: EventType, data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": new_id(),
        "type": event.value,
        "data": dict(data),
        "traceparent": current_traceparent(),
    }
