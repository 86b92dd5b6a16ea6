"""`mis distribute`, `isolate` and `move` on a real cluster, killed in between; `make test-citus` runs them.

They need MIS_TEST_CITUS_URL (tests/citus.py says what it names), and skip without it.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner, Result

from mis_cli.distribution.layout import DIRECTORY, spread_names
from mis_cli.embedded import DatabaseUrls, database_urls
from mis_cli.exits import AWAY
from mis_cli.main import app
from mis_cli.migrations import head, upgrade
from mis_jobs.jobs import Job, enqueue
from mis_jobs.runner import Runner
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.seals import SealKeys
from mis_tenancy.settings import MasterKeys
from mis_tenancy.turns import lock_tenant
from tenant_service.alerts.watch import Watch
from tenant_service.audit_seals.sealing import Sealing
from tests.citus import SHARDS, VARIABLE, CitusAddress, half_done
from tests.database import Seeded, bound, connected, fill, seed_tenant
from tests.servers import TestServers
from tests.suite import MASTER_KEYS

pytestmark = [
    pytest.mark.deep,
    pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} names no Citus cluster"),
]

DATABASE: Final = "mis_main_spread"
EVENT: Final = "insert into outbox (tenant_id, id, type, data) values ($1, $2, 'x', '{}')"
PLACED: Final = "select count(*) from pg_dist_partition where logicalrelid::regclass::text = any($1)"


@pytest.fixture(scope="module")
def citus(test_servers: TestServers) -> CitusAddress:
    assert isinstance(test_servers.postgres, CitusAddress)
    return test_servers.postgres


@pytest.fixture(scope="module")
def single(citus: CitusAddress) -> Iterator[DatabaseUrls]:
    """A database of one node with Citus beside it, as it is before `mis distribute`."""
    citus.drop(DATABASE)
    urls = citus.make_single(DATABASE)
    upgrade(urls.owner)
    citus.join_nodes(DATABASE)
    yield urls
    citus.drop(DATABASE)


@pytest.fixture(scope="module")
async def tenants(single: DatabaseUrls) -> list[Seeded]:
    """Four tenants with a row in every table, one of them with many."""
    seeded = [await seed_tenant(single.owner) for _ in range(4)]
    await fill(single.owner, seeded[0], 40)
    return seeded


@pytest.fixture(scope="module")
async def before(single: DatabaseUrls, tenants: list[Seeded]) -> dict[str, int]:
    return await counts(single)


@pytest.fixture(scope="module")
async def distributed(single: DatabaseUrls, before: dict[str, int]) -> DatabaseUrls:
    """The same database after a run that was killed and one that went on."""
    half = await asyncio.to_thread(killed_in_between, single)
    assert 0 < half < len(spread_names())
    lines(await changed(mis, single, "distribute", "--json", f"--shards={SHARDS}"))
    return single


def settings(urls: DatabaseUrls) -> dict[str, str]:
    superuser = os.environ[VARIABLE].rpartition("/")[0] + f"/{DATABASE}"
    return {
        "MIS_MIGRATION_DATABASE_URL": urls.owner,
        "MIS_DATABASE_URL": urls.app,
        "MIS_SUPERUSER_DATABASE_URL": superuser,
    }


def mis(urls: DatabaseUrls, *words: str) -> Result:
    """Run a command; what a killed one has asked for goes on for a while, and the next one says so."""
    for _ in range(90):
        result = CliRunner().invoke(app, list(words), env=settings(urls))
        if result.exit_code != AWAY:
            break
        time.sleep(1)
    return result


def lines(result: Result, code: int = 0) -> list[Any]:
    assert result.exit_code == code, (result.output, result.stderr, result.exception)
    return [json.loads(line) for line in result.stdout.splitlines()]


def killed_in_between(urls: DatabaseUrls) -> int:
    """Kill a run once it has spread some tables; return how many it says it has."""
    command = [sys.executable, "-m", "mis_cli", "distribute", "--json", f"--shards={SHARDS}"]
    spread = 0
    with subprocess.Popen(  # noqa: S603  # our own program
        command, env=os.environ | settings(urls), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            spread += '"action":"spread"' in line
            if spread == 7:
                process.send_signal(signal.SIGKILL)
                break
    return spread


async def counts(urls: DatabaseUrls) -> dict[str, int]:
    async with connected(urls.owner) as owner:
        names = [DIRECTORY, *sorted(spread_names())]
        return {name: await owner.fetchval(f"select count(*) from {name}") for name in names}  # noqa: S608


def killed_soon(urls: DatabaseUrls, words: tuple[str, ...]) -> None:
    """Kill a run a moment after it has begun, wherever it is by then."""
    command = [sys.executable, "-m", "mis_cli", *words]
    env = os.environ | settings(urls)
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:  # noqa: S603  # our own program
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=8)
        process.kill()


async def changed(change: Any, *given: Any) -> Any:
    """Run a command in a thread, because it runs an event loop of its own."""
    return await asyncio.to_thread(change, *given)


async def test_a_dry_run_tells_every_step_and_does_none(single: DatabaseUrls) -> None:
    planned = lines(await changed(mis, single, "distribute", "--dry-run", "--json"))
    assert {step["subject"] for step in planned if step["action"] == "spread"} == spread_names()
    async with connected(single.owner) as owner:
        assert await owner.fetchval(PLACED, [DIRECTORY, *spread_names()]) == 0


async def test_nothing_moves_while_a_service_is_connected(single: DatabaseUrls) -> None:
    async with connected(single.platform):
        result = await changed(mis, single, "distribute")
    assert result.exit_code == 2
    assert "mis_platform are connected" in result.stderr


async def test_a_run_that_was_killed_goes_on_and_loses_no_row(
    distributed: DatabaseUrls, before: dict[str, int]
) -> None:
    assert await counts(distributed) == before
    assert before["users"] > 40
    async with connected(distributed.owner) as owner:
        assert await owner.fetchval(PLACED, [DIRECTORY, *spread_names()]) == len(spread_names()) + 1
    *checks, summary = lines(await changed(mis, distributed, "distribute", "--json"))
    assert (summary["steps"], summary["isolated"]) == (0, True)
    assert [check["passed"] for check in checks] == [True] * 4


async def test_nothing_of_what_moved_stays_on_the_coordinator(distributed: DatabaseUrls) -> None:
    async with connected(distributed.owner) as owner:
        held = await owner.fetch(
            "select relname from pg_class where relname = any($1) and relpages > 0 "
            "and pg_relation_size(oid) > 0",
            [DIRECTORY, *spread_names()],
        )
    assert held == []


async def test_each_tenant_sees_its_rows_and_no_others_through_the_coordinator(
    distributed: DatabaseUrls, tenants: list[Seeded]
) -> None:
    for own in tenants:
        async with bound(distributed.app, own.id) as as_tenant:
            seen = await as_tenant.fetch("select distinct tenant_id from users")
        assert [row["tenant_id"] for row in seen] == [own.id]


async def test_no_node_shows_a_row_to_whoever_names_no_tenant(
    citus: CitusAddress, distributed: DatabaseUrls
) -> None:
    for worker in citus.workers():
        url = database_urls(citus, DATABASE).app.replace(f":{citus.port}/", f":{worker.port}/")
        async with connected(url) as straight:
            assert await straight.fetchval("select count(*) from users") == 0


async def test_a_policy_that_is_gone_from_one_shard_is_found(
    citus: CitusAddress, distributed: DatabaseUrls
) -> None:
    async with connected(distributed.owner) as owner:
        row: Any = await owner.fetchrow(
            "select shardid, nodeport from pg_dist_shard_placement join pg_dist_shard using (shardid) "
            "where logicalrelid = 'users'::regclass order by 1 limit 1"
        )
    worker = next(node for node in citus.workers() if node.port == row["nodeport"])
    shard = f"users_{row['shardid']}"
    by_hand = "set citus.enable_manual_changes_to_shards = on;"
    await changed(
        lambda: worker.query(f"{by_hand} drop policy tenant_isolation on {shard}", database=DATABASE)
    )
    try:
        found = lines(await changed(mis, distributed, "distribute", "--json"), code=1)
    finally:
        again = (
            f"create policy tenant_isolation on {shard} to mis_app, mis_platform using (tenant_id = "
            "nullif(current_setting('app.tenant_id', true), '')::uuid) with check (tenant_id = "
            "nullif(current_setting('app.tenant_id', true), '')::uuid)"
        )
        await changed(lambda: worker.query(f"{by_hand} {again}", database=DATABASE))
    failed = [line for line in found if line.get("passed") is False]
    assert failed[0]["found"] == [f"users on 127.0.0.1:{worker.port}"]


async def test_a_node_and_the_coordinator_commit_as_one(
    distributed: DatabaseUrls, tenants: list[Seeded]
) -> None:
    own, said = tenants[0].id, list[str]()
    async with connected(distributed.app) as app:
        app.add_log_listener(lambda _, message: said.append(message.message))
        await app.execute("set citus.log_remote_commands = on; set client_min_messages = notice")
        for event in (False, True):
            async with app.transaction():
                await app.execute(f"set local app.tenant_id = '{own}'")
                await app.execute("update tenant_counters set users = users where tenant_id = $1", own)
                if event:
                    await app.execute(EVENT, own, new_id())
            assert any("PREPARE TRANSACTION" in line for line in said) is event, said


async def test_no_role_of_the_application_enters_what_that_takes(distributed: DatabaseUrls) -> None:
    async with connected(distributed.owner) as owner:
        for role in ("mis_app", "mis_auth", "mis_platform"):
            for right in ("usage", "create"):
                held = "select has_schema_privilege($1, 'mis_nodes', $2)"
                assert not await owner.fetchval(held, role, right)


class AskedDatabase(Database):
    """A database that tells when it has said that nodes are not yet where the coordinator is."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.has_said_no = asyncio.Event()

    async def is_settled(self) -> bool:
        is_settled = await super().is_settled()
        if not is_settled:
            self.has_said_no.set()
        return is_settled


