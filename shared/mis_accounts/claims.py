"""Claims on what a plan limits: exact however many callers claim at once, and by the plan that is in force.

The tenant's row in `tenant_counters` is both the count and the lock; why a claim names the plan says
docs/decisions/0012-claims-know-the-plan.md.
"""

from typing import Any

from sqlalchemy import ColumnElement, or_, select, update

from mis_models.accounts import CountersRow
from mis_tenancy.errors import ProblemError
from mis_tenancy.session import TenantSession
from mis_tenancy.tables import TenantRow


class LimitExceeded(ProblemError):
    """The tenant's limit leaves no room for what was asked."""

    status = 409
    code = "limit_exceeded"
    detail = "The tenant's limit is used up. Remove something, or move to a larger plan."


async def claimed(session: TenantSession, fits: ColumnElement[bool], values: dict[str, Any]) -> bool:
    """Set `values` in the tenant's counters where the claim `fits`, a condition on them and on the tenant.

    Return whether it did.
    """
    if await _claimed(session, fits, values):
        return True
    # Either there is no room, or the claim waited while the plan changed and compared with what it had read
    # before. Once the counters are held, a second one reads what is in force.
    await hold_counters(session)
    return await _claimed(session, fits, values)


async def count(session: TenantSession, values: dict[str, Any]) -> None:
    """Set `values` in the tenant's counters, which no limit can refuse."""
    await session.execute(update(CountersRow).values(values).execution_options(synchronize_session=False))


async def hold_counters(session: TenantSession) -> CountersRow:
    """Return the tenant's counters, and let nobody claim anything until the transaction ends.

    Whoever changes the plan writes it there, so that claims which waited know of it.
    """
    held = select(CountersRow).with_for_update().execution_options(populate_existing=True)
    return (await session.scalars(held)).one()


async def _claimed(session: TenantSession, fits: ColumnElement[bool], values: dict[str, Any]) -> bool:
    done = await session.scalar(
        update(CountersRow)
        .where(
            TenantRow.id == CountersRow.tenant_id,
            # A claim that waited for the row sees the row as it is now, and the tenant as it was before.
            or_(CountersRow.plan.is_(None), CountersRow.plan == TenantRow.plan),
            fits,
        )
        .values(values)
        .returning(CountersRow.tenant_id)
        .execution_options(synchronize_session=False)
    )
    return done is not None
