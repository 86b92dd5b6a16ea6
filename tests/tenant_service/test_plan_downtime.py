"""Changes of plan with the tenant closed or open, and what becomes of one that dies in the middle."""

import asyncio
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import delete, select

from mis_jobs.jobs import MOST_ATTEMPTS, Job
from mis_models.accounts import CountersRow
from mis_models.work import JobRow
from mis_tenancy.plans import PlanName
from mis_tenancy.tables import TenantRow
from tenant_service.billing.jobs import UPKEEP, BillingJobs
from tenant_service.plan_migration.downtime import RECOVERY, Downtime
from tenant_service.plan_migration.order import Order, Requester
from tenant_service.plan_migration.period_end import ScheduledMigrations
from tests.answers import fine, refused
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle
from tests.tenant_service.billing import hear, invoices_of, set_subscription, settle, subscription_of
from tests.tenant_service.plan_moves import (
    USERS,
    document_of,
    hold,
    migrate,
    migrations_of,
)


def owner_of(tenant: TenantHandle) -> Requester:
    return Requester(tenant.owner.id, "member")


async def recoveries(suite: Suite, tenant: TenantHandle) -> list[Job]:
    """Return the jobs that would finish the tenant's changes, as the worker would claim them."""
    async with suite.database.transaction(tenant.id) as session:
        own = select(JobRow).where(JobRow.tenant_id == tenant.id, JobRow.kind == RECOVERY)
        return [Job(row.id, row.tenant_id, row.kind, row.payload, 1) for row in await session.scalars(own)]