@pytest.fixture
async def platform(distributed: DatabaseUrls) -> AsyncIterator[AskedDatabase]:
    database = AskedDatabase(distributed.platform)
    await database.start()
    yield database
    await database.stop()


async def test_a_job_runs_only_when_its_cause_can_be_read_on_every_node(
    citus: CitusAddress, platform: AskedDatabase
) -> None:
    has_run = asyncio.Event()

    async def run(job: Job) -> None:
        has_run.set()

    with half_done(citus, DATABASE):
        async with platform.platform_transaction() as session:
            await enqueue(session, "caused", {}, tenant_id=None)
        runner = asyncio.create_task(Runner(platform, None, {"caused": run}, []).run())
        await platform.has_said_no.wait()
        assert not has_run.is_set()
    await has_run.wait()
    runner.cancel()
    await asyncio.gather(runner, return_exceptions=True)


async def test_seals_and_the_watch_wait_for_what_a_node_has_not_committed(
    citus: CitusAddress, distributed: DatabaseUrls, platform: AskedDatabase
) -> None:
    application = Database(distributed.app)
    await application.start()
    watch, sealing = Watch(platform, application), Sealing(platform, SealKeys(MasterKeys.parse(MASTER_KEYS)))
    with half_done(citus, DATABASE):
        assert (await watch.look(), await sealing.seal()) == (0, 0)
    assert await watch.look() > 0
    assert await sealing.seal() > 0
    await application.stop()


