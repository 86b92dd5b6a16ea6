"""Events leave the outbox exactly once, in order, and only for webhooks of their own tenant."""

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from sqlalchemy import select

from mis_jobs.outbox import EventType, publish, publish_many
from mis_models.webhooks import DeliveryRow
from mis_models.work import OutboxRow
from tenant_service.alerts.book import open_alert, resolve_alert
from tenant_service.alerts.causes import AlertKind, Cause, Severity
from tenant_service.alerts.metrics import AlertMetrics
from tenant_service.webhooks.relay import Relay
from tests.answers import fine
from tests.suite import TenantHandle
from tests.tenant_service.webhook_rig import Hook, Post

TYPES = [EventType.USER_CREATED, EventType.USER_UPDATED, EventType.USER_DELETED]


async def tell(post: Post, tenant: TenantHandle, numbers: range) -> None:
    """Publish an event for each number, a transaction each."""
    for number in numbers:
        async with post.application.transaction(tenant.id) as session:
            publish(session, EventType.USER_UPDATED, {"number": number})


async def numbers_at(post: Post, hook: Hook) -> list[int]:
    """Return the numbers in the bodies of the webhook's deliveries, in the order in which they are sent."""
    sent = select(DeliveryRow.body).where(DeliveryRow.webhook_id == hook.id)
    async with post.application.transaction(hook.tenant.id) as session:
        bodies = (await session.scalars(sent.order_by(DeliveryRow.next_attempt_at, DeliveryRow.id))).all()
        # Lists go by id, and show the same order.
        assert (await session.scalars(sent.order_by(DeliveryRow.id))).all() == bodies
    messages = [json.loads(body) for body in bodies]
    assert {message["data"]["tenantId"] for message in messages} <= {str(hook.tenant.id)}
    return [message["data"]["number"] for message in messages]


async def test_opened_alerts_are_counted_by_kind_as_their_events_go_by(post: Post) -> None:
    tenant = await post.suite.tenant()
    registry = CollectorRegistry()
    relay = Relay(post.platform, heard_by=AlertMetrics(registry).hear)
    counted = [("mis_alerts_total", {"kind": "billing", "event": event}) for event in ("opened", "resolved")]
    await relay.pass_on()
    before = [registry.get_sample_value(*one) or 0 for one in counted]
    async with post.application.transaction(tenant.id) as session:
        await open_alert(session, Cause(AlertKind.BILLING, "past_due", Severity.WARNING, "Pay it."))
    async with post.application.transaction(tenant.id) as session:
        await resolve_alert(session, AlertKind.BILLING, "past_due")
    await relay.pass_on()
    await relay.pass_on()
    after = [registry.get_sample_value(*one) or 0 for one in counted]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1]


async def left_in_outbox(post: Post, tenant: TenantHandle) -> int:
    async with post.application.transaction(tenant.id) as session:
        return len((await session.scalars(select(OutboxRow).where(OutboxRow.tenant_id == tenant.id))).all())


async def test_an_event_whose_cause_rolls_back_is_told_to_nobody(post: Post) -> None:
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/rolled-back")
    try:
        async with post.application.transaction(tenant.id) as session:
            publish(session, EventType.USER_CREATED, {"number": 1})
            await session.flush()
            raise LookupError
    except LookupError:
        await post.pass_on()
    assert await post.deliveries(hook) == []


async def test_events_nobody_wants_are_gone_and_wanted_ones_keep_their_order(post: Post) -> None:
    tenant = await post.suite.tenant("custom")
    await tell(post, tenant, range(3))
    await post.pass_on()
    assert await left_in_outbox(post, tenant) == 0
    hook = await post.hook(tenant, "/order-in-batches")
    await tell(post, tenant, range(25))
    relay = Relay(post.platform, batch=4)
    assert await relay.pass_on() == 4
    while await relay.pass_on():
        pass
    assert await numbers_at(post, hook) == list(range(25))
    assert await left_in_outbox(post, tenant) == 0


async def test_what_one_transaction_tells_keeps_its_order_too(post: Post) -> None:
    """Ids made within a millisecond are in no order, so the order is not theirs."""
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/one-transaction")
    async with post.application.transaction(tenant.id) as session:
        for number in range(40):
            publish(session, EventType.USER_UPDATED, {"number": number})
    await post.pass_on()
    assert await numbers_at(post, hook) == list(range(40))


async def test_many_events_are_published_by_one_statement(post: Post) -> None:
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/many")
    async with post.application.transaction(tenant.id) as session:
        await publish_many(session, EventType.USER_CREATED, ({"number": n} for n in range(300)))
        await publish_many(session, EventType.USER_CREATED, ())
    await post.pass_on()
    assert sorted(await numbers_at(post, hook)) == list(range(300))


