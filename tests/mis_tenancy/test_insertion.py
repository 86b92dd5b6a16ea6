"""All new rows of a session in one statement, held by the same walls as a flush."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import ColumnDefault, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import class_mapper

from mis_models.work import OutboxRow
from mis_tenancy.database import Database
from mis_tenancy.errors import IsolationError
from mis_tenancy.identifiers import new_id
from mis_tenancy.insertion import insert_together
from mis_tenancy.tables import Base, RevocationRow, TenantRow
from tests.database import CountingProxy, connected, made_up, row_for, tenant_tables
from tests.mis_tenancy.conftest import Teams
from tests.mis_tenancy.projects import Project, Task, Team
from tests.servers import TestServers


def a_project(session: AsyncSession, tasks: int = 2) -> Project:
    """Add a project with tasks, the tasks first."""
    project = Project(id=new_id(), name="new")
    for _ in range(tasks):
        session.add(Task(id=new_id(), project_id=project.id))
    session.add(project)
    return project


async def a_project_and(database: Database, team: Team, row: object) -> None:
    """Insert a project, its tasks and `row` together."""
    async with database.transaction(team.id) as session:
        a_project(session)
        session.add(row)
        await insert_together(session)


async def count(database: Database, team: Team, entity: type[Any] = Project) -> int:
    async with database.transaction(team.id) as session:
        return await session.scalar(select(func.count()).select_from(entity)) or 0


async def test_rows_of_any_number_and_several_tables_cost_one_round_trip(
    proxied: tuple[Database, CountingProxy], team: Team
) -> None:
    database, proxy = proxied
    for tasks in (2, 1, 7):
        async with database.transaction(team.id) as session:
            a_project(session, tasks)
            proxy.reset()
            await insert_together(session)
            if tasks != 2:
                # Begun and bound, then inserted: the text is the one that was prepared.
                assert proxy.turns == 2
    assert await count(database, team) == 2 + 3
    assert await count(database, team, Task) == 4 + 10


async def test_inserted_rows_are_the_sessions_as_after_a_flush(doors: Database, team: Team) -> None:
    async with doors.transaction(team.id) as session:
        project = a_project(session)
        await insert_together(session)
        assert project in session
        assert not session.new
        assert project.tenant_id == team.id
        project.name = "changed"
    async with doors.transaction(team.id) as session:
        found = await session.get(Project, (team.id, project.id))
        assert found is not None
        assert found.name == "changed"
        assert {task.name for task in await session.scalars(select(Task))} == {"task"}


async def test_a_row_of_another_tenant_is_refused_before_anything_is_sent(
    proxied: tuple[Database, CountingProxy], teams: Teams
) -> None:
    """Catalogue 44."""
    database, proxy = proxied
    async with database.transaction(teams.a.id) as session:
        project = a_project(session)
        project.tenant_id = teams.b.id
        proxy.reset()
        with pytest.raises(IsolationError):
            await insert_together(session)
        assert proxy.turns == 0
        session.expunge_all()


async def test_policies_hold_each_row_and_one_refusal_leaves_none(doors: Database, team: Team) -> None:
    """Catalogue 31. The outbox is held by its policy alone."""
    event_of_another = OutboxRow(
        id=new_id(), tenant_id=new_id(), type="x", data={}, occurred_at=datetime.now(UTC)
    )
    with pytest.raises(DBAPIError, match="row-level security"):
        await a_project_and(doors, team, event_of_another)
    assert await count(doors, team) == 2


async def test_a_child_without_its_parent_leaves_nothing_of_the_whole(
    doors: Database, teams: Teams, team: Team
) -> None:
    """Catalogue 40: another tenant's parent is none either."""
    for parent in (new_id(), teams.b.projects[0]):
        with pytest.raises(IntegrityError):
            await a_project_and(doors, team, Task(id=new_id(), project_id=parent))
    assert await count(doors, team) == 2


async def test_a_session_that_also_changes_rows_is_told_to_flush_them_first(
    doors: Database, team: Team
) -> None:
    async with doors.transaction(team.id) as session:
        known = (await session.scalars(select(Project))).first()
        assert known is not None
        known.name = "changed"
        a_project(session)
        with pytest.raises(IsolationError, match="Flush"):
            await insert_together(session)
        session.expunge_all()


