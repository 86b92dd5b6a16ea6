"""Every statement about counters of failed sign-ins, by the database's own clock.

A counter lapses a day after its `window_start`. That of a known network is dated 29 days ahead, so one rule
keeps it for 30 days and lets everything else go after one.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, text
from sqlalchemy.ext.asyncio import AsyncSession

from mis_models.platform import LoginThrottleRow

LAPSES_AFTER: Final = timedelta(days=1)
_KNOWN_FOR: Final = timedelta(days=30)

# The counters belong to no tenant, so a tenant's session has nothing to narrow here.
_UNSCOPED: Final = {"unscoped": True}

_WAITS: Final = text("""
select subject, ceil(extract(epoch from blocked_until - clock_timestamp()))::int as wait
  from login_throttles
 where subject = any(:subjects) and window_start > clock_timestamp() - cast(:lapse as interval)
""")
_COUNT: Final = text("""
insert into login_throttles as counter (subject, failures, window_start)
values (:subject, 1, clock_timestamp())
on conflict (subject) do update
   set failures = 1 + case when counter.window_start > clock_timestamp() - cast(:window as interval)
                           then counter.failures else 0 end,
       window_start = case when :is_fixed
                            and counter.window_start > clock_timestamp() - cast(:window as interval)
                           then counter.window_start
                           else greatest(counter.window_start, clock_timestamp()) end
returning failures
""")
_BLOCK: Final = text("""
update login_throttles set blocked_until = clock_timestamp() + cast(:wait as interval)
 where subject = :subject
""")
_REMEMBER: Final = text("""
insert into login_throttles as counter (subject, failures, window_start)
values (:subject, 0, clock_timestamp() + cast(:ahead as interval))
on conflict (subject) do update
   set failures = 0, window_start = excluded.window_start, blocked_until = null
""")
# A few at a time, oldest first, so that the counters of invented accounts are gone as fast as they come.
_PRUNE: Final = text("""
delete from login_throttles
 where subject in (select subject from login_throttles
                    where window_start < clock_timestamp() - cast(:lapse as interval)
                    order by window_start limit 20 for update skip locked)
""")


async def waits(session: AsyncSession, subjects: Sequence[str]) -> Mapping[str, int]:
    """Return, of the counters that exist and have not lapsed, the seconds until they let anybody through."""
    parameters = {"subjects": list(subjects), "lapse": LAPSES_AFTER}
    rows = await session.execute(_WAITS, parameters, execution_options=_UNSCOPED)
    return {row.subject: max(0, row.wait or 0) for row in rows}


async def count(session: AsyncSession, subject: str, window: timedelta, *, is_fixed: bool) -> int:
    """Add a failure to a counter, and return how many it holds.

    A counter starts anew `window` after its last failure, or, where `is_fixed`, after its first.
    """
    parameters = {"subject": subject, "window": window, "is_fixed": is_fixed}
    failures: int = (await session.execute(_COUNT, parameters, execution_options=_UNSCOPED)).scalar_one()
    return failures


async def block(session: AsyncSession, subject: str, wait: timedelta) -> None:
    """Let nobody through a counter for `wait`."""
    await session.execute(_BLOCK, {"subject": subject, "wait": wait}, execution_options=_UNSCOPED)


async def remember(session: AsyncSession, subject: str) -> None:
    """Start the counter of a known network, or keep it known for another 30 days."""
    parameters = {"subject": subject, "ahead": _KNOWN_FOR - LAPSES_AFTER}
    await session.execute(_REMEMBER, parameters, execution_options=_UNSCOPED)


async def forget(session: AsyncSession, subject: str) -> None:
    """Drop a counter."""
    await session.execute(delete(LoginThrottleRow).where(LoginThrottleRow.subject == subject))


async def prune(session: AsyncSession) -> None:
    """Delete some counters that have lapsed."""
    await session.execute(_PRUNE, {"lapse": LAPSES_AFTER}, execution_options=_UNSCOPED)
