"""Rounds over many tenants: a few at a time, for a while, and none held up by what is wrong with another."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from uuid import UUID

import structlog

log = structlog.get_logger(__name__)


async def go_round(
    tenants: Iterable[UUID], visit: Callable[[UUID], Awaitable[object]], *, at_once: int, seconds: float
) -> None:
    """Visit the tenants, `at_once` at a time, and begin no visit once `seconds` have passed.

    A visit that fails is logged and passed over: whoever chooses the tenants by how long they have waited
    would else meet the same one first each time.
    """
    waiting, end = iter(tenants), monotonic() + seconds

    async def work_off() -> None:
        for tenant_id in waiting:
            if monotonic() > end:
                return
            try:
                await visit(tenant_id)
            except Exception as error:
                log.warning("round.visit_failed", tenant_id=str(tenant_id), error=repr(error))

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work_off())
