"""The ORM door: what each wall catches, alone and together.

The matrix runs every statement behind one wall at a time: `criteria` as the superuser, whom no policy holds,
and `policies` on a session that adds nothing to its statements. What either wall lets through is pinned too.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, event, exists, func, insert, inspect, literal, select, text, union_all, update
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, StatementError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, aliased, joinedload, selectinload, subqueryload
from sqlalchemy.orm.exc import DetachedInstanceError, StaleDataError

from mis_cli.embedded import DatabaseUrls
from mis_tenancy.database import Database
from mis_tenancy.errors import IsolationError, TenantUnbound
from mis_tenancy.identifiers import new_id
from mis_tenancy.postgres.criteria import TENANT, narrowed
from mis_tenancy.session import TenantSession, bind_tenant, tenant_of
from tests.mis_tenancy.conftest import Teams
from tests.mis_tenancy.projects import PROJECTS, TASKS, Project, Task, Team
from tests.servers import TestServers

Read = Callable[[AsyncSession], Awaitable[set[Any]]]


class _ArmedSession(Session):
    """Binds its transactions as a TenantSession does, and does nothing else for isolation."""


@event.listens_for(_ArmedSession, "after_begin")
def _arm(session: Session, transaction: Any, connection: Any) -> None:
    if not transaction.nested:
        connection.connection.driver_connection.arm(session.info["tenant"])


class ArmedSession(AsyncSession):
    sync_session_class = _ArmedSession


@pytest.fixture
async def unpoliced(
    test_servers: TestServers, door_urls: DatabaseUrls, teams: Teams
) -> AsyncIterator[Database]:
    """The same database entered as the superuser, past every policy."""
    name = door_urls.app.partition("?")[0].rpartition("/")[2]
    postgres = test_servers.postgres
    database = Database(postgres.url("postgres", postgres.superuser_password, name))
    yield database
    await database.stop()


def reading(of: Callable[[], Any]) -> Read:
    """Return a reader of the tenants that a statement shows rows of."""

    async def read(session: AsyncSession) -> set[Any]:
        return set((await session.scalars(of(), execution_options={"unscoped": True})).all())

    return read


async def streamed(session: AsyncSession) -> set[Any]:
    return {row.tenant_id async for row in await session.stream_scalars(select(Project))}


async def eagerly_selected(session: AsyncSession) -> set[Any]:
    found = await session.scalars(select(Project).options(selectinload(Project.tasks)))
    return {task.tenant_id for project in found for task in project.tasks}


async def eagerly_by_subquery(session: AsyncSession) -> set[Any]:
    found = await session.scalars(select(Project).options(subqueryload(Project.tasks)))
    return {task.tenant_id for project in found for task in project.tasks}


async def eagerly_joined(session: AsyncSession) -> set[Any]:
    found = await session.scalars(select(Project).options(joinedload(Project.tasks)))
    return {task.tenant_id for project in found.unique() for task in project.tasks}


async def on_the_connection(session: AsyncSession) -> set[Any]:
    connection = await session.connection()
    return {row.tenant_id for row in await connection.execute(select(Project))}


def from_common_table() -> Any:
    found = select(Project).cte("found")
    return select(found.c.tenant_id)


def correlated() -> Any:
    return select(Project.tenant_id).where(exists().where(Task.project_id == Project.id))


def scalar_subquery() -> Any:
    other = aliased(Project)
    return select(select(func.count(func.distinct(other.tenant_id))).scalar_subquery()).select_from(Project)


NARROWED: dict[str, Read] = {
    "entity": reading(lambda: select(Project.tenant_id)),
    "aliased": reading(lambda: select(aliased(Project).tenant_id)),
    "join": reading(lambda: select(Task.tenant_id).join(Task.project)),
    "aliased join": reading(lambda: select((other := aliased(Task)).tenant_id).join(Project, other.project)),
    "subquery": reading(lambda: select(select(Project).subquery().c.tenant_id)),
    "common table": reading(from_common_table),
    "exists": reading(correlated),
    "union": reading(lambda: union_all(select(Project.tenant_id), select(Task.tenant_id))),
    "stream": streamed,
    "selectinload": eagerly_selected,
    "subqueryload": eagerly_by_subquery,
    "joinedload": eagerly_joined,
}
# Narrowed by the policies alone.
PAST_THE_CRITERIA: dict[str, Read] = {
    "table": reading(lambda: select(PROJECTS.c.tenant_id)),
    "text": reading(lambda: text("select tenant_id from projects")),
    "from_statement": reading(
        lambda: select(Project.tenant_id).from_statement(text("select tenant_id from projects"))
    ),
    "connection": on_the_connection,
}


@pytest.mark.parametrize("name", NARROWED)
async def test_the_criteria_alone_narrow_a_read(unpoliced: Database, teams: Teams, name: str) -> None:
    """Catalogue 44."""
    async with unpoliced.transaction(teams.a.id) as session:
        assert await NARROWED[name](session) == {teams.a.id}


@pytest.mark.parametrize("name", PAST_THE_CRITERIA)
async def test_the_criteria_alone_would_not_narrow_what_is_no_orm_statement(
    unpoliced: Database, teams: Teams, name: str
) -> None:
    """Catalogue 44: this is why the policies are the wall, and these statements need `unscoped`."""
    async with unpoliced.transaction(teams.a.id) as session:
        assert await PAST_THE_CRITERIA[name](session) >= {teams.a.id, teams.b.id}


@pytest.mark.parametrize("name", [*NARROWED, *PAST_THE_CRITERIA])
async def test_the_policies_alone_narrow_every_read(doors: Database, teams: Teams, name: str) -> None:
    """Catalogue 44."""
    read = (NARROWED | PAST_THE_CRITERIA)[name]
    async with ArmedSession(doors.engine, info={"tenant": teams.a.id}) as session:
        assert await read(session) == {teams.a.id}


@pytest.mark.parametrize("name", [*NARROWED, *PAST_THE_CRITERIA])
async def test_every_read_shows_the_sessions_tenant(doors: Database, teams: Teams, name: str) -> None:
    """Catalogue 44."""
    read = (NARROWED | PAST_THE_CRITERIA)[name]
    for team in (teams.a, teams.b):
        async with doors.transaction(team.id) as session:
            assert await read(session) == {team.id}


async def test_counts_are_the_tenants(doors: Database, unpoliced: Database, teams: Teams) -> None:
    """Catalogue 44."""
    for database in (doors, unpoliced):
        async with database.transaction(teams.a.id) as session:
            assert await session.scalar(select(func.count()).select_from(Project)) == 3
            assert await session.scalar(scalar_subquery()) == 1
            assert len((await session.execute(select(Task.id))).all()) == 6


@pytest.mark.parametrize(
    "statement",
    [
        select(PROJECTS),
        text("select * from projects"),
        update(PROJECTS).values(name="x"),
        delete(PROJECTS),
        insert(TASKS).values(id=UUID(int=1), project_id=UUID(int=1), name="x"),
        select(func.now()),
        select(literal(1)),
    ],
    ids=str,
)
async def test_a_statement_the_session_cannot_narrow_is_refused(
    doors: Database, teams: Teams, statement: Any
) -> None:
    async with doors.session(teams.a.id) as session:
        with pytest.raises(IsolationError):
            await session.execute(statement)


async def test_an_unbound_session_runs_nothing(doors: Database) -> None:
    for statement in (select(Project), text("select 1")):
        async with TenantSession(doors.engine) as session:
            with pytest.raises(TenantUnbound):
                await session.execute(statement)
            with pytest.raises(TenantUnbound):
                await session.connection()


async def test_work_in_the_background_belongs_to_whom_it_is_given_and_to_nobody_otherwise(
    doors: Database, teams: Teams
) -> None:
    """Catalogue 27: a task inherits the context of the request that starts it, and no tenant with it."""

    async def given(tenant_id: UUID) -> set[UUID]:
        async with doors.session(tenant_id) as session:
            return set(await session.scalars(select(Project.tenant_id)))

    async def left_alone() -> None:
        async with TenantSession(doors.engine) as session:
            await session.scalars(select(Project.tenant_id))

    async with doors.session(teams.a.id) as session:
        await session.scalars(select(Project))
        of_a, of_b, of_nobody = (
            asyncio.create_task(work) for work in (given(teams.a.id), given(teams.b.id), left_alone())
        )
        assert (await of_a, await of_b) == ({teams.a.id}, {teams.b.id})
        with pytest.raises(TenantUnbound):
            await of_nobody


async def test_a_bare_connection_of_the_engine_runs_nothing_and_leaves_nothing_behind(
    doors: Database, teams: Teams
) -> None:
    for _ in range(4):
        async with doors.engine.connect() as connection:
            with pytest.raises(TenantUnbound):
                await connection.execute(text("select 1"))
    for _ in range(8):
        async with doors.transaction(teams.a.id) as session:
            assert set(await session.scalars(select(Project.tenant_id))) == {teams.a.id}


async def test_a_session_is_over_when_its_transaction_is(doors: Database, teams: Teams) -> None:
    """One that began anew would take what is written and never commit it."""
    async with doors.transaction(teams.a.id) as committed:
        await committed.scalars(select(Project))
    rolled_back = doors.transaction(teams.a.id)
    with pytest.raises(ZeroDivisionError):
        async with rolled_back:
            raise ZeroDivisionError

    async def late_write(session: TenantSession) -> None:
        session.add(Project(id=new_id(), name="late"))
        await session.flush()

    for session in (committed, rolled_back._session):
        with pytest.raises(InvalidRequestError, match="permanently closed"):
            await late_write(session)
        with pytest.raises(InvalidRequestError, match="permanently closed"):
            await session.scalars(select(Project))
    assert doors.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of every pool that is a queue


@pytest.mark.parametrize(
    "setting",
    [
        "set app.tenant_id = '{0}'",
        "  SET  LOCAL app.tenant_id = '{0}'",
        "set session app.tenant_id to '{0}'",
        "reset app.tenant_id",
        "reset all",
        "discard all",
        "select set_config('app.tenant_id', '{0}', false)",
        "select pg_catalog.set_config ( 'app.' || 'tenant_id', '{0}', true)",
    ],
)
async def test_a_binding_by_hand_is_refused(doors: Database, teams: Teams, setting: str) -> None:
    """Catalogue 36."""
    async with doors.session(teams.a.id) as session:
        with pytest.raises(IsolationError):
            await session.execute(text(setting.format(teams.b.id)), execution_options={"unscoped": True})
        connection = await session.connection()
        with pytest.raises(IsolationError):
            await connection.exec_driver_sql(setting.format(teams.b.id))
        with pytest.raises(IsolationError):
            await connection.exec_driver_sql(setting.format(teams.b.id), [(), ()])


async def test_reading_the_binding_is_allowed(doors: Database, teams: Teams) -> None:
    async with doors.session(teams.a.id) as session:
        shown = await session.scalar(
            text("select current_setting('app.tenant_id', true)"), execution_options={"unscoped": True}
        )
        assert shown == str(teams.a.id)


async def test_bulk_changes_stay_in_the_tenant(doors: Database, unpoliced: Database, teams: Teams) -> None:
    """Catalogue 44."""
    for database in (doors, unpoliced):
        async with database.session(teams.a.id) as session:
            changed: Any = await session.execute(update(Task).values(name="changed"))
            assert changed.rowcount == 6
            gone: Any = await session.execute(delete(Task))
            assert gone.rowcount == 6
    async with ArmedSession(doors.engine, info={"tenant": teams.a.id}) as armed:
        gone = await armed.execute(delete(Task))
        assert gone.rowcount == 6


async def test_a_row_cannot_be_given_away_in_bulk(doors: Database, teams: Teams) -> None:
    """Catalogue 31."""
    async with doors.session(teams.a.id) as session:
        with pytest.raises(DBAPIError, match="row-level security"):
            await session.execute(update(Task).values(tenant_id=teams.b.id))


async def test_a_bulk_insert_gets_the_tenant_by_itself_even_as_the_first_statement(
    doors: Database, teams: Teams
) -> None:
    async with doors.session(teams.a.id) as session:
        made = [{"id": new_id(), "name": "one"}, {"id": new_id(), "name": "two"}]
        await session.execute(insert(Project), made)
        await session.execute(insert(Project).values(id=new_id(), name="three"))
        owners = await session.scalars(
            select(Project.tenant_id).where(Project.name.in_(["one", "two", "three"]))
        )
        assert owners.all() == [teams.a.id] * 3


async def test_rows_for_another_tenant_cannot_be_inserted(doors: Database, teams: Teams) -> None:
    foreign = {"tenant_id": teams.b.id, "id": new_id(), "name": "x"}

    async def values(session: TenantSession) -> None:
        await session.execute(insert(Project).values(**foreign))

    async def many(session: TenantSession) -> None:
        await session.execute(insert(Project), [foreign])

    async def table(session: TenantSession) -> None:
        await session.execute(insert(PROJECTS).values(**foreign), execution_options={"unscoped": True})

    async def objects(session: TenantSession) -> None:
        await session.run_sync(lambda sync: sync.bulk_save_objects([Project(**foreign)]))

    async def mappings(session: TenantSession) -> None:
        await session.run_sync(lambda sync: sync.bulk_insert_mappings(Project, [foreign]))

    for way in (values, many, table, objects, mappings):
        async with doors.session(teams.a.id) as session:
            with pytest.raises(DBAPIError, match="row-level security"):
                await way(session)


async def test_an_insert_from_a_select_reads_only_the_tenants_rows(
    doors: Database, unpoliced: Database, teams: Teams
) -> None:
    source = select(Project.tenant_id, func.gen_random_uuid(), Project.name)
    copy = insert(Project).from_select(["tenant_id", "id", "name"], source)
    async with doors.session(teams.a.id) as session:
        copied: Any = await session.execute(copy)
        assert copied.rowcount == 3
    async with unpoliced.session(teams.a.id) as session:
        # The criteria do not reach the inner select: here the policies stand alone.
        copied = await session.execute(copy)
        assert copied.rowcount >= 8


async def test_a_list_of_changes_by_key_misses_another_tenants_row(doors: Database, teams: Teams) -> None:
    async with doors.session(teams.a.id) as session:
        change = {"tenant_id": teams.b.id, "id": teams.b.projects[0], "name": "mine"}
        with pytest.raises(StaleDataError):
            await session.execute(update(Project), [change])


async def test_a_new_object_gets_the_tenant_when_it_is_flushed(doors: Database, team: Team) -> None:
    async with doors.transaction(team.id) as session:
        project = Project(id=new_id(), name="new", tasks=[Task(id=new_id())])
        session.add(project)
        await session.flush()
        assert project.tenant_id == project.tasks[0].tenant_id == team.id


async def foreign_project(doors: Database, teams: Teams) -> Project:
    """Return a project of team B's, read by B and detached."""
    async with doors.session(teams.b.id) as session:
        return (await session.scalars(select(Project).limit(1))).one()


