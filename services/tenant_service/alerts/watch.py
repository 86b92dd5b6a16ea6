"""The worker's watch: what the audit log has new of a tenant is why its alerts are looked at.

Every request and every change leaves a row there, in the transaction that also adds to the counters or to
the usage ledger. So the tenants with new rows are the only ones whose limits or incidents can have moved, and
a pass costs what has happened, not how many tenants there are. It reads from the oldest transaction that was
still running at the pass before, so no row is missed however late it commits (docs/decisions/0002); a row
that is read twice changes nothing, because what is due is compared with the alerts there are.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Final
from uuid import UUID

import structlog

from mis_tenancy.database import Database
from mis_tenancy.directory import TenantDirectory
from mis_tenancy.identifiers import floor_id
from mis_tenancy.postgres.system_transactions import SystemTransaction
from tenant_service.alerts import watch_repository as repository
from tenant_service.alerts.book import carry_out
from tenant_service.alerts.causes import Changes
from tenant_service.alerts.incidents import WINDOW
from tenant_service.alerts.limits import Level, Measure
from tenant_service.alerts.page import Page, countable
from tenant_service.alerts.watch_repository import Mark, Standing, Touched

_log = structlog.get_logger(__name__)

PACE_SECONDS: Final = 2.0
_TENANTS_AT_ONCE: Final = 500
_LOOK_UPS_AT_ONCE: Final = 12


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
            if mark is None or not await system.is_settled():
                # Once the mark has moved, nobody would look for a row of before it that only shows later.
                return 0
            tenants = await self._touched(system, mark)
            troubled: set[UUID] = set()
            pages, ids = [], list(tenants)
            for start in range(0, len(ids), _TENANTS_AT_ONCE):
                page = await self._page(system, tenants, ids[start : start + _TENANTS_AT_ONCE], mark)
                troubled |= await self._carry_out(page.changes())
                pages.append(page)
            # A limit of requests has to be looked up tenant by tenant, and nobody else shall wait for that.
            for page in pages:
                troubled |= await self._look_at_requests(page)
            if tenants or mark.is_new_day:
                await repository.advance(system, mark)
        # Where nothing was new, the mark stays where it was.
        self._left_at = mark.next if tenants or mark.is_new_day else mark.since
        self._again = {tenant_id: tenants[tenant_id] for tenant_id in troubled}
        return len(tenants)

    async def _touched(self, system: SystemTransaction, mark: Mark) -> dict[UUID, Touched]:
        if mark.since != self._left_at:
            # Another worker has looked meanwhile, and has seen changes of configuration that we have not.
            self._directory = TenantDirectory(self._application)
        if mark.since is None or mark.since > mark.next:
            # The first pass ever, or the first on a server whose transactions are numbered anew.
            return await repository.every_tenant(system)
        tenants = await repository.outdated(system, mark.day) if mark.is_new_day else {}
        for tenant_id in await repository.renewed(system, mark.since):
            self._directory.invalidate(tenant_id)
        tenants |= self._again
        for tenant_id, news in (await repository.touched(system, mark.since)).items():
            tenants[tenant_id] = news | tenants.get(tenant_id, Touched())
        return tenants

    async def _page(
        self, system: SystemTransaction, tenants: Mapping[UUID, Touched], some: Sequence[UUID], mark: Mark
    ) -> Page:
        """Return how some of the tenants stand."""
        standings = await repository.standings(system, some, datetime.combine(mark.day, time(), UTC))
        asked = countable(standings, tenants)
        return Page(
            {standing.tenant_id: standing for standing in standings},
            {standing.tenant_id: tenants[standing.tenant_id].refused for standing in standings},
            await repository.frequent(system, asked, floor_id(datetime.now(UTC) - WINDOW)),
            await repository.known(system, some, mark.day),
            mark.day,
        )

    async def _look_at_requests(self, page: Page) -> set[UUID]:
        """Compare the day's requests with their limits; return the tenants for which that did not work."""

        async def changes_of(standing: Standing) -> Changes:
            async with self._turns:
                limit = await self._daily_limit(standing)
            return page.limit_changes(
                standing.tenant_id, Level(Measure.API_REQUESTS, standing.requests_today, limit)
            )

        found = await asyncio.gather(*map(changes_of, page.standings.values()), return_exceptions=True)
        due, troubled = {}, set()
        for tenant_id, changes in zip(page.standings, found, strict=True):
            if isinstance(changes, BaseException):
                _log.warning("alerts.tenant_failed", tenant=str(tenant_id), error=repr(changes))
                troubled.add(tenant_id)
            else:
                due[tenant_id] = [changes]
        return troubled | await self._carry_out(due)

    async def _daily_limit(self, standing: Standing) -> int | None:
        """Return the tenant's limit, which need not be known where nothing has been asked."""
        if not standing.requests_today:
            return None
        tenant = await self._directory.by_id(standing.tenant_id)
        return None if tenant is None else tenant.daily_limit

    async def _carry_out(self, changes: Mapping[UUID, Sequence[Changes]]) -> set[UUID]:
        """Do what is due of all tenants at once; return those for which it did not work.

        Where it fails it is done in halves: one tenant's trouble holds nobody else up.
        """
        due = {tenant_id: some for tenant_id, some in changes.items() if any(some)}
        if not due:
            return set()
        try:
            async with self._platform.platform_transaction() as session:
                await carry_out(session, due)
        except Exception as error:
            ids = list(due)
            if len(ids) == 1:
                _log.warning("alerts.tenant_failed", tenant=str(ids[0]), error=repr(error))
                return set(ids)
            middle = len(ids) // 2
            halves = ({one: due[one] for one in some} for some in (ids[:middle], ids[middle:]))
            return set().union(*[await self._carry_out(half) for half in halves])
        return set()
