"""`/api/v1/tenants/{id}/branding`, and what everybody sees of it at `/api/v1/tenants/branding`."""

from hashlib import sha256
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from mis_http.etags import IfMatch, IfNoneMatch, PreconditionFailed, etag, is_known
from mis_http.looks import look_shown
from mis_http.problems import problems
from mis_http.routes.direct_route import DirectRoute
from mis_tenancy.access import Permission
from mis_tenancy.errors import (
    AuthenticationRequired,
    FeatureNotAvailable,
    PermissionDenied,
    TenantConflict,
    TenantNotFound,
    TenantRequired,
)
from mis_tenancy.fastapi import CurrentTenant, requires, tenancy_of, use_feature
from mis_tenancy.plans import Feature
from mis_tenancy.storage import StorageUnavailable
from mis_tenancy.tenant import Tenant
from tenant_service.branding import service
from tenant_service.branding.errors import LogoNotFound, LogoRefused, TooManyLogos
from tenant_service.branding.schemas import BrandingIn, BrandingOut, PublicBranding
from tenant_service.branding.service import Branding
from tenant_service.sessions import TargetSession
from tenant_service.target import Target
from tenant_service.trail import Calling

router = APIRouter(prefix="/api/v1/tenants", tags=["branding"], route_class=DirectRoute)

_ONE = (AuthenticationRequired, PermissionDenied, FeatureNotAvailable, TenantNotFound, TenantConflict)
_STRANGERS = (TenantRequired, TenantNotFound, TenantConflict)
# A cache may show an old look for a minute; what it may not do is show one tenant's to another's people, for
# which the answer varies with everything that names a tenant.
_FOR_A_MINUTE: Final = "public, max-age=60"
# The address of a logo names the picture, so what it answers never changes.
_FOR_A_DAY: Final = "public, max-age=86400, immutable"
# Whatever a picture pretends to be, a browser that is sent to it runs nothing of it.
_HARMLESS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    # Pages of the tenant's own domain show it too.
    "Cross-Origin-Resource-Policy": "cross-origin",
}


async def branded(request: Request, target: Target) -> Tenant:
    """Return the tenant of the path; raise FeatureNotAvailable where its plan has no look of its own."""
    use_feature(request, target, Feature.CUSTOM_BRANDING)
    return target


async def branding(
    request: Request, tenant: Annotated[Tenant, Depends(branded)], session: TargetSession, caller: Calling
) -> Branding:
    """Return what sets and shows the look of the tenant the path names."""
    return Branding(session, tenant, request.app.state.storage, caller)


Branded = Annotated[Tenant, Depends(branded)]
Looks = Annotated[Branding, Depends(branding)]


@router.get("/branding", response_model=PublicBranding, responses=problems(*_STRANGERS))
async def get_public_branding(
    request: Request, tenant: CurrentTenant, response: Response, if_none_match: IfNoneMatch = None
) -> Any:
    """Show the name, colours and logo of a tenant to everybody, as its sign-in page does."""
    shown = PublicBranding.seen(await look_shown(tenancy_of(request).database, tenant), tenant)
    version = sha256(shown.model_dump_json().encode()).hexdigest()[:32]
    headers = {"ETag": etag(version), "Cache-Control": _FOR_A_MINUTE}
    if is_known(if_none_match, version):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return shown


@router.get(
    "/branding/logo",
    response_class=Response,
    responses=problems(*_STRANGERS, LogoNotFound, StorageUnavailable),
)
async def get_public_logo(
    request: Request,
    tenant: CurrentTenant,
    version: Annotated[
        str | None, Query(alias="v", max_length=64, description="The picture's version.")
    ] = None,
) -> Response:
    """Show the logo of a tenant to everybody."""
    logo, picture = await service.shown_logo(tenancy_of(request).database, tenant, request.app.state.storage)
    caching = _FOR_A_DAY if version == logo.id.hex else _FOR_A_MINUTE
    headers = {
        **_HARMLESS,
        "ETag": etag(logo.id.hex),
        "Cache-Control": caching,
        "Content-Disposition": f'inline; filename="{logo.filename}"',
    }
    return Response(picture, media_type=logo.content_type, headers=headers)


@router.get("/{id}/branding", dependencies=[requires(Permission.TENANT_WRITE)], responses=problems(*_ONE))
async def get_branding(looks: Looks, tenant: Branded, response: Response) -> BrandingOut:
    """Show the look that the tenant has set, as it can be put again, with hints on its colours."""
    look = await looks.read()
    response.headers["ETag"] = etag(look.version)
    return BrandingOut.of(look, tenant)


@router.put(
    "/{id}/branding",
    dependencies=[requires(Permission.TENANT_WRITE)],
    responses=problems(*_ONE, LogoRefused, TooManyLogos, PreconditionFailed, StorageUnavailable),
)
async def put_branding(
    body: BrandingIn, looks: Looks, tenant: Branded, if_match: IfMatch, response: Response
) -> BrandingOut:
    """Set the tenant's look as a whole; what is left out is the platform's."""
    look = await looks.put(body.value(), if_match.hold)
    response.headers["ETag"] = etag(look.version)
    return BrandingOut.of(look, tenant)
