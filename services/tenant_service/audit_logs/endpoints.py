"""`GET /api/v1/tenants/{id}/audit-logs`."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime

from mis_http.pages import Paged, cut
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_http.schemas import Text
from mis_tenancy.access import Permission
from mis_tenancy.errors import AuthenticationRequired, PermissionDenied, TenantNotFound
from mis_tenancy.fastapi import requires
from tenant_service.audit_logs import service
from tenant_service.audit_logs.filters import AuditFilter
from tenant_service.audit_logs.schemas import AuditOut
from tenant_service.sessions import TargetReads
from tenant_service.trail import Calling

router = APIRouter(prefix="/api/v1/tenants", tags=["audit logs"], route_class=DirectRoute)


async def asked_rows(
    since: Annotated[AwareDatetime | None, Query(alias="from", description="Not before this moment.")] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to", description="Before this moment.")] = None,
    actor: Annotated[UUID | None, Query()] = None,
    action: Annotated[Text | None, Query(max_length=255)] = None,
    outcome: Annotated[Text | None, Query(max_length=64)] = None,
    kind: Annotated[Literal["change", "request", "security"] | None, Query()] = None,
) -> AuditFilter:
    """Read the filters of the query."""
    return AuditFilter(since, until, actor, action, outcome, kind)


@router.get(
    "/{id}/audit-logs",
    dependencies=[requires(Permission.AUDIT_READ)],
    responses=problems(AuthenticationRequired, PermissionDenied, TenantNotFound),
)
async def list_audit_logs(
    reads: TargetReads,
    caller: Calling,
    asked: Annotated[AuditFilter, Depends(asked_rows)],
    page: Paged,
    request: Request,
    response: Response,
) -> list[AuditOut]:
    """List what was done in the tenant, newest first; operators see no `changes`, the tenant's data."""
    found = await reads.run(lambda session: service.read(session, asked, page, caller))
    shown = cut(found.rows, page, [row.id for row in found.rows], request, response)
    return [AuditOut.of(row, found.origins[row.id], with_changes=found.with_changes) for row in shown]
