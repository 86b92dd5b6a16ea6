"""The rules of an import: each row stands for itself, and together they take no more seats than there are.

One transaction holds the tenant's seats from the first row to the last, so what a row is told is true when
the import commits. Who waited for an invitation takes the seat that it held. Rows travel to Postgres in
batches; a row that cannot go in never reaches it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError

from mis_accounts.emails import Email, parse_email
from mis_accounts.members import EmailTaken, insert_members, member_columns
from mis_accounts.seats import Seats, claim_seats, lock_seats
from mis_accounts.withdrawals import invited_roles, withdraw_invitations
from mis_http.problems import field_problem
from mis_jobs.outbox import EventType, publish_many
from mis_tenancy.errors import ProblemError, ValidationFailed
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Admission, Principal, Role, Tenant
from user_service.audit import principal_of, record
from user_service.imports import repository
from user_service.imports.files import Row
from user_service.imports.schemas import ImportedUser, ImportResult, RowResult
from user_service.users.attributes import require_schema
from user_service.users.rules import require_rank

_BATCH: Final = 250


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A row that is fit to become a user, if its address is free and a seat is left."""

    number: int
    email: Email
    user: ImportedUser


@dataclass(slots=True)
class _Places:
    """What there is for a batch: addresses that are `taken`, or `invited` as something, and seats."""

    taken: set[str]
    invited: dict[str, Role]
    seats: Seats

    def take(self, one: _Candidate, by: Principal) -> None:
        """Give the candidate a place; raise what forbids that."""
        norm = one.email.norm
        if norm in self.taken:
            raise EmailTaken
        if norm in self.invited:
            require_rank(by, self.invited[norm])
        elif not self.seats.fit(1):
            raise self.seats.refusal()
        else:
            self.seats = replace(self.seats, used=self.seats.used + 1)
        self.taken.add(norm)


class Importer:
    """Imports users into one tenant on behalf of `by`."""

    def __init__(self, session: TenantSession, tenant: Tenant, by: Admission) -> None:
        self._session = session
        self._configuration = tenant.configuration
        self._by = by
        self._principal = principal_of(by)

    async def run(self, rows: Iterable[Row]) -> ImportResult:
        """Create a user for each row that may become one, and say of every other why not."""
        seats = await lock_seats(self._session)
        results: list[RowResult] = []
        remaining = iter(rows)
        while batch := list(islice(remaining, _BATCH)):
            done, seats = await self._batch(batch, seats)
            results += done
        if created := sum(result.ok for result in results):
            await claim_seats(self._session, created)
        outcome = ImportResult.of(results)
        changes = {
            "created": {"old": None, "new": outcome.created},
            "failed": {"old": None, "new": outcome.failed},
        }
        record(self._session, self._by, "users.imported", resource="users", changes=changes)
        return outcome

    async def _batch(self, rows: list[Row], seats: Seats) -> tuple[list[RowResult], Seats]:
        """Bring some rows in; return what became of them, and the seats as they are used then."""
        judged = [self._judged(row) for row in rows]
        fit = [one for one in judged if isinstance(one, _Candidate)]
        results = {one.row: one for one in judged if isinstance(one, RowResult)}
        norms = {one.email.norm for one in fit}
        places = _Places(
            taken=await repository.taken_addresses(self._session, norms),
            invited=await invited_roles(self._session, norms),
            seats=seats,
        )
        chosen: list[_Candidate] = []
        for one in fit:
            try:
                places.take(one, self._principal)
            except ProblemError as refusal:
                results[one.number] = RowResult.refused(one.number, refusal)
            else:
                chosen.append(one)
        results |= {result.row: result for result in await self._insert(chosen)}
        return [results[row.number] for row in rows], places.seats

    async def _insert(self, chosen: list[_Candidate]) -> list[RowResult]:
        """Make users of the candidates, whose invitations end with that."""
        await withdraw_invitations(self._session, [one.email.norm for one in chosen])
        now = datetime.now(UTC)
        members = [_columns(one, now) for one in chosen]
        inserted = await insert_members(self._session, members)
        told = ({"id": str(row["id"]), "role": row["role"]} for row in members if row["id"] in inserted)
        await publish_many(self._session, EventType.USER_CREATED, told)
        return [_created(one, columns["id"], inserted) for one, columns in zip(chosen, members, strict=True)]

    def _judged(self, row: Row) -> _Candidate | RowResult:
        """Return the row as a candidate, or the result that says what is wrong with it."""
        try:
            if row.problem is not None:
                raise row.problem
            user = _validated(row.fields)
            require_schema(self._configuration, user.attributes)
            require_rank(self._principal, user.role)
            return _Candidate(row.number, parse_email(user.email), user)
        except ProblemError as error:
            return RowResult.refused(row.number, error)


def _validated(fields: Any) -> ImportedUser:
    try:
        return ImportedUser.model_validate(fields)
    except ValidationError as error:
        raise ValidationFailed([field_problem(one) for one in error.errors()]) from error


def _columns(one: _Candidate, now: datetime) -> dict[str, Any]:
    return member_columns(one.email, one.user.name, one.user.role, now=now, attributes=one.user.attributes)


def _created(one: _Candidate, user_id: UUID, inserted: set[UUID]) -> RowResult:
    if user_id in inserted:
        return RowResult(one.number, True, id=user_id)
    # Somebody changed their address to this one after we had looked.
    return RowResult.refused(one.number, EmailTaken())