async def test_objects_of_another_tenant_cannot_enter(doors: Database, teams: Teams) -> None:
    foreign = await foreign_project(doors, teams)
    async with doors.session(teams.a.id) as session:
        with pytest.raises(IsolationError):
            session.add(foreign)
        with pytest.raises(IsolationError):
            session.add(Project(tenant_id=teams.b.id, id=new_id(), name="x"))
        with pytest.raises(IsolationError):
            await session.delete(foreign)
        own = (await session.scalars(select(Project).limit(1).options(selectinload(Project.tasks)))).one()
        with pytest.raises(IsolationError):
            own.tasks.append(Task(tenant_id=teams.b.id, id=new_id()))
        # So the identity map cannot hand out what no statement would find.
        assert await session.get(Project, (foreign.tenant_id, foreign.id)) is None


async def test_a_foreign_object_relabelled_by_hand_cannot_enter(doors: Database, teams: Teams) -> None:
    foreign = await foreign_project(doors, teams)
    foreign.tenant_id = teams.a.id
    async with doors.session(teams.a.id) as session:
        with pytest.raises(IsolationError):
            session.add(foreign)


async def test_a_merge_asks_the_database_and_finds_nothing_foreign(doors: Database, teams: Teams) -> None:
    foreign = await foreign_project(doors, teams)
    async with doors.session(teams.a.id) as session:
        with pytest.raises(IsolationError):
            await session.merge(foreign, load=False)
        with pytest.raises(IsolationError):
            await session.merge_all([foreign], load=False)
        with pytest.raises(IsolationError):  # noqa: PT012  # either step may be the one that refuses
            await session.merge(foreign)
            await session.flush()


