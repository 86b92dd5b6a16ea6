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
from tenant_service.health.verdicts import Check, Probe, settle, verdict_of

log = structlog.get_logger(__name__)

FRESH: Final = timedelta(seconds=10)
# What was found longer ago than this says nothing about a change now.
_TELLING: Final = timedelta(minutes=10)
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

    async def probe(self, tenant_id: UUID) -> Report:
        """Probe the tenant now, keep what is found, and report it."""
        checks, requests = await self._probes.run(tenant_id)
        verdict = verdict_of(checks)
        probe = Probe(datetime.now(UTC), checks, requests, verdict, verdict)
        try:
            return await self._keep(tenant_id, probe)
        except _AWAY as error:
            log.warning("health.not_kept", error=repr(error))
            checks["database"] = Check(False, checks["database"].duration_ms, "The probe could not be kept.")
            verdict = verdict_of(checks)
            return Report(replace(probe, verdict=verdict, status=verdict), None)

    async def _keep(self, tenant_id: UUID, probe: Probe) -> Report:
        async with self._database.transaction(tenant_id) as session:
            newest = await repository.newest_probe(session)
            before = newest[0] if newest is not None and newest[1] <= _TELLING else None
            if before is not None:
                probe = replace(probe, status=settle(before.status, before.verdict, probe.verdict))
            probe = replace(probe, at=await repository.keep(session, probe))
            await raise_or_end(session, before, probe)
            return Report(probe, await repository.uptime(session))

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
            task = self._running[tenant_id] = asyncio.create_task(self.probe(tenant_id))
            task.add_done_callback(lambda _: self._running.pop(tenant_id, None))
        # One caller who goes away must not take the others' answer along.
        return await asyncio.shield(task)
