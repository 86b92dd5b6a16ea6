"""`/api/v1/tenants/{id}/encryption-keys`."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from mis_http.idempotency import IdempotentRoute
from mis_http.pages import Paged, cut
from mis_http.problems import problems
from mis_tenancy.access import Permission
from mis_tenancy.errors import AuthenticationRequired, PermissionDenied, TenantNotFound
from mis_tenancy.fastapi import requires, tenancy_of
from tenant_service.encryption_keys.errors import KeyRotationInProgress
from tenant_service.encryption_keys.schemas import KeyOut, RotationOut
from tenant_service.encryption_keys.service import EncryptionKeys
from tenant_service.sessions import TargetSession
from tenant_service.target import Target
from tenant_service.trail import Calling

router = APIRouter(prefix="/api/v1/tenants", tags=["encryption keys"], route_class=IdempotentRoute)

_OWNERS = [requires(Permission.KEYS_WRITE)]
_CLOSED = (AuthenticationRequired, PermissionDenied, TenantNotFound)
_HIGHEST_VERSION = 2**31 - 1


async def keeping_keys(request: Request, session: TargetSession, caller: Calling) -> EncryptionKeys:
    """Return the keys of the tenant the path names."""
    return EncryptionKeys(session, tenancy_of(request).wrapping, caller)


KeepingKeys = Annotated[EncryptionKeys, Depends(keeping_keys)]


@router.get("/{id}/encryption-keys", dependencies=_OWNERS, responses=problems(*_CLOSED))
async def list_encryption_keys(
    keys: KeepingKeys, page: Paged, request: Request, response: Response
) -> list[KeyOut]:
    """List the versions of the tenant's data key, newest first; a key itself is never shown."""
    after = None if page.after is None else min(page.after.int, _HIGHEST_VERSION)
    rows, newest = await keys.versions(limit=page.limit + 1, ascending=page.ascending, after=after)
    # A page's cursor is a UUID; a version is one with many zeros.
    shown = cut(rows, page, [UUID(int=row.version) for row in rows], request, response)
    return [KeyOut.of(row, newest) for row in shown]


@router.post(
    "/{id}/encryption-keys/rotate",
    status_code=202,
    dependencies=_OWNERS,
    responses=problems(*_CLOSED, KeyRotationInProgress),
)
async def rotate_encryption_key(keys: KeepingKeys, target: Target, response: Response) -> RotationOut:
    """Encrypt with a new key from now on, and re-encrypt everything else in the background."""
    rotation = await keys.rotate()
    response.headers["Location"] = f"/api/v1/tenants/{target.id}/encryption-keys"
    return RotationOut.of(rotation)