async def test_a_tenant_whose_plan_changes_with_downtime_is_closed_until_it_is_done(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    downtime = Downtime(suite.database, settled=0.0)
    await downtime.close(tenant.id, owner_of(tenant), Order(PlanName.PREMIUM, downtime=True))
    await hear(suite)
    closed = await suite.client.get(USERS, headers=tenant.auth)
    refused(closed, 503, "tenant_unavailable")
    assert int(closed.headers["retry-after"]) > 0
    login = {"email": tenant.owner_email, "password": tenant.owner_password, "tenantSlug": tenant.slug}
    refused(await suite.post_anonymously("/api/v1/auth/login", login), 503, "tenant_unavailable")
    (job,) = await recoveries(suite, tenant)
    await downtime.recover(job)
    await hear(suite)
    fine(await suite.client.get(USERS, headers=tenant.auth))


async def test_a_change_with_downtime_answers_when_the_tenant_is_open_again(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    moved = fine(await migrate(suite, tenant, "premium", downtime=True))
    assert (moved["status"], moved["downtime"]) == ("completed", True)
    assert moved["createdAt"] < moved["finishedAt"]
    await hear(suite)
    fine(await suite.client.get(USERS, headers=tenant.auth))
    document = await document_of(suite, tenant)
    assert (document["status"], document["plan"]) == ("active", "premium")
    # The job that stands by finds nothing left to do.
    (job,) = await recoveries(suite, tenant)
    await Downtime(suite.database).recover(job)
    assert await migrations_of(suite, tenant) == [moved]
    assert len(await invoices_of(suite, tenant)) == 2


async def test_without_downtime_no_request_is_refused(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    change = asyncio.create_task(migrate(suite, tenant, "enterprise", downtime=False))
    statuses = set()
    while not change.done():
        statuses.add((await suite.client.get(USERS, headers=tenant.auth)).status_code)
    fine(await change)
    statuses.add((await suite.client.get(USERS, headers=tenant.auth)).status_code)
    assert statuses == {200}


async def test_a_tenant_that_is_too_large_is_not_even_closed(suite: Suite) -> None:
    """Catalogue 96."""
    tenant = await suite.tenant("premium")
    await hold(suite, tenant, users=101)
    refused(await migrate(suite, tenant, "basic", downtime=True), 409, "over_plan_limits")
    assert (await document_of(suite, tenant))["status"] == "active"
    assert await migrations_of(suite, tenant) == []
    assert await recoveries(suite, tenant) == []


async def test_only_one_change_closes_a_tenant(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    answers = await asyncio.gather(
        *(migrate(suite, tenant, "premium", suite.operator, downtime=True) for _ in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {
        "migration_pending",
        "plan_unchanged",
    }
    assert (await document_of(suite, tenant))["status"] == "active"


async def test_one_that_outgrows_the_plan_while_closed_is_opened_on_its_old_one(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    downtime = Downtime(suite.database, settled=0.0)
    await downtime.close(tenant.id, owner_of(tenant), Order(PlanName.BASIC, downtime=True))
    await hold(suite, tenant, users=101)
    (job,) = await recoveries(suite, tenant)
    await downtime.recover(job)
    document = await document_of(suite, tenant)
    assert (document["status"], document["plan"]) == ("active", "premium")
    (failed,) = await migrations_of(suite, tenant)
    assert (failed["status"], failed["reasons"][0]["limit"]) == ("failed", "users")


async def test_one_whose_subscription_ends_while_closed_stays_on_its_plan(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    downtime = Downtime(suite.database, settled=0.0)
    await downtime.close(tenant.id, owner_of(tenant), Order(PlanName.PREMIUM, downtime=True))
    long_ago = datetime.now(UTC) - timedelta(days=31)
    await set_subscription(
        suite,
        tenant,
        **{"anchor_at": long_ago, "period_start": long_ago, "period_end": long_ago + timedelta(days=30)},
        cancel_at_period_end=True,
    )
    (job,) = await recoveries(suite, tenant)
    await downtime.recover(job)
    document = await document_of(suite, tenant)
    assert (document["status"], document["plan"]) == ("suspended", "basic")
    (failed,) = await migrations_of(suite, tenant)
    assert (failed["status"], failed["reasons"]) == ("failed", [{"code": "subscription_ended"}])
    assert len(await invoices_of(suite, tenant)) == 1


async def test_a_change_that_cannot_be_made_at_all_is_given_up_after_the_last_attempt(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    downtime = Downtime(suite.database, settled=0.0)
    await downtime.close(tenant.id, owner_of(tenant), Order(PlanName.PREMIUM, downtime=True))
    # Without its counters nothing can be weighed: a stand-in for a defect of ours.
    async with suite.apps["tenant"].state.platform.transaction(tenant.id) as session:
        await session.execute(delete(CountersRow))
    (job,) = await recoveries(suite, tenant)
    with pytest.raises(Exception, match="No row was found"):
        await downtime.recover(job)
    assert await standing_of(suite, tenant) == ("maintenance", "basic")
    await downtime.bury(Job(job.id, job.tenant_id, job.kind, job.payload, MOST_ATTEMPTS + 1))
    assert await standing_of(suite, tenant) == ("active", "basic")


async def standing_of(suite: Suite, tenant: TenantHandle) -> tuple[str, str]:
    async with suite.database.transaction(tenant.id) as session:
        row = (await session.scalars(select(TenantRow).where(TenantRow.id == tenant.id))).one()
        return row.status, row.plan


async def test_a_scheduled_change_closes_the_tenant_when_its_time_has_come(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    fine(await migrate(suite, tenant, "basic", effectiveAt="period_end", downtime=True))
    assert (await document_of(suite, tenant))["status"] == "active"
    (invoice,) = await invoices_of(suite, tenant)
    await settle(suite, tenant, invoice["id"])
    end = (await subscription_of(suite, tenant)).period_end
    scheduled = ScheduledMigrations(suite.database, settled=0.0)
    await scheduled.prepare(tenant.id, end)
    assert (await document_of(suite, tenant))["status"] == "maintenance"
    # The worker dies here; its successor begins anew.
    jobs = BillingJobs(suite.apps["tenant"].state.platform, suite.database, scheduled, lambda: end)
    job = Job(UUID(int=1), tenant.id, UPKEEP, {}, 2)
    await jobs.bring_up(job)
    document = await document_of(suite, tenant)
    assert (document["status"], document["plan"]) == ("active", "basic")
    subscription = await subscription_of(suite, tenant)
    assert (subscription.period_number, subscription.period_start) == (1, end)
    assert [invoice["total"] for invoice in await invoices_of(suite, tenant)] == [2_900, 29_900]
    await jobs.bring_up(job)
    assert len(await invoices_of(suite, tenant)) == 2


@contextmanager
def child(servers: TestServers, tenant: TenantHandle, settled: float) -> Iterator[subprocess.Popen[bytes]]:
    """Run a change of the tenant's plan in a process of its own, under way when this yields."""
    program = str(Path(__file__).with_name("downtime_child.py"))
    arguments = [servers.database().app, str(tenant.id), str(tenant.owner.id), str(settled)]
    with subprocess.Popen([sys.executable, program, *arguments], stdout=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        yield process
        process.kill()


async def test_a_process_that_is_killed_in_the_middle_leaves_the_rest_to_the_worker(
    suite: Suite, test_servers: TestServers
) -> None:
    """Catalogue 118."""
    tenant = await suite.tenant("basic")
    with child(test_servers, tenant, settled=60.0) as process:
        async with asyncio.timeout(20):
            while True:
                if await recoveries(suite, tenant):
                    break
                await asyncio.sleep(0.02)
        assert await status_of(suite, tenant) == ("maintenance", "basic")
        process.kill()
    (job,) = await recoveries(suite, tenant)
    await Downtime(suite.database).recover(job)
    await hear(suite)
    assert await status_of(suite, tenant) == ("active", "premium")
    (done,) = await migrations_of(suite, tenant)
    assert (done["status"], done["requestedBy"]) == ("completed", str(tenant.owner.id))
    assert [invoice["status"] for invoice in await invoices_of(suite, tenant)] == ["open", "open"]
    fine(await suite.client.get(USERS, headers=tenant.auth))


@pytest.mark.deep
async def test_wherever_it_is_killed_the_change_is_made_once_or_not_at_all(
    suite: Suite, test_servers: TestServers
) -> None:
    """Catalogue 118: 20 random points."""
    outcomes = set()
    for _ in range(20):
        tenant = await suite.tenant("basic")
        with child(test_servers, tenant, settled=0.02):
            await asyncio.sleep(random.uniform(0.0, 0.15))
        for job in await recoveries(suite, tenant):
            await Downtime(suite.database).recover(job)
        await hear(suite)
        status, plan = await status_of(suite, tenant)
        done = await migrations_of(suite, tenant)
        assert status == "active"
        assert [one["status"] for one in done] == ([] if plan == "basic" else ["completed"])
        assert len(await invoices_of(suite, tenant)) == 1 + len(done)
        outcomes.add(plan)
    assert outcomes <= {"basic", "premium"}


async def status_of(suite: Suite, tenant: TenantHandle) -> tuple[str, str]:
    """Return the tenant's status and plan as they are stored."""
    async with suite.database.transaction(tenant.id) as session:
        row = (await session.scalars(select(TenantRow).where(TenantRow.id == tenant.id))).one()
        return row.status, row.plan
