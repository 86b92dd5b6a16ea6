"""Seats: how many users a tenant may have, exact however many callers claim at once.

The tenant's row in `tenant_counters` is both the count and the lock: whoever adds, removes or re-ranks users
takes that row first and holds it to the end of the transaction, so rules about the whole membership (seats,
the last owner) are judged on what is true and not on what was.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select

from mis_accounts.claims import LimitExceeded, claimed, count
from mis_models.accounts import CountersRow
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow


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


async def claim_seats(session: TenantSession, seats: int = 1) -> None:
    """Take so many `seats` of the session's tenant, or raise LimitExceeded and take none."""
    await _claim(session, {"users": CountersRow.users + seats}, seats)


async def hold_seat(session: TenantSession) -> None:
    """Keep a seat for somebody who is invited, or raise LimitExceeded."""
    await _claim(session, {"pending_invitations": CountersRow.pending_invitations + 1}, 1)


async def release_held_seats(session: TenantSession, seats: int) -> None:
    """Give back so many `seats` that were kept for people who are not invited any more."""
    await count(session, {"pending_invitations": CountersRow.pending_invitations - seats})


async def take_held_seat(session: TenantSession) -> None:
    """Turn a seat that was kept for somebody into that of a user, which no limit can refuse any more."""
    kept = CountersRow.pending_invitations - 1
    await count(session, {"users": CountersRow.users + 1, "pending_invitations": kept})


async def release_seats(session: TenantSession, seats: int = 1) -> None:
    """Give so many `seats` of the session's tenant back."""
    await count(session, {"users": CountersRow.users - seats})


async def lock_seats(session: TenantSession) -> Seats:
    """Return the tenant's seats, and let nobody else change its membership until the transaction ends."""
    return await _counted(session, lock=True)


async def count_seats(session: TenantSession) -> Seats:
    """Return the tenant's seats as they are now, which may be over in a moment; a claim is what holds."""
    return await _counted(session, lock=False)


async def _claim(session: TenantSession, values: dict[str, Any], requested: int) -> None:
    taken = CountersRow.users + CountersRow.pending_invitations + requested
    fits = or_(TenantRow.max_users.is_(None), taken <= TenantRow.max_users)
    if not await claimed(session, fits, values):
        raise (await _counted(session, lock=False)).refusal(requested)


async def _counted(session: TenantSession, *, lock: bool) -> Seats:
    held = CountersRow.users + CountersRow.pending_invitations
    statement = select(TenantRow.max_users, held).join(CountersRow, CountersRow.tenant_id == TenantRow.id)
    if lock:
        statement = statement.with_for_update(of=CountersRow)
    return Seats(*(await session.execute(statement)).one())
