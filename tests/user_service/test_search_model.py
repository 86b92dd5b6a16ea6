"""What a search finds is what a model finds that looks at everybody, whichever way it takes."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mis_accounts.search_terms import folded, search_terms
from mis_http.pages import Page
from mis_tenancy.database import Database
from mis_tenancy.identifiers import new_id
from mis_tenancy.tenant import Role
from tests.database import connected
from tests.servers import TestServers
from user_service.users import search_repository, search_way_repository
from user_service.users.filters import UserFilter
from user_service.users.repository import page_through_door

_TENANT = """
insert into tenants (id, name, slug, subdomain, plan, status, status_since, created_at, updated_at)
values ($1, 'Model', $1::uuid::text, $1::uuid::text, 'custom', 'active', now(), now(), now())
"""
_USER = """
insert into users (tenant_id, id, email, email_norm, name, role, status, attributes, created_at, updated_at)
values ($1, $2, $3, $3, $4, $5, $6, '{}', $7, $7)
"""
_TERM = "insert into user_terms (tenant_id, term, user_id) values ($1, $2, $3)"

Person = tuple[str, str, str]


@dataclass
class Model:
    """A tenant in the database, and what is known of it."""

    owner: asyncpg.Connection
    tenant_id: UUID = field(default_factory=new_id)
    users: list[tuple[UUID, set[str], str, str]] = field(default_factory=list)

    async def add(self, name: str, role: str, status: str) -> None:
        """Add the newest user."""
        user_id, email = new_id(), f"{folded(name)[:1]}{len(self.users)}@x.example"
        terms, now = search_terms(email, name), datetime.now(UTC)
        await self.owner.execute(_USER, self.tenant_id, user_id, email, name, role, status, now)
        await self.owner.executemany(_TERM, [(self.tenant_id, term, user_id) for term in terms])
        self.users.append((user_id, terms, role, status))

    def finds(self, wanted: UserFilter) -> list[UUID]:
        """Return who fits, oldest first."""

        def fits(terms: set[str], role: str, status: str) -> bool:
            begun = all(any(term.startswith(word) for term in terms) for word in wanted.query.split())
            return begun and wanted.role in (None, role) and wanted.status in (None, status)

        return sorted(user_id for user_id, terms, role, status in self.users if fits(terms, role, status))


@pytest.fixture(scope="module")
async def database(test_servers: TestServers) -> AsyncIterator[Database]:
    database = Database(test_servers.database().app)
    await database.start()
    yield database
    await database.stop()


@pytest.fixture(scope="module")
async def owner(test_servers: TestServers) -> AsyncIterator[asyncpg.Connection]:
    async with connected(test_servers.database().owner) as owner:
        yield owner


@pytest.fixture(scope="module", params=[(100, 8, 10_000, 6), (1, 2, 30, 6), (1, 2, 30, 1), (6, 8, 0, 1)])
def steps(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the first statement see all, or so little that a dozen users are many and far away, or nothing."""
    *looked_at, passed = request.param
    patch = pytest.MonkeyPatch()
    for name, value in zip(("_LOOKED_AT", "_FURTHER", "_MOST"), looked_at, strict=True):
        patch.setattr(search_repository, name, value)
    for name in ("_PASSED", "_PASSED_OF_ALL"):
        patch.setattr(search_way_repository, name, passed)
    search_way_repository.looking.cache_clear()
    yield
    patch.undo()
    search_way_repository.looking.cache_clear()


_WORD = st.text("ab", min_size=1, max_size=3)
_WORDS = st.lists(_WORD, min_size=1, max_size=3).map(" ".join)
_ROLES = st.sampled_from(["member", "member", "viewer"])
_STATUSES = st.sampled_from(["active", "active", "disabled"])


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    people=st.lists(st.tuples(_WORDS, _ROLES, _STATUSES), min_size=15, max_size=30),
    queries=st.lists(
        st.tuples(
            _WORDS,
            st.sampled_from([None, Role.MEMBER, Role.MEMBER, Role.VIEWER, Role.OWNER]),
            st.sampled_from([None, None, "active", "active", "disabled", "invited"]),
        ),
        min_size=3,
        max_size=6,
    ),
    limit=st.integers(1, 4),
    ascending=st.booleans(),
    joining=st.lists(st.tuples(_WORDS, _ROLES, _STATUSES), max_size=3),
)
async def test_each_user_who_fits_is_found_once_whoever_joins_meanwhile(
    database: Database,
    owner: asyncpg.Connection,
    steps: None,
    people: list[Person],
    queries: list[tuple[str, Role | None, str | None]],
    limit: int,
    ascending: bool,
    joining: list[Person],
) -> None:
    """Catalogue 49."""
    model = Model(owner)
    await owner.execute(_TENANT, model.tenant_id)
    for person in people:
        await model.add(*person)
    for query in queries:
        wanted, coming = UserFilter(*query), list(joining)
        before = model.finds(wanted)
        found, after = list[UUID](), None
        while True:
            page = Page(limit, ascending, after)
            rows: list[Any] = list(await page_through_door(database, model.tenant_id, wanted, page))
            shown = [row["id"] for row in rows[:limit]]
            found += shown
            if len(rows) <= limit:
                break
            after = shown[-1]
            if coming:
                await model.add(*coming.pop())
        there = model.finds(wanted)
        # Newcomers stand at the end of the list from the oldest on, and before what is left of the other.
        assert found == (there if ascending else before[::-1]), (wanted, ascending)
