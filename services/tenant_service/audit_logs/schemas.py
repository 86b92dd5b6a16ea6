"""Audit rows on the wire."""

from typing import Any, Self
from uuid import UUID

from mis_http.schemas import Moment, ResponseBody
from mis_tenancy.identifiers import time_of
from mis_tenancy.origins.sealing import Origin
from mis_tenancy.tables import AuditRow


class AuditOut(ResponseBody):
    """Who did what, when, from where and with what outcome.

    Operators see null for `changes`; everybody does for `ip` and `user_agent` once the actor was erased.
    """

    id: UUID
    occurred_at: Moment
    kind: str
    actor: UUID | None
    actor_kind: str | None
    action: str
    resource: str | None
    outcome: str
    status: int | None
    duration_us: int | None
    ip: str | None
    user_agent: str | None
    request_id: str | None
    sources: list[str]
    changes: dict[str, Any] | None

    @classmethod
    def of(cls, row: AuditRow, origin: Origin, *, with_changes: bool) -> Self:
        """Return the row as it is shown."""
        return cls(
            id=row.id,
            occurred_at=time_of(row.id),
            kind=row.kind,
            actor=row.actor,
            actor_kind=row.actor_kind,
            action=row.action,
            resource=row.resource,
            outcome=row.outcome,
            status=row.status,
            duration_us=row.duration_us,
            ip=origin.ip,
            user_agent=origin.user_agent,
            request_id=row.request_id,
            sources=row.sources or [],
            changes=row.changes if with_changes else None,
        )
