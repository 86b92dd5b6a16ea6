"""HTTP of the verifications."""

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Depends, Request, Response

from mis_http.files.incoming import file_body
from mis_http.idempotency import IdempotentUploadRoute
from mis_http.pages import Paged, cut
from mis_http.problems import problems
from mis_tenancy.errors import BodyTooLarge, FeatureNotAvailable, PermissionDenied
from user_service.media.memory import UploadsBusy
from user_service.users.dependencies import CanWriteUsers, UserId
from user_service.users.errors import UserNotFound
from user_service.verifications.dependencies import (
    CanVerify,
    RoomForImage,
    TenantVerifications,
    VerificationId,
    received_image,
    require_reader,
)
from user_service.verifications.errors import ImageUnreadable, VerificationNotFound, VerificationUnavailable
from user_service.verifications.images import look_at
from user_service.verifications.schemas import VerificationOut

_BODY: Final = file_body("image/jpeg", "image/png")

router = APIRouter(
    prefix="/api/v1/users/{user_id}/verifications",
    tags=["verifications"],
    route_class=IdempotentUploadRoute,
)


@router.post(
    "",
    status_code=202,
    responses=problems(
        PermissionDenied,
        FeatureNotAvailable,
        UserNotFound,
        BodyTooLarge,
        ImageUnreadable,
        UploadsBusy,
        VerificationUnavailable,
    ),
    openapi_extra=_BODY,
)
async def begin_verification(
    request: Request,
    response: Response,
    user_id: UserId,
    by: CanWriteUsers,
    tenant: CanVerify,
    verifications: TenantVerifications,
    room: RoomForImage,
    reader: None = Depends(require_reader),
) -> VerificationOut:
    """Have an identity document looked at: a picture of the side with its machine-readable zone."""
    async with room:
        image = await received_image(request)
        row = await verifications.begin(user_id, image, look_at(image))
    response.headers["Location"] = f"/api/v1/users/{user_id}/verifications/{row.id}"
    return VerificationOut.of(row)


@router.get("", responses=problems(PermissionDenied, FeatureNotAvailable, UserNotFound))
async def list_verifications(
    request: Request,
    response: Response,
    user_id: UserId,
    by: CanWriteUsers,
    tenant: CanVerify,
    verifications: TenantVerifications,
    page: Paged,
) -> Sequence[VerificationOut]:
    """List the user's verifications, newest first."""
    rows = await verifications.page(user_id, page)
    shown = cut(rows, page, [row.id for row in rows], request, response)
    return [VerificationOut.of(row) for row in shown]


@router.get(
    "/{verification_id}",
    responses=problems(PermissionDenied, FeatureNotAvailable, UserNotFound, VerificationNotFound),
)
async def read_verification(
    user_id: UserId,
    verification_id: VerificationId,
    by: CanWriteUsers,
    tenant: CanVerify,
    verifications: TenantVerifications,
) -> VerificationOut:
    """Return what became of a document."""
    return VerificationOut.of(await verifications.get(user_id, verification_id))
