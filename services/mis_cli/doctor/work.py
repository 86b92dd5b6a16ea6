"""Looks at background work: does a worker run, and is anything left lying."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import asyncpg

from mis_cli.doctor.findings import Finding, fail, fine, warn

# Several schedules run every minute.
_SILENCE: Final = timedelta(minutes=5)
_WAIT: Final = timedelta(minutes=5)

_LAST_TICK: Final = "select clock_timestamp() - max(last_run_at) from schedules"
_QUEUE: Final = """
select (select count(*) from jobs where state = 'dead') as dead,
       (select count(*) from jobs
         where state = 'queued' and run_at < clock_timestamp() - $1::interval) as late
"""


async def work(url: str) -> Sequence[Finding]:
    """Ask as the platform's role when schedules ran last, and what lies in the queue."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        silence: timedelta | None = await connection.fetchval(_LAST_TICK)
        queue: Any = await connection.fetchrow(_QUEUE, _WAIT)
    finally:
        await connection.close()
    return [_worker(silence), *_queued(queue["dead"], queue["late"])]


def _worker(silence: timedelta | None) -> Finding:
    advice = "Start `mis worker`: without it nothing is exported, purged, sealed, mailed or billed."
    if silence is None:
        return fail("worker", "has never run", advice)
    if silence > _SILENCE:
        return fail("worker", f"was last heard of {silence.total_seconds() / 60:.0f} min ago", advice)
    return fine("worker", f"was heard of {silence.total_seconds():.0f} s ago")


def _queued(dead: int, late: int) -> list[Finding]:
    found = []
    if dead:
        advice = "`mis jobs list --state dead` says why; mend that, then `mis jobs retry JOB`."
        found.append(warn("jobs", f"{dead} were given up", advice))
    if late:
        advice = "Run more workers, or see by `mis jobs list --state queued` what they wait for."
        found.append(warn("jobs", f"{late} are over {_WAIT.seconds // 60} min late", advice))
    return found or [fine("jobs", "none was given up, none is late")]
