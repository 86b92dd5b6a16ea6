"""What the verification routes are handed: the tenant's verifications, and a picture that may be decoded."""

from contextlib import AbstractAsyncContextManager
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request

from mis_http.files.incoming import incoming_file
from mis_tenancy.errors import BodyTooLarge
from mis_tenancy.fastapi import Admitted, CurrentTenant, Session, requires_feature, tenancy_of
from mis_tenancy.plans import Feature
from mis_tenancy.slugs import parse_id
from mis_tenancy.tenant import Tenant
from user_service.media.memory import UploadMemory
from user_service.verifications.errors import VerificationNotFound, VerificationUnavailable
from user_service.verifications.images import LARGEST_BYTES
from user_service.verifications.service import Verifications

CanVerify = Annotated[Tenant, requires_feature(Feature.AI_VERIFICATION)]


async def verifications_of_tenant(
    request: Request, session: Session, tenant: CurrentTenant, by: Admitted
) -> Verifications:
    """Return the verifications of the request's tenant."""
    storage = request.app.state.storage.of(tenant.id)
    return Verifications(session, storage, tenant, by, tenancy_of(request).tenant_keys)


TenantVerifications = Annotated[Verifications, Depends(verifications_of_tenant)]


async def verification_of_path(
    verification_id: Annotated[str, Path(description="The verification's id.")],
) -> UUID:
    """Return the id in the path; what is no id names no verification."""
    found = parse_id(verification_id)
    if found is None:
        raise VerificationNotFound
    return found


VerificationId = Annotated[UUID, Depends(verification_of_path)]


async def require_reader(request: Request) -> None:
    """Raise VerificationUnavailable where nothing is installed that reads documents."""
    if not request.app.state.document_reader.is_installed:
        raise VerificationUnavailable


async def room_for_image(request: Request, tenant: CurrentTenant) -> AbstractAsyncContextManager[None]:
    """Return what holds memory for a picture as it came and sealed; entering it may raise UploadsBusy."""
    memory: UploadMemory = request.app.state.upload_memory
    return memory.hold(tenant.id, 3 * LARGEST_BYTES)


RoomForImage = Annotated[AbstractAsyncContextManager[None], Depends(room_for_image)]


async def received_image(request: Request) -> bytes:
    """Return the picture that is sent, as the part `file` or as the body; raise BodyTooLarge."""
    incoming = await incoming_file(request, request.app.state.patience)
    image = bytearray()
    async for piece in incoming.pieces:
        image += piece
        if len(image) > LARGEST_BYTES:
            raise BodyTooLarge(f"An image takes at most {LARGEST_BYTES} bytes.", limit=LARGEST_BYTES)
    return bytes(image)
