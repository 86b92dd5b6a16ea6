"""The statement door: the ORM's selects on the driver, compiled once, narrowed like the session's."""

import gc
from collections.abc import Callable
from typing import Any

import asyncpg
import msgspec
import pytest
from sqlalchemy import Select, func, select, text
from sqlalchemy.orm import aliased

from mis_tenancy.database import Database
from mis_tenancy.errors import IsolationError
from mis_tenancy.postgres.door import StatementDoor
from mis_tenancy.postgres.pool import TenantPool
from tests.mis_tenancy.conftest import Teams
from tests.mis_tenancy.projects import PROJECTS, Project, Task

OTHER = aliased(Task)
READS: dict[str, Callable[[], Select[*tuple[Any, ...]]]] = {
    "columns": lambda: select(Project.tenant_id, Project.name),
    "entity": lambda: select(Project),
    "aliased": lambda: select(OTHER.tenant_id),
    "join": lambda: select(Task.tenant_id).join(Task.project),
    "aliased join": lambda: select(OTHER.tenant_id).join(Project, OTHER.project),
    "subquery": lambda: select(select(Project).subquery().c.tenant_id),
    "exists": lambda: select(Project.tenant_id).where(
        select(Task).where(Task.project_id == Project.id).exists()
    ),
}


@pytest.fixture
def renderer() -> StatementDoor:
    """A door that never opens: for what it would send."""
    return StatementDoor(TenantPool(None))


@pytest.mark.parametrize("name", READS)
async def test_a_read_shows_the_tenants_rows(doors: Database, teams: Teams, name: str) -> None:
    """Catalogue 44."""
    for team in (teams.a, teams.b):
        records = await doors.fetch(READS[name](), team.id)
        assert {record["tenant_id"] for record in records} == {team.id}


@pytest.mark.parametrize("name", READS)
def test_the_criteria_stand_in_the_statement_itself(renderer: StatementDoor, teams: Teams, name: str) -> None:
    sql, arguments = renderer.render(READS[name](), teams.a.id)
    assert "tenant_id = $" in sql
    assert teams.a.id in arguments


async def test_each_caller_is_served_its_own_values(doors: Database, teams: Teams) -> None:
    """With a plan kept from the first caller: its literals must not stay in it."""

    def first(count: int) -> Select[Any]:
        return select(Project.id).where(Project.name != "none").order_by(Project.id).limit(count)

    for count in (2, 5, 1, 2):
        assert len(await doors.fetch(first(count), teams.b.id)) == count
    for project in teams.b.projects:
        found = await doors.fetch(select(Project.id).where(Project.id == project), teams.b.id)
        assert [record["id"] for record in found] == [project]
        assert await doors.fetch(select(Project.id).where(Project.id == project), teams.a.id) == []


async def test_a_list_of_values_may_have_any_length(doors: Database, teams: Teams) -> None:
    for length in (0, 1, 2, 3, 2):
        wanted = teams.b.projects[:length]
        found = await doors.fetch(select(Project.id).where(Project.id.in_(wanted)), teams.b.id)
        assert {record["id"] for record in found} == set(wanted)


@pytest.mark.parametrize(
    "statement",
    [select(PROJECTS), select(func.now()), select(text("1")), select(PROJECTS.c.name).distinct()],
    ids=str,
)
def test_a_statement_that_nothing_narrows_is_refused(
    renderer: StatementDoor, teams: Teams, statement: Select[Any]
) -> None:
    with pytest.raises(IsolationError):
        renderer.render(statement, teams.a.id)


def test_a_plan_is_compiled_once_and_the_number_kept_is_bounded(
    renderer: StatementDoor, teams: Teams
) -> None:
    for number in range(600):
        statement = select(Project.id.label(f"c{number}"))
        renderer.render(statement, teams.a.id)
        renderer.render(select(Project.id.label("hot")).where(Project.id == teams.a.projects[0]), teams.a.id)
    plans = renderer._plans
    assert len(plans) == 512
    # The statement in constant use was never dropped, though hundreds came after it.
    key = select(Project.id.label("hot")).where(Project.id == teams.b.projects[0])._generate_cache_key()
    assert key is not None
    assert key.key in plans


def test_a_statement_is_known_for_as_long_as_it_lives(renderer: StatementDoor, teams: Teams) -> None:
    kept = select(Project.id.label("kept"))
    text, _ = renderer.render(kept, teams.a.id)
    renderer.render(select(Project.id.label("gone")), teams.a.id)
    gc.collect()
    assert list(renderer._known) == [kept]
    assert renderer.render(kept, teams.b.id) == (text, [teams.b.id])


async def test_the_door_only_reads(doors: Database, teams: Teams) -> None:
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await doors.fetch(select(Project.id).with_for_update(), teams.a.id)


async def test_a_wrong_argument_fails_and_leaves_the_door_good(doors: Database, teams: Teams) -> None:
    with pytest.raises(asyncpg.DataError):
        await doors.fetch(select(Project.id).where(Project.id == "no id"), teams.a.id)
    assert len(await doors.fetch(select(Project.id), teams.a.id)) == 3


async def test_records_become_json_without_models(doors: Database, teams: Teams) -> None:
    records = await doors.fetch(select(Project.id, Project.name).order_by(Project.id), teams.a.id)
    assert msgspec.json.decode(msgspec.json.encode(records, enc_hook=dict)) == [
        {"id": str(project), "name": "project"} for project in sorted(teams.a.projects)
    ]