async def test_even_an_own_object_is_not_merged_without_asking(doors: Database, teams: Teams) -> None:
    """What it says of itself may have been made up since it was read."""
    async with doors.session(teams.b.id) as session:
        own = (await session.scalars(select(Project).limit(1))).one()
    async with doors.session(teams.b.id) as session:
        with pytest.raises(IsolationError):
            await session.merge(own, load=False)
        with pytest.raises(IsolationError):
            await session.merge_all([own], load=False)
        assert (await session.merge(own)).tenant_id == teams.b.id


async def test_an_objects_tenant_cannot_be_changed(doors: Database, teams: Teams) -> None:
    """Catalogue 31."""
    async with doors.session(teams.a.id) as session:
        own = (await session.scalars(select(Project).limit(1))).one()
        own.tenant_id = teams.b.id
        with pytest.raises(IsolationError):
            await session.flush()


async def test_another_tenants_id_finds_nothing(doors: Database, teams: Teams) -> None:
    async with doors.session(teams.a.id) as session:
        assert await session.get(Project, (teams.b.id, teams.b.projects[0])) is None
        assert await session.get(Project, (teams.a.id, teams.b.projects[0])) is None
        assert await session.get(Project, (teams.a.id, teams.a.projects[0])) is not None


async def test_a_detached_object_loads_nothing(doors: Database, teams: Teams) -> None:
    """Catalogue 44."""
    foreign = await foreign_project(doors, teams)
    with pytest.raises(DetachedInstanceError):
        _ = foreign.tasks


