"""The doors through a transaction pooler: many clients on one server connection, no tenant's trace on it."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from mis_cli.embedded import DatabaseUrls
from mis_tenancy.database import Database
from mis_tenancy.postgres.poolers import Pooler, parse_database_url
from mis_tenancy.settings import SettingsError
from tests.mis_tenancy.conftest import Teams
from tests.mis_tenancy.projects import Project, Team
from tests.poolers import PoolerAddress, TransactionPooler, transaction_pooler
from tests.servers import TestServers

NAMES = select(Project.tenant_id)
SLOW = select(Project.id, func.pg_sleep(60))
BACKEND = select(Project.tenant_id, func.pg_backend_pid().label("backend"))
SETTING = "select current_setting('app.tenant_id', true)"
CLIENTS = 8


@pytest.fixture(scope="module", params=[200, 0], ids=["keeping-statements", "keeping-none"])
def narrow(
    request: pytest.FixtureRequest, test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TransactionPooler]:
    """A pooler with one server connection for each role, so that every client follows another on it."""
    with a_pooler(test_servers, statements=request.param) as pooler:
        yield pooler


@contextlib.contextmanager
def a_pooler(servers: TestServers, *, size: int = 1, statements: int = 200) -> Iterator[TransactionPooler]:
    directory = servers.postgres.directory.parent / f"pooler-{random.getrandbits(40):x}"
    with transaction_pooler(servers.postgres, directory, size=size, statements=statements) as pooler:
        if statements and pooler.address.pooler is not Pooler.TRANSACTION:
            pytest.skip("The machine's PgBouncer is older than 1.21 and keeps no prepared statements.")
        yield pooler


@asynccontextmanager
async def opened(address: PoolerAddress, urls: DatabaseUrls) -> AsyncIterator[Database]:
    database = Database(address.services(urls).app, pool_size=CLIENTS)
    await database.start()
    try:
        yield database
    finally:
        await database.stop()


@pytest.fixture
async def pooled(narrow: TransactionPooler, door_urls: DatabaseUrls, teams: Teams) -> AsyncIterator[Database]:
    async with opened(narrow.address, door_urls) as database:
        yield database


async def read_by_session(database: Database, team: Team) -> list[Any]:
    async with database.session(team.id) as session:
        return [tuple(row) for row in await session.execute(BACKEND)]


async def read_by_door(database: Database, team: Team) -> list[Any]:
    return [tuple(record) for record in await database.fetch(BACKEND, team.id)]


async def read_by_system(database: Database, team: Team) -> list[Any]:
    async with database.system_transaction() as system:
        await system.bind(team.id)
        sql = "select tenant_id, pg_backend_pid() from projects"
        return [tuple(record) for record in await system.fetch(sql)]


async def write(database: Database, team: Team) -> list[Any]:
    async with database.transaction(team.id) as session:
        await session.execute(update(Project).values(name="renamed"))
        return [tuple(row) for row in await session.execute(BACKEND)]


WAYS = [read_by_session, read_by_door, read_by_system, write]


async def carried_away(database: Database) -> list[str | None]:
    """Return the tenant that the server connection has outside of transactions, as each client sees it."""
    pool: Any = database._pool._pool  # type: ignore[union-attr]  # a test looks behind the door
    async with contextlib.AsyncExitStack() as stack:
        drivers = [await stack.enter_async_context(pool.acquire()) for _ in range(CLIENTS)]
        assert {await driver.fetchval("select count(*) from projects") for driver in drivers} == {0}
        return [await driver.fetchval(SETTING) for driver in drivers]


async def test_two_tenants_on_one_server_connection_see_their_own_rows_only(
    pooled: Database, teams: Teams
) -> None:
    """Catalogue 25, 52."""
    turns = [(way, team) for way in WAYS for team in (teams.a, teams.b)] * 5
    random.Random(52).shuffle(turns)
    found = await asyncio.gather(*(way(pooled, team) for way, team in turns))
    for (_, team), rows in zip(turns, found, strict=True):
        assert [owner for owner, _ in rows] == [team.id] * (3 if team is teams.a else 5)
    assert len({backend for rows in found for _, backend in rows}) == 1
    assert set(await carried_away(pooled)) <= {"", None}


async def fails(database: Database, team: Team) -> None:
    async with database.transaction(team.id) as session:
        await session.scalars(NAMES)
        raise ZeroDivisionError


async def errs(database: Database, team: Team) -> None:
    async with database.transaction(team.id) as session:
        await session.execute(text("select 1/0"), execution_options={"unscoped": True})


async def times_out(database: Database, team: Team) -> None:
    async with asyncio.timeout(0.05), database.session(team.id) as session:
        await session.execute(SLOW)


async def door_times_out(database: Database, team: Team) -> None:
    async with asyncio.timeout(0.05):
        await database.fetch(SLOW, team.id)


async def dies(database: Database, team: Team) -> None:
    async with database.transaction(team.id) as session:
        await session.execute(select(Project.id, func.pg_terminate_backend(func.pg_backend_pid())))


async def hangs_up(database: Database, team: Team) -> None:
    async with database.system_transaction(team.id) as system:
        await system.fetch("select 1 from projects")
        system._connection.terminate()


@pytest.mark.parametrize("ending", [write, fails, errs, times_out, door_times_out, dies, hangs_up])
async def test_however_work_ends_the_shared_connection_keeps_no_tenant(
    pooled: Database, teams: Teams, ending: Callable[[Database, Team], Awaitable[Any]]
) -> None:
    """Catalogue 35, 52."""
    for _ in range(3):
        # What ends it is a matter of other tests; here only what it leaves behind counts.
        with contextlib.suppress(
            ZeroDivisionError, TimeoutError, SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError
        ):
            await ending(pooled, teams.a)
    assert set(await carried_away(pooled)) <= {"", None}
    for way in WAYS:
        assert [owner for owner, _ in await way(pooled, teams.b)] == [teams.b.id] * 5


async def test_cancelled_callers_give_the_shared_connection_to_the_next(
    pooled: Database, teams: Teams
) -> None:
    """Catalogue 26: at whatever moment a caller goes, the one after it gets its own rows."""
    choice = random.Random(26)  # picks whom to cancel, and when
    for _ in range(20):
        tasks = [asyncio.create_task(choice.choice(WAYS)(pooled, teams.a)) for _ in range(6)]
        await asyncio.sleep(choice.random() / 200)
        for victim in choice.sample(tasks, 3):
            victim.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            assert task.cancelled() or [owner for owner, _ in task.result()] == [teams.a.id] * 3
        assert [owner for owner, _ in await read_by_door(pooled, teams.b)] == [teams.b.id] * 5
    assert set(await carried_away(pooled)) <= {"", None}


@pytest.mark.deep
@pytest.mark.parametrize("statements", [200, 0])
async def test_ten_thousand_transactions_miss_no_prepared_statement(
    test_servers: TestServers, door_urls: DatabaseUrls, teams: Teams, statements: int
) -> None:
    """Catalogue 52: clients meet server connections that know nothing of what they have prepared."""
    with a_pooler(test_servers, size=3, statements=statements) as pooler:
        async with opened(pooler.address, door_urls) as database:

            async def client(number: int) -> set[Any]:
                team = (teams.a, teams.b)[number % 2]
                owners: set[Any] = set()
                for turn in range(625):
                    rows = await WAYS[(turn + number) % len(WAYS)](database, team)
                    owners |= {owner for owner, _ in rows}
                return owners - {team.id}

            assert await asyncio.gather(*(client(number) for number in range(16))) == [set()] * 16


async def test_a_url_that_does_not_tell_of_its_pooler_is_refused(
    narrow: TransactionPooler, door_urls: DatabaseUrls
) -> None:
    url = narrow.address.services(door_urls).app.partition("?")[0]
    with pytest.raises(SettingsError, match="pooler=transaction"):
        await Database(url).start()


async def test_a_pooler_that_keeps_no_statements_is_refused_where_they_are_counted_on(
    test_servers: TestServers, door_urls: DatabaseUrls
) -> None:
    with a_pooler(test_servers, statements=0) as pooler:
        address = PoolerAddress(pooler.address.port, Pooler.TRANSACTION)
        with pytest.raises(SettingsError, match="max_prepared_statements"):
            await Database(address.services(door_urls).app).start()


@pytest.mark.parametrize("pooler", Pooler)
async def test_a_url_may_lead_to_postgres_itself_and_tell_of_a_pooler(
    door_urls: DatabaseUrls, teams: Teams, pooler: Pooler
) -> None:
    """So that one value serves while a pooler is being put in or taken out."""
    database = Database(f"{door_urls.app}&pooler={pooler}")
    await database.start()
    try:
        for way in WAYS:
            assert len(await way(database, teams.a)) == 3
    finally:
        await database.stop()


def test_an_unknown_pooler_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(SettingsError, match="pooler=transaction or pooler=transaction-unprepared"):
        parse_database_url("postgresql://mis_app@db/mis_db?pooler=session")
