"""What the usage ledger says of a day, for a limiter whose own count was lost."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from mis_tenancy.audit import Recorder
from mis_tenancy.database import Database

_COUNTED = (
    "select coalesce(sum(counted), 0)::bigint as counted from usage_hours where hour >= $1 and hour < $2"
)


class UsageLedger:
    """Counts a tenant's requests of a day; this process's own spool is emptied into the ledger first."""

    def __init__(self, database: Database, recorder: Recorder) -> None:
        self._database = database
        self._recorder = recorder

    async def counted_on(self, tenant_id: UUID, day: date) -> int:
        """Return how many requests of the UTC `day` have used up daily quota."""
        await self._recorder.flush()
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        async with self._database.system_transaction() as system:
            await system.bind(tenant_id)
            rows = await system.fetch(_COUNTED, start, start + timedelta(days=1))
        return int(rows[0]["counted"])
