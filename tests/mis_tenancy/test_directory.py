"""The cache of tenants: one load for many callers, nothing stale kept, nothing unbounded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from mis_cli.embedded import DatabaseUrls
from mis_tenancy.database import Database
from mis_tenancy.directory import TenantDirectory
from mis_tenancy.identifiers import new_id
from mis_tenancy.plans import Feature, PlanName
from mis_tenancy.tenant import TenantStatus
from tests.database import connected
from tests.mis_tenancy.conftest import Teams


class Watched:
    """The database as the directory sees it: its reads are counted and, if wanted, held up."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reads = 0
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.has_read = asyncio.Event()

    @asynccontextmanager
    async def system_transaction(self, tenant_id: UUID | None = None) -> AsyncIterator[Any]:
        async with self._database.system_transaction(tenant_id) as system:
            yield system
            self.reads += 1
            self.has_read.set()
            await self.go_on.wait()


@pytest.fixture
async def watched(doors: Database) -> Watched:
    return Watched(doors)


@pytest.fixture
def directory(watched: Watched) -> TenantDirectory:
    return TenantDirectory(watched)  # type: ignore[arg-type]  # the part of a Database that it uses


@pytest.fixture
async def owner(door_urls: DatabaseUrls, teams: Teams) -> AsyncIterator[asyncpg.Connection]:
    async with connected(door_urls.owner) as connection:
        yield connection


async def tenant(owner: asyncpg.Connection, **columns: Any) -> UUID:
    """Create a tenant and return its id; its slug and subdomain are new unless given."""
    name = f"t{uuid4().hex}"
    row: dict[str, Any] = {
        "id": new_id(),
        "name": "A tenant",
        "slug": name,
        "subdomain": name,
        "plan": "basic",
        "status": "active",
        **dict.fromkeys(("status_since", "created_at", "updated_at"), datetime.now(UTC)),
    } | columns
    places = ", ".join(f"${at}" for at in range(1, len(row) + 1))
    await owner.execute(f"insert into tenants ({', '.join(row)}) values ({places})", *row.values())  # noqa: S608
    tenant_id: UUID = row["id"]
    return tenant_id


async def rename(owner: asyncpg.Connection, tenant_id: UUID, **names: str) -> None:
    for column, value in names.items():
        await owner.execute(f"update tenants set {column} = $1 where id = $2", value, tenant_id)  # noqa: S608


async def test_a_tenant_is_found_by_id_and_by_every_name(
    directory: TenantDirectory, owner: asyncpg.Connection
) -> None:
    names = {"slug": f"s{uuid4().hex}", "subdomain": f"d{uuid4().hex}", "domain": f"{uuid4().hex}.example"}
    tenant_id = await tenant(owner, **names, domain_verified_at=datetime.now(UTC), plan="premium", epoch=4)
    found = await directory.by_id(tenant_id)
    assert found is not None
    assert (found.id, found.slug, found.subdomain, found.domain) == (tenant_id, *names.values())
    assert (found.plan, found.status, found.epoch) == (PlanName.PREMIUM, TenantStatus.ACTIVE, 4)
    assert found.has(Feature.CUSTOM_BRANDING)
    assert type(found.id) is UUID
    assert await directory.by_slug(names["slug"]) is found
    assert await directory.by_subdomain(names["subdomain"]) is found
    assert await directory.by_domain(names["domain"]) is found
    assert await directory.by_slug(names["subdomain"]) is None
    assert await directory.by_subdomain(names["slug"]) is None


async def test_an_unverified_domain_names_nobody(
    directory: TenantDirectory, owner: asyncpg.Connection
) -> None:
    """Catalogue 24."""
    domain = f"{uuid4().hex}.example"
    tenant_id = await tenant(owner, domain=domain)
    assert await directory.by_domain(domain) is None
    found = await directory.by_id(tenant_id)
    assert found is not None
    assert found.domain is None


async def test_a_purged_tenants_names_are_nobodys(
    directory: TenantDirectory, owner: asyncpg.Connection
) -> None:
    slug = f"s{uuid4().hex}"
    await tenant(owner, slug=slug, status="purged")
    assert await directory.by_slug(slug) is None


async def test_its_own_plain_values_of_known_keys_are_in_a_tenants_configuration(
    directory: TenantDirectory, owner: asyncpg.Connection
) -> None:
    tenant_id, other = await tenant(owner), await tenant(owner)
    values = [
        (tenant_id, "api.burst_limit", "7", False),
        (tenant_id, "security.password_policy", '{"minLength": 11}', False),
        (tenant_id, "session.timeout", '{"ciphertext": ""}', True),
        (tenant_id, "free.key", '"not for the directory"', False),
        (other, "api.burst_limit", "8", False),
    ]
    await owner.executemany(
        "insert into tenant_configurations (tenant_id, id, config_key, config_value, is_encrypted, version, "
        "created_at, updated_at) values ($1, gen_random_uuid(), $2, $3, $4, 1, now(), now())",
        values,
    )
    found = await directory.by_id(tenant_id)
    assert found is not None
    assert found.burst_limit == 7
    assert found.configuration["security.password_policy"]["minLength"] == 11
    assert found.configuration["security.password_policy"]["requireNumbers"] is True
    assert found.configuration["session.timeout"] == 3_600
    assert "free.key" not in found.configuration


async def test_a_hit_asks_nothing(
    directory: TenantDirectory, watched: Watched, owner: asyncpg.Connection
) -> None:
    tenant_id = await tenant(owner)
    first = await directory.by_id(tenant_id)
    assert directory.cached(tenant_id) is first
    for _ in range(5):
        assert await directory.by_id(tenant_id) is first
    assert watched.reads == 1


