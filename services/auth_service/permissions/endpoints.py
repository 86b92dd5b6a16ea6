"""HTTP of the permission routes."""

from fastapi import APIRouter

from auth_service.permissions.schemas import PermissionTable
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.access import ROLE_PERMISSIONS, Permission
from mis_tenancy.fastapi import CurrentPrincipal

router = APIRouter(prefix="/api/v1/auth", tags=["permissions"], route_class=DirectRoute)


@router.get("/permissions")
async def read_permissions(by: CurrentPrincipal) -> PermissionTable:
    """Return which role may do what."""
    roles = {role: sorted(permissions) for role, permissions in ROLE_PERMISSIONS.items()}
    return PermissionTable(permissions=sorted(Permission), roles=roles)
