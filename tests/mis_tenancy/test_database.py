"""The doors in bad weather: round trips, dying servers, cancelled callers, what a connection carries away."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Text, cast, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from mis_cli.embedded import DatabaseUrls
from mis_tenancy.database import Database
from mis_tenancy.errors import TenantUnavailable, TenantUnbound
from mis_tenancy.postgres import connection as connection_module
from mis_tenancy.postgres import pool as pool_module
from mis_tenancy.postgres.connection import Binding, TenantConnection
from mis_tenancy.session import TenantSession
from mis_tenancy.settings import SettingsError
from tests.database import CountingProxy, connected
from tests.mis_tenancy.conftest import Teams
from tests.mis_tenancy.projects import Project, Task, Team
from tests.servers import TestServers

NAMES = select(Project.tenant_id)
SETTING = "select current_setting('app.tenant_id', true)"


async def read_by_session(database: Database, team: Team) -> list[Any]:
    async with database.session(team.id) as session:
        return list(await session.scalars(NAMES))


async def read_by_door(database: Database, team: Team) -> list[Any]:
    return [record["tenant_id"] for record in await database.fetch(NAMES, team.id)]


READS = [read_by_session, read_by_door]


async def carried_away(database: Database) -> list[tuple[str | None, int]]:
    """Return what every pooled connection has as its tenant outside a transaction, and the rows it sees."""
    found = []
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(4):
            driver: Any = await stack.enter_async_context(driver_of_session(database))
            found.append(
                (await driver.fetchval(SETTING), await driver.fetchval("select count(*) from projects"))
            )
        pool: Any = database._pool._pool  # type: ignore[union-attr]  # a test looks behind the door
        for _ in range(4):
            driver = await stack.enter_async_context(pool.acquire())
            found.append(
                (await driver.fetchval(SETTING), await driver.fetchval("select count(*) from projects"))
            )
    return found


@contextlib.asynccontextmanager
async def driver_of_session(database: Database) -> AsyncIterator[TenantConnection]:
    """Yield the driver's connection under one of the session pool's."""
    async with database.engine.connect() as connection:
        raw = await connection.get_raw_connection()
        driver: Any = raw.driver_connection
        yield driver


def assert_nothing_carried_away(found: list[tuple[str | None, int]]) -> None:
    assert len(found) == 8
    assert all(setting in ("", None) and rows == 0 for setting, rows in found), found


async def kill(urls: DatabaseUrls, servers: TestServers) -> int:
    """End the server processes of the application's connections to this database; return how many."""
    victims = f"usename = 'mis_app' and datname = '{database_name(urls)}'"
    sql = f"select count(pg_terminate_backend(pid)) from pg_stat_activity where {victims}"  # noqa: S608
    return int(await asyncio.to_thread(servers.postgres.query, sql))


def database_name(urls: DatabaseUrls) -> str:
    return urls.app.partition("?")[0].rpartition("/")[2]


# Round trips


async def two_savepoints(database: Database, team: Team) -> list[Any]:
    async with database.transaction(team.id) as session:
        for _ in range(2):
            async with session.begin_nested():
                await session.scalars(NAMES)
    return []


async def snapshot(database: Database, team: Team) -> list[Any]:
    async with database.session(team.id) as session:
        await session.connection(
            execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        )
        return list(await session.scalars(NAMES))


async def committed(database: Database, team: Team) -> list[Any]:
    async with database.transaction(team.id) as session:
        return list(await session.scalars(NAMES))


async def system(database: Database, team: Team) -> list[Any]:
    async with database.system_transaction(team.id) as transaction:
        return await transaction.fetch("select 1 from projects")


@pytest.mark.parametrize(
    ("work", "turns"),
    [
        (committed, 3),
        (read_by_session, 3),
        (read_by_door, 3),
        (snapshot, 3),
        (system, 3),
        (two_savepoints, 8),
    ],
)
async def test_binding_a_tenant_costs_no_round_trip(
    proxied: tuple[Database, CountingProxy],
    teams: Teams,
    work: Callable[[Database, Team], Awaitable[list[Any]]],
    turns: int,
) -> None:
    database, proxy = proxied
    await work(database, teams.a)
    proxy.reset()
    await work(database, teams.b)
    assert proxy.turns == turns
    bindings = [sent for sent in proxy.sent if b"SET LOCAL" in sent]
    assert len(bindings) == 1
    assert b"BEGIN" in bindings[0]


