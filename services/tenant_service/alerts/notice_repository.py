"""The statements behind mails about alerts: what is news, to whom, and what has been told."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from mis_models.accounts import UserRow
from mis_models.alerts import AlertRow
from mis_models.work import ScheduleRow
from mis_tenancy.session import PlatformSession, TenantSession
from mis_tenancy.tenant import Role
from tenant_service.alerts.causes import AlertKind

_MOST_RECIPIENTS: Final = 50
_MOST_NEWS: Final = 500
# The row in `schedules` that says when operators were last written to.
_LAST_MAIL: Final = "operator_alert_mail"


async def lock_news(session: TenantSession) -> Sequence[AlertRow]:
    """Return what nobody has been told of the tenant, oldest first; whoever else asks has to wait."""
    news = select(AlertRow).where(AlertRow.is_news).order_by(AlertRow.id).limit(_MOST_NEWS)
    return (await session.scalars(news.with_for_update())).all()


async def last_told_of_health(session: TenantSession) -> datetime | None:
    """Return when somebody was last told of the tenant's health."""
    told: datetime | None = await session.scalar(
        select(func.max(AlertRow.told_at)).where(AlertRow.kind == AlertKind.HEALTH.value)
    )
    return told


async def recipients(session: TenantSession) -> Sequence[str]:
    """Return the addresses of the tenant's owners and admins, owners first, as many as are written to."""
    rank = case((UserRow.role == Role.OWNER.value, 0), else_=1)
    found = (
        select(UserRow.email)
        .where(UserRow.role.in_([Role.OWNER.value, Role.ADMIN.value]), UserRow.status == "active")
        .order_by(rank, UserRow.id)
        .limit(_MOST_RECIPIENTS)
    )
    return (await session.scalars(found)).all()


async def take_turn(session: PlatformSession, pause: timedelta) -> bool:
    """Return whether operators may be written to now; nobody else may for a `pause` after this commits."""
    await session.execute(insert(ScheduleRow).values(name=_LAST_MAIL).on_conflict_do_nothing())
    is_due = or_(ScheduleRow.last_run_at.is_(None), ScheduleRow.last_run_at < func.clock_timestamp() - pause)
    taken = update(ScheduleRow).where(ScheduleRow.name == _LAST_MAIL, is_due)
    taken = taken.values(last_run_at=func.clock_timestamp()).execution_options(synchronize_session=False)
    return await session.scalar(taken.returning(ScheduleRow.name)) is not None


async def due(session: PlatformSession, most: int) -> Sequence[UUID]:
    """Return the ids of what operators have to be told of all tenants, oldest first."""
    oldest = select(AlertRow.id).where(AlertRow.operators_due).order_by(AlertRow.id).limit(most)
    return (await session.scalars(oldest)).all()


async def take(session: PlatformSession, alerts: Sequence[UUID]) -> Sequence[AlertRow]:
    """Take those of the alerts off what is due, and return them, oldest first.

    One statement finds, locks and changes them: Citus locks rows of several nodes in no other way.
    """
    taken = (
        update(AlertRow)
        .where(AlertRow.operators_due, AlertRow.id.in_(alerts))
        .values(operators_due=False)
        .returning(AlertRow)
        .execution_options(synchronize_session=False)
    )
    return sorted(await session.scalars(taken), key=lambda alert: alert.id)
