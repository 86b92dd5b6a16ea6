"""Rounds over many tenants or their things: a few at a time, none held up by what is wrong with another."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from typing import TypeVar

import structlog

Due = TypeVar("Due")

log = structlog.get_logger(__name__)


async def go_round(
    due: Iterable[Due], visit: Callable[[Due], Awaitable[object]], *, at_once: int, seconds: float
) -> None:
    """Visit what is due, `at_once` at a time, and begin no visit once `seconds` have passed.

    A visit that fails is logged and passed over: whoever chooses by how long something has waited would else
    meet the same one first each time.
    """
    waiting, end = iter(due), monotonic() + seconds

    async def work_off() -> None:
        for one in waiting:
            if monotonic() > end:
                return
            try:
                await visit(one)
            except Exception as error:
                log.warning("round.visit_failed", visited=str(one), error=repr(error))

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work_off())
