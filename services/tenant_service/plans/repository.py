"""Every statement about plans' prices."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from mis_models.platform import PlanPriceRow
from mis_tenancy.plans import PlanName

_LOCK = 7_201_612


async def prices_at(session: AsyncSession, moment: datetime) -> Mapping[PlanName, int]:
    """Return the monthly price of each plan whose price was ever set, as in force at `moment`."""
    newest = (
        select(PlanPriceRow.plan, PlanPriceRow.monthly_price)
        .where(PlanPriceRow.effective_from <= moment)
        .ext(distinct_on(PlanPriceRow.plan))
        .order_by(PlanPriceRow.plan, PlanPriceRow.effective_from.desc())
    )
    return {PlanName(plan): price for plan, price in await session.execute(newest)}


async def lock_prices(session: AsyncSession) -> None:
    """Let one change of prices after the other happen; held until the transaction ends."""
    await session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def add_price(session: AsyncSession, plan: PlanName, price: int, since: datetime) -> None:
    """Add the price of `plan` for periods that start at `since` or later."""
    session.add(PlanPriceRow(plan=plan.value, effective_from=since, monthly_price=price))
