"""The worker's watch: what the audit log has new of a tenant is why its alerts are looked at.

Every request and every change leaves a row there, in the transaction that also adds to the counters or to
the usage ledger. So the tenants with new rows are the only ones whose limits or incidents can have moved, and
a pass costs what has happened, not how many tenants there are. It reads from the oldest transaction that was
still running at the pass before, so no row is missed however late it commits (docs/decisions/0002); a row
that is read twice changes nothing, because what is due is compared with the alerts there are.
"""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time
from typing import Final
from uuid import UUID

import structlog

from mis_tenancy.database import Database, SystemTransaction
from mis_tenancy.directory import TenantDirectory
from mis_tenancy.identifiers import floor_id
from mis_tenancy.plans import GIB
from tenant_service.alerts import watch_repository as repository
from tenant_service.alerts.book import carry_out
from tenant_service.alerts.causes import Changes
from tenant_service.alerts.incidents import WINDOW, incident_changes, incident_of, many
from tenant_service.alerts.limits import Level, Measure, limit_changes
from tenant_service.alerts.watch_repository import Mark, Standing, Touched

_log = structlog.get_logger(__name__)

PACE_SECONDS: Final = 2.0
_TENANTS_AT_ONCE: Final = 500
_LOOK_UPS_AT_ONCE: Final = 4


class Watch:
    """Opens and ends alerts about limits and incidents.

    `platform` tells which tenants to look at and how they stand, and writes their alerts, of many at once;
    `application` reads each one's configuration, which is not the platform's to see.
    """

    def __init__(self, platform: Database, application: Database) -> None:
        self._platform = platform
        self._application = application
        self._directory = TenantDirectory(application)
        self._left_at: int | None = None
        self._again: dict[UUID, Touched] = {}
        self._turns = asyncio.Semaphore(_LOOK_UPS_AT_ONCE)

    async def run(self) -> None:
        """Look every few seconds until cancelled; several workers may, and one of them does."""
        while True:
            try:
                await self.look()
            except Exception as error:
                _log.warning("alerts.watch_failed", error=repr(error))
            await asyncio.sleep(PACE_SECONDS)

    async def look(self) -> int:
        """Look at all that is new by now; return how many tenants that took."""
        async with self._platform.system_transaction() as system:
            mark = await repository.begin(system)
            if mark is None:
                return 0
            tenants = await self._touched(system, mark)
            ids = list(tenants)
            for start in range(0, len(ids), _TENANTS_AT_ONCE):
                some = ids[start : start + _TENANTS_AT_ONCE]
                await self._look_at(system, {tenant_id: tenants[tenant_id] for tenant_id in some}, mark)
            if ids or mark.is_new_day:
                await repository.advance(system, mark)
        # Where nothing was new, the mark stays where it was.
        self._left_at = mark.next if ids or mark.is_new_day else mark.since
        return len(ids)

    async def _touched(self, system: SystemTransaction, mark: Mark) -> dict[UUID, Touched]:
        if mark.since != self._left_at:
            # Another worker has looked meanwhile, and has seen changes of configuration that we have not.
            self._directory = TenantDirectory(self._application)
        if mark.since is None or mark.since > mark.next:
            # The first pass ever, or the first on a server whose transactions are numbered anew.
            return await repository.every_tenant(system)
        tenants = await repository.outdated(system, mark.day) if mark.is_new_day else {}
        again, self._again = self._again, {}
        found = await repository.touched(system, mark.since)
        for tenant_id, news in found.items():
            if news.has_changed:
                self._directory.invalidate(tenant_id)
        return tenants | again | found

    async def _look_at(self, system: SystemTransaction, tenants: Mapping[UUID, Touched], mark: Mark) -> None:
        ids, midnight = list(tenants), datetime.combine(mark.day, time(), UTC)
        standings = await repository.standings(system, ids, midnight)
        known = await repository.known(system, ids, mark.day)
        asked = _asked(standings, tenants)
        frequent = await repository.frequent(system, asked, floor_id(datetime.now(UTC) - WINDOW))

        async def due_of(standing: Standing) -> list[Changes]:
            actions = {
                action
                for action in tenants[standing.tenant_id].refused
                if incident_of(action).at_once or (standing.tenant_id, action) in frequent
            }
            async with self._turns:
                levels = await self._levels(standing)
            of_tenant = known.get(standing.tenant_id, [])
            return [
                limit_changes(levels, of_tenant, mark.day),
                incident_changes(actions, of_tenant, mark.day),
            ]

        found = await asyncio.gather(*(due_of(one) for one in standings), return_exceptions=True)
        due: dict[UUID, list[Changes]] = {}
        for standing, changes in zip(standings, found, strict=True):
            if isinstance(changes, BaseException):
                self._postpone(standing.tenant_id, tenants, changes)
            elif any(changes):
                due[standing.tenant_id] = changes
        for tenant_id, error in await self._carry_out(due):
            self._postpone(tenant_id, tenants, error)

    def _postpone(self, tenant_id: UUID, tenants: Mapping[UUID, Touched], error: BaseException) -> None:
        """Look at the tenant again in the next pass: one tenant's trouble holds nobody else up."""
        _log.warning("alerts.tenant_failed", tenant=str(tenant_id), error=repr(error))
        self._again[tenant_id] = tenants[tenant_id]

    async def _levels(self, standing: Standing) -> list[Level]:
        tenant = await self._directory.by_id(standing.tenant_id)
        daily_limit = None if tenant is None else tenant.daily_limit
        max_storage = standing.max_storage
        return [
            Level(Measure.USERS, standing.users, standing.max_users),
            Level(
                Measure.STORAGE,
                standing.storage_bytes,
                None if max_storage is None else max_storage * GIB,
            ),
            Level(Measure.API_REQUESTS, standing.requests_today, daily_limit),
        ]

    async def _carry_out(self, due: Mapping[UUID, list[Changes]]) -> list[tuple[UUID, Exception]]:
        """Do what is due of all at once; return whom it did not work for, and why.

        Where it fails it is done in halves, so that it fails in the end for those alone whose fault it is.
        """
        if not due:
            return []
        try:
            async with self._platform.platform_transaction() as session:
                await carry_out(session, due)
        except Exception as error:
            ids = list(due)
            if len(ids) == 1:
                return [(ids[0], error)]
            middle = len(ids) // 2
            halves = [{one: due[one] for one in some} for some in (ids[:middle], ids[middle:])]
            return [failed for half in halves for failed in await self._carry_out(half)]
        return []


def _asked(standings: Iterable[Standing], tenants: Mapping[UUID, Touched]) -> list[tuple[UUID, str, int]]:
    """Return what has to be counted: refusals that are an incident only when there are many."""
    return [
        (standing.tenant_id, action, many(standing.users))
        for standing in standings
        for action in tenants[standing.tenant_id].refused
        if not incident_of(action).at_once
    ]
