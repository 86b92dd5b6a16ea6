"""The worker's round over invitations that have run out, which gives their seats back."""

from datetime import timedelta
from typing import Final

from auth_service.invitations import repository
from mis_accounts.seats import lock_seats
from mis_jobs.jobs import Job
from mis_jobs.schedules import Schedule
from mis_tenancy.database import Database

LAPSES: Final = "invitation_lapses"
SCHEDULES: Final = [Schedule(LAPSES, timedelta(minutes=1))]

_MOST: Final = 1_000


class InvitationRounds:
    """The round: `platform` knows which tenants are due, `application` works inside each."""

    def __init__(self, platform: Database, application: Database) -> None:
        self._platform = platform
        self._application = application

    async def let_go(self, job: Job) -> None:
        """Delete what has run out, tenant by tenant; whom one round does not reach the next one does."""
        async with self._platform.platform_transaction() as session:
            due = await repository.tenants_with_lapsed(session, _MOST)
        for tenant_id in due:
            async with self._application.transaction(tenant_id) as tenant:
                await lock_seats(tenant)
                await repository.let_lapsed_go(tenant)