async def test_a_row_without_a_value_that_only_a_flush_could_make_is_refused(
    doors: Database, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(context: Any) -> str:
        raise AssertionError("Nobody asks.")

    column = class_mapper(Task).columns["name"]
    monkeypatch.setattr(column, "default", ColumnDefault(made))
    async with doors.transaction(team.id) as session:
        session.add(Task(id=new_id(), project_id=team.projects[0]))
        with pytest.raises(TypeError, match="made on insert"):
            await insert_together(session)
        session.expunge_all()


async def test_with_nothing_new_nothing_is_sent(proxied: tuple[Database, CountingProxy], team: Team) -> None:
    database, proxy = proxied
    proxy.reset()
    async with database.transaction(team.id) as session:
        await insert_together(session)
    assert proxy.turns == 0


def entities() -> list[type[Any]]:
    """Return the entities of the tables of tenants, parents first."""
    by_table = {mapper.local_table: mapper.class_ for mapper in Base.registry.mappers}
    return [by_table[table] for table in (Base.metadata.tables["tenants"], *tenant_tables())]


def filled(tenant_id: UUID) -> list[Any]:
    """Return a row of every table of tenants, with a value in each column that takes one."""
    made: dict[str, dict[str, Any]] = {}
    rows = []
    for entity in entities():
        table = entity.__table__
        row = row_for(table, tenant_id, made)
        for column in table.c:
            if column.computed is not None:
                continue
            if column.name not in row and not column.foreign_keys and column.name != "xid":
                row[column.name] = made_up(table, column, tenant_id.hex)
            if isinstance(column.type, JSONB):
                # A list, which an array of JSON must not take for one of its dimensions.
                row[column.name] = [["a"], {"b": [1, None, "ü"]}]
        made[table.name] = row
        rows.append(entity(**row))
    return rows


async def test_every_type_of_column_arrives_as_a_flush_would_send_it(test_servers: TestServers) -> None:
    name = test_servers.database("insertion").app.partition("?")[0].rpartition("/")[2]
    postgres = test_servers.postgres
    # As the superuser, because no role of the application's may insert into every table.
    url = postgres.url("postgres", postgres.superuser_password, name)
    database, flushed, together = Database(url), new_id(), new_id()
    async with database.transaction(flushed) as session:
        for row in filled(flushed):
            session.add(row)
            await session.flush()
    async with database.transaction(together) as session:
        session.add_all(filled(together))
        await insert_together(session)
    await database.stop()
    async with connected(url) as connection:
        for entity in entities():
            table = entity.__tablename__
            key = "id" if table == "tenants" else "tenant_id"
            sql = f"select * from {table} where {key} = $1"  # noqa: S608
            one, other = await connection.fetchrow(sql, flushed), await connection.fetchrow(sql, together)
            assert one is not None, table
            assert other is not None, table
            assert [type(value) for value in one] == [type(value) for value in other]
            same = [column for column, value in one.items() if isinstance(value, bool | str | dict)]
            assert plain(one, same, flushed) == plain(other, same, together), table


def plain(row: Any, columns: list[str], tenant_id: UUID) -> list[str]:
    """Return the values of `columns` without what is made up of the tenant's own id."""
    return [str(row[column]).replace(tenant_id.hex, "-") for column in columns]


async def test_what_a_row_leaves_out_is_left_to_the_database(test_servers: TestServers) -> None:
    urls = test_servers.database("insertion")
    database, tenant_id = Database(urls.platform), new_id()
    tenant = TenantRow(**row_for(Base.metadata.tables["tenants"], tenant_id, {}))
    async with database.transaction(tenant_id) as session:
        # Two rows of one table that do not give the same columns.
        session.add(RevocationRow(id=new_id(), kind="tenant", tenant_id=tenant_id, epoch=None))
        session.add(RevocationRow(id=new_id(), kind="tenant", tenant_id=tenant_id, epoch=5))
        session.add(tenant)
        await insert_together(session)
    await database.stop()
    async with connected(urls.owner) as connection:
        rows = await connection.fetch(
            "select epoch, created_at, xid from revocations where tenant_id = $1 order by epoch", tenant_id
        )
        assert [row["epoch"] for row in rows] == [5, None]
        assert all(row["created_at"] and row["xid"] for row in rows)
        assert await connection.fetchval("select version from tenants where id = $1", tenant_id) == 1
