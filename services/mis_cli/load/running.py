"""One load test from beginning to end: tenants are made, kept busy, told of, and removed."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from mis_cli.load.asking import Asking
from mis_cli.load.checks import Checks
from mis_cli.load.measures import Measures
from mis_cli.load.order import Order, Suite
from mis_cli.load.populace import Member, Populace
from mis_cli.load.traffic import Traffic

_TIMEOUT: Final = 30.0
_LOOK: Final = 0.25


@dataclass(frozen=True, slots=True)
class Watching:
    """Who is told how far the test is."""

    on_tenant: Callable[[], None]
    on_traffic: Callable[[float, Measures], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a test: who took part, what was measured, for how long the traffic went on."""

    members: list[Member]
    measures: Measures
    began: datetime
    seconds: float


class Stopped(RuntimeError):
    """The test was stopped before its traffic began."""


async def run(suite: Suite, order: Order, watching: Watching, stop: asyncio.Event, *, keep: bool) -> Result:
    """Run the test at `suite`; `stop` ends the traffic early. Its tenants are removed, unless `keep`.

    Raise LoadError where the suite refuses to make the tenants, httpx.TransportError where it is away, and
    Stopped where `stop` comes before any traffic.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=suite.base_url, timeout=_TIMEOUT, limits=limits) as client:
        populace = Populace(client, suite, order)
        await populace.sign_in()
        try:
            members = await _unless_stopped(populace.make(watching.on_tenant), stop)
            return await _busy(client, order, members, watching, stop)
        finally:
            if not keep:
                await populace.remove()


async def _unless_stopped(making: Coroutine[Any, Any, list[Member]], stop: asyncio.Event) -> list[Member]:
    made, stopped = asyncio.create_task(making), asyncio.create_task(stop.wait())
    await asyncio.wait({made, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if made.done():
        return made.result()
    made.cancel()
    await asyncio.gather(made, return_exceptions=True)
    raise Stopped


async def _busy(
    client: httpx.AsyncClient, order: Order, members: list[Member], watching: Watching, stop: asyncio.Event
) -> Result:
    measures = Measures([member.slug for member in members])
    began, day = time.perf_counter(), datetime.now(UTC)
    workers = [
        asyncio.create_task(_work(traffic_of(client, measures, member, members, began), order, began, number))
        for member in members
        for number in range(order.workers)
    ]
    while (passed := time.perf_counter() - began) < order.seconds and not stop.is_set():
        watching.on_traffic(passed, measures)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), min(_LOOK, order.seconds - passed))
        if broken := next((one for one in workers if one.done()), None):
            broken.result()
    seconds = time.perf_counter() - began
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    watching.on_traffic(seconds, measures)
    return Result(members, measures, day, seconds)


def traffic_of(
    client: httpx.AsyncClient, measures: Measures, member: Member, members: list[Member], began: float
) -> Traffic:
    """Return the traffic of `member`, who is one of `members` and must not reach the others."""
    others = [other for other in members if other is not member]
    return Traffic(member, others, Asking(client, measures, member.slug, began), Checks(member, measures))


async def _work(traffic: Traffic, order: Order, began: float, number: int) -> None:
    """Do one thing after another for ever; at a rate each at its time, as long as the suite keeps up."""
    if order.rate is None:
        while True:
            await traffic.step()
    pause = order.workers / order.rate
    # The workers of a tenant take turns.
    due = began + number / order.rate
    while True:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await traffic.step()
        due = max(due + pause, time.perf_counter())
