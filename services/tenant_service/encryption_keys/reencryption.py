"""Brings everything of a tenant under its current key, then destroys the keys before it.

The rows themselves say what is left to do, so a job that was killed anywhere is simply run again. Reads and
writes go on meanwhile: a batch holds its rows for milliseconds, and both keys decrypt until the end.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from mis_tenancy.audit_changes import record_change
from mis_tenancy.database import Database
from mis_tenancy.encryption import DataKey, TenantKeys
from mis_tenancy.session import TenantSession
from tenant_service.alerts.book import open_alert, resolve_alert
from tenant_service.alerts.causes import AlertKind, Cause, Severity
from tenant_service.encryption_keys import repository
from tenant_service.encryption_keys.repository import HOLDERS, Cursor, Holder

_UNFINISHED: Final = Cause(
    AlertKind.SECURITY,
    "keys.rotation",
    Severity.WARNING,
    "A rotation of the tenant's encryption key could not be finished: some values are still under an older "
    "key, which stays in use. Everything can be read. Rotate again to go on with it.",
)


class _Settled(TenantKeys):
    """Keys whose current one is known, so that it is not asked for at every row."""

    def __init__(self, keys: TenantKeys, current: DataKey) -> None:
        self._keys = keys
        self._current = current

    async def current(self, session: TenantSession) -> DataKey:
        return self._current

    async def of(self, session: TenantSession, version: int) -> DataKey:
        return await self._keys.of(session, version)


class Reencryption:
    """Finishes rotations; `database` is the application role's, bound to one tenant at a time.

    `grace` is how many seconds an old key outlives its last ciphertext, for a reader who has that in hand.
    """

    def __init__(
        self,
        database: Database,
        keys: TenantKeys,
        holders: Sequence[Holder] = HOLDERS,
        *,
        grace: float = 2.0,
    ) -> None:
        self._database = database
        self._keys = keys
        self._holders = holders
        self._grace = grace

    async def finish(self, tenant_id: UUID) -> None:
        """Re-encrypt what is under older keys of the tenant, and destroy those keys."""
        for holder in self._holders:
            after: Cursor | None = None
            while True:
                async with self._database.transaction(tenant_id) as session:
                    after = await self._renew_some(session, holder, after)
                if after is None:
                    break
        await asyncio.sleep(self._grace)
        async with self._database.transaction(tenant_id) as session:
            await self._retire(session)

    async def give_up(self, tenant_id: UUID) -> None:
        """Tell of a rotation that could not be finished; rotating again goes on with it."""
        async with self._database.transaction(tenant_id) as session:
            record_change(
                session,
                action="keys.rotation_failed",
                actor=None,
                actor_kind="system",
                resource="encryption-keys",
            )
            await open_alert(session, _UNFINISHED)

    async def _renew_some(
        self, session: TenantSession, holder: Holder, after: Cursor | None
    ) -> Cursor | None:
        current = await self._keys.current(session)
        return await holder.renew_some(session, _Settled(self._keys, current), current.version, after)

    async def _retire(self, session: TenantSession) -> None:
        """Re-encrypt what came in under an older key at the last moment, and destroy the older keys."""
        current = await self._keys.current(session)
        older = await repository.hold_older(session, current.version)
        if not older:
            return
        for holder in self._holders:
            after: Cursor | None = None
            while (after := await self._renew_some(session, holder, after)) is not None:
                pass
        await session.flush()
        await repository.retire_older(session, current.version, datetime.now(UTC))
        record_change(
            session,
            action="keys.retired",
            actor=None,
            actor_kind="system",
            resource="encryption-keys",
            changes={"versions": {"old": older, "new": []}},
        )
        await resolve_alert(session, _UNFINISHED.kind, _UNFINISHED.subject)
