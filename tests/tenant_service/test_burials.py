"""Workers that die in a job's last attempt: whoever waits for the job is told all the same.

What such a death leaves is a running job with no attempts left, whose lease runs out; a killed process leaves
exactly that (`tests/mis_jobs/test_burials.py` kills one). Here a whole worker comes upon it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from mis_cli.embedded import DatabaseUrls
from mis_jobs.jobs import MOST_ATTEMPTS
from mis_tenancy.plans import PlanName
from mis_worker.app import working
from tenant_service.encryption_keys.service import REENCRYPTION
from tenant_service.endings.service import PURGE
from tenant_service.exports.service import RUN as EXPORT
from tenant_service.imports.service import RUN as IMPORT
from tenant_service.plan_migration.downtime import RECOVERY, Downtime
from tenant_service.plan_migration.order import Order, Requester
from tests.answers import fine
from tests.mis_jobs.job_queue import PATIENCE
from tests.purging import delete_now, purging
from tests.servers import TestServers
from tests.suite import Suite, running_suite
from tests.tenant_service.exports import ask_for, status_of
from tests.tenant_service.imports import archive_of, import_status, send, user_row
from tests.tenant_service.plan_moves import document_of, migrations_of
from tests.tenant_service.requests import TENANTS
from tests.tenant_service.test_alert_book import alerts

_DIED = text("""
update jobs set state = 'running', attempts = :most, leased_by = 'dead', is_due = true,
       leased_until = now() - interval '1 second'
 where lane = :tenant and kind = :kind and state = 'queued' returning id
""")


class OwnDatabase(TestServers):
    """The run's servers, with a further database, because a worker works on all of it."""

    def database(self, name: str | None = None) -> DatabaseUrls:
        return super().database(name or "burials")


@pytest.fixture(scope="module")
async def suite(test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Suite]:
    """A suite beside which no worker runs yet."""
    servers = OwnDatabase(test_servers.postgres, test_servers.redis_url, test_servers.worker)
    async with running_suite(servers, tmp_path_factory.mktemp("burials")) as suite:
        yield suite


async def die_in_last_attempt(suite: Suite, tenant_id: UUID, kind: str) -> None:
    """Leave the tenant's job as a worker does that is killed in its last attempt."""
    async with suite.apps["tenant"].state.platform.platform_transaction() as session:
        found = await session.execute(_DIED, {"tenant": tenant_id, "kind": kind, "most": MOST_ATTEMPTS})
        assert len(found.all()) == 1


async def told(suite: Suite, is_so: Callable[[], Awaitable[bool]]) -> None:
    """Let a worker come, and wait until it has told."""
    async with working(suite.settings), asyncio.timeout(PATIENCE):
        while not await is_so():  # noqa: ASYNC110  # another process could be who tells
            await asyncio.sleep(0.05)


async def job_of(suite: Suite, tenant_id: UUID, kind: str) -> tuple[Any, ...]:
    async with suite.apps["tenant"].state.platform.platform_transaction() as session:
        asked = text("select state, last_error from jobs where lane = :tenant and kind = :kind")
        return tuple((await session.execute(asked, {"tenant": tenant_id, "kind": kind})).one())


async def test_an_export_fails_and_makes_room_for_the_next(suite: Suite) -> None:
    """Catalogue 118."""
    tenant = await suite.tenant("custom")
    asked = fine(await ask_for(suite, tenant), 202)["exportId"]
    await die_in_last_attempt(suite, tenant.id, EXPORT)

    async def has_failed() -> bool:
        return bool((await status_of(suite, tenant, asked))["status"] == "failed")

    await told(suite, has_failed)
    assert (await status_of(suite, tenant, asked))["error"]["code"] == "export_failed"
    fine(await ask_for(suite, tenant), 202)


async def test_an_import_fails_and_makes_room_for_the_next(suite: Suite) -> None:
    """Catalogue 118."""
    tenant = await suite.tenant("custom")
    archive = archive_of(tenant, users=[user_row("a@x.example")])
    asked = fine(await send(suite, tenant, archive), 202)["importId"]
    await die_in_last_attempt(suite, tenant.id, IMPORT)

    async def has_failed() -> bool:
        return bool((await import_status(suite, tenant, asked))["status"] == "failed")

    await told(suite, has_failed)
    assert (await import_status(suite, tenant, asked))["error"]["code"] == "import_failed"
    fine(await send(suite, tenant, archive), 202)


async def test_a_tenant_that_was_closed_for_a_change_of_plan_is_opened_again(suite: Suite) -> None:
    """Catalogue 118."""
    tenant = await suite.tenant("basic")
    by = Requester(tenant.owner.id, "member")
    await Downtime(suite.database, settled=0.0).close(tenant.id, by, Order(PlanName.PREMIUM, downtime=True))
    await die_in_last_attempt(suite, tenant.id, RECOVERY)

    async def is_open() -> bool:
        return bool((await document_of(suite, tenant))["status"] == "active")

    await told(suite, is_open)
    assert (await document_of(suite, tenant))["plan"] == "basic"
    (migration,) = await migrations_of(suite, tenant)
    assert (migration["status"], migration["reasons"]) == ("failed", [{"code": "internal_error"}])


async def test_a_rotation_of_keys_is_told_of_and_goes_on_when_asked_again(suite: Suite) -> None:
    """Catalogue 133."""
    tenant = await suite.tenant("premium")
    rotate = f"{TENANTS}/{tenant.id}/encryption-keys/rotate"
    fine(await suite.client.post(rotate, headers=tenant.auth), 202)
    await die_in_last_attempt(suite, tenant.id, REENCRYPTION)

    async def is_told() -> bool:
        return [row.subject for row in await alerts(suite, tenant.id)] == ["keys.rotation"]

    await told(suite, is_told)
    fine(await suite.client.post(rotate, headers=tenant.auth), 202)

    async def is_over() -> bool:
        return [row.status for row in await alerts(suite, tenant.id)] == ["resolved"]

    await told(suite, is_over)
    keys = fine(await suite.client.get(rotate.removesuffix("/rotate"), headers=tenant.auth))
    assert [(key["version"], key["state"]) for key in keys] == [(2, "current"), (1, "retired")]


async def test_a_purge_says_why_it_rests(suite: Suite) -> None:
    """Catalogue 118."""
    tenant = await suite.tenant("custom")
    await delete_now(suite, tenant.id)
    async with purging(suite) as purge:
        # A run closes the tenant for good before anything else.
        await purge._close(tenant.id)
    await die_in_last_attempt(suite, tenant.id, PURGE)
    path = f"{TENANTS}/{tenant.id}/deletion-certificate"

    async def rests() -> bool:
        answer = await suite.client.get(path, headers=suite.operator)
        return answer.json().get("failedAt") is not None

    await told(suite, rests)
    problem = (await suite.client.get(path, headers=suite.operator)).json()
    assert problem["reasons"] == ["The worker that ran it died."]
    assert datetime.fromisoformat(problem["failedAt"]) <= datetime.now(UTC)
    assert await job_of(suite, tenant.id, PURGE) == ("dead", "The worker that ran it died.")
