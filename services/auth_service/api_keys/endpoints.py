"""HTTP of the API key routes."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response

from auth_service.api_keys.schemas import ApiKeyIn, ApiKeyListed, ApiKeyOut
from auth_service.api_keys.service import TenantApiKeys
from auth_service.errors import ApiKeyNotFound
from mis_accounts.claims import LimitExceeded
from mis_http.idempotency import IdempotentRoute
from mis_http.pages import Paged, cut
from mis_http.problems import problems
from mis_tenancy.access import Permission
from mis_tenancy.errors import PermissionDenied
from mis_tenancy.fastapi import Admitted, CurrentPrincipal, CurrentTenant, Session, requires

router = APIRouter(prefix="/api/v1/auth/api-keys", tags=["API keys"], route_class=IdempotentRoute)


async def keys_of_tenant(
    session: Session, tenant: CurrentTenant, principal: CurrentPrincipal, admitted: Admitted
) -> TenantApiKeys:
    """Return the API keys of the request's tenant."""
    return TenantApiKeys(session, tenant, principal, admitted)


async def key_of_path(api_key_id: Annotated[str, Path(description="The API key's id.")]) -> UUID:
    """Return the id in the path; what is no id names no key."""
    try:
        return UUID(api_key_id)
    except ValueError as error:
        raise ApiKeyNotFound from error


Keys = Annotated[TenantApiKeys, Depends(keys_of_tenant)]
CAN_KEY = [requires(Permission.APIKEYS_WRITE)]


@router.post("", status_code=201, dependencies=CAN_KEY, responses=problems(PermissionDenied, LimitExceeded))
async def create_api_key(body: ApiKeyIn, keys: Keys) -> ApiKeyOut:
    """Make a key for a program, with scopes that the caller has; its text is shown here and never again."""
    row, text = await keys.create(body.name, body.scopes, body.expires_at)
    return ApiKeyOut.of(row, text)


@router.get("", dependencies=CAN_KEY, responses=problems(PermissionDenied))
async def list_api_keys(keys: Keys, page: Paged, request: Request, response: Response) -> list[ApiKeyListed]:
    """List the tenant's keys that are not revoked, newest first."""
    rows = await keys.page(page)
    return [ApiKeyListed.listed(row) for row in cut(rows, page, [row.id for row in rows], request, response)]


@router.delete(
    "/{api_key_id}",
    status_code=204,
    dependencies=CAN_KEY,
    responses=problems(PermissionDenied, ApiKeyNotFound),
)
async def revoke_api_key(api_key_id: Annotated[UUID, Depends(key_of_path)], keys: Keys) -> None:
    """Revoke a key; within a second it opens nothing any more."""
    await keys.revoke(api_key_id)
