"""How a search goes about it: by indexes alone, whichever of its ways it takes."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from mis_http.pages import Page
from mis_tenancy.database import Database
from mis_tenancy.tenant import Role
from tests.citus import one_postgres
from tests.database import connected
from tests.plans import Scan, scans_of
from tests.servers import TestServers
from user_service.users import search_repository
from user_service.users.filters import UserFilter
from user_service.users.repository import page_steps
from user_service.users.search_repository import is_whole

pytestmark = one_postgres

LARGE, SMALL = UUID(int=0x7000_8000 << 64 | 1), UUID(int=0x7000_8000 << 64 | 2)
MANY = 12_000
# The oldest hundred are all of the family `old`, the next four hundred of `famous`; everybody is called Anna,
# and every tenth is a viewer.
FILL = f"""
insert into tenants (id, name, slug, subdomain, plan, status, status_since, created_at, updated_at)
select id::uuid, slug, slug, slug, 'custom', 'active', now(), now(), now()
  from (values ('{LARGE}', 'large'), ('{SMALL}', 'small')) t (id, slug) on conflict do nothing;
create temporary table people as
select t.id::uuid as tenant_id, (lpad(to_hex(n), 12, '0') || '7000800000000000' || t.mark)::uuid as id,
       'anna' || n || '@x.example' as email,
       case when n <= 100 then 'old' when n <= 500 then 'famous' else 'family' || n end as family,
       case when n % 10 = 0 then 'viewer' else 'member' end as role
  from (values ('{LARGE}', '0001', {MANY}), ('{SMALL}', '0002', 200)) t (id, mark, members),
       generate_series(1, t.members) n;
-- Many small tenants, by which Postgres thinks that the large one is small too.
insert into tenants (id, name, slug, subdomain, plan, status, status_since, created_at, updated_at)
select md5(n::text)::uuid, 'Small', 'small-' || n, 'small-' || n, 'custom', 'active', now(), now(), now()
  from generate_series(1, 2000) n;
insert into people select md5(n::text)::uuid, md5(n::text)::uuid, 'anna@x.example', 'family', 'member'
  from generate_series(1, 2000) n;
insert into users (tenant_id, id, email, email_norm, name, role, status, attributes, created_at, updated_at)
select tenant_id, id, email, email, 'Anna ' || family, role, 'active', '{{}}', now(), now() from people;
insert into user_terms (tenant_id, term, user_id)
select tenant_id, term, id from people, lateral (values ('anna'), (family), (email)) as words (term);
-- Half of all are called one way and half another.
insert into user_terms (tenant_id, term, user_id)
select tenant_id, case when translate(email, translate(email, '0123456789', ''), '')::int % 2 = 0
                       then 'even' else 'odd' end, id
  from people where tenant_id = '{LARGE}';
analyze users;
analyze user_terms
"""  # noqa: S608  # ids and numbers of ours


@pytest.fixture(scope="module")
async def people(test_servers: TestServers) -> AsyncIterator[Database]:
    urls = test_servers.database("people")
    async with connected(urls.owner) as owner:
        for statement in FILL.split(";\n"):
            await owner.execute(statement)
    database = Database(urls.app)
    await database.start()
    yield database
    await database.stop()


async def plan(database: Database, wanted: UserFilter, page: Page) -> tuple[list[Scan], int]:
    """Return all scans of the statements that a page takes, and how many users it shows."""
    scans: list[Scan] = []
    async with database.transaction(LARGE) as session:
        for step in page_steps(wanted, page):
            given = step.statement.params(**step.values)
            for table in ("users", "user_terms"):
                scans += await scans_of(session, given, table)
            rows = (await session.execute(given)).all()
            if is_whole(rows):
                break
    return scans, len(rows)


MIDDLE = UUID(int=(MANY // 2) << 80 | 0x7000_8000_0000_0000_0001)


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize(
    ("wanted", "after", "found", "most"),
    [
        # A page of the list itself.
        (UserFilter(), None, 21, 21),
        (UserFilter(role=Role.VIEWER, status="active"), None, 21, 60),
        (UserFilter(status="disabled"), None, 0, 0),
        # Few terms: read, and their users.
        (UserFilter("anna777@"), None, 1, 5),
        (UserFilter("old"), None, 21, 230),
        (UserFilter("nobody"), None, 0, 0),
        (UserFilter("family77 anna77"), None, 21, 450),
        # One of two words has few terms, and not the longer one; or the narrowed list is short.
        (UserFilter("anna old"), None, 21, 750),
        (UserFilter("anna", status="disabled"), None, 0, 250),
        # Many terms: the first 169 are looked at; then the next ones in order, at first 1,008.
        (UserFilter("a"), None, 21, 350),
        (UserFilter("anna"), None, 21, 320),
        (UserFilter("family1"), None, 21, 3_200),
        (UserFilter("a f"), MIDDLE, 21, 1_400),
        # Several things that many have: walked along at once.
        (UserFilter("anna fam"), None, 21, 1_450),
        (UserFilter("anna", role=Role.VIEWER), None, 21, 1_150),
        # Where nearly everybody is in the narrowed list, some users of the word are asked.
        (UserFilter("anna", status="active"), None, 21, 550),
        (UserFilter("fa", role=Role.MEMBER, status="active"), None, 21, 750),
        # Where those are of others, eight times as many are looked at and passed.
        (UserFilter("famous"), None, 21, 5_000),
        (UserFilter("famous", role=Role.VIEWER), None, 21, 22_000),
        # Half of all have one word and half the other; a role, or a status, that nobody has.
        (UserFilter("even odd"), None, 0, 32_000),
        (UserFilter("anna", role=Role.OWNER), None, 0, 250),
        (UserFilter("even anna", status="disabled"), None, 0, 400),
        # Of a role and a status the longer list is not walked along.
        (UserFilter("anna", role=Role.VIEWER, status="active"), None, 21, 1_400),
    ],
)
async def test_a_search_reads_by_indexes_and_not_much_more_than_it_shows(
    people: Database, wanted: UserFilter, after: UUID | None, found: int, most: int, ascending: bool
) -> None:
    """Catalogue 49."""
    scans, shown = await plan(people, wanted, Page(20, ascending, after))
    assert shown == found
    assert scans
    # A plan's nodes that were never executed read nothing.
    read = [scan for scan in scans if scan.rows]
    assert all(scan.kind in ("Index Scan", "Index Only Scan", "Bitmap Heap Scan") for scan in read), scans
    assert sum(scan.rows for scan in read) <= most, scans


async def test_what_many_have_and_nobody_together_is_found_by_their_terms_at_the_most(
    people: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_repository, "_MOST", 0)
    scans, shown = await plan(people, UserFilter("even odd"), Page(20))
    assert shown == 0
    # Half of all have one of the words, and half the other.
    assert sum(scan.rows for scan in scans) <= MANY
