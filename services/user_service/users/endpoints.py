"""HTTP of the user routes."""

from fastapi import APIRouter, Request, Response

from mis_accounts.members import EmailTaken
from mis_accounts.password_rules import PasswordPolicyUnmet
from mis_accounts.seats import LimitExceeded
from mis_http.etags import IfMatch, PreconditionFailed, etag
from mis_http.idempotency import IdempotentRoute
from mis_http.pages import Paged, cut
from mis_http.problems import problems
from mis_tenancy.errors import PermissionDenied
from mis_tenancy.fastapi import CurrentPrincipal, CurrentTenant, tenancy_of
from user_service.users.dependencies import CanReadUsers, CanWriteUsers, TenantUsers, UserId, Wanted
from user_service.users.errors import LastOwner, UserNotFound
from user_service.users.listing import encoded
from user_service.users.schemas import ProfileChange, UserChange, UserCreate, UserOut
from user_service.users.service import page_of_users

router = APIRouter(prefix="/api/v1/users", tags=["users"], route_class=IdempotentRoute)


@router.get("", response_model=list[UserOut], responses=problems(PermissionDenied))
async def list_users(
    request: Request, tenant: CurrentTenant, by: CanReadUsers, wanted: Wanted, page: Paged
) -> Response:
    """List the tenant's users, newest first."""
    response = Response(media_type="application/json")
    records = await page_of_users(tenancy_of(request).database, tenant, wanted, page)
    shown = cut(records, page, [record["id"] for record in records], request, response)
    response.body = encoded(shown)
    response.headers["content-length"] = str(len(response.body))
    return response


@router.post(
    "",
    status_code=201,
    responses=problems(PermissionDenied, EmailTaken, LimitExceeded, PasswordPolicyUnmet),
)
async def create_user(body: UserCreate, response: Response, users: TenantUsers, by: CanWriteUsers) -> UserOut:
    """Create a user, with or without a password."""
    user = await users.create(body)
    response.headers["Location"] = f"/api/v1/users/{user.id}"
    response.headers["ETag"] = etag(user.version)
    return UserOut.of(user)


@router.get("/me", responses=problems(PermissionDenied, UserNotFound))
async def read_own_profile(
    response: Response, users: TenantUsers, me: CurrentPrincipal, by: CanReadUsers
) -> UserOut:
    """Return the caller's own user."""
    user = await users.get(me.id)
    response.headers["ETag"] = etag(user.version)
    return UserOut.of(user)


@router.patch("/me", responses=problems(PermissionDenied, UserNotFound, PreconditionFailed))
async def change_own_profile(
    body: ProfileChange,
    response: Response,
    users: TenantUsers,
    me: CurrentPrincipal,
    by: CanReadUsers,
    held: IfMatch,
) -> UserOut:
    """Change the caller's own name and attributes."""
    user = await users.change(me.id, body.given(), held)
    response.headers["ETag"] = etag(user.version)
    return UserOut.of(user)


@router.get("/{user_id}", responses=problems(PermissionDenied, UserNotFound))
async def read_user(response: Response, user_id: UserId, users: TenantUsers, by: CanReadUsers) -> UserOut:
    """Return a user."""
    user = await users.get(user_id)
    response.headers["ETag"] = etag(user.version)
    return UserOut.of(user)


@router.patch("/{user_id}", responses=problems(PermissionDenied, UserNotFound, LastOwner, PreconditionFailed))
async def change_user(
    body: UserChange,
    response: Response,
    user_id: UserId,
    users: TenantUsers,
    by: CanWriteUsers,
    held: IfMatch,
) -> UserOut:
    """Change a user's name, role, status or attributes."""
    user = await users.change(user_id, body.given(), held)
    response.headers["ETag"] = etag(user.version)
    return UserOut.of(user)


@router.delete(
    "/{user_id}",
    status_code=204,
    responses=problems(PermissionDenied, UserNotFound, LastOwner, PreconditionFailed),
)
async def delete_user(user_id: UserId, users: TenantUsers, by: CanWriteUsers, held: IfMatch) -> None:
    """Delete a user, their sessions with them."""
    await users.remove(user_id, held)
