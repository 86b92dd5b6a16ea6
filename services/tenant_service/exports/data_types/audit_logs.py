"""The audit log as its members read it."""

from typing import Final

from mis_tenancy.identifiers import time_of
from mis_tenancy.tables import AuditRow
from tenant_service.exports.data_types.shape import DataType, DataTypeName, Extract, Field, json_field

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
        ),
    ),
)
