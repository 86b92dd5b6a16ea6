"""`mis adopt` on a small app that is in use: its users, projects and tasks become those of a tenant."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from mis_cli.adoption import running
from mis_cli.adoption.adopting import Order, adopt, look, look_by
from mis_cli.adoption.running import AdoptionFailed, take
from mis_cli.embedded import DatabaseUrls
from mis_cli.exits import CANNOT_START
from mis_tenancy.database import Database
from tenant_service.endings.adopted_repository import adopted_tables, refuse_out_of_reach
from tests.database import bound, connected, seed_tenant
from tests.mis_cli.backups import Place
from tests.mis_cli.command_line import CommandLine
from tests.servers import TestServers

LEGACY = "adopt_legacy"
ROOT = Path(__file__).resolve().parents[2]

# As a team has it after some years: counted ids, an address that is unique in lower case, loose ends.
APP = """
create schema app;
create table app.users (id serial primary key, email text not null, name text not null,
                        created_at timestamptz not null default now());
create unique index users_email on app.users (lower(email));
create table app.projects (id uuid primary key default gen_random_uuid(), name text not null,
                           owner_id int not null references app.users on delete cascade,
                           unique (owner_id, name));
create table app.tasks (id bigserial primary key,
                        project_id uuid not null references app.projects on delete cascade,
                        assignee_id int references app.users on delete set null,
                        parent_id bigint references app.tasks, title text not null, labels jsonb,
                        created_at timestamptz not null default now());
