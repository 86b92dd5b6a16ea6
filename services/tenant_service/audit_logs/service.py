"""Who may read what of a tenant's audit log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from mis_http.pages import Page
from mis_tenancy.origins.rows import origins_of
from mis_tenancy.origins.sealing import Origin
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import AuditRow
from tenant_service.audit_logs import repository
from tenant_service.audit_logs.filters import AuditFilter
from tenant_service.trail import Caller


@dataclass(frozen=True, slots=True)
class Reading:
    """Rows of a log, and where their requests came from; without `with_changes` it hides what was changed."""

    rows: Sequence[AuditRow]
    origins: Mapping[UUID, Origin]
    with_changes: bool


async def read(session: TenantSession, asked: AuditFilter, page: Page, by: Caller) -> Reading:
    """Return a page of the log, and one more row where there is more.

    What was changed is the tenant's content, which operators reach only inside the tenant, with a reason.
    """
    rows = await repository.rows(session, asked, page)
    return Reading(rows, await origins_of(session, rows), with_changes=not by.is_operator)
