"""How long audit rows are kept: deleted up to a seal, which stays as the anchor of the rest.

A plan that is left keeps its rows for a month longer. Nobody loses a year of the log by a change of plan that
is taken back the next day, and whoever has got hold of an owner's account cannot wipe it by one.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from mis_tenancy.database import Database
from mis_tenancy.identifiers import floor_id
from mis_tenancy.plans import AUDIT_RETENTION_DAYS, PlanName
from mis_tenancy.seals import SealHead, SealKeys
from tenant_service.audit_seals import repository

_log = structlog.get_logger(__name__)

_AFTER_PLAN: Final = timedelta(days=30)
_TENANTS_AT_ONCE: Final = 500
_SEALS_AT_ONCE: Final = 500
_ROWS_AT_ONCE: Final = 10_000


class Retention:
    """Deletes what tenants' plans no longer keep; `platform` is the platform role's database."""

    def __init__(self, platform: Database, keys: SealKeys) -> None:
        self._platform = platform
        self._keys = keys

    async def prune_all(self, now: datetime | None = None) -> int:
        """Prune each tenant that has something to prune; return how many rows were deleted."""
        now = now or datetime.now(UTC)
        floors = _floors(now)
        after, deleted = UUID(int=0), 0
        while True:
            async with self._platform.system_transaction() as system:
                tenants = await repository.prunable(system, after, _TENANTS_AT_ONCE)
            for tenant in tenants:
                floor = floors[PlanName(tenant["plan"])]
                if tenant["last_id"] is not None and tenant["last_id"] < floor:
                    left = await self._plans_left(tenant["id"], now - _AFTER_PLAN)
                    deleted += await self.prune(tenant["id"], min([floor, *(floors[plan] for plan in left)]))
            if len(tenants) < _TENANTS_AT_ONCE:
                return deleted
            after = tenants[-1]["id"]

    async def prune(self, tenant_id: UUID, floor: UUID) -> int:
        """Delete the tenant's rows in seals that lie below the id `floor`; return how many rows."""
        total = 0
        while deleted := await self._step(tenant_id, floor):
            total += deleted
        return total

    async def _plans_left(self, tenant_id: UUID, since: datetime) -> list[PlanName]:
        async with self._platform.system_transaction(tenant_id) as system:
            return await repository.plans_left(system, tenant_id, since)

    async def _step(self, tenant_id: UUID, floor: UUID) -> int:
        """Prune some seals in a transaction of their own, so that a crash leaves a log that verifies."""
        async with self._platform.system_transaction(tenant_id) as system:
            anchor, count = _anchor(await repository.oldest_seals(system, tenant_id, _SEALS_AT_ONCE), floor)
            if anchor is None:
                return 0
            names = ("seq", "count", "first_id", "last_id", "sealed_at")
            head = SealHead(tenant_id, *(anchor[name] for name in names))
            signature = self._keys.sign(head, anchor["link"], pruned=True)
            await repository.prune(system, tenant_id, anchor, signature, self._keys.current_id)
        _log.info("audit.pruned", tenant=str(tenant_id), rows=count, anchor=anchor["seq"])
        return count


def _anchor(seals: list[Any], floor: UUID) -> tuple[Any | None, int]:
    """Return the last seal to prune in this step, and how many rows go with it and those before."""
    anchor, count = None, 0
    for seal in seals:
        if seal["last_id"] >= floor or count >= _ROWS_AT_ONCE:
            break
        if not seal["pruned"]:
            anchor, count = seal, count + int(seal["count"])
    return anchor, count


def _floors(now: datetime) -> Mapping[PlanName, UUID]:
    return {plan: floor_id(now - timedelta(days=days)) for plan, days in AUDIT_RETENTION_DAYS.items()}
