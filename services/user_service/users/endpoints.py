"""HTTP of the user routes."""

from fastapi import APIRouter, Request, Response

from mis_accounts.claims import LimitExceeded
from mis_accounts.members import EmailTaken
from mis_accounts.password_rules import PasswordPolicyUnmet
from mis_accounts.recent_sign_ins import ProofRequired
from mis_http.etags import IfMatch, PreconditionFailed, etag
from mis_http.idempotency import IdempotentRoute
from mis_http.pages import Page, Paged, cut
from mis_http.problems import problems
from mis_http.routes.fast_lane import plain_page, with_lane
from mis_tenancy.access import Permission, require_permission
from mis_tenancy.errors import PermissionDenied
from mis_tenancy.fastapi import CurrentPrincipal, CurrentTenant, tenancy_of
from mis_tenancy.middleware import admission_of
from mis_tenancy.tenant import Tenant
from user_service.users.dependencies import CanReadUsers, CanWriteUsers, TenantUsers, UserId, Wanted
from user_service.users.errors import LastOwner, UserNotFound
from user_service.users.filters import EVERYBODY, UserFilter
from user_service.users.listing import encoded
from user_service.users.schemas import ProfileChange, UserChange, UserCreate, UserOut
from user_service.users.service import page_of_users

router = APIRouter(prefix="/api/v1/users", tags=["users"], route_class=IdempotentRoute)


async def plain_list(request: Request) -> Response | None:
    """Answer the list without filters, the suite's hottest read."""
    page, admitted = plain_page(request), admission_of(request.scope)
    if page is None or admitted.principal is None or admitted.tenant is None:
        return None
    require_permission(admitted.principal, Permission.USERS_READ)
    return await _listed(request, admitted.tenant, EVERYBODY, page)


lists = APIRouter(prefix="/api/v1/users", tags=["users"], route_class=with_lane(plain_list))


@lists.get("", response_model=list[UserOut], responses=problems(PermissionDenied))
async def list_users(
    request: Request, tenant: CurrentTenant, by: CanReadUsers, wanted: Wanted, page: Paged
) -> Response:
    """List the tenant's users, newest first."""
    return await _listed(request, tenant, wanted, page)


async def _listed(request: Request, tenant: Tenant, wanted: UserFilter, page: Page) -> Response:
    records = await page_of_users(tenancy_of(request).reads, tenant, wanted, page)
    response = Response(encoded(records[: page.limit]), media_type="application/json")
    cut(records, page, [record["id"] for record in records], request, response)
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


@router.patch(
    "/me", responses=problems(PermissionDenied, ProofRequired, UserNotFound, EmailTaken, PreconditionFailed)
)
async def change_own_profile(
    body: ProfileChange,
    response: Response,
    users: TenantUsers,
    me: CurrentPrincipal,
    by: CanReadUsers,
    held: IfMatch,
) -> UserOut:
    """Change the caller's own name and attributes, and ask for another address."""
    user = await users.change(me.id, body.given(), held)
    response.headers["ETag"] = etag(user.version)
    return UserOut.of(user)


@router.get("/{user_id}", responses=problems(PermissionDenied, UserNotFound))
async def read_user(response: Response, user_id: UserId, users: TenantUsers, by: CanReadUsers) -> UserOut:
    """Return a user."""
    user = await users.get(user_id)
    response.headers["ETag"] = etag(user.version)
    return UserOut.of(user)


@router.patch(
    "/{user_id}",
    responses=problems(
        PermissionDenied, ProofRequired, UserNotFound, LastOwner, EmailTaken, PreconditionFailed
    ),
)
async def change_user(
    body: UserChange,
    response: Response,
    user_id: UserId,
    users: TenantUsers,
    by: CanWriteUsers,
    held: IfMatch,
) -> UserOut:
    """Change a user's name, role, status or attributes, and ask for another address."""
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
