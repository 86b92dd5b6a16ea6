"""How a search goes about it: by indexes alone, whichever of its ways it takes."""

import itertools
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import pytest

from mis_accounts.search_terms import search_terms
from mis_http.pages import Page
from mis_tenancy.database import Database
from mis_tenancy.tenant import Role
from tests.database import connected
from tests.plans import Scan, scans_of
from tests.servers import TestServers
from tests.suite import Suite
from tests.user_service.requests import USERS, create, listed
from user_service.users import search_way_repository
from user_service.users.filters import UserFilter
from user_service.users.repository import page_search

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
    search = page_search(wanted, page)
    given = search.statement.params(**search.values)
    async with database.transaction(LARGE) as session:
        scans = [scan for table in ("users", "user_terms") for scan in await scans_of(session, given, table)]
        return scans, len((await session.execute(given)).all())


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
        (UserFilter("old"), None, 21, 150),
        (UserFilter("nobody"), None, 0, 0),
        (UserFilter("family77 anna77"), None, 21, 450),
        # One of two words has few terms, and not the longer one; or the narrowed list is short.
        (UserFilter("anna old"), None, 21, 750),
        (UserFilter("anna", status="disabled"), None, 0, 250),
        # Many terms: the first 201 are looked at, or 501 of each of two words; then the next ones in order.
        (UserFilter("a"), None, 21, 350),
        (UserFilter("anna"), None, 21, 320),
        (UserFilter("family1"), None, 21, 1_300),
        (UserFilter("a f"), MIDDLE, 21, 1_400),
        # Several things that many have: walked along at once.
        (UserFilter("anna fam"), None, 21, 1_450),
        (UserFilter("anna", role=Role.VIEWER), None, 21, 1_150),
        # Where nearly everybody is in the narrowed list, some users of the word are asked.
        (UserFilter("anna", status="active"), None, 21, 550),
        (UserFilter("fa", role=Role.MEMBER, status="active"), None, 21, 750),
        # Where those are of others, 2,000 terms are passed, or 8,000 on each way; then all of the word's.
        (UserFilter("famous"), None, 21, 5_000),
        (UserFilter("famous", role=Role.VIEWER), None, 21, 22_000),
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


PEOPLE = [
    ("ada@x.example", "Ada Lovelace", "admin"),
    ("adam@x.example", "Adam Smith", "viewer"),
    *((f"anna{n}@x.example", f"Anna Ångström-{'abc'[n % 3]}", "member") for n in range(9)),
    ("bob@x.example", "Bob Anna", "viewer"),
]


NAMES = ("_FEW", "_FEW_TOGETHER", "_NEAR", "_NEAR_MERGED", "_ASKED")


@pytest.fixture
def narrow_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    """Make few, near and asked so small that a dozen users are many and far away."""
    patch = pytest.MonkeyPatch()
    for name, value in zip(NAMES, request.param, strict=True):
        patch.setattr(search_way_repository, name, value)
    search_way_repository.statement_of.cache_clear()
    yield
    patch.undo()
    search_way_repository.statement_of.cache_clear()


@pytest.mark.parametrize(
    "narrow_ways",
    [
        (1_000, 1_000, 3_000, 3_000, 60),
        (0, 0, 3_000, 3_000, 60),
        (0, 0, 2, 2, 1),
        (0, 0, 1, 9, 2),
        (3, 2, 4, 4, 3),
    ],
    indirect=True,
)
async def test_each_way_finds_what_is_there(suite: Suite, narrow_ways: None) -> None:
    tenant = await suite.tenant("custom")
    made = [await create(suite, tenant, email, name=name, role=role) for email, name, role in PEOPLE]

    def fits(user: dict[str, str], query: str, role: str | None) -> bool:
        terms = search_terms(user["email"], user["name"])
        begun = all(any(term.startswith(word) for term in terms) for word in query.split())
        return begun and role in (None, user["role"])

    for query, role in itertools.product(
        ("a", "ada", "anna", "anna angstrom", "b an", "an ang a", "x"), (None, "viewer")
    ):
        expected = [user["email"] for user in made if fits(user, query, role)]
        given = {"q": query} | ({"role": role} if role else {})
        assert await listed(suite, tenant, **given, order="asc") == expected, (query, role)
        assert await listed(suite, tenant, **given) == expected[::-1], (query, role)
        first = await suite.client.get(USERS, params=given | {"limit": 2}, headers=tenant.auth)
        path, seen = first.links.get("next", {}).get("url"), first.json()
        while path:
            answer = await suite.client.get(path, headers=tenant.auth)
            path, seen = answer.links.get("next", {}).get("url"), [*seen, *answer.json()]
        assert [user["email"] for user in seen] == expected[::-1], (query, role)