async def test_several_relays_at_once_pass_each_event_on_once_and_in_order(post: Post) -> None:
    tenants = [await post.suite.tenant("custom") for _ in range(3)]
    hooks = [await post.hook(tenant, "/several") for tenant in tenants]
    relays = [Relay(post.platform, batch=3) for _ in range(4)]
    running = [asyncio.create_task(relay.run()) for relay in relays]
    await asyncio.gather(*(tell(post, tenant, range(40)) for tenant in tenants))
    async with asyncio.timeout(30):
        for tenant in tenants:
            while await left_in_outbox(post, tenant):  # noqa: ASYNC110  # the relays' work
                await asyncio.sleep(0.05)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    for hook in hooks:
        assert await numbers_at(post, hook) == list(range(40))


async def test_a_tenant_with_much_to_tell_does_not_hold_up_another(post: Post) -> None:
    """Catalogue 105."""
    busy, quiet = await post.suite.tenant("custom"), await post.suite.tenant("custom")
    await post.hook(busy, "/much")
    hook = await post.hook(quiet, "/little")
    async with post.application.transaction(busy.id) as session:
        await publish_many(session, EventType.USER_CREATED, ({"number": n} for n in range(200)))
    await tell(post, quiet, range(1))
    await Relay(post.platform, batch=5).pass_on()
    assert await numbers_at(post, hook) == [0]
    assert await left_in_outbox(post, busy) == 195
    await post.pass_on()


async def test_a_relay_that_is_killed_anywhere_loses_and_repeats_nothing(post: Post) -> None:
    """Catalogue 118."""
    tenant = await post.suite.tenant("custom")
    hooks = [await post.hook(tenant, f"/killed-relay-{number}") for number in range(2)]
    async with post.application.transaction(tenant.id) as session:
        await publish_many(session, EventType.USER_UPDATED, ({"number": n} for n in range(600)))
    dice = random.Random(11)
    left = [600]
    for _ in range(6):
        await asyncio.to_thread(kill_somewhere, post, dice.random() * 0.15)
        left.append(await left_in_outbox(post, tenant))
        for hook in hooks:
            assert len(await numbers_at(post, hook)) == 600 - left[-1]
    await post.pass_on()
    for hook in hooks:
        assert Counter(await numbers_at(post, hook)) == Counter(range(600))


def kill_somewhere(post: Post, after: float) -> None:
    program = Path(__file__).with_name("relay_child.py")
    child = subprocess.Popen(  # noqa: S603  # our own interpreter and program
        [sys.executable, str(program), post.urls.platform], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    with child, child.stdout as output:
        assert output.readline() == b"started\n"
        try:
            child.wait(after)
        except subprocess.TimeoutExpired:
            child.kill()


@pytest.fixture(scope="module")
async def neighbours(post: Post) -> list[TenantHandle]:
    return [await post.suite.tenant("custom") for _ in range(2)]


SUBSCRIPTIONS = st.lists(st.lists(st.sampled_from(TYPES), min_size=1, unique=True), min_size=1, max_size=3)


@settings(max_examples=25, deadline=None)
@given(
    wanted=st.tuples(SUBSCRIPTIONS, SUBSCRIPTIONS),
    happening=st.lists(st.tuples(st.integers(0, 1), st.sampled_from(TYPES)), max_size=12),
    batch=st.integers(1, 5),
)
async def test_a_webhook_never_carries_another_tenants_events(
    post: Post,
    neighbours: list[TenantHandle],
    wanted: tuple[list[list[EventType]], list[list[EventType]]],
    happening: list[tuple[int, EventType]],
    batch: int,
) -> None:
    """Catalogue 125: it carries all of its own tenant's that it asked for, in order, and nothing else."""
    hooks = [
        (whose, types, await post.hook(neighbours[whose], "/neighbour", [one.value for one in types]))
        for whose, subscriptions in enumerate(wanted)
        for types in subscriptions
    ]
    for number, (whose, kind) in enumerate(happening):
        async with post.application.transaction(neighbours[whose].id) as session:
            publish(session, kind, {"number": number})
    relays = [Relay(post.platform, batch=batch) for _ in range(2)]
    while any(await asyncio.gather(*(relay.pass_on() for relay in relays))):
        pass
    for whose, types, hook in hooks:
        expected = [n for n, (who, kind) in enumerate(happening) if who == whose and kind in types]
        assert await numbers_at(post, hook) == expected
        fine(await post.ask(hook, "DELETE"), 204)
