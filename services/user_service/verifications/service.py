"""The rules of verifications: who may have whose document looked at, and what is kept of it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from mis_accounts.places import picture_of
from mis_http.pages import Page
from mis_jobs.jobs import enqueue
from mis_models.accounts import UserRow
from mis_models.verifications import VerificationRow
from mis_tenancy.access import require_rank
from mis_tenancy.encryption import TenantKeys
from mis_tenancy.identifiers import new_id
from mis_tenancy.request_changes import principal_of, record
from mis_tenancy.session import TenantSession
from mis_tenancy.storage import TenantStorage
from mis_tenancy.tenant import Admission, Role, Tenant
from user_service.users.errors import UserNotFound
from user_service.users.repository import find as find_user
from user_service.verifications import repository
from user_service.verifications.errors import VerificationNotFound
from user_service.verifications.images import Picture
from user_service.verifications.judging import Status
from user_service.verifications.sealing import seal

RUN: Final = "verification.run"
RETENTION: Final = "users.verification_retention_days"


class Verifications:
    """The verifications of one tenant's users, as the caller `by` may see and start them."""

    def __init__(
        self, session: TenantSession, storage: TenantStorage, tenant: Tenant, by: Admission, keys: TenantKeys
    ) -> None:
        self._session = session
        self._storage = storage
        self._tenant = tenant
        self._by = by
        self._keys = keys

    async def page(self, user_id: UUID, asked: Page) -> Sequence[VerificationRow]:
        """Return a page of the user's verifications; raise UserNotFound."""
        await self._user(user_id)
        return await repository.page(self._session, user_id, asked)

    async def get(self, user_id: UUID, verification_id: UUID) -> VerificationRow:
        """Return one; raise UserNotFound, or VerificationNotFound, also for another user's."""
        row = await repository.find(self._session, user_id, verification_id)
        if row is None:
            await self._user(user_id)
            raise VerificationNotFound
        return row

    async def begin(self, user_id: UUID, image: bytes, picture: Picture) -> VerificationRow:
        """Keep the picture and have it read; raise UserNotFound, or PermissionDenied for a higher role."""
        user = await self._user(user_id)
        principal = principal_of(self._by)
        require_rank(principal, Role(user.role))
        now, verification_id = datetime.now(UTC), new_id()
        stored, key = await seal(self._session, self._keys, verification_id, image)
        # Before the row: without it the object is bytes whose key nobody has.
        await self._storage.put(picture_of(verification_id), stored)
        row = VerificationRow(
            id=verification_id,
            user_id=user_id,
            status=Status.PENDING.value,
            checks=[],
            confidence=None,
            content_type=picture.content_type,
            image_key=key,
            image_until=now + timedelta(days=self._tenant.configuration[RETENTION]),
            requested_by=principal.id,
            created_at=now,
            completed_at=None,
        )
        self._session.add(row)
        payload = {"verificationId": str(verification_id)}
        await enqueue(self._session, RUN, payload, tenant_id=self._tenant.id)
        record(self._session, self._by, "user.verification_requested", resource=f"user:{user_id}")
        return row

    async def _user(self, user_id: UUID) -> UserRow:
        user = await find_user(self._session, user_id)
        if user is None:
            raise UserNotFound
        return user
