"""Recurring work: each due schedule becomes one job, however many workers look at the clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from mis_jobs.jobs import enqueue
from mis_models.work import ScheduleRow


@dataclass(frozen=True, slots=True)
class Schedule:
    """A platform job of kind `name` at least every `every`."""

    name: str
    every: timedelta


async def tick(
    session: AsyncSession, schedules: Sequence[Schedule], now: datetime | None = None
) -> list[str]:
    """Enqueue the schedules that are due and return their names; two ticks at once enqueue each only once.

    `now` stands in for the database's clock, which all workers share.
    """
    moment = now or (await session.execute(select(func.clock_timestamp()))).scalar_one()
    known = await session.execute(select(ScheduleRow.name, ScheduleRow.last_run_at))
    last = {row.name: row.last_run_at for row in known}
    started: list[str] = []
    for schedule in schedules:
        before = last.get(schedule.name)
        # Read without a lock, because hardly any schedule is due at a tick.
        if before is not None and before > moment - schedule.every:
            continue
        if await _taken(session, schedule, moment):
            await enqueue(session, schedule.name, {}, tenant_id=None, dedupe_key=schedule.name)
            started.append(schedule.name)
    return started


async def _taken(session: AsyncSession, schedule: Schedule, moment: datetime) -> bool:
    """Return whether this tick is the one that runs the schedule: the row lock of the update decides."""
    await session.execute(insert(ScheduleRow).values(name=schedule.name).on_conflict_do_nothing())
    due = or_(ScheduleRow.last_run_at.is_(None), ScheduleRow.last_run_at <= moment - schedule.every)
    take = update(ScheduleRow).where(ScheduleRow.name == schedule.name, due).values(last_run_at=moment)
    return await session.scalar(take.returning(ScheduleRow.name)) is not None