async def test_many_callers_at_once_cause_one_load(
    directory: TenantDirectory, watched: Watched, owner: asyncpg.Connection
) -> None:
    slug = f"s{uuid4().hex}"
    tenant_id = await tenant(owner, slug=slug)
    found = await asyncio.gather(*(directory.by_slug(slug) for _ in range(50)))
    assert {one.id for one in found if one} == {tenant_id}
    # The name's owner, then the tenant.
    assert watched.reads == 2


async def test_a_caller_that_leaves_does_not_take_the_load_away_from_the_others(
    directory: TenantDirectory, watched: Watched, owner: asyncpg.Connection
) -> None:
    tenant_id = await tenant(owner)
    watched.go_on.clear()
    leaving, staying = (asyncio.create_task(directory.by_id(tenant_id)) for _ in range(2))
    await watched.has_read.wait()
    leaving.cancel()
    watched.go_on.set()
    found = await staying
    assert found is not None
    assert leaving.cancelled()
    assert watched.reads == 1


async def test_what_was_invalidated_while_it_was_read_is_not_kept(
    directory: TenantDirectory, watched: Watched, owner: asyncpg.Connection
) -> None:
    """Catalogue 23."""
    tenant_id = await tenant(owner, status="active")
    watched.go_on.clear()
    reading = asyncio.create_task(directory.by_id(tenant_id))
    await watched.has_read.wait()
    await owner.execute("update tenants set status = 'suspended' where id = $1", tenant_id)
    directory.invalidate(tenant_id)
    watched.go_on.set()
    await reading
    assert directory.cached(tenant_id) is None
    found = await directory.by_id(tenant_id)
    assert found is not None
    assert found.status is TenantStatus.SUSPENDED


async def test_news_of_one_tenant_leaves_the_loads_of_others_alone(
    directory: TenantDirectory, watched: Watched, owner: asyncpg.Connection
) -> None:
    tenant_id = await tenant(owner)
    watched.go_on.clear()
    reading = asyncio.create_task(directory.by_id(tenant_id))
    await watched.has_read.wait()
    directory.invalidate(new_id())
    watched.go_on.set()
    assert await reading is directory.cached(tenant_id)


async def test_a_renamed_tenant_is_no_longer_found_by_its_old_name(
    directory: TenantDirectory, owner: asyncpg.Connection
) -> None:
    """Catalogue 23."""
    old, new = f"s{uuid4().hex}", f"s{uuid4().hex}"
    tenant_id = await tenant(owner, slug=old)
    assert await directory.by_slug(old) is not None
    await rename(owner, tenant_id, slug=new)
    directory.invalidate(tenant_id)
    assert await directory.by_slug(old) is None
    found = await directory.by_slug(new)
    assert found is not None
    assert found.id == tenant_id


async def test_a_name_that_another_tenant_took_over_leads_to_that_tenant(
    directory: TenantDirectory, owner: asyncpg.Connection
) -> None:
    """Catalogue 23."""
    name = f"s{uuid4().hex}"
    a, b = await tenant(owner, slug=name), await tenant(owner)
    assert await directory.by_slug(name) is not None
    await rename(owner, a, slug=f"s{uuid4().hex}")
    await rename(owner, b, slug=name)
    # News of the one that lost the name is enough.
    directory.invalidate(a)
    directory.invalidate(b)
    found = await directory.by_slug(name)
    assert found is not None
    assert found.id == b


async def test_a_name_known_to_be_nobodys_asks_nothing_until_there_is_news(
    directory: TenantDirectory, watched: Watched, owner: asyncpg.Connection
) -> None:
    name = f"s{uuid4().hex}"
    for _ in range(3):
        assert await directory.by_slug(name) is None
    assert watched.reads == 1
    tenant_id = await tenant(owner, slug=name)
    assert await directory.by_slug(name) is None
    directory.invalidate(tenant_id)
    assert await directory.by_slug(name) is not None


async def test_a_name_looked_up_while_its_tenant_was_made_is_not_kept_as_nobodys(
    directory: TenantDirectory, watched: Watched, owner: asyncpg.Connection
) -> None:
    name = f"s{uuid4().hex}"
    watched.go_on.clear()
    asking = asyncio.create_task(directory.by_slug(name))
    await watched.has_read.wait()
    tenant_id = await tenant(owner, slug=name)
    directory.invalidate(tenant_id)
    watched.go_on.set()
    await asking
    assert await directory.by_slug(name) is not None


async def test_an_unknown_id_is_nobody(directory: TenantDirectory) -> None:
    assert await directory.by_id(new_id()) is None


async def test_a_load_that_fails_is_told_to_its_callers_and_tried_again(
    directory: TenantDirectory, watched: Watched, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant_id = await tenant(owner)

    def away(tenant_id: UUID | None = None) -> Any:
        raise ConnectionRefusedError

    with monkeypatch.context() as patched:
        patched.setattr(watched, "system_transaction", away)
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await directory.by_id(tenant_id)
    assert await directory.by_id(tenant_id) is not None


async def test_the_cache_holds_no_more_than_it_may(watched: Watched, owner: asyncpg.Connection) -> None:
    directory = TenantDirectory(watched, capacity=3)  # type: ignore[arg-type]  # as above
    names = [f"s{uuid4().hex}" for _ in range(6)]
    tenants = [await tenant(owner, slug=name) for name in names]
    for name in names:
        await directory.by_slug(name)
        await directory.by_id(tenants[0])
        await directory.by_slug(f"nobody-{name}")
    # The least recently used ones went; the one in constant use stayed.
    assert [directory.cached(one) is not None for one in tenants] == [True, False, False, False, True, True]
    assert len(directory._ids) == len(directory._nobodys) == 3
