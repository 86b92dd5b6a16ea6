"""The rules of an import: each row stands for itself, and together they take no more seats than there are.

One transaction holds the tenant's seats from the first row to the last, so what a row is told is true when
the import commits. Rows travel to Postgres in batches; a row that cannot go in never reaches it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from pydantic import ValidationError

from mis_accounts.emails import Email, parse_email
from mis_accounts.members import EmailTaken, insert_members, member_columns
from mis_accounts.seats import Seats, claim_seats, lock_seats
from mis_http.problems import field_problem
from mis_jobs.outbox import EventType, publish_many
from mis_tenancy.errors import ProblemError, ValidationFailed
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Admission
from user_service.audit import principal_of, record
from user_service.imports import repository
from user_service.imports.files import Row
from user_service.imports.schemas import ImportedUser, ImportResult, RowResult
from user_service.users.rules import require_rank

_BATCH: Final = 250


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A row that is fit to become a user, if its address is free and a seat is left."""

    number: int
    email: Email
    user: ImportedUser


class Importer:
    """Imports users into one tenant on behalf of `by`."""

    def __init__(self, session: TenantSession, by: Admission) -> None:
        self._session = session
        self._by = by
        self._principal = principal_of(by)

    async def run(self, rows: Iterable[Row]) -> ImportResult:
        """Create a user for each row that may become one, and say of every other why not."""
        seats = await lock_seats(self._session)
        results: list[RowResult] = []
        created = 0
        remaining = iter(rows)
        while batch := list(islice(remaining, _BATCH)):
            done = await self._batch(batch, Seats(seats.limit, seats.used + created))
            created += sum(result.ok for result in done)
            results += done
        if created:
            await claim_seats(self._session, created)
        outcome = ImportResult.of(results)
        changes = {
            "created": {"old": None, "new": outcome.created},
            "failed": {"old": None, "new": outcome.failed},
        }
        record(self._session, self._by, "users.imported", resource="users", changes=changes)
        return outcome

    async def _batch(self, rows: list[Row], seats: Seats) -> list[RowResult]:
        judged = [self._judged(row) for row in rows]
        fit = [one for one in judged if isinstance(one, _Candidate)]
        taken = await repository.taken_addresses(self._session, {one.email.norm for one in fit})
        results = {one.row: one for one in judged if isinstance(one, RowResult)}
        chosen: list[tuple[_Candidate, dict[str, Any]]] = []
        now = datetime.now(UTC)
        for one in fit:
            refusal = _refusal(one, taken, seats, len(chosen))
            if refusal is not None:
                results[one.number] = RowResult.refused(one.number, refusal)
                continue
            taken.add(one.email.norm)
            chosen.append((one, _columns(one, now)))
        inserted = await insert_members(self._session, [columns for _, columns in chosen])
        told = ({"id": str(row["id"]), "role": row["role"]} for _, row in chosen if row["id"] in inserted)
        await publish_many(self._session, EventType.USER_CREATED, told)
        results |= {result.row: result for result in _created(chosen, inserted)}
        return [results[row.number] for row in rows]

    def _judged(self, row: Row) -> _Candidate | RowResult:
        """Return the row as a candidate, or the result that says what is wrong with it."""
        try:
            if row.problem is not None:
                raise row.problem
            user = _validated(row.fields)
            require_rank(self._principal, user.role)
            return _Candidate(row.number, parse_email(user.email), user)
        except ProblemError as error:
            return RowResult.refused(row.number, error)


def _validated(fields: Any) -> ImportedUser:
    try:
        return ImportedUser.model_validate(fields)
    except ValidationError as error:
        raise ValidationFailed([field_problem(one) for one in error.errors()]) from error


def _refusal(one: _Candidate, taken: set[str], seats: Seats, chosen: int) -> ProblemError | None:
    if one.email.norm in taken:
        return EmailTaken()
    if not seats.fit(chosen + 1) > chosen:
        return Seats(seats.limit, seats.used + chosen).refusal()
    return None


def _columns(one: _Candidate, now: datetime) -> dict[str, Any]:
    return member_columns(one.email, one.user.name, one.user.role, now=now, attributes=one.user.attributes)


def _created(chosen: list[tuple[_Candidate, dict[str, Any]]], inserted: set[Any]) -> Iterator[RowResult]:
    for one, columns in chosen:
        if columns["id"] in inserted:
            yield RowResult(one.number, True, id=columns["id"])
        else:
            # Somebody changed their address to this one after we had looked.
            yield RowResult.refused(one.number, EmailTaken())