create index tasks_created on app.tasks (created_at desc) where labels is not null;
create index tasks_labels on app.tasks using gin (labels);
create table app.plans (code text primary key);
create table app.notes (id serial primary key, user_id int not null references app.users);
create view app.open_tasks as select * from app.tasks;
"""
FILL = """
insert into app.users (email, name)
select 'u' || n || '@Example.com', 'User ' || n from generate_series(1, 200) n;
insert into app.projects (name, owner_id) select 'P' || n, 1 + n % 200 from generate_series(1, 500) n;
insert into app.tasks (project_id, assignee_id, title)
select p.id, p.owner_id, 'T' || n from app.projects p, generate_series(1, {tasks}) n;
"""
GRANT = f"""
grant usage on schema app to {LEGACY};
grant all on all tables in schema app to {LEGACY};
grant all on all sequences in schema app to {LEGACY};
"""
TABLES = ("users", "projects", "tasks")
ORDER = Order("app", TABLES, (LEGACY,))


@pytest.fixture(scope="module")
async def place(test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory) -> Place:
    # Roles belong to the whole server, so other workers may be making it as well.
    test_servers.postgres.query(
        f"do $$ begin create role {LEGACY} login password 'legacy'; "
        "exception when duplicate_object or unique_violation then null; end $$"
    )
    urls = test_servers.database("adopt")
    test_servers.postgres.query(f"grant connect on database mis_{test_servers.worker}_adopt to {LEGACY}")
    return Place(test_servers, urls, tmp_path_factory.mktemp("adopt"))


def legacy_url(urls: DatabaseUrls) -> str:
    _, _, rest = urls.owner.partition("@")
    return f"postgresql://{LEGACY}:legacy@{rest}"


@pytest.fixture
async def app(place: Place) -> AsyncIterator[asyncpg.Connection]:
    """The app's tables with few rows; the owner's connection."""
    async with place.hand() as hand:
        await hand.execute(APP + FILL.format(tasks=4) + GRANT)
        yield hand
        await hand.execute("drop schema app cascade")


@pytest.fixture(scope="module")
async def home(place: Place) -> UUID:
    """A tenant that was there before."""
    return (await seed_tenant(place.urls.owner)).id


async def rows_seen(url: str, tenant: UUID | None, table: str) -> int:
    async with bound(url, tenant) as connection:
        return int(await connection.fetchval(f"select count(*) from app.{table}"))  # noqa: S608  # named here


class Traffic:
    """The app as it was before anybody spoke of tenants: it writes and reads until it is told to stop."""

    def __init__(self, url: str) -> None:
        self.written = self.read = 0
        self._url = url
        self._stopped = asyncio.Event()

    async def write(self) -> None:
        async with connected(self._url) as connection:
            while not self._stopped.is_set():
                self.written += 1
                async with connection.transaction():
                    user = await connection.fetchval(
                        "insert into app.users (email, name) values ($1, 'New') returning id",
                        f"new{self.written}@example.com",
                    )
                    project = await connection.fetchval(
                        "insert into app.projects (name, owner_id) values ('New', $1) returning id", user
                    )
                    insert = "insert into app.tasks (project_id, assignee_id, title) values ($1, $2, 'New')"
                    await connection.execute(insert, project, user)
                await connection.execute(
                    "update app.tasks set title = title || '!' where assignee_id = $1", user
                )

    async def look(self, at_least: int) -> None:
        async with connected(self._url) as connection:
            while not self._stopped.is_set():
                assert await connection.fetchval("select count(*) from app.tasks") >= at_least
                self.read += 1

    @asynccontextmanager
    async def running(self, at_least: int) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.write())
            group.create_task(self.look(at_least))
            try:
                yield
            finally:
                self._stopped.set()


async def test_an_app_in_use_becomes_the_default_tenants(place: Place, app: asyncpg.Connection) -> None:
    """Catalogue 46."""
    await app.execute(
        "insert into app.tasks (project_id, title) "
        "select id, 'More' from app.projects, generate_series(1, 100)"
    )
    traffic = Traffic(legacy_url(place.urls))
    options = ("--schema", "app", *(f"--table={table}" for table in TABLES), "--keep-serving", LEGACY)
    async with traffic.running(52_000):
        (told,) = await place.mis.json("adopt", *options, "--name", "Acme Inc.", "--tenant", "acme")
        seen = traffic.written, traffic.read
        async with asyncio.timeout(30):
            while traffic.written < seen[0] + 3 or traffic.read < seen[1] + 3:  # noqa: ASYNC110  # others' doing
                await asyncio.sleep(0.01)
    assert (told["adopted"], told["leftOut"]) == (["users", "projects", "tasks"], [])
    acme = await app.fetchrow("select id, name, plan from tenants where slug = 'acme'")
    assert (acme["name"], acme["plan"]) == ("Acme Inc.", "basic")
    for table in TABLES:
        total = await app.fetchval(f"select count(*) from app.{table}")  # noqa: S608  # named above
        assert await rows_seen(place.urls.app, acme["id"], table) == total
        assert await rows_seen(place.urls.app, None, table) == 0
    assert traffic.written > 3
    (again,) = await place.mis.json("adopt", *options, "--tenant", "acme")
    assert again["steps"] == 0


async def test_another_tenant_has_its_own_rows_and_none_of_the_first(
    place: Place, app: asyncpg.Connection, home: UUID
) -> None:
    """Catalogue 39, 40."""
    await adopt(place.urls.owner, ORDER, str(home), lambda step, done: None)
    other = (await seed_tenant(place.urls.owner)).id
    first = await app.fetchval("select min(id) from app.users")
    async with bound(place.urls.app, other) as connection:
        for table in TABLES:
            assert await connection.fetchval(f"select count(*) from app.{table}") == 0  # noqa: S608  # named here
        # The same address as in the first tenant.
        own = await connection.fetchval(
            "insert into app.users (tenant_id, email, name) values ($1, 'U1@example.com', 'One') "
            "returning id",
            other,
        )
        with pytest.raises(asyncpg.UniqueViolationError):
            async with connection.transaction():
                await connection.execute(
                    "insert into app.users (tenant_id, email, name) values ($1, 'u1@EXAMPLE.com', 'Two')",
                    other,
                )
        insert = "insert into app.projects (tenant_id, name, owner_id) values ($1, 'X', $2)"
        await connection.execute(insert, other, own)
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            async with connection.transaction():
                await connection.execute(insert, other, first)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with connection.transaction():
                await connection.execute(insert, home, first)
        # Whoever forgets to say whose it is does not write into the first tenant.
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with connection.transaction():
                await connection.execute("insert into app.users (email, name) values ('x@y.z', 'X')")


async def test_a_purge_may_empty_what_was_adopted(place: Place, app: asyncpg.Connection, home: UUID) -> None:
    """Catalogue 119."""
    await adopt(place.urls.owner, ORDER, str(home), lambda step, done: None)
    platform = Database(place.urls.platform, pool_size=1)
    await platform.start()
    try:
        async with platform.transaction(home) as session:
            assert [table.fullname for table in await adopted_tables(session)] == [
                *("app.tasks", "app.projects", "app.users"),
            ]
            await refuse_out_of_reach(session)
    finally:
        await platform.stop()


async def test_actions_of_foreign_keys_are_what_they_were(
    place: Place, app: asyncpg.Connection, home: UUID
) -> None:
    await adopt(place.urls.owner, ORDER, str(home), lambda step, done: None)
    task = await app.fetchrow("select id, project_id, assignee_id from app.tasks limit 1")
    await app.execute("update app.projects set owner_id = owner_id % 100 + 2, name = id::text")
    await app.execute("delete from app.notes")
    await app.execute("update app.tasks set assignee_id = 1 where id = $1", task["id"])
    await app.execute("delete from app.users where id = 1")
    left = await app.fetchrow("select tenant_id, assignee_id from app.tasks where id = $1", task["id"])
    assert (left["tenant_id"], left["assignee_id"]) == (home, None)
    await app.execute("delete from app.projects where id = $1", task["project_id"])
    assert await app.fetchval("select count(*) from app.tasks where id = $1", task["id"]) == 0


async def test_stopped_after_any_step_it_goes_on(place: Place, app: asyncpg.Connection, home: UUID) -> None:
    """Catalogue 118."""
    whole = (await look_by(app, ORDER, str(home))).steps
    taken: list[str] = []
    while steps := (await look_by(app, ORDER, str(home))).steps:
        await take(app, steps[:1], lambda step, done: None)
        taken.append(steps[0].sql)
        assert len(taken) <= 2 * len(whole), steps[0].sql
    assert set(taken) >= {step.sql for step in whole if step.phase != "protect"}
    assert len(await app.fetch("select from pg_index where not indisvalid")) == 0


async def test_what_a_stopped_index_left_behind_is_made_anew(
    place: Place, app: asyncpg.Connection, home: UUID
) -> None:
    await app.execute("alter table app.projects add column tenant_id uuid default '%s'" % home)  # noqa: UP031
    await app.execute("create unique index projects_pkey_tenant on app.projects (tenant_id, id)")
    mark = "update pg_index set indisvalid = false where indexrelid = 'app.projects_pkey_tenant'::regclass"
    place.servers.postgres.query(mark, database=f"mis_{place.servers.worker}_adopt")
    await adopt(place.urls.owner, ORDER, str(home), lambda step, done: None)
    primary = "select conname from pg_constraint where conrelid = 'app.projects'::regclass and contype = 'p'"
    assert await app.fetchval(primary) == "projects_pkey_tenant"


async def test_a_column_that_was_added_by_hand_is_filled_in_batches(
    place: Place, app: asyncpg.Connection, home: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the design document's guide begins.
    await app.execute("alter table app.tasks add column tenant_id uuid")
    monkeypatch.setattr(running, "_PAGES_AT_ONCE", 2)
    fills = []
    await adopt(
        place.urls.owner, ORDER, str(home), lambda step, done: fills.append(done) if step.fills else None
    )
    assert len(fills) > 5
    assert await rows_seen(place.urls.app, home, "tasks") == 2_000


async def test_a_lock_that_somebody_holds_is_waited_for_without_a_queue(
    place: Place, app: asyncpg.Connection, home: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(running, "_PAUSE_SECONDS", 0.05)
    async with connected(place.urls.owner) as holder:
        transaction = holder.transaction()
        await transaction.start()
        await holder.fetchval("select count(*) from app.users")
        adopting = asyncio.create_task(adopt(place.urls.owner, ORDER, str(home), lambda step, done: None))
        await asyncio.sleep(0.3)
        assert not adopting.done()
        assert await rows_seen(place.urls.owner, None, "users") == 200
        await transaction.rollback()
        await adopting
        assert await rows_seen(place.urls.app, home, "users") == 200
    monkeypatch.setattr(running, "_TRIES", 1)
    async with connected(place.urls.owner) as holder:
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute("lock table app.notes in share mode")
        with pytest.raises(AdoptionFailed, match="run the same again"):
            await adopt(place.urls.owner, Order("app", ("notes",)), str(home), lambda step, done: None)


async def test_a_dry_run_prints_what_would_be_done_and_does_nothing(
    place: Place, app: asyncpg.Connection, home: UUID
) -> None:
    slug = await app.fetchval("select slug from tenants where id = $1", home)
    words = ("adopt", "--schema", "app", "--tenant", slug, *(f"--table={table}" for table in TABLES))
    told = await place.mis(*words, "--dry-run")
    assert told.exit_code == 0, told.output
    assert (
        await app.fetchval(
            "select count(*) from pg_attribute where attname = 'tenant_id' and "
            "attrelid = 'app.users'::regclass"
        )
        == 0
    )
    # The printed SQL is the adoption: run by hand, it leaves nothing to do.
    for line in told.stdout.splitlines():
        if not line.startswith("--"):
            await app.execute(line)
    assert (await look(place.urls.owner, Order("app", TABLES), str(home))).steps == []


async def test_what_it_cannot_do_is_said(place: Place, app: asyncpg.Connection, home: UUID) -> None:
    await app.execute(
        "create function app.touch() returns trigger language plpgsql as 'begin return new; end';"
        "create trigger touched before update on app.tasks for each row execute function app.touch();"
        "create table app.events (id int, day date) partition by range (day);"
        "create policy open on app.plans using (true);"
        "create table app.numbered (id int primary key, tenant_id int)"
    )
    found = (await look(place.urls.owner, Order("app"), str(home))).concerns
    said = {(concern.about, concern.text.split(" ")[0]) for concern in found}
    assert {("users", "id"), ("users", "users_email"), ("tasks", "the"), ("tasks", "tasks_labels")} <= said
    assert ("open_tasks", "is") in said
    stopped = {concern.about for concern in found if concern.stops}
    assert stopped == {"events", "plans", "numbered"}
    planned = (await look(place.urls.owner, Order("app"), str(home))).steps
    assert not {step.table for step in planned} & stopped
    narrow = (await look(place.urls.owner, ORDER, str(home))).concerns
    assert any("notes_user_id_fkey refers to it" in concern.text for concern in narrow)
    answer = await place.mis("adopt", "--schema", "app", "--tenant", "missing-one", "--dry-run")
    assert "stands for the tenant 'missing-one'" in answer.stdout


def recipe() -> str:
    """Return the page's SQL for organisations that are there."""
    _, _, section = (ROOT / "docs" / "migration.md").read_text().partition("## Several organisations already")
    return section.partition("```sql\n")[2].partition("```")[0]


