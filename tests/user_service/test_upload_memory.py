"""Large uploads share one process's memory: never more of it, never one tenant all of it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from mis_tenancy.objects.parts import memory_of
from tests.answers import fine, refused
from tests.suite import Suite
from tests.user_service.media import MIB, Held, held, send
from user_service.media.memory import UploadMemory, UploadsBusy

ONE, OTHER, THIRD = (UUID(int=number) for number in range(3))


@pytest.mark.parametrize("length", [None, 2 * MIB])
async def test_whoever_finds_no_memory_waits_is_told_when_to_come_again_and_leaves_nothing(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, length: int | None
) -> None:
    """Catalogue 113."""
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    # Room for two, so for one of each tenant.
    memory = UploadMemory(2 * memory_of(None), patience=0.05)
    monkeypatch.setitem(suite.apps["user"].state._state, "upload_memory", memory)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def halting() -> AsyncIterator[bytes]:
        yield b"x" * (2 * MIB - 1)
        begun.set()
        await go_on.wait()
        yield b"x"

    sent: dict[str, Any] = {} if length is None else {"Content_Length": str(length)}
    first = asyncio.create_task(send(suite, tenant, halting(), **sent))
    await begun.wait()
    there = await held(suite, tenant)
    busy = await send(suite, tenant, b"x" * 2 * MIB)
    refused(busy, 503, "uploads_busy")
    assert int(busy.headers["retry-after"]) > 0
    assert await held(suite, tenant) == there
    # Neither small files nor other tenants' large ones wait for it.
    fine(await send(suite, tenant), 201)
    fine(await send(suite, other, b"x" * 2 * MIB), 201)
    go_on.set()
    fine(await first, 201)
    fine(await send(suite, tenant, b"x" * 2 * MIB), 201)
    assert await held(suite, tenant) == Held(4 * MIB + 5, 3, 3, 0, 3)


async def test_an_upload_that_waits_goes_on_when_another_one_fails(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 113."""
    tenant = await suite.tenant("custom")
    memory = UploadMemory(2 * memory_of(None), patience=30)
    monkeypatch.setitem(suite.apps["user"].state._state, "upload_memory", memory)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def failing() -> AsyncIterator[bytes]:
        yield b"x" * 2 * MIB
        begun.set()
        await go_on.wait()

    first = asyncio.create_task(send(suite, tenant, failing(), Content_Length=str(3 * MIB)))
    await begun.wait()
    second = asyncio.create_task(send(suite, tenant, b"x" * 2 * MIB))
    async with asyncio.timeout(10):
        # It holds its room in the books before it waits for memory.
        while (await held(suite, tenant)).uploads < 2:
            pass
    go_on.set()
    refused(await first, 400, "body_malformed")
    fine(await second, 201)
    assert await held(suite, tenant) == Held(2 * MIB, 1, 1, 0, 1)


async def hold(memory: UploadMemory, tenant: UUID, size: int, until: asyncio.Event) -> None:
    async with memory.hold(tenant, size):
        await until.wait()


async def begun(task: "asyncio.Task[Any]") -> "asyncio.Task[Any]":
    await asyncio.sleep(0)
    return task


async def test_all_share_the_memory_and_none_has_more_than_half() -> None:
    memory, done = UploadMemory(100, patience=0), asyncio.Event()
    tasks = [await begun(asyncio.create_task(hold(memory, ONE, 25, done))) for _ in range(2)]
    with pytest.raises(UploadsBusy):
        await hold(memory, ONE, 1, done)
    # What is larger than a tenant's half has all of that.
    tasks.append(await begun(asyncio.create_task(hold(memory, OTHER, 1_000, done))))
    with pytest.raises(UploadsBusy):
        await hold(memory, THIRD, 1, done)
    done.set()
    await asyncio.gather(*tasks)
    await hold(memory, THIRD, 50, done)


async def test_who_goes_away_while_waiting_or_in_the_midst_of_it_leaves_all_of_it_to_others() -> None:
    memory, never, done = UploadMemory(100, patience=30), asyncio.Event(), asyncio.Event()
    holding = await begun(asyncio.create_task(hold(memory, ONE, 50, never)))
    waiting = await begun(asyncio.create_task(hold(memory, ONE, 50, never)))
    for one in (waiting, holding):
        one.cancel()
        await asyncio.wait({one})
    done.set()
    await asyncio.gather(hold(memory, ONE, 50, done), hold(memory, OTHER, 50, done))
