"""From the event to the receiver: signed, in order, tried again, given up, never lost."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select, text
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from mis_http.outbound.reach import Reach
from mis_jobs.jobs import Job
from mis_models.webhooks import DeliveryRow, WebhookLaneRow, WebhookRow
from mis_tenancy.encryption import TenantKeys
from mis_tenancy.identifiers import new_id
from mis_worker.app import working
from tenant_service.webhooks import lanes_repository as lanes
from tenant_service.webhooks.jobs import RETENTION, DeliveryRetention
from tenant_service.webhooks.lanes_repository import Room
from tenant_service.webhooks.metrics import WebhookMetrics
from tenant_service.webhooks.schedule import Outcome
from tenant_service.webhooks.transport import Wire
from tenant_service.webhooks.turns import Sent, Turn
from tests.answers import fine
from tests.tenant_service.receiver import Received, Reply
from tests.tenant_service.requests import TENANTS, audit_rows
from tests.tenant_service.webhook_rig import Hook, Post


async def test_an_event_reaches_the_webhook_signed_and_in_its_envelope(post: Post) -> None:
    """Catalogue 123."""
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/signed")
    async with post.working():
        user_id = await post.add_user(tenant)
        (request,) = await post.receiver.wait_for("/signed")
        row = await post.delivery(hook, status="delivered")
    message = Webhook(hook.secret).verify(request.body, request.headers)
    assert message == request.message
    assert message["type"] == "user.created"
    assert message["data"] == {"tenantId": str(tenant.id), "id": user_id, "role": "viewer"}
    assert message["timestamp"].endswith("Z")
    assert request.headers["content-type"] == "application/json"
    assert row["id"] == request.id
    assert (row["attempts"], row["responseStatus"], row["nextAttemptAt"]) == (1, 204, None)
    # A webhook that waits for nothing is looked at by nobody.
    lane = await lane_of(post, hook)
    assert (lane.due_at, lane.leased_by, lane.failing) == (None, None, False)


async def lane_of(post: Post, hook: Hook) -> WebhookLaneRow:
    """Return the webhook's lane once nobody has it any more."""
    async with asyncio.timeout(20):
        while True:
            async with post.application.transaction(hook.tenant.id) as session:
                lanes_of = select(WebhookLaneRow).where(WebhookLaneRow.webhook_id == hook.id)
                lane = (await session.scalars(lanes_of)).one()
            if lane.leased_by is None:
                return lane
            await asyncio.sleep(0.02)


async def test_the_worker_itself_sends_within_a_second_of_the_event(post: Post) -> None:
    tenant = await post.suite.tenant("custom")
    await post.hook(tenant, "/worker")
    async with working(post.suite.settings):
        await post.add_user(tenant)
        # The promise is a second; the wait allows for a machine that is busy with other tests.
        await post.receiver.wait_for("/worker")


