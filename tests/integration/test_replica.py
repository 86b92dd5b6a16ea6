"""Reads from a replica: whoever has been answered finds what was written, however far the replica lags."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from mis_cli.embedded import EmbeddedPostgres, database_urls
from mis_tenancy.redis import Redis, tenant_key
from tests.answers import fine, refused
from tests.integration.rig import TENANTS, USERS
from tests.integration.standby import Standby, standby
from tests.servers import TestServers, remove_server_directory
from tests.suite import PASSWORD, Suite, TenantHandle, running_suite


@pytest.fixture(scope="module")
def primary(test_servers: TestServers) -> Iterator[TestServers]:
    """A Postgres of these tests' own, which few others write to."""
    directory = Path(tempfile.mkdtemp(prefix="mis-tests-"))
    directory.chmod(0o711)
    with EmbeddedPostgres(directory / "postgres", durable=False) as server:
        yield TestServers(server.address, test_servers.redis_url, "followed")
    shutil.rmtree(directory / "standby", ignore_errors=True)
    remove_server_directory(directory)


@pytest.fixture(scope="module")
def follower(primary: TestServers) -> Iterator[Standby]:
    primary.database()
    with standby(primary.postgres) as follower:
        yield follower


@dataclass
class Followed:
    """A suite that may read from a replica."""

    suite: Suite
    follower: Standby

    @property
    def redis(self) -> Redis:
        redis = self.suite.tenancy().redis
        assert redis is not None
        return redis

    def count(self, outcome: str, service: str = "user") -> float:
        metrics = self.suite.tenancy(service).metrics
        named = {"service": metrics._service, "outcome": outcome}
        return metrics.registry.get_sample_value("mis_replica_reads_total", named) or 0

    async def emails(self, tenant: TenantHandle) -> list[str]:
        answer = await self.suite.client.get(f"{USERS}?limit=100", headers=tenant.auth)
        return [user["email"] for user in fine(answer)]

    async def add(self, tenant: TenantHandle, email: str) -> None:
        body = {"email": email, "name": "New", "role": "member", "password": PASSWORD}
        fine(await self.suite.client.post(USERS, json=body, headers=tenant.auth), 201)

    async def outcome(self, tenant: TenantHandle) -> str:
        """Return by whom, or why not, the list is read now."""
        before = {name: self.count(name) for name in ("replica", "behind", "away", "unknown")}
        await self.emails(tenant)
        (changed,) = (name for name, count in before.items() if self.count(name) > count)
        return changed

    async def caught_up(self, tenant: TenantHandle) -> None:
        """Wait until the replica answers for the tenant."""
        while await self.outcome(tenant) != "replica":
            pass


@pytest.fixture(scope="module")
async def following(
    primary: TestServers, follower: Standby, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Followed]:
    name = urlsplit(primary.database().app).path.removeprefix("/")
    replica = database_urls(follower.address, name).app
    directory = tmp_path_factory.mktemp("following")
    async with running_suite(primary, directory, replica_database_url=replica) as suite:
        yield Followed(suite, follower)


@pytest.fixture
async def followed(following: Followed) -> AsyncIterator[Followed]:
    """The suite on a replica that follows, before the test and after it."""
    yield following
    following.follower.go_on()


@pytest.fixture
async def tenant(followed: Followed) -> TenantHandle:
    tenant = await followed.suite.tenant("enterprise")
    await followed.caught_up(tenant)
    return tenant


async def test_a_list_is_read_from_a_replica_that_shows_what_was_written(
    followed: Followed, tenant: TenantHandle
) -> None:
    await followed.add(tenant, f"first@{tenant.slug}.example")
    await followed.caught_up(tenant)
    answered = followed.count("replica")
    assert await followed.emails(tenant) == [f"first@{tenant.slug}.example", tenant.owner_email]
    assert followed.count("replica") == answered + 1


