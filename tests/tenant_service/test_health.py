"""A tenant's health on the real stack: its body, its probes, who may see it, and what is away."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select, update

from mis_jobs.jobs import Job
from mis_models.health import ProbeRow
from mis_tenancy.identifiers import new_id
from mis_tenancy.redis import RedisUnavailable
from mis_tenancy.storage import Storage, StorageUnavailable
from mis_tenancy.tables import AuditRow, TenantRow
from tenant_service.health import jobs
from tenant_service.health.metrics import ProbeMetrics
from tenant_service.health.probes import Probes
from tenant_service.health.repository import EVERYONE, Batch, due_tenants
from tenant_service.health.service import Health
from tests.answers import fine, refused
from tests.suite import Suite, TenantHandle
from tests.tenant_service.requests import TENANTS


def health_of(suite: Suite) -> Health:
    health: Health = suite.apps["tenant"].state.health
    return health


async def read(suite: Suite, tenant: TenantHandle, headers: dict[str, str] | None = None) -> Any:
    path = f"{TENANTS}/{tenant.id}/health"
    return fine(await suite.client.get(path, headers=headers or tenant.auth))


async def probes(suite: Suite, tenant_id: UUID) -> list[ProbeRow]:
    async with suite.database.transaction(tenant_id) as session:
        return list((await session.scalars(select(ProbeRow).order_by(ProbeRow.at))).all())


async def age_probes(suite: Suite, tenant_id: UUID, seconds: float, **values: Any) -> None:
    """Make the tenant's probes older by `seconds`, and give them other `values`."""
    async with suite.database.transaction(tenant_id) as session:
        for row in (await session.scalars(select(ProbeRow))).all():
            await session.delete(row)
            session.add(_aged(row, timedelta(seconds=seconds), values))


def _aged(row: ProbeRow, by: timedelta, values: dict[str, Any]) -> ProbeRow:
    own = {column.key: getattr(row, column.key) for column in ProbeRow.__table__.columns}
    return ProbeRow(**own | {"at": row.at - by} | values)


async def served(suite: Suite, tenant_id: UUID, *requests: tuple[int, int]) -> None:
    """Add requests, each a status and milliseconds, to the tenant's audit log."""
    async with suite.database.transaction(tenant_id) as session:
        session.add_all(
            AuditRow(
                id=new_id(),
                kind="request",
                action="GET /x",
                outcome="ok",
                status=status,
                duration_us=ms * 1000,
            )
            for status, ms in requests
        )


@contextmanager
def broken(suite: Suite, *parts: str) -> Iterator[None]:
    """Let the tenant service's probes find Redis or the storage away."""
    health = health_of(suite)
    working = health._probes

    class Away:
        async def command(self, *_: object) -> None:
            raise RedisUnavailable("Redis is away.")

        def of(self, _: UUID) -> "Away":
            return self

        async def probe(self) -> None:
            raise StorageUnavailable

    away: Any = Away()
    health._probes = Probes(
        working._database,
        away if "redis" in parts else working._redis,
        away if "storage" in parts else working._storage,
    )
    try:
        yield
    finally:
        health._probes = working


