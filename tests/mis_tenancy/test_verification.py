"""What an adopter forgets: missed at the next start of the service, or by the one call for its tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from sqlalchemy import ForeignKey, MetaData, PrimaryKeyConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from mis_cli.embedded import DatabaseUrls
from mis_tenancy.database import Database
from mis_tenancy.policies import BOUND, protection
from mis_tenancy.settings import SettingsError
from mis_tenancy.tables import TenantScoped
from mis_tenancy.verification import isolation_faults, refuse_open_tables
from tests.database import connected
from tests.mis_tenancy import projects
from tests.servers import TestServers


class Base(DeclarativeBase):
    """The models of a team with tables in a schema of its own, and a list of countries for everybody."""

    metadata = MetaData(schema="app")


class Country(Base):
    __tablename__ = "countries"

    code: Mapped[str] = mapped_column(primary_key=True)


class Customer(TenantScoped, Base):
    __tablename__ = "customers"
    __table_args__ = (PrimaryKeyConstraint("tenant_id", "id"),)

    id: Mapped[UUID]
    country: Mapped[str] = mapped_column(ForeignKey("countries.code"))


_SCHEMA = """
create schema app;
grant usage on schema app to mis_app, mis_platform;
create table app.countries (code text primary key);
grant select on app.countries to mis_app;
create table app.customers (
    tenant_id uuid not null references tenants (id), id uuid not null,
    country text not null references app.countries, primary key (tenant_id, id));
"""
SHARED = ["app.countries"]


@pytest.fixture(scope="module")
async def urls(test_servers: TestServers) -> DatabaseUrls:
    """A database in which two teams have made their tables as the guide says."""
    urls = test_servers.database("adopters")
    async with connected(urls.owner) as owner:
        await projects.make_tables(owner)
        await owner.execute(_SCHEMA + ";".join(protection("app.customers")))
        for team in (await projects.make_team(owner, 1), await projects.make_team(owner, 1)):
            await owner.execute("insert into app.countries values ('ch') on conflict do nothing")
            await owner.execute("insert into app.customers values ($1, $1, 'ch')", team.id)
    return urls


@pytest.fixture
async def database(urls: DatabaseUrls) -> AsyncIterator[Database]:
    database = Database(urls.app, pool_size=2)
    await database.start()
    yield database
    await database.stop()


@asynccontextmanager
async def changed(urls: DatabaseUrls, change: str, back: str) -> AsyncIterator[None]:
    """Change the database as its owner, and back."""
    async with connected(urls.owner) as owner:
        await owner.execute(change)
        try:
            yield
        finally:
            await owner.execute(back)


async def test_tables_made_as_the_guide_says_have_no_fault(database: Database) -> None:
    assert await isolation_faults(database, projects.Base) == []
    assert await isolation_faults(database, Base, shared=SHARED) == []
    await refuse_open_tables(database)


WIDE = "create policy owner_by_mistake on {0} using (true)"
OPENED = [
    ("alter table {0} disable row level security", "alter table {0} enable row level security"),
    ("alter table {0} no force row level security", "alter table {0} force row level security"),
    (WIDE, "drop policy owner_by_mistake on {0}"),
]


@pytest.mark.parametrize("table", ["tasks", "app.customers"])
@pytest.mark.parametrize(("change", "back"), OPENED, ids=["disabled", "not forced", "for everybody"])
async def test_a_service_does_not_start_over_an_open_table_of_its_own(
    urls: DatabaseUrls, database: Database, table: str, change: str, back: str
) -> None:
    async with changed(urls, change.format(table), back.format(table)):
        with pytest.raises(SettingsError, match=f"in these tables: {table}"):
            await refuse_open_tables(database)
        base = Base if table.startswith("app") else projects.Base
        assert await isolation_faults(database, base, shared=SHARED) != []


MISTAKES = {
    "no policy": (
        "drop policy tenant_isolation on app.customers",
        "create policy tenant_isolation on app.customers to mis_app using ({bound}) with check ({bound})",
        "policies: app.customers lacks tenant_isolation",
    ),
    "a policy that lets more through": (
        "alter policy tenant_isolation on app.customers using (tenant_id is not null)",
        "alter policy tenant_isolation on app.customers using ({bound})",
        "rows_of_others: app.customers shows rows",
    ),
    "a unique over all tenants": (
        "create unique index w on app.customers (id)",
        "drop index app.w",
        "composite_keys: app.customers.w does not contain tenant_id",
    ),
    "a table that no model has": (
        "create table app.w (tenant_id uuid primary key); grant select on app.w to mis_app",
        "drop table app.w",
        "row_level_security: app.w lacks ENABLE",
    ),
    "a parent that other tenants have": (
        "create table app.w (id uuid unique); alter table app.customers add w uuid references app.w (id)",
        "alter table app.customers drop column w; drop table app.w",
        "composite_keys: app.customers.customers_w_fkey",
    ),
    "a materialized view": (
        "create materialized view app.w as select * from app.customers; grant select on app.w to mis_app",
        "drop materialized view app.w",
        "privileges: mis_app reaches app.w",
    ),
    "a view with its owner's eyes": (
        "create view app.w as select * from app.customers; grant select on app.w to mis_app",
        "drop view app.w",
        "privileges: mis_app reaches app.w",
    ),
    "a function with its owner's rights": (
        "create function app.w() returns bigint language sql security definer as 'select 1::bigint'",
        "drop function app.w",
        "privileges: mis_app may call w",
    ),
    "truncate": (
        "grant all on app.customers to mis_app",
        "revoke truncate, references, trigger on app.customers from mis_app",
        "privileges: mis_app may ",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake_in_a_migration_is_told(urls: DatabaseUrls, database: Database, mistake: str) -> None:
    change, back, told = MISTAKES[mistake]
    async with changed(urls, change, back.format(bound=f"tenant_id = {BOUND}")):
        faults = await isolation_faults(database, Base, shared=SHARED)
        assert any(fault.startswith(told) for fault in faults), faults
    assert await isolation_faults(database, Base, shared=SHARED) == []


async def test_what_reads_with_its_callers_eyes_and_what_only_triggers_run_is_no_fault(
    urls: DatabaseUrls, database: Database
) -> None:
    async with changed(
        urls,
        "create view app.w with (security_invoker = true) as select * from app.customers;"
        "grant select on app.w to mis_app;"
        "create function app.t() returns trigger language plpgsql security definer as 'begin end'",
        "drop view app.w; drop function app.t",
    ):
        assert await isolation_faults(database, Base, shared=SHARED) == []


async def test_a_mistake_in_the_models_is_told(database: Database) -> None:
    class Loose(DeclarativeBase):
        metadata = MetaData()

    class ByHand(Loose):
        __tablename__ = "projects"
        tenant_id: Mapped[UUID] = mapped_column(primary_key=True)

    class Everybodys(Loose):
        __tablename__ = "notes"
        id: Mapped[UUID] = mapped_column(primary_key=True)

    assert [fault.partition(".")[0] for fault in await isolation_faults(database, Loose)] == [
        "models: projects has a tenant_id, but its class does not derive from TenantScoped",
        "models: notes has no tenant_id, so all tenants share its rows",
        "models: notes is not in this database",
    ]
