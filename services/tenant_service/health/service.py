"""A tenant's health, from a probe of the last ten seconds; where there is none, from a new one."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from mis_tenancy.database import Database
from tenant_service.health import repository
from tenant_service.health.alarms import raise_or_end
from tenant_service.health.probes import Probes
from tenant_service.health.repository import Seen
from tenant_service.health.verdicts import Check, Probe, Requests, settle, verdict_of

log = structlog.get_logger(__name__)

FRESH: Final = timedelta(seconds=10)
_AWAY: Final = (SQLAlchemyError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Report:
    """The newest probe, and the percent of the day's probes that passed; None where that cannot be read."""

    probe: Probe
    uptime: float | None


class Health:
    """Reports on tenants; several who ask at once share one probe, also over several processes."""

    def __init__(self, database: Database, probes: Probes) -> None:
        self._database = database
        self._probes = probes
        self._running: dict[UUID, asyncio.Task[Report]] = {}

    async def report(self, tenant_id: UUID) -> Report:
        """Return a report that is at most ten seconds old; a part that is away shows in it."""
        return await self._known(tenant_id) or await self._shared(tenant_id)

    async def probe(self, tenant_id: UUID) -> Probe:
        """Probe the tenant now, keep what is found, and return it; one that cannot be kept says so."""
        checks, seen = await self._probes.run(tenant_id)
        verdict = verdict_of(checks)
        requests = Requests() if seen is None else seen.requests
        probe = Probe(datetime.now(UTC), checks, requests, verdict, verdict)
        try:
            return await self._keep(tenant_id, probe, seen)
        except _AWAY as error:
            log.warning("health.not_kept", error=repr(error))
            checks["database"] = Check(False, checks["database"].duration_ms, "The probe could not be kept.")
            verdict = verdict_of(checks)
            return replace(probe, verdict=verdict, status=verdict)

    async def _keep(self, tenant_id: UUID, probe: Probe, seen: Seen | None) -> Probe:
        async with self._database.transaction(tenant_id) as session:
            before = await repository.before(session) if seen is None else seen.before
            if before is not None:
                probe = replace(probe, status=settle(before.status, before.verdict, probe.verdict))
            probe = replace(probe, at=await repository.keep(session, probe))
            await raise_or_end(session, before, probe)
            return probe

    async def _new(self, tenant_id: UUID) -> Report:
        probe = await self.probe(tenant_id)
        try:
            async with self._database.transaction(tenant_id) as session:
                return Report(probe, await repository.uptime(session))
        except _AWAY:
            return Report(probe, None)

    async def _known(self, tenant_id: UUID) -> Report | None:
        try:
            async with self._database.transaction(tenant_id) as session:
                newest = await repository.newest_probe(session)
                if newest is None or newest[1] > FRESH:
                    return None
                return Report(newest[0], await repository.uptime(session))
        except _AWAY:
            # The probe that follows says what is wrong.
            return None

    async def _shared(self, tenant_id: UUID) -> Report:
        task = self._running.get(tenant_id)
        if task is None:
            task = self._running[tenant_id] = asyncio.create_task(self._new(tenant_id))
            task.add_done_callback(lambda _: self._running.pop(tenant_id, None))
        # One caller who goes away must not take the others' answer along.
        return await asyncio.shield(task)
