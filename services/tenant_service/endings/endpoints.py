"""`/api/v1/tenants/{id}`: tenants are deleted and restored, and what is gone is certified."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from mis_http.etags import IfMatch, PreconditionFailed, etag
from mis_http.idempotency import IdempotentRoute
from mis_http.problems import problems
from mis_tenancy.access import Permission
from mis_tenancy.errors import AuthenticationRequired, PermissionDenied, TenantConflict, TenantNotFound
from mis_tenancy.fastapi import requires
from tenant_service.endings import service
from tenant_service.endings.errors import TenantNotPurged
from tenant_service.endings.schemas import (
    LONGEST_GRACE_DAYS,
    CertificateKeysOut,
    CertificateOut,
    DeletionOut,
)
from tenant_service.endings.service import Endings
from tenant_service.lifecycle.errors import TenantStateConflict
from tenant_service.lifecycle.schemas import TenantOut
from tenant_service.sessions import CallersSession, CrossingSession, PublicSession
from tenant_service.target import FormerTarget, Target
from tenant_service.trail import Calling

router = APIRouter(prefix="/api/v1/tenants", tags=["endings"], route_class=IdempotentRoute)

_KNOWN = (AuthenticationRequired, PermissionDenied, TenantNotFound, TenantConflict)
_ONE = (*_KNOWN, TenantStateConflict)


async def ending(session: CallersSession, target: Target, caller: Calling) -> Endings:
    """Return what ends the tenant the path names."""
    return Endings(session, target, caller)


async def asked_grace(
    grace_days: Annotated[
        int | None,
        Query(alias="graceDays", ge=0, le=LONGEST_GRACE_DAYS, description="For operators; else 30."),
    ] = None,
) -> timedelta | None:
    """Read the grace of the query."""
    return None if grace_days is None else timedelta(days=grace_days)


Ending = Annotated[Endings, Depends(ending)]


@router.delete(
    "/{id}",
    status_code=202,
    dependencies=[requires(Permission.TENANT_DELETE)],
    responses=problems(*_ONE, PreconditionFailed),
)
async def delete_tenant(
    endings: Ending,
    grace: Annotated[timedelta | None, Depends(asked_grace)],
    if_match: IfMatch,
    response: Response,
) -> DeletionOut:
    """Close a tenant at once and purge it after 30 days, within which it can be restored."""
    deletion = await endings.delete(grace, if_match.hold)
    response.headers["ETag"] = etag(deletion.version)
    return DeletionOut(purge_at=deletion.purge_at)


@router.post("/{id}/restore", dependencies=[requires(Permission.TENANT_RESTORE)], responses=problems(*_ONE))
async def restore_tenant(endings: Ending, response: Response) -> TenantOut:
    """Take a deletion back; everybody signs in anew."""
    document = await endings.restore()
    response.headers["ETag"] = etag(document.row.version)
    return TenantOut.of(document)


@router.get("/{id}/deletion-certificate", responses=problems(*_KNOWN, TenantNotPurged))
async def get_deletion_certificate(session: CrossingSession, tenant: FormerTarget) -> CertificateOut:
    """Show the signed certificate of a purged tenant, by its id; for operators."""
    certificate = await service.certificate_of(session, tenant)
    return CertificateOut(certificate=certificate.text, claims=certificate.claims)


@router.get("/deletion-certificates/jwks.json")
async def get_certificate_keys(session: PublicSession) -> CertificateKeysOut:
    """Show the public keys that verify deletion certificates; for everybody."""
    return CertificateKeysOut(keys=await service.certificate_keys(session))
