"""The operators' list among many tenants: what finds them, and that a page reads no more than it shows."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from mis_http.pages import Page
from mis_tenancy.database import Database
from mis_tenancy.plans import PlanName
from mis_tenancy.tenant import TenantStatus
from tenant_service.lifecycle.filters import TenantFilter
from tenant_service.lifecycle.list_repository import anywhere, listing, nearby
from tenant_service.lifecycle.search import query_of
from tests.answers import fine
from tests.citus import one_postgres
from tests.database import connected
from tests.plans import scans_of
from tests.servers import TestServers
from tests.suite import Suite
from tests.tenant_service.requests import TENANTS, create, new_slug, patch

MANY = 20_000
# Every third is on basic, every hundredth suspended, and the newest thousand is purged.
FILL = f"""
insert into tenants (id, name, slug, subdomain, plan, status, status_since, created_at, updated_at, search)
select (lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid, 'Tenant ' || n, 't' || n, 't' || n,
       (array['basic', 'premium', 'custom'])[1 + n % 3],
       case when n > {MANY - 1_000} then 'purged' when n % 100 = 0 then 'suspended' else 'active' end,
       now(), now(), now(), array_to_tsvector(array['tenant', 't' || n])
  from generate_series(1, {MANY}) n on conflict do nothing
"""  # noqa: S608  # a number of ours


@pytest.fixture(scope="module")
async def platform(test_servers: TestServers) -> AsyncIterator[Database]:
    urls = test_servers.database("directory")
    async with connected(urls.owner) as owner:
        await owner.execute(FILL)
        await owner.execute("vacuum analyze tenants")
    database = Database(urls.platform)
    await database.start()
    yield database
    await database.stop()


MIDDLE = UUID(int=(MANY // 2) << 80 | 0x7000_8000_0000_0000_0000)


@one_postgres
@pytest.mark.parametrize("after", [None, MIDDLE], ids=["newest", "middle"])
@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("plan", [None, PlanName.BASIC])
@pytest.mark.parametrize("status", [None, TenantStatus.ACTIVE, TenantStatus.SUSPENDED, TenantStatus.PURGED])
async def test_a_page_reads_what_it_shows_however_it_is_narrowed(
    platform: Database,
    status: TenantStatus | None,
    plan: PlanName | None,
    ascending: bool,
    after: UUID | None,
) -> None:
    statement = listing(TenantFilter(status, plan), Page(50, ascending, after))
    async with platform.platform_transaction() as session:
        (scan,) = await scans_of(session, statement, "tenants")
        shown = list(await session.scalars(statement))
    assert all(one.status == (status or one.status) and one.plan == (plan or one.plan) for one in shown)
    assert status is not None or all(one.status != "purged" for one in shown)
    assert [one.id for one in shown] == sorted((one.id for one in shown), reverse=not ascending)
    assert len(shown) == 51 or status in (TenantStatus.SUSPENDED, TenantStatus.PURGED)
    assert scan.kind in ("Index Scan", "Index Only Scan"), scan
    assert scan.rows <= 51, scan


@one_postgres
@pytest.mark.parametrize(("text", "most"), [("t777", 12), ("t12 ten", 1_200), ("nobody", 0)])
async def test_a_search_reads_what_it_finds(platform: Database, text: str, most: int) -> None:
    query = query_of(text)
    assert query is not None
    async with platform.platform_transaction() as session:
        (scan,) = await scans_of(session, anywhere(TenantFilter(text=text), Page(50), query), "tenants")
    assert scan.kind == "Bitmap Heap Scan", scan
    assert scan.rows <= most, scan


@one_postgres
@pytest.mark.parametrize("after", [None, MIDDLE], ids=["newest", "middle"])
async def test_a_search_that_finds_nearly_all_looks_at_the_next_ones_only(
    platform: Database, after: UUID | None
) -> None:
    asked, page, query = TenantFilter(text="ten"), Page(50, after=after), query_of("ten")
    assert query is not None
    async with platform.platform_transaction() as session:
        (scan,) = await scans_of(session, nearby(asked, page, query), "tenants")
        found = list(await session.scalars(nearby(asked, page, query)))
        collected = list(await session.scalars(anywhere(asked, page, query)))
    assert scan.kind == "Index Scan", scan
    assert scan.rows <= 2_000, scan
    assert found == collected
    assert len(found) == 51


async def found(suite: Suite, **query: Any) -> list[str]:
    answer = await suite.client.get(TENANTS, params=query, headers=suite.operator)
    return [one["slug"] for one in fine(answer)]


async def test_a_tenant_is_found_by_the_beginning_of_any_of_its_words_in_any_case_or_accent(
    suite: Suite,
) -> None:
    mark = new_slug("w").partition("-")[2]
    slug = f"zur-{mark}"
    body = {"name": f"Café Müller-{mark} & Söhne", "slug": slug, "subdomain": f"sub-{mark}"}
    tenant = fine(await create(suite, **body, domain=f"www.{mark}.example"), 201)
    for q in (
        slug,
        f"zur-{mark[:8]}",
        mark,
        mark[:9].upper(),
        f"MUELLER {mark}",
        f"sub-{mark}",
        f"www.{mark}",
    ):
        expected = [] if q.startswith("MUELLER") else [slug]
        assert await found(suite, q=q) == expected, q
    for q in (f"{mark} muller", f"CAFÉ {mark}", f"{mark} soh", f"müller-{mark}"):
        assert await found(suite, q=q) == [slug], q
    assert await found(suite, q=f"{mark[1:]}") == []
    fine(await patch_name(suite, tenant["id"], f"Bäckerei {mark}"))
    assert await found(suite, q=f"{mark} backerei") == [slug]
    assert await found(suite, q=f"{mark} cafe") == []


async def patch_name(suite: Suite, tenant: str, name: str) -> Any:
    return await suite.client.patch(f"{TENANTS}/{tenant}", json={"name": name}, headers=suite.operator)


@pytest.mark.parametrize("q", ["'", "\\", "a' | 'b", "foo:*", "!", "& |", "<->", "(", '"', "☃", "%", "a\\'"])
async def test_what_means_something_to_text_search_is_a_character_like_any_other(
    suite: Suite, q: str
) -> None:
    """Catalogue 43."""
    assert await found(suite, q=f"{new_slug()} {q}") == []


async def test_a_member_may_rename_the_tenant_and_it_is_found_by_the_new_name(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    mark = new_slug("m").partition("-")[2]
    fine(await patch(suite, tenant, tenant.auth, name=f"Renamed {mark}"))
    assert await found(suite, q=mark) == [tenant.slug]