async def test_organisations_by_a_column_of_their_own_become_tenants_as_the_page_shows(
    place: Place, app: asyncpg.Connection
) -> None:
    """Catalogue 46."""
    await app.execute(
        "create table app.organizations (id bigserial primary key, slug text not null unique);"
        "create table app.customers (id bigserial primary key, org_id bigint not null "
        "references app.organizations, email text not null unique);"
        f"grant all on app.customers to {LEGACY}; grant all on all sequences in schema app to {LEGACY};"
    )
    tenants = [(await seed_tenant(place.urls.owner)).id for _ in range(3)]
    slugs = [await app.fetchval("select slug from tenants where id = $1", tenant) for tenant in tenants]
    await app.execute("insert into app.organizations (slug) select unnest($1::text[])", slugs)
    await app.execute(
        "insert into app.customers (org_id, email) "
        "select 1 + n % 3, 'c' || n || '@example.com' from generate_series(1, 300) n"
    )
    await app.execute(recipe())
    order = Order("app", ("customers",), (LEGACY,))
    async with connected(legacy_url(place.urls)) as legacy:
        add = "insert into app.customers (org_id, email) values ($1, $2)"
        await legacy.execute(add, 2, "meanwhile@example.com")
        await adopt(place.urls.owner, order, str(tenants[0]), lambda step, done: None)
        await legacy.execute(add, 3, "later@example.com")
        await legacy.execute("update app.customers set org_id = 3 where email = 'c1@example.com'")
        await app.execute("insert into app.organizations (slug) values ('of-no-tenant')")
        with pytest.raises(asyncpg.NoDataFoundError):
            await legacy.execute(add, 4, "nobody@example.com")
    seen = [await rows_seen(place.urls.app, tenant, "customers") for tenant in tenants]
    assert seen == [100, 100, 102]
    async with bound(place.urls.app, tenants[0]) as connection:
        # Whoever claims to be another organisation is refused, and nobody reads the map.
        for statement in (
            "insert into app.customers (org_id, email) values (2, 'x@example.com')",
            "select * from app.tenant_of",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with connection.transaction():
                    await connection.execute(statement)
    default = "select count(*) from pg_attrdef where adrelid = 'app.customers'::regclass and adnum = $1"
    number = await app.fetchval(
        "select attnum from pg_attribute where attrelid = 'app.customers'::regclass and attname = 'tenant_id'"
    )
    assert await app.fetchval(default, number) == 0
    assert (await look(place.urls.owner, order, str(tenants[0]))).steps == []


async def test_after_the_switch_nobody_crosses_tenants(
    place: Place, app: asyncpg.Connection, home: UUID
) -> None:
    await adopt(place.urls.owner, ORDER, str(home), lambda step, done: None)
    assert await rows_seen(legacy_url(place.urls), None, "users") == 200
    await place.mis.json("adopt", "--schema", "app", "--finish")
    assert await rows_seen(legacy_url(place.urls), None, "users") == 0
    async with bound(place.urls.app, home) as connection:
        added = "insert into app.users (email, name) values ('n@example.com', 'N') returning tenant_id"
        assert await connection.fetchval(added) == home


async def test_a_wrong_order_is_refused_before_anything_changes(
    place: Place, app: asyncpg.Connection
) -> None:
    for words in (("--schema", "nowhere"), ("--schema", "app", "--table", "nothing")):
        answer = await place.mis("adopt", "--dry-run", *words)
        assert answer.exit_code == CANNOT_START, answer.output
    weak = CommandLine(place.env | {"MIS_MIGRATION_DATABASE_URL": place.urls.platform})
    answer = await weak("adopt", "--schema", "app", "--dry-run")
    assert answer.exit_code != 0 or "is owned by mis_owner" in answer.stdout
