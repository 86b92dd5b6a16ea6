"""Mails about alerts: to whom, about what, how often; and that they never cross tenants."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text, update

from mis_jobs.jobs import Job
from mis_mail.mail import Mail
from mis_mail.queue import MAIL, MailQueue
from mis_models.alerts import AlertRow
from mis_models.work import JobRow
from mis_tenancy.database import Database
from mis_tenancy.encryption import Wrapping
from mis_tenancy.identifiers import new_id
from mis_tenancy.settings import MasterKeys
from tenant_service.alerts.book import NOTICE, open_alert, resolve_alert
from tenant_service.alerts.causes import AlertKind, Cause, Severity
from tenant_service.alerts.jobs import AlertJobs
from tenant_service.alerts.operators import OperatorNotices
from tests.answers import fine
from tests.suite import MASTER_KEYS, OPERATOR_EMAIL, PUBLIC_URL, Suite, TenantHandle
from tests.tenant_service.requests import patch

QUEUE = MailQueue(Wrapping(MasterKeys.parse(MASTER_KEYS)))
UNHEALTHY = Cause(AlertKind.HEALTH, "unhealthy", Severity.CRITICAL, "Storage does not answer.")
REUSED = Cause(AlertKind.SECURITY, "session.refresh_reused", Severity.CRITICAL, "A token came twice.")


def users_at(threshold: int) -> Cause:
    return Cause(AlertKind.LIMIT, "users", Severity.INFO, f"Users at {threshold} %.", threshold, "2026-11-25")


@dataclass(frozen=True, slots=True)
class Post:
    """What a worker would do, and what it has queued since the last look."""

    suite: Suite
    jobs: AlertJobs

    @property
    def platform(self) -> Database:
        database: Database = self.suite.apps["tenant"].state.platform
        return database

    async def tell(self, tenant: TenantHandle) -> None:
        await self.jobs.tell_tenant(Job(new_id(), tenant.id, NOTICE, {}, 1))

    async def tell_operators(self) -> None:
        await self.jobs.tell_operators(Job(new_id(), None, "operator_notice", {}, 1))

    async def collect(self, tenant_id: UUID | None) -> Sequence[Mail]:
        """Take the queued mails of the tenant, or of the platform, out of the queue."""
        mine = JobRow.tenant_id == tenant_id if tenant_id else JobRow.tenant_id.is_(None)
        async with self.platform.platform_transaction() as session:
            rows = (await session.scalars(select(JobRow).where(JobRow.kind == MAIL, mine))).all()
            for row in rows:
                await session.delete(row)
        return [QUEUE.opened(row.payload, tenant_id=tenant_id) for row in rows]

    async def later(self, tenant: TenantHandle) -> list[JobRow]:
        """Return the notices that wait for their time."""
        async with self.platform.platform_transaction() as session:
            found = select(JobRow).where(
                JobRow.tenant_id == tenant.id, JobRow.kind == NOTICE, JobRow.dedupe_key.is_not(None)
            )
            return list((await session.scalars(found)).all())

    async def pass_time(self, tenant: TenantHandle, by: timedelta) -> None:
        async with self.platform.transaction(tenant.id) as session:
            for alert in await session.scalars(select(AlertRow).where(AlertRow.told_at.is_not(None))):
                assert alert.told_at is not None
                alert.told_at -= by

    async def let_operators_be_written_to(self) -> None:
        async with self.platform.platform_transaction() as session:
            await session.execute(text("delete from jobs where kind = 'mail' and tenant_id is null"))
            await session.execute(text("update alerts set operators_due = false where operators_due"))
            long_ago = "update schedules set last_run_at = null where name = 'operator_alert_mail'"
            await session.execute(text(long_ago))


@pytest.fixture
async def post(suite: Suite) -> Post:
    platform: Database = suite.apps["tenant"].state.platform
    jobs = AlertJobs(platform, suite.database, QUEUE, public_url=PUBLIC_URL, operator_email=OPERATOR_EMAIL)
    post = Post(suite, jobs)
    await post.let_operators_be_written_to()
    return post


async def happens(suite: Suite, tenant: TenantHandle, *causes: Cause) -> None:
    async with suite.database.transaction(tenant.id) as session:
        for cause in causes:
            await open_alert(session, cause)


async def ends(suite: Suite, tenant: TenantHandle, cause: Cause) -> None:
    async with suite.database.transaction(tenant.id) as session:
        await resolve_alert(session, cause.kind, cause.subject, threshold=cause.threshold)


async def test_owners_and_admins_get_one_mail_each_about_all_that_is_news(suite: Suite, post: Post) -> None:
    tenant, other = await suite.tenant(), await suite.tenant()
    admin, _ = await suite.user(tenant, "admin"), await suite.user(tenant, "member")
    await happens(suite, tenant, users_at(80), users_at(90))
    await post.tell(tenant)
    await post.tell(other)
    mails = await post.collect(tenant.id)
    assert sorted(mail.to for mail in mails) == sorted([tenant.owner_email, admin.email])
    for mail in mails:
        assert mail.subject == f"Tenant {tenant.slug}: 2 alerts"
        for form in (mail.text, mail.html):
            assert "Users at 80 %." in form
            assert "Users at 90 %." in form
            assert f"{PUBLIC_URL}/api/v1/tenants/{tenant.id}/alerts" in form
    assert await post.collect(other.id) == []
    # What has been told is no news any more.
    await post.tell(tenant)
    assert await post.collect(tenant.id) == []


async def test_a_name_stays_text_in_mails(suite: Suite, post: Post) -> None:
    """Catalogue 127."""
    tenant = await suite.tenant()
    name = "<b>A</b>\u2028Bcc: x@y.example https://evil.example"
    fine(await patch(suite, tenant, tenant.auth, name=name))
    await happens(suite, tenant, users_at(80))
    await post.tell(tenant)
    [mail] = await post.collect(tenant.id)
    assert "\u2028" not in mail.subject
    assert "<b>" not in mail.html
    assert "https://evil.example" not in mail.html + mail.text


async def test_a_disabled_admin_is_not_written_to(suite: Suite, post: Post) -> None:
    tenant = await suite.tenant()
    admin = await suite.user(tenant, "admin")
    path = f"/api/v1/users/{admin.id}"
    fine(await suite.client.patch(path, json={"status": "disabled"}, headers=tenant.auth))
    await happens(suite, tenant, users_at(80))
    await post.tell(tenant)
    assert [mail.to for mail in await post.collect(tenant.id)] == [tenant.owner_email]


async def test_health_is_written_about_once_in_a_quarter_of_an_hour_however_often_it_changes(
    suite: Suite, post: Post
) -> None:
    tenant = await suite.tenant()
    await happens(suite, tenant, UNHEALTHY)
    await post.tell(tenant)
    assert len(await post.collect(tenant.id)) == 1
    for _ in range(5):
        await ends(suite, tenant, UNHEALTHY)
        await post.tell(tenant)
        await happens(suite, tenant, UNHEALTHY)
        await post.tell(tenant)
    assert await post.collect(tenant.id) == []
    assert len(await post.later(tenant)) == 1
    await post.pass_time(tenant, timedelta(minutes=15))
    await post.tell(tenant)
    [mail] = await post.collect(tenant.id)
    assert mail.subject.endswith(": 6 alerts")
    assert mail.text.count("has ended") == 5


async def test_what_is_not_about_health_does_not_wait(suite: Suite, post: Post) -> None:
    tenant = await suite.tenant()
    await happens(suite, tenant, UNHEALTHY)
    await post.tell(tenant)
    await post.collect(tenant.id)
    await happens(suite, tenant, REUSED)
    await post.tell(tenant)
    [mail] = await post.collect(tenant.id)
    assert mail.subject == f"Tenant {tenant.slug}: security alert, session.refresh reused"


async def test_the_end_of_bad_health_is_told_and_that_of_a_limit_is_not(suite: Suite, post: Post) -> None:
    tenant = await suite.tenant()
    await happens(suite, tenant, UNHEALTHY, users_at(80))
    await post.tell(tenant)
    await post.collect(tenant.id)
    await post.pass_time(tenant, timedelta(minutes=15))
    await ends(suite, tenant, users_at(80))
    await post.tell(tenant)
    assert await post.collect(tenant.id) == []
    await ends(suite, tenant, UNHEALTHY)
    await post.tell(tenant)
    [mail] = await post.collect(tenant.id)
    assert mail.subject.endswith(": health alert, unhealthy has ended")


@pytest.mark.parametrize(
    ("plan", "cause", "is_told", "priority"),
    [
        ("basic", users_at(80), False, ""),
        ("basic", REUSED, True, ""),
        ("enterprise", users_at(80), True, "priority: high"),
        ("enterprise", UNHEALTHY, True, "priority: high"),
    ],
)
async def test_operators_are_told_of_incidents_and_of_priority_tenants(
    suite: Suite, post: Post, plan: str, cause: Cause, is_told: bool, priority: str
) -> None:
    tenant = await suite.tenant(plan)
    await happens(suite, tenant, cause)
    await post.tell(tenant)
    mails = await post.collect(None)
    assert [mail.to for mail in mails] == [OPERATOR_EMAIL] * is_told
    for mail in mails:
        assert tenant.slug in mail.text
        assert cause.message in mail.html
        assert ("priority: high" in mail.text) is bool(priority)


async def test_operators_get_what_comes_within_minutes_in_one_mail_over_all_tenants(
    suite: Suite, post: Post
) -> None:
    tenants = [await suite.tenant() for _ in range(4)]
    for tenant in tenants:
        await happens(suite, tenant, REUSED)
        await post.tell(tenant)
    [first] = await post.collect(None)
    assert tenants[0].slug in first.text
    await post.tell_operators()
    assert await post.collect(None) == []
    async with post.platform.platform_transaction() as session:
        aged = "update schedules set last_run_at = last_run_at - interval '5 minutes' "
        await session.execute(text(aged + "where name = 'operator_alert_mail'"))
    await post.tell_operators()
    [rest] = await post.collect(None)
    assert [tenant.slug in rest.text for tenant in tenants] == [False, True, True, True]
    await post.tell_operators()
    assert await post.collect(None) == []


async def test_operators_are_told_although_a_further_notice_of_the_tenant_holds_its_alerts(
    suite: Suite, post: Post
) -> None:
    tenant = await suite.tenant()
    await happens(suite, tenant, REUSED)
    async with post.platform.platform_transaction() as session:
        await session.execute(
            update(AlertRow)
            .where(AlertRow.tenant_id == tenant.id)
            .values(operators_due=True)
            .execution_options(synchronize_session=False)
        )
    async with suite.database.transaction(tenant.id) as session:
        await session.scalars(select(AlertRow).with_for_update())
        telling = asyncio.create_task(post.tell_operators())
        await asyncio.wait([telling], timeout=0.2)
    await telling
    assert len(await post.collect(None)) == 1


async def test_without_a_way_to_send_mail_alerts_are_seen_all_the_same_and_nothing_piles_up(
    suite: Suite, post: Post
) -> None:
    tenant = await suite.tenant("enterprise")
    silent = AlertJobs(post.platform, suite.database, None, public_url=PUBLIC_URL, operator_email=None)
    await happens(suite, tenant, REUSED)
    await silent.tell_tenant(Job(new_id(), tenant.id, NOTICE, {}, 1))
    await post.tell_operators()
    assert (await post.collect(tenant.id), await post.collect(None)) == ([], [])


async def test_a_notice_that_dies_before_its_commit_tells_again_and_one_after_it_does_not(
    suite: Suite, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 118."""
    tenant = await suite.tenant()
    await happens(suite, tenant, REUSED)

    async def dying(self: OperatorNotices) -> None:
        raise SystemError("killed")

    # The tenant's people are told and operators are not: the worker dies between the two transactions.
    monkeypatch.setattr(OperatorNotices, "tell", dying)
    with pytest.raises(SystemError):
        await post.tell(tenant)
    monkeypatch.undo()
    assert len(await post.collect(tenant.id)) == 1
    await post.tell(tenant)
    await post.tell_operators()
    assert await post.collect(tenant.id) == []
    assert len(await post.collect(None)) == 1
