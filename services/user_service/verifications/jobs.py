"""The background half: documents are read and judged, and their pictures deleted when their time has come."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

import structlog

from mis_accounts.places import picture_of
from mis_jobs.jobs import Job
from mis_jobs.schedules import Schedule
from mis_tenancy.audit_changes import record_change
from mis_tenancy.database import Database
from mis_tenancy.encryption import TenantKeys
from mis_tenancy.storage import ObjectNotFound, Storage
from user_service.verifications import repository
from user_service.verifications.discarding import DISCARD
from user_service.verifications.finding import Line
from user_service.verifications.judging import Check, Judgement, Status, judge
from user_service.verifications.reading import ReadingFailed
from user_service.verifications.sealing import open_picture
from user_service.verifications.service import RUN

UPKEEP: Final = "verification_upkeep"
SCHEDULES: Final = [Schedule(UPKEEP, timedelta(minutes=1))]

__all__ = ["DISCARD", "RUN", "SCHEDULES", "UPKEEP", "Reader", "VerificationJobs"]

_log = structlog.get_logger(__name__)
_AT_ONCE: Final = 200
_NOT_LOOKED_AT: Final = Check("document_read", False, "The document could not be looked at. Send it again.")


class Reader(Protocol):
    """What reads the lines off a picture."""

    async def read(self, image: bytes) -> Sequence[Line]:
        """Return the lines from top to bottom; raise ReadingFailed."""


class VerificationJobs:
    """Runs this feature's jobs; `platform` knows across tenants which pictures' time has come."""

    def __init__(
        self, platform: Database, application: Database, storage: Storage, keys: TenantKeys, reader: Reader
    ) -> None:
        self._platform = platform
        self._application = application
        self._storage = storage
        self._keys = keys
        self._reader = reader

    async def run(self, job: Job) -> None:
        """Read and judge one document, unless that is done or its user is gone."""
        if job.tenant_id is None:
            raise LookupError("A verification's job names no tenant.")
        verification_id = UUID(job.payload["verificationId"])
        try:
            judgement = await self._judged(job.tenant_id, verification_id)
        except Exception:
            if job.is_last_attempt:
                failed = Judgement(Status.FAILED, (_NOT_LOOKED_AT,), 0.0)
                await self._settle(job.tenant_id, verification_id, failed)
            raise
        if judgement is not None:
            await self._settle(job.tenant_id, verification_id, judgement)

    async def discard(self, job: Job) -> None:
        """Delete the picture of somebody who has left."""
        if job.tenant_id is None:
            raise LookupError("A picture's job names no tenant.")
        await self._delete(job.tenant_id, UUID(job.payload["verificationId"]))

    async def keep_up(self, job: Job) -> None:
        """Delete the pictures whose time has come; one that cannot be deleted holds up no other."""
        async with self._platform.platform_transaction() as session:
            overdue = await repository.overdue(session, datetime.now(UTC), _AT_ONCE)
        for tenant_id, verification_id in overdue:
            try:
                await self._delete(tenant_id, verification_id)
                async with self._application.transaction(tenant_id) as session_of_tenant:
                    await repository.forget_picture(session_of_tenant, verification_id)
            except Exception as error:
                _log.warning(
                    "verifications.upkeep_failed", verification=str(verification_id), error=repr(error)
                )

    async def _judged(self, tenant_id: UUID, verification_id: UUID) -> Judgement | None:
        async with self._application.transaction(tenant_id) as session:
            row = await repository.lock_pending(session, verification_id)
            if row is None:
                return None
            if row.image_key is None:
                return Judgement(Status.FAILED, (_NOT_LOOKED_AT,), 0.0)
            name = await repository.name_of(session, row.user_id)
            stored = await self._storage.of(tenant_id).get(picture_of(verification_id))
            image = await open_picture(session, self._keys, verification_id, stored, row.image_key)
        try:
            # Outside the transaction, because it takes seconds.
            lines = await self._reader.read(image)
        except ReadingFailed as error:
            unread = Check("document_read", False, str(error))
            return Judgement(Status.NEEDS_REVIEW, (unread,), 0.0)
        return judge(lines, name, datetime.now(UTC).date())

    async def _settle(self, tenant_id: UUID, verification_id: UUID, judgement: Judgement) -> None:
        async with self._application.transaction(tenant_id) as session:
            row = await repository.lock_pending(session, verification_id)
            if row is None:
                return
            row.status, row.confidence = judgement.status.value, judgement.confidence
            row.checks, row.completed_at = judgement.documents(), datetime.now(UTC)
            changes = {"status": {"old": Status.PENDING.value, "new": row.status}}
            resource = f"user:{row.user_id}"
            record_change(
                session,
                action="user.verified",
                actor=None,
                actor_kind=None,
                resource=resource,
                changes=changes,
            )

    async def _delete(self, tenant_id: UUID, verification_id: UUID) -> None:
        try:
            await self._storage.of(tenant_id).delete(picture_of(verification_id))
        except ObjectNotFound:
            return
