"""Brings judged rows into the tenant, within a transaction of the caller's.

Who waited for an invitation takes the seat that it held. A row that cannot go in never reaches Postgres, so
it harms none beside it. Seats are claimed at the transaction's end. A short one holds them from its first
statement on, so that what each row is told is true when it commits; a long one does not, because whoever else
joins, leaves or uploads would wait for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from mis_accounts.members import EmailTaken, insert_members, member_columns
from mis_accounts.seats import Seats, claim_seats, count_seats, lock_seats
from mis_accounts.withdrawals import invited_roles, withdraw_invitations
from mis_jobs.outbox import EventType, publish_many
from mis_tenancy.access import require_rank
from mis_tenancy.errors import ProblemError
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Principal, Role
from user_service.imports import repository
from user_service.imports.judging import Candidate
from user_service.imports.results import RowResult


@dataclass(slots=True)
class Unsettled:
    """What a transaction has given out and not claimed yet: so many seats, some of them of the `invited`."""

    users: int = 0
    invited: list[str] = field(default_factory=list)

    async def settle(self, session: TenantSession) -> None:
        """Claim the seats, and end the invitations; raise LimitExceeded where others were quicker."""
        if self.users:
            await lock_seats(session)
            await withdraw_invitations(session, self.invited)
            await claim_seats(session, self.users)


@dataclass(slots=True)
class _Places:
    """What there is for a batch: addresses that are `taken`, or `invited` as something, and seats."""

    taken: set[str]
    invited: dict[str, Role]
    seats: Seats

    def take(self, one: Candidate, by: Principal) -> None:
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


async def seat(
    session: TenantSession,
    by: Principal,
    judged: Sequence[Candidate | RowResult],
    given: Unsettled,
    *,
    hold: bool,
) -> list[RowResult]:
    """Make a user of each candidate that there is a place for; return what became of each row, in order.

    What they take is added to `given`. With `hold` nobody else takes a seat until the transaction ends.
    """
    norms = {one.email.norm for one in judged if isinstance(one, Candidate)}
    places = await _places(session, norms, given, hold=hold)
    chosen: list[Candidate] = []
    results: dict[int, RowResult] = {}
    for one in judged:
        if isinstance(one, RowResult):
            results[one.number] = one
            continue
        try:
            places.take(one, by)
        except ProblemError as refusal:
            results[one.number] = RowResult.refused(one.number, refusal)
        else:
            results[one.number] = RowResult(one.number, ok=True)
            chosen.append(one)
    given.invited += [one.email.norm for one in chosen if one.email.norm in places.invited]
    inserted = await _inserted(session, chosen)
    given.users += sum(one.ok for one in inserted)
    results |= {result.number: result for result in inserted}
    return list(results.values())


async def _places(session: TenantSession, norms: set[str], given: Unsettled, *, hold: bool) -> _Places:
    seats = await (lock_seats(session) if hold else count_seats(session))
    seats = replace(seats, used=seats.used + given.users - len(given.invited))
    taken = await repository.taken_addresses(session, norms)
    return _Places(taken, await invited_roles(session, norms), seats)


async def _inserted(session: TenantSession, chosen: Sequence[Candidate]) -> list[RowResult]:
    """Make users of the candidates, and tell of them."""
    if not chosen:
        return []
    now = datetime.now(UTC)
    members = [_columns(one, now) for one in chosen]
    inserted = await insert_members(session, members)
    told = ({"id": str(row["id"]), "role": row["role"]} for row in members if row["id"] in inserted)
    await publish_many(session, EventType.USER_CREATED, told)
    return [_created(one, columns["id"], inserted) for one, columns in zip(chosen, members, strict=True)]


def _columns(one: Candidate, now: datetime) -> dict[str, Any]:
    return member_columns(one.email, one.user.name, one.user.role, now=now, attributes=one.user.attributes)


def _created(one: Candidate, user_id: UUID, inserted: set[UUID]) -> RowResult:
    if user_id in inserted:
        return RowResult(one.number, True, id=user_id)
    # Somebody changed their address to this one after we had looked.
    return RowResult.refused(one.number, EmailTaken())