async def test_the_body_is_the_design_documents_with_details(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    before = datetime.now(UTC) - timedelta(seconds=1)
    document = await read(suite, tenant)
    assert set(document) == {"status", "checks", "metrics", "lastChecked", "checkDetails"}
    assert document["status"] == "healthy"
    assert document["checks"] == {"database": True, "redis": True, "storage": True, "api": True}
    assert set(document["metrics"]) == {"responseTime", "errorRate", "uptime"}
    assert document["metrics"]["uptime"] == 100
    assert before <= datetime.fromisoformat(document["lastChecked"]) <= datetime.now(UTC)
    assert document["lastChecked"].endswith("Z")
    assert set(document["checkDetails"]) == set(document["checks"])
    assert all(detail["detail"] is None for detail in document["checkDetails"].values())


async def test_the_metrics_are_of_the_tenants_own_last_quarter_of_an_hour(suite: Suite) -> None:
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    await served(suite, other.id, *[(500, 9_000)] * 30)
    requests = [(200, 40)] * 27 + [(503, 900)] * 1 + [(404, 30)] * 12
    await served(suite, tenant.id, *requests)
    async with suite.database.transaction(tenant.id) as session:
        long_ago = int((datetime.now(UTC) - timedelta(minutes=16)).timestamp() * 1000)
        for _ in range(50):
            old = {"action": "GET /x", "outcome": "ok", "status": 500, "duration_us": 10**9}
            session.add(AuditRow(id=new_id(long_ago), kind="request", **old))
    found = await health_of(suite).probe(tenant.id)
    assert found.requests.samples >= len(requests)
    assert found.requests.errors == 1
    document = await read(suite, tenant)
    assert document["metrics"]["responseTime"] == 40
    assert document["metrics"]["errorRate"] == round(1 / found.requests.samples, 6)
    assert document["checks"]["api"] is True


async def test_without_requests_there_are_no_numbers(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    # The owner's own sign-in is a request of the tenant's only where its token names it.
    fresh = new_id()
    async with suite.apps["tenant"].state.platform.transaction(fresh) as session:
        row = (await session.scalars(select(TenantRow).where(TenantRow.id == tenant.id))).one()
        copied = {
            column.key: getattr(row, column.key)
            for column in TenantRow.__table__.columns
            if column.name != "search"
        }
        names = {"id": fresh, "slug": f"c-{fresh.hex[-12:]}", "subdomain": f"c-{fresh.hex[-12:]}"}
        session.add(TenantRow(**copied | names | {"domain": None, "status": "suspended"}))
    document = fine(await suite.client.get(f"{TENANTS}/{fresh}/health", headers=suite.operator))
    assert document["metrics"]["responseTime"] is None
    assert document["metrics"]["errorRate"] is None
    # It has no counters of its own, which is what a lost or hidden row looks like.
    assert document["checks"]["database"] is False
    assert "own rows" in document["checkDetails"]["database"]["detail"]


async def test_a_tenant_whose_requests_fail_is_degraded(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await served(suite, tenant.id, *[(500, 10)] * 20)
    document = await read(suite, tenant)
    assert (document["status"], document["checks"]["api"]) == ("degraded", False)


async def test_a_result_of_the_last_ten_seconds_is_shown_again_and_an_older_one_is_not(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    first = await read(suite, tenant)
    assert (await read(suite, tenant))["lastChecked"] == first["lastChecked"]
    await age_probes(suite, tenant.id, 9)
    await read(suite, tenant)
    assert len(await probes(suite, tenant.id)) == 1
    await age_probes(suite, tenant.id, 1.1)
    await read(suite, tenant)
    assert len(await probes(suite, tenant.id)) == 2


async def test_many_who_ask_at_once_share_one_probe(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    documents = await asyncio.gather(*(read(suite, tenant) for _ in range(20)))
    assert len({document["lastChecked"] for document in documents}) == 1
    assert len(await probes(suite, tenant.id)) == 1


async def test_a_caller_who_goes_away_does_not_take_the_others_answer_along(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    impatient = asyncio.create_task(health_of(suite)._shared(tenant.id))
    patient = asyncio.create_task(health_of(suite)._shared(tenant.id))
    # One turn of the loop later both wait for the one probe.
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await patient).probe.status == "healthy"
    with pytest.raises(asyncio.CancelledError):
        await impatient


@pytest.mark.parametrize(("part", "status"), [("redis", "degraded"), ("storage", "unhealthy")])
async def test_a_part_that_is_away_shows_at_once_and_changes_the_status_at_the_second_time(
    suite: Suite, part: str, status: str
) -> None:
    """Catalogue 141."""
    tenant = await suite.tenant("custom")
    assert (await read(suite, tenant))["status"] == "healthy"
    shown = []
    with broken(suite, part):
        for _ in range(2):
            await age_probes(suite, tenant.id, 11)
            document = await read(suite, tenant)
            assert [name for name, passed in document["checks"].items() if not passed] == [part]
            assert document["checkDetails"][part]["detail"]
            shown.append(document["status"])
    for _ in range(2):
        await age_probes(suite, tenant.id, 11)
        shown.append((await read(suite, tenant))["status"])
    assert shown == ["healthy", status, status, "healthy"]
    assert (await read(suite, tenant))["metrics"]["uptime"] == 60


async def test_a_status_of_long_ago_does_not_linger(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    with broken(suite, "storage"):
        assert (await read(suite, tenant))["status"] == "unhealthy"
    await age_probes(suite, tenant.id, 3_600)
    assert (await read(suite, tenant))["status"] == "healthy"


async def test_probes_of_more_than_a_day_ago_are_forgotten_and_do_not_count(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    with broken(suite, "storage"):
        await read(suite, tenant)
    await age_probes(suite, tenant.id, 86_401)
    assert (await read(suite, tenant))["metrics"]["uptime"] == 100
    assert len(await probes(suite, tenant.id)) == 1


async def test_a_database_that_is_away_is_an_answer_and_not_an_error(suite: Suite) -> None:
    """Catalogue 141."""
    working = health_of(suite)

    class Away:
        def transaction(self, _: UUID) -> Any:
            raise ConnectionRefusedError

        system_transaction = transaction

    away: Any = Away()
    health = Health(away, Probes(away, working._probes._redis, working._probes._storage))
    report = await health.report(new_id())
    assert (report.probe.status, report.uptime) == ("unhealthy", None)
    assert not report.probe.checks["database"].passed
    assert report.probe.checks["storage"].passed


async def test_a_probe_leaves_nothing_behind(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    await read(suite, tenant)
    tenancy = suite.tenancy("tenant")
    assert tenancy.redis is not None
    assert await tenancy.redis.command("KEYS", f"*{tenant.id}*probes*") == []
    storage: Storage = suite.apps["tenant"].state.storage
    assert [stored async for stored in storage.of(tenant.id).list()] == []


async def test_members_see_their_own_health_operators_every_ones_and_strangers_none(suite: Suite) -> None:
    """Catalogue 93."""
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    viewer = await suite.user(tenant, "viewer")
    path = f"{TENANTS}/{tenant.id}/health"
    for headers in (viewer.auth, suite.operator):
        fine(await suite.client.get(path, headers=headers))
    refused(await suite.client.get(path), 401, "authentication_required")
    refused(await suite.client.get(path, headers=other.auth), 404, "tenant_not_found")


def a_batch(batch: Batch = EVERYONE) -> Job:
    payload = {"first": str(batch.first), "last": str(batch.last)}
    return Job(new_id(), None, jobs.BATCH, payload, 1)


async def test_the_workers_rounds_probe_who_is_due_and_active(suite: Suite) -> None:
    due, fresh, closed = [await suite.tenant("custom") for _ in range(3)]
    platform = suite.apps["tenant"].state.platform
    health = health_of(suite)
    await health.probe(fresh.id)
    async with platform.transaction(closed.id) as session:
        await session.execute(update(TenantRow).where(TenantRow.id == closed.id).values(status="suspended"))
    registry = CollectorRegistry()
    rounds = jobs.ProbeRounds(platform, health, ProbeMetrics(registry))
    await rounds.probe(a_batch())
    counts = [len(await probes(suite, tenant.id)) for tenant in (due, fresh, closed)]
    assert counts == [1, 1, 0]
    for check in ("database", "redis", "storage", "api"):
        labels = {"check": check, "outcome": "passed"}
        assert (registry.get_sample_value("mis_tenant_probes_total", labels) or 0) >= 1


async def test_a_round_that_runs_out_of_time_leaves_the_rest_to_the_next(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await suite.tenant("custom")
    platform = suite.apps["tenant"].state.platform
    monkeypatch.setattr(jobs, "_RUN", -1.0)
    rounds = jobs.ProbeRounds(platform, health_of(suite), ProbeMetrics(CollectorRegistry()))
    await rounds.probe(a_batch())
    assert await probes(suite, tenant.id) == []


async def test_readiness_names_the_storage(suite: Suite) -> None:
    for service in ("tenant", "user"):
        parts = suite.apps[service].state.readiness
        assert "storage" in parts
        await parts["storage"]()


async def test_a_quiet_tenant_is_probed_less_often_than_a_busy_or_a_sick_one(suite: Suite) -> None:
    quiet, busy, sick = [await suite.tenant("custom") for _ in range(3)]
    health, platform = health_of(suite), suite.apps["tenant"].state.platform
    await served(suite, busy.id, (200, 5))
    for tenant in (quiet, busy):
        await health.probe(tenant.id)
    with broken(suite, "redis"):
        await health.probe(sick.id)
    await age_probes(suite, quiet.id, 1, samples=0)

    async def due() -> set[UUID]:
        async with platform.platform_transaction() as session:
            found = await due_tenants(session, jobs._BUSY, jobs._QUIET)
        return {tenant.id for tenant in (quiet, busy, sick)} & set(found)

    assert await due() == set()
    for tenant in (quiet, busy, sick):
        await age_probes(suite, tenant.id, 60)
    assert await due() == {busy.id, sick.id}
    await age_probes(suite, quiet.id, 240)
    assert await due() == {quiet.id, busy.id, sick.id}
