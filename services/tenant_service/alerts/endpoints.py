"""`GET /api/v1/tenants/{id}/alerts` and `POST …/{alertId}/acknowledge`."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from mis_http.pages import Paged, cut
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.access import Permission
from mis_tenancy.errors import AuthenticationRequired, PermissionDenied, TenantConflict, TenantNotFound
from mis_tenancy.fastapi import requires
from mis_tenancy.slugs import parse_id
from tenant_service.alerts import service
from tenant_service.alerts.causes import AlertKind, AlertStatus
from tenant_service.alerts.errors import AlertNotFound, AlertResolved
from tenant_service.alerts.filters import AlertFilter
from tenant_service.alerts.schemas import AlertOut
from tenant_service.sessions import TargetSession
from tenant_service.target import Target
from tenant_service.trail import Calling

router = APIRouter(prefix="/api/v1/tenants", tags=["alerts"], route_class=DirectRoute)

_REFUSED = (AuthenticationRequired, PermissionDenied, TenantNotFound, TenantConflict)


async def asked_alerts(
    status: Annotated[AlertStatus | None, Query()] = None, kind: Annotated[AlertKind | None, Query()] = None
) -> AlertFilter:
    """Read the filters of the query."""
    return AlertFilter(status, kind)


async def alert_of_path(
    alert_id: Annotated[str, Path(description="The alert's id.", max_length=64)],
) -> UUID:
    """Return the id in the path; what is no id names no alert."""
    found = parse_id(alert_id)
    if found is None:
        raise AlertNotFound
    return found


@router.get("/{id}/alerts", dependencies=[requires(Permission.USAGE_READ)], responses=problems(*_REFUSED))
async def list_alerts(
    session: TargetSession,
    target: Target,
    asked: Annotated[AlertFilter, Depends(asked_alerts)],
    page: Paged,
    request: Request,
    response: Response,
) -> list[AlertOut]:
    """List the tenant's alerts, newest first."""
    found = await service.read(session, asked, page)
    shown = cut(found, page, [row.id for row in found], request, response)
    return [AlertOut.of(row, target) for row in shown]


@router.post(
    "/{id}/alerts/{alert_id}/acknowledge",
    dependencies=[requires(Permission.TENANT_WRITE)],
    responses=problems(*_REFUSED, AlertNotFound, AlertResolved),
)
async def acknowledge_alert(
    session: TargetSession, target: Target, alert_id: Annotated[UUID, Depends(alert_of_path)], caller: Calling
) -> AlertOut:
    """Say that somebody has seen the alert; it stays until what it is about has ended."""
    return AlertOut.of(await service.acknowledge(session, alert_id, caller), target)
