"""`mis doctor` on a deployment of its own: all is well, then one thing after another is broken and named."""

import asyncio
import base64
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from mis_cli.embedded import DatabaseUrls, EmbeddedRedis
from mis_http.service.settings import ServiceSettings
from mis_tenancy.encryption import Wrapping
from mis_tenancy.identifiers import new_id
from mis_tenancy.redis import Redis
from mis_tenancy.settings import MasterKeys
from mis_worker.app import working
from tests.citus import on_cluster
from tests.database import connected, seed_tenant
from tests.mis_cli.command_line import CommandLine, environment
from tests.redis_cluster import redis_cluster
from tests.servers import TestServers
from tests.suite import MASTER_KEYS

Found = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def urls(test_servers: TestServers) -> DatabaseUrls:
    return test_servers.database("doctor")


@pytest.fixture(scope="module")
def deployment(
    test_servers: TestServers, urls: DatabaseUrls, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    place = tmp_path_factory.mktemp("doctor")
    (place / "spool").mkdir()
    return environment(test_servers) | {
        "MIS_DATABASE_URL": urls.app,
        "MIS_AUTH_DATABASE_URL": urls.auth,
        "MIS_PLATFORM_DATABASE_URL": urls.platform,
        "MIS_MIGRATION_DATABASE_URL": urls.owner,
        "MIS_STORAGE_URL": (place / "storage").as_uri(),
        "MIS_SPOOL_DIR": str(place / "spool"),
    }


@pytest.fixture(scope="module")
async def a_worker_ran(deployment: dict[str, str], urls: DatabaseUrls) -> None:
    """What a worker leaves behind that has just run."""
    given = {name.removeprefix("MIS_").lower(): value for name, value in deployment.items()}
    given["base_domains"] = "localhost"
    async with working(ServiceSettings.read(**given)), connected(urls.owner) as hand, asyncio.timeout(30):
        while not await hand.fetchval("select count(last_run_at) from schedules"):  # noqa: ASYNC110  # a worker's
            await asyncio.sleep(0.05)


@pytest.fixture
def doctor(deployment: dict[str, str], a_worker_ran: None) -> CommandLine:
    return CommandLine(deployment)


@pytest.fixture
async def hand(urls: DatabaseUrls) -> AsyncIterator[asyncpg.Connection]:
    async with connected(urls.owner) as hand:
        yield hand


async def examined(doctor: CommandLine, code: int = 0, **changed: str) -> Found:
    """Run the doctor with some settings changed and return what it says, by name."""
    told = CommandLine(doctor.env | changed)
    return {one["name"]: one for one in await told.json("doctor", code=code)}


def statuses(found: Found, status: str) -> list[str]:
    return [name for name, one in found.items() if one["status"] == status]


async def test_all_is_well_where_all_is_well(doctor: CommandLine) -> None:
    found = await examined(doctor)
    assert statuses(found, "fail") == []
    # The tests' deployment sends no mail, keeps no append-only file and has no name in DNS.
    assert set(statuses(found, "warn")) <= {"mail", "redis persistence", "domain mis.local", "public URL"}
    assert {"settings", "schema", "storage", "spool", "worker", "clock", "keys signing_keys"} <= found.keys()
    assert {f"postgres mis_{role}" for role in ("app", "auth", "platform", "owner")} <= found.keys()
    assert {"isolation policies", "isolation roles", "isolation rows_of_others"} <= found.keys()


async def test_a_person_reads_a_table_without_any_secret(doctor: CommandLine) -> None:
    answer = await doctor("doctor")
    assert answer.exit_code == 0
    assert "isolation policies" in answer.stdout
    assert " 0 fail" in answer.stdout
    passwords = [doctor.env[name].split(":")[2].split("@")[0] for name in doctor.env if "DATABASE" in name]
    for secret in (*passwords, MASTER_KEYS.partition(":")[2]):
        assert secret not in answer.output


async def test_all_wrong_settings_are_named_at_once_and_the_rest_is_looked_at(doctor: CommandLine) -> None:
    wrong = {"MIS_MASTER_KEYS": "k1:secret-but-short", "MIS_REDIS_URL": "http://secret-host"}
    found = await examined(doctor, 1, MIS_SMTP_URL_FILE="/no/such/file", **wrong)
    assert {"MIS_MASTER_KEYS", "MIS_REDIS_URL", "MIS_SMTP_URL"} <= set(statuses(found, "fail"))
    assert "secret" not in str(found)
    assert found["schema"]["status"] == "ok"
    assert found["isolation policies"]["status"] == "ok"


async def test_a_setting_that_only_some_need_is_a_warning(doctor: CommandLine) -> None:
    found = await examined(doctor, 0, MIS_AUTH_DATABASE_URL="", MIS_MIGRATION_DATABASE_URL="")
    assert found["MIS_AUTH_DATABASE_URL"]["status"] == "warn"
    assert "schema" not in found
    assert "keys signing_keys" not in found


async def test_a_role_that_is_another_is_named(doctor: CommandLine, urls: DatabaseUrls) -> None:
    """Catalogue 34."""
    found = await examined(doctor, 1, MIS_DATABASE_URL=urls.owner)
    assert "enters as mis_owner" in found["postgres mis_app"]["detail"]
    assert "mis_app" in found["postgres mis_app"]["advice"]
    # It is not even asked about isolation, since nothing would hold it.
    assert found["isolation"]["status"] == "fail"


@pytest.mark.skipif(on_cluster(), reason="The nodes of a test's cluster ask for no password.")
async def test_a_password_that_is_wrong_is_not_repeated(doctor: CommandLine, urls: DatabaseUrls) -> None:
    url = urls.platform.replace("mis_platform:", "mis_platform:x-unfit-", 1)
    found = await examined(doctor, 1, MIS_PLATFORM_DATABASE_URL=url)
    assert found["postgres mis_platform"]["status"] == "fail"
    assert "password authentication failed" in found["postgres mis_platform"]["detail"]
    assert "x-unfit" not in str(found)


async def test_roles_on_different_databases_are_told_apart(
    doctor: CommandLine, test_servers: TestServers
) -> None:
    found = await examined(doctor, 1, MIS_AUTH_DATABASE_URL=test_servers.database().auth)
    assert "different databases" in found["postgres"]["detail"]


async def test_a_schema_of_another_revision_is_named(doctor: CommandLine, hand: asyncpg.Connection) -> None:
    was = await hand.fetchval("select version_num from alembic_version")
    await hand.execute("update alembic_version set version_num = '0001'")
    try:
        found = await examined(doctor, 1)
    finally:
        await hand.execute("update alembic_version set version_num = $1", was)
    assert "0001" in found["schema"]["detail"]
    assert "mis migrate" in found["schema"]["advice"]


async def test_a_policy_that_is_gone_is_named(doctor: CommandLine, hand: asyncpg.Connection) -> None:
    """Catalogue 32."""
    await hand.execute("alter policy tenant_isolation on users using (true)")
    try:
        found = await examined(doctor, 1)
    finally:
        setting = "tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid"
        await hand.execute(f"alter policy tenant_isolation on users using ({setting})")
    assert "users" in found["isolation policies"]["detail"]


async def test_a_master_key_that_is_missing_is_named_by_its_id(
    doctor: CommandLine, urls: DatabaseUrls, hand: asyncpg.Connection
) -> None:
    seeded = await seed_tenant(urls.owner)
    for table in ("tenant_data_keys", "audit_actor_keys", "audit_seals"):
        await hand.execute(f"delete from {table} where tenant_id = $1", seeded.id)  # noqa: S608  # named above
    await hand.execute("delete from signing_keys")
    await hand.execute("delete from platform_idempotency_keys")
    lost = MasterKeys.parse(f"lost:{base64.b64encode(os.urandom(32)).decode()}")
    row = Wrapping(lost).new_data_key(seeded.id, 1)
    insert = "insert into tenant_data_keys values ($1, 1, $2, $3, now(), null)"
    await hand.execute(insert, seeded.id, row.wrapped_key, row.master_key_id)
    try:
        found = await examined(doctor, 1)
    finally:
        await hand.execute("delete from tenant_data_keys where tenant_id = $1", seeded.id)
    assert "under lost" in found["keys tenant_data_keys"]["detail"]
    assert statuses(found, "fail") == ["keys tenant_data_keys"]


async def test_a_redis_that_evicts_is_named(doctor: CommandLine, place: Path) -> None:
    with EmbeddedRedis(place / "redis", durable=False) as redis:
        client = Redis(redis.url, 5.0)
        await client.start()
        await client.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        await client.stop()
        url = redis.url
        found = await examined(doctor, 1, MIS_REDIS_URL=url)
    assert "allkeys-lru" in found["redis eviction"]["detail"]
    assert (await examined(doctor, 1, MIS_REDIS_URL=url))["redis"]["status"] == "fail"


async def test_of_a_redis_cluster_each_node_is_looked_at(doctor: CommandLine) -> None:
    with redis_cluster() as cluster:
        first, second, third = (f"127.0.0.1:{node.port}" for node in cluster.primaries)
        found = await examined(doctor, MIS_REDIS_URL=cluster.url)
        assert found["redis"] == {**found["redis"], "status": "ok", "detail": "6.2.14 answers at 3 nodes"}
        assert all(node in found["redis replicas"]["detail"] for node in (first, second, third))
        assert not {"redis slots", "redis coverage"} & found.keys()
        cluster.primaries[0].ask("CONFIG", "SET", "cluster-require-full-coverage", "yes")
        cluster.primaries[1].ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        found = await examined(doctor, 1, MIS_REDIS_URL=cluster.url)
        assert found["redis coverage"]["detail"].startswith(first)
        assert found["redis eviction"]["detail"] == f"the policy is allkeys-lru at {second}"
        cluster.primaries[2].kill()
        found = await examined(doctor, 1, MIS_REDIS_URL=cluster.url)
        assert found["redis"]["detail"].startswith(f"{third} of 3 does not answer ({third}: Redis cannot be")
        alone = cluster.url_of(cluster.primaries[:1]).replace("redis+cluster", "redis")
        found = await examined(doctor, 1, MIS_REDIS_URL=alone)
        assert "redis+cluster://" in found["redis"]["detail"]


async def test_a_store_that_cannot_be_written_is_named(doctor: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = await examined(doctor, 1, MIS_STORAGE_URL=(tmp_path / "file" / "store").as_uri())
    assert found["storage"]["status"] == "fail"


async def test_a_mail_server_that_is_away_is_named(doctor: CommandLine) -> None:
    found = await examined(doctor, 1, MIS_SMTP_URL="smtp://me:secret-word@127.0.0.1:1")
    assert found["mail"]["status"] == "fail"
    assert "secret-word" not in str(found)


async def test_a_spool_that_is_not_there_is_named(doctor: CommandLine, tmp_path: Path) -> None:
    found = await examined(doctor, 1, MIS_SPOOL_DIR=str(tmp_path / "nowhere"))
    assert "nowhere" in found["spool"]["advice"]


async def test_a_public_url_in_clear_is_a_warning(doctor: CommandLine) -> None:
    found = await examined(doctor, 0, MIS_PUBLIC_URL="http://api.example.invalid")
    assert found["public URL"]["status"] == "warn"


async def test_a_worker_that_is_silent_is_named(doctor: CommandLine, hand: asyncpg.Connection) -> None:
    await hand.execute("update schedules set last_run_at = last_run_at - interval '20 min'")
    try:
        found = await examined(doctor, 1)
    finally:
        await hand.execute("update schedules set last_run_at = last_run_at + interval '20 min'")
    # A machine under load takes minutes for the tests before.
    assert re.search(r"was last heard of \d\d min ago", found["worker"]["detail"])


async def test_jobs_that_were_given_up_are_a_warning(doctor: CommandLine, hand: asyncpg.Connection) -> None:
    job = new_id()
    await hand.execute(
        "insert into jobs (id, lane, kind, payload, state, run_at, created_at) "
        "values ($1, '00000000-0000-0000-0000-000000000000', 'gone', '{}', 'dead', now(), now())",
        job,
    )
    try:
        found = await examined(doctor)
    finally:
        await hand.execute("delete from jobs where id = $1", job)
    assert found["jobs"]["status"] == "warn"
    assert "mis jobs" in found["jobs"]["advice"]


async def test_the_suite_that_runs_beside_is_looked_at_where_nothing_is_set(
    doctor: CommandLine, tmp_path: Path
) -> None:
    told = await CommandLine({"MIS_DATA_DIR": str(tmp_path)}).json("doctor", code=1)
    assert {one["name"] for one in told if one["status"] == "fail"} >= {"MIS_DATABASE_URL", "MIS_STORAGE_URL"}
