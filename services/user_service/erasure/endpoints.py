"""HTTP of the erasure."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from mis_http.idempotency import IdempotentRoute
from mis_http.problems import problems
from mis_tenancy.errors import PermissionDenied
from mis_tenancy.fastapi import Admitted, CurrentTenant, Session, tenancy_of
from user_service.erasure.schemas import ErasureOut
from user_service.erasure.service import Erasure
from user_service.users.dependencies import CanWriteUsers, UserId
from user_service.users.errors import LastOwner, UserNotFound

router = APIRouter(prefix="/api/v1/users", tags=["users"], route_class=IdempotentRoute)


async def erasure_in_tenant(
    request: Request, session: Session, tenant: CurrentTenant, by: Admitted
) -> Erasure:
    """Return what erases people of the request's tenant."""
    tenancy = tenancy_of(request)
    return Erasure(session, tenant, by, tenancy.wrapping, tenancy.tenant_keys)


@router.post("/{user_id}/erase", responses=problems(PermissionDenied, UserNotFound, LastOwner))
async def erase_user(
    user_id: UserId, erasure: Annotated[Erasure, Depends(erasure_in_tenant)], by: CanWriteUsers
) -> ErasureOut:
    """Erase a person for good: everything that is theirs, also of somebody who was deleted before.

    Repeated, it finds nothing more to remove. The report counts what went, and names what goes by itself.
    """
    return ErasureOut.model_validate(await erasure.erase(user_id), from_attributes=True)
