"""Recurring work: each due schedule becomes one job, however many workers look at the clock."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import or_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from mis_jobs.jobs import enqueue
from mis_models.work import ScheduleRow

TICK_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """A platform job of kind `name` at least every `every`."""

    name: str
    every: timedelta


async def tick(session: AsyncSession, schedules: list[Schedule], now: datetime | None = None) -> list[str]:
    """Enqueue the schedules that are due and return their names; two ticks at once enqueue each only once."""
    moment = now or datetime.now(UTC)
    started: list[str] = []
    for schedule in schedules:
        await session.execute(insert(ScheduleRow).values(name=schedule.name).on_conflict_do_nothing())
        due = or_(ScheduleRow.last_run_at.is_(None), ScheduleRow.last_run_at <= moment - schedule.every)
        # The row lock of this update is what makes one of several workers the one.
        taken = update(ScheduleRow).where(ScheduleRow.name == schedule.name, due).values(last_run_at=moment)
        if await session.scalar(taken.returning(ScheduleRow.name)) is not None:
            await enqueue(session, schedule.name, {}, tenant_id=None, dedupe_key=schedule.name)
            started.append(schedule.name)
    return started