async def test_a_lazy_load_stays_in_the_tenant(unpoliced: Database, teams: Teams) -> None:
    """Catalogue 44."""
    async with unpoliced.session(teams.a.id) as session:
        project = (await session.scalars(select(Project).limit(1))).one()
        tasks = await session.run_sync(lambda _: list(project.tasks))
        assert {task.tenant_id for task in tasks} == {teams.a.id}


async def test_what_is_read_again_stays_in_the_tenant(unpoliced: Database, teams: Teams) -> None:
    """Catalogue 44: on its way to one row, too, a session sends only statements that name its tenant."""
    async with unpoliced.session(teams.a.id) as session:
        task = (await session.scalars(select(Task).limit(1))).one()
        project = await session.run_sync(lambda _: task.project)
        assert project.tenant_id == teams.a.id
        await session.refresh(project)
        session.expire(task)
        assert await session.run_sync(lambda _: task.tenant_id) == teams.a.id
        assert await session.get(Project, (teams.b.id, teams.b.projects[0])) is None


async def test_a_kept_statement_serves_each_session_its_own_tenant(unpoliced: Database, teams: Teams) -> None:
    """Catalogue 44."""
    kept = select(Project.tenant_id)
    for team in (teams.a, teams.b, teams.a):
        async with unpoliced.session(team.id) as session:
            assert set(await session.scalars(kept)) == {team.id}


