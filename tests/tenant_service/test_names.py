"""Slugs and subdomains: one namespace, held by one tenant at a time and for a while after."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import select, update

from mis_tenancy.tables import TenantNameRow
from tenant_service.lifecycle.amendment import MOST_HELD_BACK
from tests.answers import fine, refused
from tests.suite import Suite
from tests.tenant_service.requests import TENANTS, create, new_slug, patch


async def names_of(suite: Suite, tenant_id: UUID) -> dict[str, datetime | None]:
    async with suite.tenancy("tenant").database.transaction(tenant_id) as session:
        return {row.name: row.reserved_until for row in await session.scalars(select(TenantNameRow))}


async def test_a_name_held_in_either_role_is_refused_to_all_others(suite: Suite) -> None:
    slug, subdomain = new_slug("s"), new_slug("d")
    fine(await create(suite, slug=slug, subdomain=subdomain), 201)
    refused(await create(suite, slug=slug), 409, "slug_taken")
    refused(await create(suite, slug=subdomain), 409, "slug_taken")
    refused(await create(suite, subdomain=slug), 409, "subdomain_taken")
    refused(await create(suite, subdomain=subdomain.upper()), 409, "subdomain_taken")
    # A refused creation took none of its names.
    free = new_slug("f")
    refused(await create(suite, slug=free, subdomain=slug), 409, "subdomain_taken")
    fine(await create(suite, slug=free), 201)


async def test_a_released_name_stays_reserved_and_comes_back_only_to_its_tenant(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    renamed = new_slug("r")
    fine(await patch(suite, tenant, suite.operator, slug=renamed, subdomain=renamed))
    held = await names_of(suite, tenant.id)
    assert held[renamed] is None
    until = held[tenant.slug]
    assert until is not None
    assert timedelta(days=89) < until - datetime.now(UTC) <= timedelta(days=90)
    refused(await create(suite, slug=tenant.slug), 409, "slug_taken")
    fine(await patch(suite, tenant, suite.operator, slug=tenant.slug))
    held = await names_of(suite, tenant.id)
    assert held == {tenant.slug: None, renamed: None}


async def test_a_name_is_free_again_when_its_time_has_passed(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    fine(await patch(suite, tenant, suite.operator, slug=(renamed := new_slug("r")), subdomain=renamed))
    async with suite.tenancy("tenant").database.transaction(tenant.id) as session:
        await session.execute(
            update(TenantNameRow)
            .where(TenantNameRow.name == tenant.slug)
            .values(reserved_until=datetime.now(UTC) - timedelta(seconds=1))
        )
    successor = fine(await create(suite, slug=tenant.slug), 201)
    assert tenant.slug not in await names_of(suite, tenant.id)
    assert await names_of(suite, UUID(successor["id"])) == {tenant.slug: None}


async def test_a_renamed_tenant_keeps_its_old_slug_as_subdomain(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    renamed = new_slug("r")
    changed = fine(await patch(suite, tenant, suite.operator, slug=renamed))
    assert (changed["slug"], changed["subdomain"]) == (renamed, tenant.slug)
    assert await names_of(suite, tenant.id) == {renamed: None, tenant.slug: None}
    # The token still says the old slug, which proves nothing and so contradicts nothing.
    fine(await suite.client.get(f"{TENANTS}/{renamed}", headers=tenant.auth))
    refused(await suite.client.get(f"{TENANTS}/{tenant.slug}", headers=tenant.auth), 404, "tenant_not_found")


async def test_a_member_may_change_the_subdomain_but_not_to_anothers(suite: Suite) -> None:
    tenant, other = await suite.tenant("custom"), await suite.tenant("custom")
    refused(await patch(suite, tenant, tenant.auth, subdomain=other.slug), 409, "subdomain_taken")
    refused(await patch(suite, tenant, tenant.auth, subdomain="www"), 422, "slug_reserved")
    subdomain = new_slug("sub")
    assert fine(await patch(suite, tenant, tenant.auth, subdomain=subdomain))["subdomain"] == subdomain


async def test_a_tenant_can_hold_back_only_so_many_names(suite: Suite) -> None:
    tenant = await suite.tenant("custom")
    given_up = [tenant.slug]
    for _ in range(MOST_HELD_BACK + 1):
        fine(await patch(suite, tenant, tenant.auth, subdomain=(name := new_slug("s"))))
        given_up.append(name)
    problem = refused(
        await patch(suite, tenant, tenant.auth, subdomain=new_slug("s")), 409, "name_limit_exceeded"
    )
    assert (problem["limit"], problem["used"]) == (MOST_HELD_BACK, MOST_HELD_BACK)
    until = (await names_of(suite, tenant.id))[given_up[1]]
    assert until is not None
    assert datetime.fromisoformat(problem["freeAt"]) == until
    # To take back one of its own is always possible, and an operator is not held to it.
    fine(await patch(suite, tenant, tenant.auth, subdomain=given_up[1]))
    fine(await patch(suite, tenant, suite.operator, subdomain=new_slug("s")))
    fine(await patch(suite, tenant, suite.operator, subdomain=new_slug("s")))


async def test_an_old_slug_stops_resolving_and_never_serves_its_successor_from_a_cache(suite: Suite) -> None:
    """Catalogue 23."""
    tenant = await suite.tenant("custom")
    renamed = new_slug("r")
    async with suite.client_at("10.99.2.1") as client:
        path, hint = f"{TENANTS}/resolve", {"X-Tenant-Slug": tenant.slug}
        assert fine(await client.get(path, headers=hint))["verdict"] == "accepted"
        fine(await patch(suite, tenant, suite.operator, slug=renamed, subdomain=renamed))
        assert fine(await client.get(path, headers=hint))["code"] == "tenant_not_found"
        assert fine(await client.get(path, headers={"X-Tenant-Slug": renamed}))["verdict"] == "accepted"