async def test_whoever_wrote_reads_it_however_far_the_replica_lags(
    followed: Followed, tenant: TenantHandle
) -> None:
    followed.follower.hold_back()
    written = [tenant.owner_email]
    for number in range(5):
        written.insert(0, f"late-{number}@{tenant.slug}.example")
        await followed.add(tenant, written[0])
        assert await followed.outcome(tenant) == "behind"
        assert await followed.emails(tenant) == written
    followed.follower.go_on()
    await followed.caught_up(tenant)
    assert await followed.emails(tenant) == written


async def test_a_tenant_that_wrote_nothing_is_read_from_a_replica_that_lags_for_others(
    followed: Followed, tenant: TenantHandle
) -> None:
    writer = await followed.suite.tenant("enterprise")
    await followed.caught_up(writer)
    await followed.caught_up(tenant)
    followed.follower.hold_back()
    await followed.add(writer, f"late@{writer.slug}.example")
    assert await followed.outcome(writer) == "behind"
    assert await followed.outcome(tenant) == "replica"


async def test_what_one_service_wrote_another_reads(followed: Followed, tenant: TenantHandle) -> None:
    followed.follower.hold_back()
    await followed.add(tenant, f"late@{tenant.slug}.example")
    path = f"{TENANTS}/{tenant.id}"
    behind = followed.count("behind", "tenant")
    usage = fine(await followed.suite.client.get(f"{path}/usage", headers=tenant.auth))
    log = fine(await followed.suite.client.get(f"{path}/audit-logs?kind=change", headers=tenant.auth))
    assert usage["users"]["total"] == 2
    assert "user.created" in {row["action"] for row in log}
    assert followed.count("behind", "tenant") == behind + 2


async def test_a_suspended_tenant_is_refused_at_once_though_the_replica_has_not_heard(
    followed: Followed, tenant: TenantHandle
) -> None:
    """Catalogue 53."""
    followed.follower.hold_back()
    answer = await followed.suite.client.post(
        f"{TENANTS}/{tenant.id}/suspend", json={"reason": "fraud"}, headers=followed.suite.operator
    )
    fine(answer)
    async with asyncio.timeout(60):
        # Services hear of it within a second, from each other and from the primary.
        while (await followed.suite.client.get(USERS, headers=tenant.auth)).status_code == 200:
            pass
    refused(await followed.suite.client.get(USERS, headers=tenant.auth), 403, "tenant_suspended")


async def test_policies_hold_on_the_replica(followed: Followed, tenant: TenantHandle) -> None:
    other = await followed.suite.tenant("enterprise")
    await followed.caught_up(other)
    assert await followed.emails(other) == [other.owner_email]
    url = followed.suite.settings.replica_database_url
    connection = await asyncpg.connect(url)
    try:
        assert await connection.fetchval("select count(*) from users") == 0
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("delete from users")
    finally:
        await connection.close()


async def test_without_its_replica_the_suite_reads_from_the_primary_and_comes_back(
    followed: Followed, tenant: TenantHandle
) -> None:
    followed.follower.kill()
    await followed.add(tenant, f"meanwhile@{tenant.slug}.example")
    assert await followed.outcome(tenant) == "away"
    assert len(await followed.emails(tenant)) == 2
    followed.follower.start()
    await followed.caught_up(tenant)
    assert len(await followed.emails(tenant)) == 2


async def test_what_redis_has_forgotten_is_read_from_the_primary_and_known_again(
    followed: Followed, tenant: TenantHandle
) -> None:
    await followed.redis.command("DEL", tenant_key(tenant.id, "written"))
    assert await followed.outcome(tenant) == "unknown"
    await followed.caught_up(tenant)


async def test_a_position_of_another_run_of_redis_counts_for_nothing(
    followed: Followed, tenant: TenantHandle
) -> None:
    await followed.redis.command("SET", tenant_key(tenant.id, "written"), f"{0:08x}{0:016x}")
    assert await followed.outcome(tenant) == "unknown"
    await followed.caught_up(tenant)


async def test_declared_reads_cannot_write(followed: Followed, tenant: TenantHandle) -> None:
    async def write(session: Any) -> None:
        await session.execute(text("update users set name = 'x'"), execution_options={"unscoped": True})

    with pytest.raises(DBAPIError, match="read-only transaction"):
        await followed.suite.tenancy().reads.run(tenant.id, write)
