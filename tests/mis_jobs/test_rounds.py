"""Rounds over tenants: bounded in number and in time, and none held up by another."""

import asyncio
from uuid import UUID, uuid4

import pytest

from mis_jobs.rounds import go_round


async def test_each_is_visited_once_and_no_more_than_a_few_at_a_time() -> None:
    tenants, visited = [uuid4() for _ in range(20)], []
    inside, most = 0, 0

    async def visit(tenant_id: UUID) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1
        visited.append(tenant_id)

    await go_round(tenants, visit, at_once=3, seconds=60)
    assert sorted(visited) == sorted(tenants)
    assert most == 3


async def test_a_visit_that_fails_keeps_nobody_from_his() -> None:
    tenants, visited = [uuid4() for _ in range(5)], []

    async def visit(tenant_id: UUID) -> None:
        if tenant_id == tenants[0]:
            raise RuntimeError("Something is wrong with this one.")
        visited.append(tenant_id)

    await go_round(tenants, visit, at_once=1, seconds=60)
    assert visited == tenants[1:]


async def test_no_visit_begins_when_the_time_is_over() -> None:
    visited: list[UUID] = []

    async def visit(tenant_id: UUID) -> None:
        visited.append(tenant_id)

    await go_round([uuid4()], visit, at_once=2, seconds=-1)
    assert visited == []


async def test_a_round_that_is_stopped_stops_its_visits() -> None:
    begun = asyncio.Event()

    async def visit(tenant_id: UUID) -> None:
        begun.set()
        await asyncio.Event().wait()

    going = asyncio.create_task(go_round([uuid4()], visit, at_once=1, seconds=60))
    await begun.wait()
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
