"""The rules of an import: rows go in by batches, each for itself, or all of them or none.

Each batch is a transaction that is told once it has committed, so what somebody has read of the answer is
there, whatever becomes of the rest (docs/decisions/0020-imports-go-in-by-batches.md).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final

import structlog

from mis_http.conflicts import refusal_behind
from mis_tenancy.database import Database
from mis_tenancy.errors import TokenRevoked
from mis_tenancy.request_changes import principal_of, record
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Admission, Tenant
from user_service.imports.errors import ImportRefused
from user_service.imports.files import Row
from user_service.imports.judging import Candidate, Judge
from user_service.imports.results import Made, RowResult, Tally
from user_service.imports.seating import Unsettled, seat

log = structlog.get_logger(__name__)

_BATCH: Final = 1_000
# One for all imports of the process: threads share the processor with everybody's requests.
_JUDGING: Final = ThreadPoolExecutor(1, thread_name_prefix="import-judging")
_MOST_TOLD: Final = 1_000


class Importer:
    """Imports users into one tenant on behalf of `by`; `is_revoked` tells whether he may still."""

    def __init__(
        self, database: Database, tenant: Tenant, by: Admission, is_revoked: Callable[[], bool]
    ) -> None:
        self._database = database
        self._tenant = tenant
        self._by = by
        self._principal = principal_of(by)
        self._judge = Judge(self._principal, tenant.configuration)
        self._is_revoked = is_revoked

    async def each_for_itself(self, rows: Iterator[Row]) -> AsyncIterator[list[RowResult]]:
        """Create a user for each row that may become one, and say of every other why not.

        Yield the results of each batch once it has committed. Where it cannot go on, the last result says
        why, and later rows have none.
        """
        while batch := await self._next(rows):
            first = batch[0].number
            if self._is_revoked():
                yield [RowResult.refused(first, TokenRevoked())]
                return
            try:
                async with self._database.transaction(self._tenant.id) as session:
                    tally, given = Tally(), Unsettled()
                    results = await seat(session, self._principal, batch, given, hold=True)
                    await given.settle(session)
                    tally.add(results)
                    self._record(session, tally)
            except Exception as error:
                log.error("users.import_stopped", row=first, exc_info=error)
                yield [RowResult.refused(first, refusal_behind(error))]
                return
            yield results

    async def all_or_nothing(self, rows: Iterator[Row]) -> Made:
        """Create a user for each row; raise ImportRefused, having created none, where one cannot go in.

        Raise LimitExceeded where others have taken the seats meanwhile.
        """
        made, tally, given = Made(), Tally(), Unsettled()
        refused: list[RowResult] = []
        async with self._database.transaction(self._tenant.id) as session:
            while batch := await self._next(rows):
                results = await seat(session, self._principal, batch, given, hold=False)
                tally.add(results)
                made.add(results)
                refused += [one for one in results if not one.ok][: _MOST_TOLD - len(refused)]
                if self._is_revoked():
                    raise TokenRevoked
            if tally.failed:
                told = [one.document() for one in refused]
                raise ImportRefused(total=tally.total, created=0, failed=tally.failed, rows=told)
            if tally.total:
                self._record(session, tally)
                await given.settle(session)
        return made

    async def _next(self, rows: Iterator[Row]) -> list[Candidate | RowResult]:
        # In a thread: reading and judging takes as long as the database does, and others wait for the loop.
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_JUDGING, lambda: self._judge.judged(islice(rows, _BATCH)))

    def _record(self, session: TenantSession, tally: Tally) -> None:
        record(session, self._by, "users.imported", resource="users", changes=tally.changes())