async def test_the_tenant_of_a_statement_cannot_be_chosen_by_its_parameters(
    unpoliced: Database, teams: Teams
) -> None:
    async with unpoliced.session(teams.a.id) as session:
        chosen = {TENANT: teams.b.id}
        assert set(await session.scalars(select(Project.tenant_id), chosen)) == {teams.a.id}
        assert set(await session.scalars(select(Project.tenant_id).params(chosen))) == {teams.a.id}


async def test_a_narrowed_statement_runs_in_no_other_session(unpoliced: Database, teams: Teams) -> None:
    async with unpoliced.platform_transaction() as session:
        with pytest.raises(StatementError, match="value is required"):
            await session.scalars(narrowed(select(Project)))


async def test_a_link_to_another_tenants_row_is_refused(doors: Database, teams: Teams) -> None:
    """Catalogue 40."""
    async with doors.session(teams.a.id) as session:
        session.add(Task(id=new_id(), project_id=teams.b.projects[0]))
        with pytest.raises(IntegrityError, match="foreign key"):
            await session.flush()


async def test_the_same_key_in_two_tenants_is_two_objects(doors: Database, teams: Teams) -> None:
    """Catalogue 44."""
    shared = new_id()
    for tenant in (teams.a.id, teams.b.id):
        async with doors.session(tenant) as session:
            mine = Project(id=shared, name=str(tenant))
            session.add(mine)
            await session.flush()
            assert (await session.scalars(select(Project).where(Project.id == shared))).one() is mine
            assert [inspect(one).identity for one in session] == [(tenant, shared)]