async def test_without_a_tenant_nothing_is_sent(
    proxied: tuple[Database, CountingProxy], teams: Teams
) -> None:
    database, proxy = proxied
    await read_by_session(database, teams.a)
    proxy.reset()
    async with TenantSession(database.engine) as session:
        with pytest.raises(TenantUnbound):
            await session.scalars(NAMES)
        with pytest.raises(TenantUnbound):
            await session.execute(text("select 1"))
    async with database.engine.connect() as connection:
        with pytest.raises(TenantUnbound):
            await connection.execute(text("select 1"))
    # That connection's farewell: asyncpg would take what comes next on it for a part of what never began.
    assert set(proxy.sent) <= {b"X\x00\x00\x00\x04"}


# What a connection may carry away (Catalogue 35)


async def fails(database: Database, team: Team) -> None:
    async with database.transaction(team.id) as session:
        await session.scalars(NAMES)
        raise ZeroDivisionError


async def errs(database: Database, team: Team) -> None:
    async with database.transaction(team.id) as session:
        await session.execute(update(Task).values(name=None))


async def times_out(database: Database, team: Team) -> None:
    async with asyncio.timeout(0.05), database.transaction(team.id) as session:
        await session.execute(select(Project.id, func.pg_sleep(60)))


async def door_times_out(database: Database, team: Team) -> None:
    async with asyncio.timeout(0.05):
        await database.fetch(select(Project.id, func.pg_sleep(60)), team.id)


async def dies(database: Database, team: Team) -> None:
    async with database.transaction(team.id) as session:
        await session.execute(select(Project.id, func.pg_terminate_backend(func.pg_backend_pid())))


async def door_dies(database: Database, team: Team) -> None:
    await database.fetch(select(Project.id, func.pg_terminate_backend(func.pg_backend_pid())), team.id)


async def is_left_open(database: Database, team: Team) -> None:
    async with driver_of_session(database) as driver:
        await driver.execute(f"START TRANSACTION; SET LOCAL app.tenant_id = '{team.id}'")


@pytest.mark.parametrize(
    "ending",
    [
        read_by_session,
        read_by_door,
        committed,
        fails,
        errs,
        times_out,
        door_times_out,
        dies,
        door_dies,
        is_left_open,
    ],
)
async def test_however_work_ends_its_connection_carries_no_tenant_away(
    doors: Database, teams: Teams, ending: Callable[[Database, Team], Awaitable[Any]]
) -> None:
    """Catalogue 35."""
    for _ in range(3):
        # What ends it is a matter of other tests; here only what it leaves behind counts.
        with contextlib.suppress(ZeroDivisionError, TimeoutError, SQLAlchemyError, asyncpg.PostgresError):
            await ending(doors, teams.a)
    assert_nothing_carried_away(await carried_away(doors))
    for read in READS:
        assert await read(doors, teams.b) == [teams.b.id] * 5


async def test_a_cancelled_caller_leaves_the_doors_good(doors: Database, teams: Teams) -> None:
    """Catalogue 26."""
    slow = select(Project.id, func.pg_sleep(60))

    async def by_session() -> None:
        async with doors.session(teams.a.id) as session:
            await session.execute(slow)

    for work in (by_session(), doors.fetch(slow, teams.a.id)):
        task = asyncio.ensure_future(work)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    for _ in range(8):
        for read in READS:
            assert await read(doors, teams.b) == [teams.b.id] * 5
    assert_nothing_carried_away(await carried_away(doors))


