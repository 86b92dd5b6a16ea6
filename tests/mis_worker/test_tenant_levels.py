"""What the worker shows of tenants' levels: the busiest by their ids, the rest together, no old ones."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import text

from mis_cli.embedded import DatabaseUrls
from mis_tenancy.database import Database
from mis_worker.tenant_levels import repository
from mis_worker.tenant_levels.metrics import LevelMetrics
from mis_worker.tenant_levels.watch import LevelWatch
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle, running_suite


class OwnDatabase(TestServers):
    """The run's servers, whose database for a suite is a further one, because levels are of all tenants."""

    def database(self, name: str | None = None) -> DatabaseUrls:
        return super().database(name or "tenant_levels")


@pytest.fixture(scope="module")
async def alone(
    test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Suite, list[TenantHandle]]]:
    servers = OwnDatabase(test_servers.postgres, test_servers.redis_url, test_servers.worker)
    async with running_suite(servers, tmp_path_factory.mktemp("levels")) as suite:
        tenants = [await suite.tenant(plan) for plan in ("basic", "premium", "custom")]
        for _ in range(2):
            await suite.user(tenants[1], "viewer")
        yield suite, tenants


class ToldMetrics(LevelMetrics):
    """Metrics that tell when they are to show nothing."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.hidden = asyncio.Event()

    def show(self, standing: repository.Standing | None) -> None:
        super().show(standing)
        if standing is None:
            self.hidden.set()


class Shown:
    """A worker's watch over so many named tenants, and what it shows."""

    def __init__(self, platform: Database, capacity: int) -> None:
        self.registry = CollectorRegistry()
        self.metrics = ToldMetrics(self.registry)
        self.watch = LevelWatch(platform, self.metrics, capacity)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


async def note_requests(platform: Database, tenant: TenantHandle, requests: int) -> None:
    """Set what the ledger says of the tenant's requests of today."""
    async with platform.platform_transaction() as session:
        await session.execute(
            text(
                "insert into usage_days (tenant_id, day, requests) values (:id, date_trunc('day', now() at "
                "time zone 'utc') at time zone 'utc', :n) "
                "on conflict (tenant_id, day) do update set requests = :n"
            ),
            {"id": tenant.id, "n": requests},
        )


async def test_levels_limits_and_the_rest_are_shown(alone: tuple[Suite, list[TenantHandle]]) -> None:
    """Catalogue 136."""
    suite, (basic, premium, custom) = alone
    platform = suite.apps["tenant"].state.platform
    await suite.apps["tenant"].state.health.probe(premium.id)
    for tenant, requests in ((basic, 10), (premium, 5_000), (custom, 2_000)):
        await note_requests(platform, tenant, requests)
    shown = Shown(platform, 2)
    await shown.watch.look()
    assert shown.value("mis_tenants", plan="basic", status="active") == 1
    of = {"tenant": str(premium.id)}
    assert shown.value("mis_tenant_info", **of, slug=premium.slug, plan="premium", status="active") == 1
    assert shown.value("mis_tenant_users", **of) == 3
    assert shown.value("mis_tenant_users_limit", **of) == 1_000
    assert shown.value("mis_tenant_storage_limit_bytes", **of) == 100 * 2**30
    for check in ("database", "redis", "storage", "api"):
        assert shown.value("mis_tenant_check_passed", **of, check=check) == 1
    # The one that is not among the busiest is in the rest, and has no limit there.
    assert shown.value("mis_tenant_users", tenant=str(basic.id)) is None
    assert shown.value("mis_tenant_users", tenant="other") == 1
    assert shown.value("mis_tenant_users_limit", tenant="other") is None


async def test_a_place_is_lost_only_to_somebody_far_busier(alone: tuple[Suite, list[TenantHandle]]) -> None:
    suite, (basic, premium, custom) = alone
    platform = suite.apps["tenant"].state.platform
    for tenant, requests in ((basic, 10), (premium, 5_000), (custom, 2_000)):
        await note_requests(platform, tenant, requests)
    shown = Shown(platform, 2)
    await shown.watch.look()
    for requests, is_named in ((3_000, False), (4_100, True)):
        await note_requests(platform, basic, requests)
        await shown.watch.choose()
        await shown.watch.look()
        assert (shown.value("mis_tenant_users", tenant=str(basic.id)) is not None) is is_named
    assert shown.value("mis_tenant_users", tenant=str(custom.id)) is None


async def test_nothing_is_shown_of_what_cannot_be_told(
    alone: tuple[Suite, list[TenantHandle]], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, _ = alone
    shown = Shown(suite.apps["tenant"].state.platform, 2)
    await shown.watch.look()
    assert shown.value("mis_tenant_users", tenant="other") is not None

    async def fails(*asked: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(repository, "standing", fails)
    watching = asyncio.create_task(shown.watch.run())
    async with asyncio.timeout(10):
        await shown.metrics.hidden.wait()
    watching.cancel()
    assert shown.value("mis_tenant_users", tenant="other") is None
    assert shown.value("mis_tenants", plan="basic", status="active") is None


async def test_no_name_of_a_tenant_is_in_what_is_shown(alone: tuple[Suite, list[TenantHandle]]) -> None:
    suite, tenants = alone
    platform = suite.apps["tenant"].state.platform
    async with platform.platform_transaction() as session:
        names = list(await session.scalars(text("select name from tenants")))
    shown = Shown(platform, 10)
    await shown.watch.look()
    page = generate_latest(shown.registry).decode()
    assert all(tenant.slug in page for tenant in tenants)
    assert not [name for name in names if name in page]
