"""The audit log as its members read it."""

from collections.abc import Sequence
from typing import Final

from mis_tenancy.identifiers import time_of
from mis_tenancy.origins.rows import open_origins
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import AuditRow
from tenant_service.exports.data_types.shape import (
    DataType,
    DataTypeName,
    Extract,
    Field,
    Values,
    json_field,
)


async def _with_origins(session: TenantSession, rows: Sequence[Values]) -> Sequence[Values]:
    """Open the origin behind each row, of which the address and the browser are made."""
    opened = await open_origins(session, {row[_ID]: row[-1] for row in rows if row[-1] is not None})
    complete = [list(row[:-1]) for row in rows]
    for row in complete:
        if (origin := opened.get(row[_ID])) is not None:
            row[_IP], row[_USER_AGENT] = origin.ip, origin.user_agent
    return complete


AUDIT_LOGS: Final = DataType(
    DataTypeName.AUDIT_LOGS,
    (
        Extract(
            "audit_logs",
            AuditRow,
            (AuditRow.id,),
            (
                Field("id", AuditRow.id),
                Field("occurredAt", AuditRow.id, derive=time_of),
                Field("kind", AuditRow.kind),
                Field("actor", AuditRow.actor),
                Field("actorKind", AuditRow.actor_kind),
                Field("action", AuditRow.action),
                Field("resource", AuditRow.resource),
                Field("outcome", AuditRow.outcome),
                Field("status", AuditRow.status),
                Field("durationUs", AuditRow.duration_us),
                Field("ip", AuditRow.ip),
                Field("userAgent", AuditRow.user_agent),
                Field("requestId", AuditRow.request_id),
                json_field("sources", AuditRow.sources),
                json_field("changes", AuditRow.changes),
            ),
            hidden=(AuditRow.origin,),
            complete=_with_origins,
        ),
    ),
)
_ID, _IP, _USER_AGENT = map(
    AUDIT_LOGS.extracts[0].field_names.index,
    ("id", "ip", "userAgent"),
)