async def test_after_a_rotation_both_secrets_sign_for_a_day(post: Post) -> None:
    """Catalogue 123."""
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/rotated")
    new = fine(await post.ask(hook, "PATCH", json={"rotateSecret": True}))["secret"]
    async with post.working():
        await post.add_user(tenant)
        (request,) = await post.receiver.wait_for("/rotated")
        await post.delivery(hook, status="delivered")
        assert len(request.headers["webhook-signature"].split(" ")) == 2
        for secret in (hook.secret, new):
            assert Webhook(secret).verify(request.body, request.headers)
        async with post.application.transaction(tenant.id) as session:
            row = (await session.scalars(select(WebhookRow))).one()
            assert row.previous_until is not None
            row.previous_until -= timedelta(hours=24)
        await post.add_user(tenant)
        _, later = await post.receiver.wait_for("/rotated", 2)
    assert len(later.headers["webhook-signature"].split(" ")) == 1
    assert Webhook(new).verify(later.body, later.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(hook.secret).verify(later.body, later.headers)


async def test_events_arrive_in_the_order_in_which_they_happened(post: Post) -> None:
    tenant = await post.suite.tenant("custom")
    await post.hook(tenant, "/ordered")
    ids = [await post.add_user(tenant) for _ in range(12)]
    for user_id in ids:
        await post.suite.client.delete(f"/api/v1/users/{user_id}", headers=tenant.auth)
    async with post.working():
        received = await post.receiver.wait_for("/ordered", 24)
    told = [(one.message["type"], one.message["data"]["id"]) for one in received]
    assert told == [(kind, user_id) for kind in ("user.created", "user.deleted") for user_id in ids]
    assert {one.connection for one in received} != set()


async def test_a_webhook_hears_only_of_what_it_asked_for(post: Post) -> None:
    tenant = await post.suite.tenant("custom")
    await post.hook(tenant, "/deleted-only", ["user.deleted"])
    async with post.working():
        user_id = await post.add_user(tenant)
        await post.suite.client.delete(f"/api/v1/users/{user_id}", headers=tenant.auth)
        (only,) = await post.receiver.wait_for("/deleted-only")
    assert only.message["type"] == "user.deleted"


async def test_a_failed_attempt_is_repeated_with_the_same_id_and_body(post: Post) -> None:
    """Catalogue 124."""
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/flaky")
    statuses = iter([500, 302, 200])
    post.receiver.answers["/flaky"] = lambda _: Reply(next(statuses))
    async with post.working():
        await post.add_user(tenant)
        row = await post.delivery(hook, attempts=1)
        assert (row["status"], row["responseStatus"], row["error"]) == ("pending", 500, None)
        waits = datetime.fromisoformat(row["nextAttemptAt"]) - datetime.fromisoformat(row["lastAttemptAt"])
        assert timedelta(seconds=5) <= waits < timedelta(seconds=6)
        assert fine(await post.ask(hook, "GET"))["failingSince"] == row["lastAttemptAt"]
        for attempts in (2, 3):
            await post.hasten(hook)
            row = await post.delivery(hook, attempts=attempts)
    first, *others = post.receiver.at("/flaky")
    assert len(others) == 2
    for one in others:
        assert (one.id, one.body) == (first.id, first.body)
        assert Webhook(hook.secret).verify(one.body, one.headers)
    assert (row["status"], row["responseStatus"]) == ("delivered", 200)
    assert fine(await post.ask(hook, "GET"))["failingSince"] is None


async def test_a_receiver_that_asks_for_a_pause_gets_it_for_all_its_messages(post: Post) -> None:
    """Catalogue 124."""
    tenant = await post.suite.tenant("custom")
    hook, other = await post.hook(tenant, "/busy"), await post.hook(tenant, "/quiet")
    post.receiver.answers["/busy"] = lambda _: Reply(429, {"Retry-After": "3600"})
    for _ in range(2):
        await post.add_user(tenant)
    await post.pass_on()
    async with post.working():
        await post.receiver.wait_for("/busy")
        await lane_of(post, hook)
        await post.add_user(tenant)
        await post.receiver.wait_for("/quiet", 3)
        waiting = await post.deliveries(hook, status="pending")
        assert sorted(one["attempts"] for one in waiting) == [0, 0, 1]
        (tried,) = (one for one in waiting if one["attempts"])
        asked = datetime.fromisoformat(tried["nextAttemptAt"]) - datetime.fromisoformat(
            tried["lastAttemptAt"]
        )
        assert asked >= timedelta(hours=1)
        del post.receiver.answers["/busy"]
        await post.hasten(hook)
        await post.receiver.wait_for("/busy", 4)
    assert len(await post.deliveries(other)) == 3


async def test_a_receiver_that_is_gone_is_disabled_with_a_notice(post: Post) -> None:
    """Catalogue 124."""
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/gone")
    post.receiver.answers["/gone"] = lambda _: Reply(410)
    async with post.working():
        await post.add_user(tenant)
        row = await post.delivery(hook, status="failed")
        assert (row["attempts"], row["responseStatus"]) == (1, 410)
        shown = fine(await post.ask(hook, "GET"))
        assert (shown["status"], shown["disabledReason"]) == ("disabled", "gone")
        rows = await audit_rows(post.suite, tenant.id)
        assert [one["action"] for one in rows].count("webhook.disabled") == 1
        [alert] = await alerts_about(post, hook)
        assert (alert["severity"], alert["status"]) == ("warning", "open")
        assert "410" in alert["message"]
        await post.add_user(tenant)
        await post.pass_on()
        assert len(await post.deliveries(hook)) == 1
        post.receiver.answers.clear()
        fine(await post.ask(hook, "PATCH", json={"status": "active"}))
        await post.add_user(tenant)
        await post.receiver.wait_for("/gone", 2)
    [alert] = await alerts_about(post, hook)
    assert alert["status"] == "resolved"


async def alerts_about(post: Post, hook: Hook) -> list[dict[str, Any]]:
    path = f"{TENANTS}/{hook.tenant.id}/alerts"
    rows = fine(await post.suite.client.get(path, params={"kind": "webhook"}, headers=hook.tenant.auth))
    return [row for row in rows if row["subject"] == str(hook.id)]


async def test_deleting_a_disabled_webhook_ends_its_alert(post: Post) -> None:
    hook = await post.hook(await post.suite.tenant(), "/left")
    post.receiver.answers["/left"] = lambda _: Reply(410)
    async with post.working():
        await post.add_user(hook.tenant)
        await post.delivery(hook, status="failed")
    fine(await post.ask(hook, "DELETE"), 204)
    assert [alert["status"] for alert in await alerts_about(post, hook)] == ["resolved"]


async def test_attempts_and_what_waits_are_told_in_metrics(post: Post) -> None:
    tenant = await post.suite.tenant()
    good, bad = await post.hook(tenant, "/counted"), await post.hook(tenant, "/counted-out")
    post.receiver.answers["/counted-out"] = lambda _: Reply(500)
    registry = CollectorRegistry()
    sending = post.sending(metrics=WebhookMetrics(registry))
    await post.add_user(tenant)
    async with post.working(sending):
        await post.delivery(good, status="delivered")
        await post.delivery(bad, attempts=1)
    attempts = "mis_webhook_attempts_total"
    assert registry.get_sample_value(attempts, {"outcome": "delivered"}) == 1
    assert registry.get_sample_value(attempts, {"outcome": "refused"}) == 1
    assert registry.get_sample_value("mis_webhook_attempt_duration_seconds_count") == 2
    # Other tests' webhooks may wait in the same database, too.
    counting = asyncio.create_task(sending.run())
    async with asyncio.timeout(10):
        while True:
            if registry.get_sample_value("mis_webhooks_pending", {"receiver": "failing"}):
                break
            await asyncio.sleep(0.01)
    counting.cancel()
    await asyncio.gather(counting, return_exceptions=True)
    labels = {name for family in registry.collect() for one in family.samples for name in one.labels}
    assert labels == {"outcome", "le", "receiver"}


async def test_a_webhook_that_fails_through_the_whole_schedule_is_disabled(post: Post) -> None:
    """Catalogue 124."""
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/hopeless")
    post.receiver.answers["/hopeless"] = lambda _: Reply(503)
    async with post.working():
        await post.add_user(tenant)
        for attempts in range(1, 10):
            await post.delivery(hook, attempts=attempts)
            if attempts == 9:
                async with post.application.transaction(tenant.id) as session:
                    stored = (await session.scalars(select(WebhookRow))).one()
                    assert stored.failing_since is not None
                    stored.failing_since -= timedelta(days=4)
            await post.hasten(hook)
        row = await post.delivery(hook, status="failed")
    assert row["attempts"] == len(post.receiver.at("/hopeless")) == 10
    shown = fine(await post.ask(hook, "GET"))
    assert (shown["status"], shown["disabledReason"]) == ("disabled", "failing")


async def test_what_waits_for_a_disabled_webhook_goes_on_when_it_is_enabled(post: Post) -> None:
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/paused")
    await post.add_user(tenant)
    await post.pass_on()
    fine(await post.ask(hook, "PATCH", json={"status": "disabled"}))
    async with post.working():
        await post.add_user(tenant)
        other = await post.hook(tenant, "/meanwhile")
        await post.add_user(tenant)
        await post.delivery(other, status="delivered")
        assert post.receiver.at("/paused") == []
        fine(await post.ask(hook, "PATCH", json={"status": "active"}))
        await post.delivery(hook, status="delivered")


async def test_a_delivery_is_replayed_under_its_id_and_a_ping_goes_to_one_webhook(post: Post) -> None:
    tenant = await post.suite.tenant("custom")
    hook, _ = await post.hook(tenant, "/replayed"), await post.hook(tenant, "/not-pinged")
    async with post.working():
        sent = fine(await post.ask(hook, "POST", "/ping"), 202)
        assert (sent["type"], sent["status"], sent["attempts"]) == ("webhook.ping", "pending", 0)
        await post.delivery(hook, status="delivered")
        again = fine(await post.ask(hook, "POST", f"/deliveries/{sent['id']}/replay"), 202)
        assert (again["id"], again["status"]) == (sent["id"], "pending")
        first, second = await post.receiver.wait_for("/replayed", 2)
        await post.delivery(hook, status="delivered", attempts=1)
    assert first.id == second.id == sent["id"]
    assert first.body == second.body
    assert first.message["data"] == {"tenantId": str(tenant.id), "webhookId": str(hook.id)}
    assert post.receiver.at("/not-pinged") == []


async def test_slow_receivers_hold_up_nobody_else(post: Post) -> None:
    """Catalogue 105: with two slots, and more receivers that never answer than there are slots."""
    slow, quick = await post.suite.tenant("custom"), await post.suite.tenant("custom")
    for number in range(4):
        await post.hook(slow, f"/stuck-{number}")
        post.receiver.answers[f"/stuck-{number}"] = lambda _: Reply(hang=True)
    async with post.working(post.sending(total_seconds=0.4, slots=2)):
        await post.add_user(slow)
        # Each has failed once, so from now on they share one slot.
        for number in range(4):
            await post.receiver.wait_for(f"/stuck-{number}")
        await post.hook(quick, "/quick")
        for count in range(1, 4):
            await post.add_user(slow)
            await post.add_user(quick)
            await post.receiver.wait_for("/quick", count)


async def test_a_busy_tenants_webhooks_leave_slots_to_others(post: Post) -> None:
    """Catalogue 105: what tenants get is decided by turns, not by who has more."""
    busy, quiet = await post.suite.tenant("custom"), await post.suite.tenant("custom")
    for number in range(5):
        await post.hook(busy, f"/crowd-{number}")
    hook = await post.hook(quiet, "/alone")
    await post.add_user(busy)
    await post.add_user(quiet)
    await post.pass_on()
    await post.quiet(busy, quiet)
    lease = timedelta(seconds=45)
    async with post.platform.platform_transaction() as session:
        first = await lanes.claim(session, "a", Room(2, 0, 4), lease)
        rest = await lanes.claim(session, "b", Room(9, 0, 4), lease)
        for worker in ("a", "b"):
            await lanes.leave(session, worker)
    assert {lane.tenant_id for lane in first} == {busy.id, quiet.id}
    assert hook.id in {lane.webhook_id for lane in first}
    # Together with the one that worker `a` has, that is as many as one tenant gets.
    assert [lane.tenant_id for lane in rest] == [busy.id] * 3


async def test_receivers_that_failed_last_time_get_no_more_slots_than_are_left_to_them(post: Post) -> None:
    """Catalogue 105."""
    tenant = await post.suite.tenant("custom")
    failing = [await post.hook(tenant, f"/failing-{number}") for number in range(3)]
    await post.add_user(tenant)
    await post.pass_on()
    sound = await post.hook(tenant, "/sound-among-failing")
    await post.add_user(tenant)
    await post.pass_on()
    await post.quiet(tenant)
    lease = timedelta(seconds=45)
    async with post.platform.platform_transaction() as session:
        ids = {"ids": [hook.id for hook in failing]}
        await session.execute(
            text("update webhook_lanes set failing = true where webhook_id = any(:ids)"), ids
        )
        claimed = await lanes.claim(session, "a", Room(9, 1, 9), lease)
        await lanes.leave(session, "a")
    assert sorted(lane.failing for lane in claimed) == [False, True]
    assert sound.id in {lane.webhook_id for lane in claimed}


async def test_a_delivery_of_a_killed_worker_is_sent_again_under_its_id(post: Post) -> None:
    """Catalogue 124: killed between sending and noting down that it was sent."""
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/killed")
    post.receiver.answers["/killed"] = lambda _: Reply(hang=True)
    await post.add_user(tenant)
    await post.pass_on()
    child = sending_child(post)
    try:
        (first,) = await post.receiver.wait_for("/killed", seconds=60)
    finally:
        child.kill()
        child.wait()
    del post.receiver.answers["/killed"]
    row = await post.delivery(hook)
    assert (row["id"], row["status"], row["attempts"]) == (first.id, "pending", 0)
    async with post.working():
        # Its lease is a second; nobody else may send before it has run out.
        _, again = await post.receiver.wait_for("/killed", 2)
        await post.delivery(hook, status="delivered", attempts=1)
    assert (again.id, again.body) == (first.id, first.body)


def sending_child(post: Post) -> subprocess.Popen[bytes]:
    program = Path(__file__).with_name("sending_child.py")
    given = (post.urls.platform, post.urls.app, post.suite.settings.master_keys)
    return subprocess.Popen([sys.executable, str(program), *given])  # noqa: S603  # our own program


async def test_a_worker_that_lost_its_lease_notes_nothing_down(post: Post) -> None:
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/stolen")

    await post.add_user(tenant)
    await post.pass_on()
    await post.quiet(tenant)
    lease = timedelta(seconds=45)
    async with post.platform.platform_transaction() as session:
        (lane,) = await lanes.claim(session, "slow", Room(9, 9, 9), lease)
    keys = TenantKeys(post.suite.tenancy("tenant").wrapping)
    turn = Turn(post.application, keys, lane, "slow", lease)
    batch = await turn.first()
    assert batch is not None
    sent = [Sent(batch.parcels[0], Outcome(status=200), datetime.now(UTC))]
    async with post.platform.system_transaction() as system:
        await system.fetch("update webhook_lanes set leased_by = 'thief' where leased_by = 'slow'")
    assert await turn.next(sent, is_over=False) is None
    row = await post.delivery(hook)
    assert (row["status"], row["attempts"]) == ("pending", 0)
    async with post.platform.platform_transaction() as session:
        await lanes.leave(session, "thief")


async def test_a_worker_that_stops_notes_down_what_it_has_sent(post: Post) -> None:
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/stopping")
    post.receiver.answers["/stopping"] = lambda _: Reply(200, body=b"ok", pace=0.05)
    for _ in range(4):
        await post.add_user(tenant)
    await post.pass_on()
    async with post.working(post.sending(patience=20.0)):
        await post.receiver.wait_for("/stopping")
    sent = {one.id for one in post.receiver.at("/stopping")}
    assert {one["id"] for one in await post.deliveries(hook, status="delivered")} == sent


async def test_a_stopped_worker_gives_back_what_it_had_under_way(post: Post) -> None:
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/stopped")
    post.receiver.answers["/stopped"] = lambda _: Reply(hang=True)
    async with post.working():
        await post.add_user(tenant)
        await post.receiver.wait_for("/stopped")
    lane = await lane_of(post, hook)
    assert lane.leased_until is None
    assert lane.due_at is not None
    del post.receiver.answers["/stopped"]
    async with post.working():
        await post.delivery(hook, status="delivered", attempts=1)


async def test_a_secret_that_does_not_open_costs_an_attempt_and_stops_nobody(post: Post) -> None:
    tenant = await post.suite.tenant("custom")
    broken, sound = await post.hook(tenant, "/broken"), await post.hook(tenant, "/sound")
    async with post.application.transaction(tenant.id) as session:
        stored = (await session.scalars(select(WebhookRow).where(WebhookRow.id == broken.id))).one()
        stored.secret = stored.secret[:-1] + bytes([stored.secret[-1] ^ 1])
    async with post.working():
        await post.add_user(tenant)
        await post.delivery(sound, status="delivered")
        row = await post.delivery(broken, attempts=1)
    assert (row["status"], row["error"]) == ("pending", "secret_undecryptable")
    assert post.receiver.at("/broken") == []


async def test_an_address_that_may_no_longer_be_reached_is_refused_when_it_is_sent_to(post: Post) -> None:
    """Catalogue 120: the setting was on when the webhook was saved."""
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/inside")
    async with post.working(post.sending(reach=Reach(allow_private=False))):
        await post.add_user(tenant)
        row = await post.delivery(hook, attempts=1)
    assert row["error"] == "address_refused"
    assert post.receiver.at("/inside") == []


async def test_deliveries_are_forgotten_after_thirty_days(post: Post) -> None:
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/old")
    now = datetime.now().astimezone()
    ages = (29, 31)
    async with post.application.transaction(tenant.id) as session:
        for days in ages:
            moment = now - timedelta(days=days)
            made = new_id(int(moment.timestamp() * 1000))
            session.add(
                DeliveryRow(
                    id=made, webhook_id=hook.id, type="x", body="{}", status="delivered", created_at=moment
                )
            )
    await DeliveryRetention(post.platform).run(Job(UUID(int=0), None, RETENTION, {}, 1))
    (left,) = await post.deliveries(hook)
    assert datetime.fromisoformat(left["createdAt"]) > now - timedelta(days=30)


async def test_a_webhook_deleted_while_it_is_sent_to_leaves_nothing_behind(post: Post) -> None:
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/vanishing")
    post.receiver.answers["/vanishing"] = lambda _: Reply(200, body=b"xyz", pace=0.1)
    async with post.working():
        await post.add_user(tenant)
        await post.receiver.wait_for("/vanishing")
        fine(await post.ask(hook, "DELETE"), 204)
        # Whatever comes of the attempt, there is nowhere to note it down; the next one is served.
        other = await post.hook(tenant, "/staying")
        await post.add_user(tenant)
        await post.delivery(other, status="delivered")
    async with post.application.transaction(tenant.id) as session:
        assert {row.webhook_id for row in await session.scalars(select(DeliveryRow))} == {other.id}


async def test_a_failure_among_many_messages_delays_neither_those_before_nor_those_after_it(
    post: Post,
) -> None:
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/one-of-many")
    ids = [await post.add_user(tenant) for _ in range(30)]
    bad = ids[13]

    def answer(request: Received) -> Reply:
        return Reply(500 if request.message["data"]["id"] == bad else 204)

    post.receiver.answers["/one-of-many"] = answer
    async with post.working():
        received = await post.receiver.wait_for("/one-of-many", 30)
        while len(await post.deliveries(hook, status="delivered")) < 29:  # noqa: ASYNC110  # the worker's work
            await asyncio.sleep(0.02)
    assert [one.message["data"]["id"] for one in received] == ids
    (failed,) = await post.deliveries(hook, status="pending")
    assert failed["id"] == received[13].id
    assert (failed["attempts"], failed["responseStatus"]) == (1, 500)


async def test_whatever_a_receiver_brings_about_counts_as_an_attempt(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await post.suite.tenant("custom")
    hook = await post.hook(tenant, "/defect")

    async def defect(*_: Any) -> Outcome:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Wire, "post", defect)
        async with post.working():
            await post.add_user(tenant)
            row = await post.delivery(hook, attempts=1)
    assert (row["status"], row["error"]) == ("pending", "failed")
