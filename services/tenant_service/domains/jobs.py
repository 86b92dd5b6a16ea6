"""The worker's rounds over domains: proven ones, and those that wait to be proven."""

from datetime import timedelta
from typing import Final

from mis_jobs.jobs import Job
from mis_jobs.rounds import go_round
from mis_jobs.schedules import Schedule
from mis_tenancy.database import Database
from tenant_service.domains import repository
from tenant_service.domains.pending import FRESH, PendingClaims
from tenant_service.domains.rechecks import Rechecks

CHECKS: Final = "domain_checks"
PENDING: Final = "domain_claims"
SCHEDULES: Final = [Schedule(CHECKS, timedelta(minutes=10)), Schedule(PENDING, timedelta(minutes=1))]

_EVERY: Final = timedelta(hours=6)
_WHEN_FAILING: Final = timedelta(hours=1)
# Seconds that one run may take. Whom it does not reach is first in the next one.
_RUN: Final = 300.0
_PENDING_RUN: Final = 50.0
_MOST: Final = 5_000
_AT_ONCE: Final = 8


class DomainRounds:
    """The worker's rounds: `platform` knows who is due, the others work in each tenant's own context."""

    def __init__(self, platform: Database, rechecks: Rechecks, pending: PendingClaims) -> None:
        self._platform = platform
        self._rechecks = rechecks
        self._pending = pending

    async def check(self, job: Job) -> None:
        """Check the domains that are due, a few at a time, for no longer than a run may take."""
        async with self._platform.platform_transaction() as session:
            due = await repository.due_tenants(session, _EVERY, _WHEN_FAILING, _MOST)
        await go_round(due, self._rechecks.check, at_once=_AT_ONCE, seconds=_RUN)

    async def look_at_claims(self, job: Job) -> None:
        """Look at the claims that wait to be proven and are due."""
        async with self._platform.platform_transaction() as session:
            due = await repository.fresh_claims(session, FRESH, _MOST)
        await go_round(due, self._pending.check, at_once=_AT_ONCE, seconds=_PENDING_RUN)