async def test_a_tenants_turn_is_no_other_tenants(distributed: DatabaseUrls, tenants: list[Seeded]) -> None:
    application = Database(distributed.app)
    await application.start()
    one, other = tenants[0].id, tenants[1].id

    async def waits(tenant_id: UUID) -> bool:
        """Return whether the tenant's turn is not to be had at once."""
        try:
            async with application.transaction(tenant_id) as session:
                soon = text("set local lock_timeout = '200ms'")
                await session.execute(soon, execution_options={"unscoped": True})
                return (await lock_tenant(session)).id != tenant_id
        except DBAPIError:
            return True

    async with application.transaction(one) as session:
        await lock_tenant(session)
        assert (await waits(one), await waits(other)) == (True, False)
    assert not await waits(one)
    await application.stop()


async def test_a_revision_that_makes_a_table_spreads_it_with_its_keys(distributed: DatabaseUrls) -> None:
    async with connected(distributed.owner) as owner:
        await owner.execute("drop table verifications")
        await owner.execute("update alembic_version set version_num = '0033'")
    await changed(upgrade, distributed.owner, "0034")
    async with connected(distributed.owner) as owner:
        await owner.execute("update alembic_version set version_num = $1", head())
        assert await owner.fetchval(PLACED, ["verifications"]) == 1
        tied = (
            "select count(*) from pg_constraint where contype = 'f' and conrelid = 'verifications'::regclass"
        )
        assert await owner.fetchval(tied) == 2
    assert lines(await changed(mis, distributed, "distribute", "--json"))[-1]["isolated"]


async def test_a_tenant_gets_a_part_of_its_own_and_moves_alone(
    citus: CitusAddress, distributed: DatabaseUrls, tenants: list[Seeded]
) -> None:
    own = tenants[0]
    rows = await counts(distributed)
    alone = lines(await changed(mis, distributed, "tenants", "isolate", str(own.id), "--json"))[-1]
    assert (alone["alone"], alone["neighbours"], alone["changed"]) == (True, 0, True)
    again = lines(await changed(mis, distributed, "tenants", "isolate", str(own.id), "--json"))[-1]
    assert again == alone | {"changed": False}
    (other,) = {f"127.0.0.1:{node.port}" for node in citus.workers()} - {alone["node"]}
    moving = ("tenants", "move", str(own.id), "--to", other, "--json")
    await changed(killed_soon, distributed, moving)
    moved = lines(await changed(mis, distributed, *moving))[-1]
    assert (moved["node"], moved["alone"]) == (other, True)
    assert lines(await changed(mis, distributed, *moving))[-1] == moved | {"changed": False}
    assert await counts(distributed) == rows


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("isolate", "nobody"), "There is no tenant 'nobody'"),
        (("move", "{}", "--to", "127.0.0.1:1"), "127.0.0.1:1 is no node"),
    ],
)
async def test_what_is_not_there_is_named(
    distributed: DatabaseUrls, tenants: list[Seeded], words: tuple[str, ...], told: str
) -> None:
    given = [word.format(tenants[0].id) for word in words]
    result = await changed(mis, distributed, "tenants", *given)
    assert result.exit_code == 2
    assert told in result.stderr
