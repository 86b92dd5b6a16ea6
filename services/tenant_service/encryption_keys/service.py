"""The rules of rotation: one at a time, the new key in force with the answer, the rest in the background."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from mis_jobs.jobs import enqueue
from mis_tenancy.encryption import Wrapping
from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.tables import DataKeyRow
from mis_tenancy.turns import lock_tenant
from tenant_service.encryption_keys import repository
from tenant_service.encryption_keys.errors import KeyRotationInProgress
from tenant_service.trail import Caller

REENCRYPTION: Final = "encryption_keys.reencrypt"


@dataclass(frozen=True, slots=True)
class Rotation:
    """The version that encrypts from now on, and the job that brings everything else under it."""

    version: int
    job_id: UUID


class EncryptionKeys:
    """The data keys of the session's tenant, as `caller` may see and rotate them."""

    def __init__(self, session: TenantSession, wrapping: Wrapping, caller: Caller) -> None:
        self._session = session
        self._wrapping = wrapping
        self._caller = caller

    async def versions(
        self, *, limit: int, ascending: bool, after: int | None
    ) -> tuple[Sequence[DataKeyRow], int]:
        """Return versions past `after` in the order asked for, and the number of the newest."""
        rows = await repository.versions(self._session, limit=limit, ascending=ascending, after=after)
        return rows, await repository.newest_version(self._session)

    async def rotate(self) -> Rotation:
        """Make a new key current; raise KeyRotationInProgress while the one before is still needed.

        A rotation whose job gave up is taken up again, without a further key.
        """
        await lock_tenant(self._session)
        newest = await repository.newest_version(self._session)
        taken_up = await repository.has_older(self._session, newest)
        job_id = await enqueue(
            self._session, REENCRYPTION, {}, tenant_id=tenant_of(self._session), dedupe_key=REENCRYPTION
        )
        if job_id is None:
            raise KeyRotationInProgress
        version = newest if taken_up else newest + 1
        if not taken_up:
            now = datetime.now(UTC)
            self._session.add(self._wrapping.new_data_key(tenant_of(self._session), version, now))
        self._caller.record(
            self._session,
            "keys.rotated",
            resource="encryption-keys",
            changes={"version": {"old": newest, "new": version}},
        )
        return Rotation(version, job_id)
