"""`GET /api/v1/tenants/{id}/audit-logs/verify`."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.access import Permission
from mis_tenancy.errors import AuthenticationRequired, PermissionDenied, TenantNotFound
from mis_tenancy.fastapi import requires, tenancy_of
from mis_tenancy.seals import SealKeys
from tenant_service.audit_seals.schemas import VerdictOut, parse_anchor
from tenant_service.audit_seals.service import Verification
from tenant_service.sessions import TargetSession

router = APIRouter(prefix="/api/v1/tenants", tags=["audit logs"], route_class=DirectRoute)

ANCHOR_PATTERN = r"^[1-9][0-9]{0,17}\.[A-Za-z0-9_-]{43}$"


@router.get(
    "/{id}/audit-logs/verify",
    dependencies=[requires(Permission.AUDIT_READ)],
    responses=problems(AuthenticationRequired, PermissionDenied, TenantNotFound),
)
async def verify_audit_logs(
    session: TargetSession,
    request: Request,
    anchor: Annotated[
        str | None, Query(pattern=ANCHOR_PATTERN, description="An `anchor` of an earlier answer.")
    ] = None,
) -> VerdictOut:
    """Recompute every seal of the log, and name the first row or seal that is not what it was."""
    keys = SealKeys(tenancy_of(request).settings.master_keys)
    known = None if anchor is None else parse_anchor(anchor)
    return VerdictOut.of(await Verification(session, keys, known).verify())
