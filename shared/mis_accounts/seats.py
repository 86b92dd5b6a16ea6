"""Seats: how many users a tenant may have, exact however many callers claim at once.

The tenant's row in `tenant_counters` is both the count and the lock: whoever adds, removes or re-ranks users
takes that row first and holds it to the end of the transaction, so rules about the whole membership (seats,
the last owner) are judged on what is true and not on what was.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select, update

from mis_models.accounts import CountersRow
from mis_tenancy.errors import ProblemError
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow


class LimitExceeded(ProblemError):
    """The tenant's limit leaves no room for what was asked."""

    status = 409
    code = "limit_exceeded"
    detail = "The tenant's limit is used up. Remove something, or move to a larger plan."


@dataclass(frozen=True, slots=True)
class Seats:
    """A tenant's seats; pending invitations hold some too. `limit` None is unlimited."""

    limit: int | None
    used: int

    def fit(self, requested: int) -> int:
        """Return how many of `requested` there is room for."""
        return requested if self.limit is None else max(0, min(requested, self.limit - self.used))

    def refusal(self, requested: int = 1) -> LimitExceeded:
        """Return the error for a request that does not fit."""
        return LimitExceeded(resource="users", limit=self.limit, used=self.used, requested=requested)


async def claim_seats(session: TenantSession, count: int = 1) -> None:
    """Take `count` seats of the session's tenant, or raise LimitExceeded and take none."""
    await _claim(session, {"users": CountersRow.users + count}, count)


async def hold_seat(session: TenantSession) -> None:
    """Keep a seat for somebody who is invited, or raise LimitExceeded."""
    await _claim(session, {"pending_invitations": CountersRow.pending_invitations + 1}, 1)


async def release_held_seats(session: TenantSession, count: int) -> None:
    """Give back `count` seats that were kept for people who are not invited any more."""
    await _set(session, {"pending_invitations": CountersRow.pending_invitations - count})


async def take_held_seat(session: TenantSession) -> None:
    """Turn a seat that was kept for somebody into that of a user, which no limit can refuse any more."""
    kept = CountersRow.pending_invitations - 1
    await _set(session, {"users": CountersRow.users + 1, "pending_invitations": kept})


async def release_seats(session: TenantSession, count: int = 1) -> None:
    """Give `count` seats of the session's tenant back."""
    await _set(session, {"users": CountersRow.users - count})


async def lock_seats(session: TenantSession) -> Seats:
    """Return the tenant's seats, and let nobody else change its membership until the transaction ends."""
    return await _counted(session, lock=True)


async def count_seats(session: TenantSession) -> Seats:
    """Return the tenant's seats as they are now, which may be over in a moment; a claim is what holds."""
    return await _counted(session, lock=False)


async def hold_counters(session: TenantSession) -> CountersRow:
    """Return the tenant's counters, and let nobody claim anything until the transaction ends.

    Whoever changes the plan writes it there, so that claims which waited know of it.
    """
    held = select(CountersRow).with_for_update().execution_options(populate_existing=True)
    return (await session.scalars(held)).one()


async def _claim(session: TenantSession, values: dict[str, Any], count: int) -> None:
    if await _claimed(session, values, count):
        return
    # Either there is no room, or the claim waited while the plan changed and compared with what it had read
    # before. Once the counters are held, a second one reads what is in force.
    await hold_counters(session)
    if not await _claimed(session, values, count):
        raise (await _counted(session, lock=False)).refusal(count)


async def _claimed(session: TenantSession, values: dict[str, Any], count: int) -> bool:
    taken = CountersRow.users + CountersRow.pending_invitations + count
    claimed = await session.scalar(
        update(CountersRow)
        .where(
            TenantRow.id == CountersRow.tenant_id,
            # A claim that waited for the row sees the row as it is now, and the tenant as it was before.
            or_(CountersRow.plan.is_(None), CountersRow.plan == TenantRow.plan),
            or_(TenantRow.max_users.is_(None), taken <= TenantRow.max_users),
        )
        .values(values)
        .returning(CountersRow.users)
        .execution_options(synchronize_session=False)
    )
    return claimed is not None


async def _set(session: TenantSession, values: dict[str, Any]) -> None:
    await session.execute(update(CountersRow).values(values).execution_options(synchronize_session=False))


async def _counted(session: TenantSession, *, lock: bool) -> Seats:
    held = CountersRow.users + CountersRow.pending_invitations
    statement = select(TenantRow.max_users, held).join(CountersRow, CountersRow.tenant_id == TenantRow.id)
    if lock:
        statement = statement.with_for_update(of=CountersRow)
    return Seats(*(await session.execute(statement)).one())
