"""Bodies of the permission routes."""

from mis_http.schemas import ResponseBody
from mis_tenancy.access import Permission
from mis_tenancy.tenant import Role


class PermissionTable(ResponseBody):
    """Every permission, and those of each role."""

    permissions: list[Permission]
    roles: dict[Role, list[Permission]]
