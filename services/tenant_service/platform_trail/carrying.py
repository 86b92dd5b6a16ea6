"""A row for the platform's log that leaves with a tenant's transaction.

The application's role, as which such a transaction runs, has no access to that log. So the row travels in a
job that commits with the change, under an id, and so with a time, of the change's own
(docs/decisions/0023-the-platforms-log-from-a-tenants-transaction.md).
"""

from typing import Final
from uuid import UUID

from mis_jobs.jobs import add_job
from mis_models.platform import PlatformAuditRow
from mis_tenancy.session import TenantSession

PLATFORM_TRAIL: Final = "platform_trail"


def carry(session: TenantSession, row: PlatformAuditRow) -> None:
    """Have the worker write the row, once the session's transaction has committed."""
    columns = {column.key: getattr(row, column.key) for column in PlatformAuditRow.__table__.columns}
    payload = {name: str(value) if isinstance(value, UUID) else value for name, value in columns.items()}
    add_job(session, PLATFORM_TRAIL, {name: value for name, value in payload.items() if value is not None})