async def test_a_session_serves_one_tenant_for_its_whole_life(doors: Database, teams: Teams) -> None:
    """Catalogue 37."""
    async with doors.session(teams.a.id) as session, session.begin():
        async with session.begin_nested():
            with pytest.raises(IsolationError):
                bind_tenant(session, teams.b.id)
            assert set(await session.scalars(select(Project.tenant_id))) == {teams.a.id}
        bind_tenant(session, teams.a.id)
        assert tenant_of(session) == teams.a.id


async def test_work_goes_on_in_the_tenant_after_a_savepoint_failed(doors: Database, teams: Teams) -> None:
    """Catalogue 37."""
    async with doors.session(teams.a.id) as session:
        session.add(Task(id=new_id(), project_id=teams.a.projects[0]))
        await session.flush()
        with pytest.raises(IntegrityError):
            async with session.begin_nested():
                session.add(Task(id=new_id(), project_id=new_id()))
        assert await session.scalar(select(func.count()).select_from(Task)) == 7


async def test_a_second_transaction_of_a_session_is_the_same_tenants(doors: Database, teams: Teams) -> None:
    async with doors.session(teams.a.id) as session:
        for _ in range(3):
            assert set(await session.scalars(select(Project.tenant_id))) == {teams.a.id}
            await session.commit()
            await session.rollback()


async def test_the_platforms_session_sees_no_tenants_rows_unless_a_policy_names_its_role(
    doors: Database, teams: Teams
) -> None:
    async with doors.platform_transaction() as session:
        assert await session.scalar(select(func.count()).select_from(Project)) == 0
        with pytest.raises(TenantUnbound):
            tenant_of(session)


async def test_a_snapshot_stands_still_and_refuses_writes(doors: Database, team: Team) -> None:
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    count = select(func.count()).select_from(Project)
    async with doors.session(team.id) as session:
        await session.connection(execution_options=options)
        assert await session.scalar(count) == 2
        async with doors.transaction(team.id) as other:
            other.add(Project(id=new_id(), name="later"))
        assert await session.scalar(count) == 2
        with pytest.raises(DBAPIError, match="read-only transaction"):
            await session.execute(update(Project).values(name="x"))
    async with doors.session(team.id) as session:
        assert await session.scalar(count) == 3
        await session.execute(update(Project).values(name="y"))