async def test_a_transaction_left_half_open_reaches_nobody(
    doors: Database, teams: Teams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BEGIN went through and SET LOCAL did not: on that connection everything later would fail."""
    for read in READS:
        with monkeypatch.context() as patched:
            patched.setattr(connection_module, "set_local", lambda bound: "SET LOCAL nonsense")
            with pytest.raises((DBAPIError, asyncpg.PostgresError)):
                await read(doors, teams.a)
        for _ in range(20):
            assert await read(doors, teams.a) == [teams.a.id] * 3


async def test_the_pool_takes_no_connection_back_inside_a_transaction(doors: Database, teams: Teams) -> None:
    async with driver_of_session(doors) as driver:
        await driver.execute("START TRANSACTION")
        assert driver.is_in_transaction()
    assert driver.is_closed()
    assert await read_by_session(doors, teams.a) == [teams.a.id] * 3


async def test_the_pool_hands_no_connection_out_inside_a_transaction(doors: Database, teams: Teams) -> None:
    await read_by_session(doors, teams.a)
    async with driver_of_session(doors) as driver:
        pass
    await driver.execute("START TRANSACTION")
    assert await read_by_session(doors, teams.a) == [teams.a.id] * 3
    assert driver.is_closed()


# Dying servers


async def test_whoever_waits_in_vain_for_a_connection_is_asked_to_come_back(
    door_urls: DatabaseUrls, teams: Teams
) -> None:
    """Catalogue 84: a flood is answered by 503, and not by an error of ours."""
    database = Database(door_urls.app, pool_size=1)
    await database.start()
    pool: Any = database.engine.sync_engine.pool
    pool._timeout = 0.05
    try:
        async with database.transaction(teams.a.id) as session:
            await session.scalar(select(func.count()).select_from(Project))
            with pytest.raises(TenantUnavailable):
                async with database.transaction(teams.a.id) as other:
                    await other.scalar(select(func.count()).select_from(Project))
    finally:
        await database.stop()


async def test_connections_killed_in_their_sleep_are_noticed_by_the_door(
    doors: Database, door_urls: DatabaseUrls, test_servers: TestServers, teams: Teams
) -> None:
    await asyncio.gather(*(read_by_door(doors, teams.a) for _ in range(16)))
    assert await kill(door_urls, test_servers) > 0
    for _ in range(8):
        assert await read_by_door(doors, teams.a) == [teams.a.id] * 3


async def test_connections_killed_behind_the_loops_back_cost_the_door_no_error(
    doors: Database, door_urls: DatabaseUrls, test_servers: TestServers, teams: Teams
) -> None:
    """The end of a connection lies unread in the socket: only using it shows that it is gone."""
    await asyncio.gather(*(read_by_door(doors, teams.a) for _ in range(16)))
    name = database_name(door_urls)
    # Blocks the loop on purpose, so that it cannot hear the connections end.
    test_servers.postgres.query(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity "  # noqa: S608
        f"where usename = 'mis_app' and datname = '{name}'"
    )
    assert await read_by_door(doors, teams.a) == [teams.a.id] * 3
    async with doors.system_transaction(teams.b.id) as transaction:
        assert len(await transaction.fetch("select 1 from projects")) == 5


async def test_connections_killed_in_their_sleep_are_noticed_by_the_session(
    doors: Database, door_urls: DatabaseUrls, test_servers: TestServers, teams: Teams
) -> None:
    drivers = []
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(4):
            drivers.append(await stack.enter_async_context(driver_of_session(doors)))
    await kill(door_urls, test_servers)
    while not all(driver.is_closed() for driver in drivers):  # noqa: ASYNC110  # the driver has no event for it
        await asyncio.sleep(0.01)
    for _ in range(8):
        assert await read_by_session(doors, teams.a) == [teams.a.id] * 3


async def test_a_silent_network_gives_its_caller_back_and_its_connection_up(
    door_urls: DatabaseUrls, teams: Teams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catalogue 141, on Postgres."""
    monkeypatch.setattr(pool_module, "_PATIENCE", 0.2)
    async with CountingProxy(door_urls.app) as proxy:
        database = Database(proxy.url, pool_size=1)
        await database.start()

        async def interrupted() -> None:
            async with asyncio.timeout(0.1), database.system_transaction(teams.a.id) as system:
                proxy.silence()
                await system.fetch("select 1 from projects")

        # Left to itself, the driver would wait a minute for the answer to its rollback.
        ended, _ = await asyncio.wait([asyncio.create_task(interrupted())], timeout=30)
        assert [type(task.exception()) for task in ended] == [TimeoutError]
        proxy.heal()
        assert await read_by_door(database, teams.a) == [teams.a.id] * 3
        proxy.silence()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await read_by_door(database, teams.a)
        proxy.heal()
        assert await read_by_door(database, teams.a) == [teams.a.id] * 3
        await database.stop()


# Roles


async def refusal(url: str) -> str:
    database = Database(url)
    with pytest.raises(SettingsError) as caught:
        await database.start()
    return str(caught.value)


async def test_a_service_refuses_to_start_with_a_role_that_the_policies_would_not_hold(
    test_servers: TestServers, door_urls: DatabaseUrls, teams: Teams
) -> None:
    """Catalogue 34."""
    postgres, name = test_servers.postgres, database_name(door_urls)
    worker = test_servers.worker
    roles = {
        f"bypassing_{worker}": "login bypassrls",
        f"bypassing_member_{worker}": f"login in role bypassing_{worker}",
        f"owning_member_{worker}": "login noinherit in role mis_owner",
    }
    for role, attributes in roles.items():
        await asyncio.to_thread(
            postgres.query, f"create role {role} {attributes} password 'x'", database=name
        )
        await asyncio.to_thread(postgres.query, f"grant connect on database {name} to {role}", database=name)
    try:
        urls = {role: postgres.url(role, "x", name) for role in roles}
        urls |= {
            "postgres": postgres.url("postgres", postgres.superuser_password, name),
            "mis_owner": door_urls.owner,
        }
        for role, url in urls.items():
            said = await refusal(url)
            assert repr(role) in said
            assert "mis_app" in said
    finally:
        for role in reversed(roles):
            await asyncio.to_thread(postgres.query, f"drop owned by {role}; drop role {role}", database=name)


async def test_the_applications_roles_may_start(door_urls: DatabaseUrls, teams: Teams) -> None:
    for url in (door_urls.app, door_urls.auth, door_urls.platform):
        database = Database(url)
        await database.start()
        assert database.role in url
        await database.stop()


# Under fire


Operation = Callable[[Database, Team, list[str]], Awaitable[None]]


async def reads(database: Database, team: Team, wrong: list[str]) -> None:
    if await read_by_session(database, team) != [team.id] * len(team.projects):
        wrong.append("session")


async def reads_by_door(database: Database, team: Team, wrong: list[str]) -> None:
    if await read_by_door(database, team) != [team.id] * len(team.projects):
        wrong.append("door")


async def reads_a_snapshot(database: Database, team: Team, wrong: list[str]) -> None:
    if await snapshot(database, team) != [team.id] * len(team.projects):
        wrong.append("snapshot")


async def changes(database: Database, team: Team, wrong: list[str]) -> None:
    async with database.transaction(team.id) as session:
        for _ in range(2):
            with contextlib.suppress(DBAPIError):
                async with session.begin_nested():
                    await session.execute(update(Project).values(name=None))
        changed: Any = await session.execute(update(Task).values(name="changed"))
        if changed.rowcount != len(team.tasks):
            wrong.append("update")


async def errs_and_goes_on(database: Database, team: Team, wrong: list[str]) -> None:
    async with database.session(team.id) as session:
        with contextlib.suppress(DBAPIError):
            await session.execute(update(Project).values(name=None))
        await session.rollback()
        if list(await session.scalars(NAMES)) != [team.id] * len(team.projects):
            wrong.append("after an error")


async def forgets_to_bind(database: Database, team: Team, wrong: list[str]) -> None:
    async with TenantSession(database.engine) as session:
        try:
            await session.scalars(NAMES)
        except TenantUnbound:
            return
        wrong.append("unbound")


async def turns(database: Database, team: Team, wrong: list[str]) -> None:
    async with database.system_transaction() as system:
        before = await system.fetch("select 1 from projects")
        await system.bind(team.id)
        if before or len(await system.fetch("select 1 from projects")) != len(team.projects):
            wrong.append("system")


OPERATIONS: list[Operation] = [
    reads,
    reads_by_door,
    reads_by_door,
    reads_a_snapshot,
    changes,
    errs_and_goes_on,
    forgets_to_bind,
    turns,
]


async def under_fire(
    database: Database, teams: Teams, operations: int, kill_one: Callable[[], Awaitable[Any]], seed: int
) -> tuple[list[str], int]:
    """Run mixed work of both teams, a quarter of it cancelled and servers killed; return what went wrong."""
    chance = random.Random(seed)  # a reproducible mix, not a secret
    wrong: list[str] = []
    done = 0
    slots = asyncio.Semaphore(24)
    # What a killed server or a cancelled task may end in.
    expected = (
        SQLAlchemyError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        OSError,
    )

    async def one(operation: Operation, team: Team, cancelled_after: float | None) -> None:
        nonlocal done
        async with slots:
            work = asyncio.ensure_future(operation(database, team, wrong))
            if cancelled_after is not None:
                await asyncio.sleep(cancelled_after)
                work.cancel()
            try:
                await work
                done += 1
            except (asyncio.CancelledError, *expected):
                pass

    async def fire() -> None:
        while True:
            await asyncio.sleep(0.1)
            await kill_one()

    firing = asyncio.create_task(fire())
    await asyncio.gather(
        *(
            one(
                chance.choice(OPERATIONS),
                chance.choice([teams.a, teams.b]),
                chance.random() * 0.02 if chance.random() < 0.25 else None,
            )
            for _ in range(operations)
        )
    )
    firing.cancel()
    return wrong, done


@pytest.mark.parametrize("operations", [1_000, pytest.param(6_000, marks=pytest.mark.deep)])
async def test_under_fire_no_tenant_sees_anothers_rows(
    doors: Database,
    door_urls: DatabaseUrls,
    test_servers: TestServers,
    teams: Teams,
    operations: int,
) -> None:
    """Catalogue 25, 26, 35."""
    async with connected(test_servers.postgres.superuser_url) as killer:

        async def kill_one() -> None:
            await killer.execute(
                "select case when random() < 0.5 then pg_terminate_backend(pid) "
                "else pg_cancel_backend(pid) end from pg_stat_activity "
                "where usename = 'mis_app' and datname = $1 order by random() limit 1",
                database_name(door_urls),
            )

        wrong, done = await under_fire(doors, teams, operations, kill_one, seed=operations)
    assert wrong == []
    assert done > operations / 2
    for team in (teams.a, teams.b):
        for read in READS:
            # The first read may meet a connection that died last; the second has a living one.
            with contextlib.suppress(SQLAlchemyError, asyncpg.PostgresError, OSError):
                await read(doors, team)
            assert await read(doors, team) == [team.id] * len(team.projects)
    assert_nothing_carried_away(await carried_away(doors))


async def test_the_stress_would_notice_a_wrong_tenant(
    doors: Database, teams: Teams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that cannot fail is a defect: here one BEGIN in fifty is bound to nobody."""
    chance = random.Random(7)  # a reproducible mix, not a secret
    honest = connection_module.set_local
    monkeypatch.setattr(
        connection_module,
        "set_local",
        lambda bound: honest(Binding.NOBODY if chance.random() < 0.02 else bound),
    )

    async def nothing() -> None:
        pass

    wrong, _ = await under_fire(doors, teams, 500, nothing, seed=3)
    assert wrong


@pytest.mark.parametrize(
    "told",
    [
        '{"a": [1, 2.5, null, true, "é€😀\\\\n"], "b": {}}',
        "12345678901234567890",
        f"1{'0' * 400}",
        f"1{'0' * 400}.5",
    ],
)
async def test_a_json_column_reads_as_python_reads_its_text(doors: Database, teams: Teams, told: str) -> None:
    statement = select(cast(told, Text).cast(JSONB))
    async with doors.session(teams.a.id) as session:
        found = await session.scalar(statement, execution_options={"unscoped": True})
    assert found == json.loads(told)
