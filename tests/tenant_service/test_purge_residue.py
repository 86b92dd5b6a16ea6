"""What is left of a purged tenant anywhere in the database: every row of every table is looked through."""

import re
from typing import Any
from uuid import UUID

import pytest

from mis_tenancy.identifiers import new_id
from tests.answers import fine
from tests.database import connected
from tests.purging import fill, purge
from tests.servers import TestServers
from tests.suite import PASSWORD, Suite, TenantHandle, UserHandle
from tests.tenant_service.requests import TENANTS, act_as, new_slug
from tests.tenant_service.test_bulk import bulk

EXPORT = {"dataTypes": ["users"], "format": "json"}

_TABLES = (
    "select relname::text from pg_class where relnamespace = 'public'::regnamespace "
    "and relkind in ('r', 'p') and not relispartition order by 1"
)
# On a cluster the coordinator holds parts of some tables under their names and a number.
_SHARD = re.compile(r"_\d{6}$")
_WORDS = (
    "select distinct word.name from {} t "
    "join unnest($1::text[], $2::text[]) as word (name, spelt) on position(spelt in lower(t::text)) > 0"
)


@pytest.fixture(scope="module")
def owner_url(test_servers: TestServers) -> str:
    return test_servers.database().owner


async def found(owner_url: str, words: dict[str, str]) -> dict[str, set[str]]:
    """Return which words stand in a row of which table, as text or as bytes."""
    spelt = [(name, word.lower()) for name, word in words.items()]
    spelt += [(name, word.encode().hex()) for name, word in words.items()]
    spelt.append(("id", UUID(words["id"]).hex))
    names, texts = zip(*spelt, strict=True)
    told: dict[str, set[str]] = {}
    async with connected(owner_url) as connection:
        for (table,) in await connection.fetch(_TABLES):
            rows = await connection.fetch(_WORDS.format(table), names, texts)
            if rows:
                told.setdefault(_SHARD.sub("", table), set()).update(row["name"] for row in rows)
    return told


async def keyed(suite: Suite, key: str, path: str, body: Any = None) -> Any:
    """Ask as the operator, under an Idempotency-Key."""
    headers = suite.operator | {"Idempotency-Key": key}
    return await suite.client.post(f"{TENANTS}{path}", json=body, headers=headers)


async def answers(owner_url: str, *keys: str) -> int:
    async with connected(owner_url) as connection:
        asked = "select count(*) from platform_idempotency_keys where key = any($1)"
        count: int = await connection.fetchval(asked, keys)
    return count


async def a_life(suite: Suite, tenant: TenantHandle, user: UserHandle) -> None:
    """Do in the tenant what may leave its name somewhere."""
    path = f"/{tenant.slug}"
    fine(await keyed(suite, new_id().hex, f"{path}/suspend", {"reason": "They asked."}))
    fine(await keyed(suite, new_id().hex, f"{path}/suspend", {"reason": "They asked."}), 409)
    fine(await keyed(suite, new_id().hex, f"{path}/reactivate"))
    await suite.hear_of_it()
    fine(await keyed(suite, new_id().hex, f"/{tenant.id}/export", EXPORT), 202)
    # Refused before anything of the tenant's is looked at.
    fine(await keyed(suite, new_id().hex, f"{path}/import", {}), 403)
    await act_as(suite, tenant)
    for email in (user.email, f"nobody@{tenant.slug}.example"):
        body = {"email": email, "password": "wrong", "tenantSlug": tenant.slug}
        await suite.post_anonymously("/api/v1/auth/login", body)
        await suite.post_anonymously("/api/v1/auth/password/forgot", body | {"password": None})
    wish = {"email": f"guest@{tenant.slug}.example", "role": "viewer"}
    owner = await suite.sign_in(tenant.slug, tenant.owner_email, tenant.owner_password)
    fine(await suite.client.post("/api/v1/auth/invitations", json=wish, headers=owner.auth), 201)
    slug = {"operation": "reactivate", "tenantId": tenant.slug, "key": new_id().hex}
    await bulk(suite, slug | {"operation": "suspend", "reason": "They asked."}, slug)


async def test_only_what_the_certificate_names_is_left_of_who_the_tenant_was(
    suite: Suite, owner_url: str
) -> None:
    """Catalogue 119."""
    slug, subdomain, key = new_slug("gone"), new_slug("sub"), new_id().hex
    name, email = f"Zephyr Works {new_id().hex}", f"zoe@{slug}.example"
    owner = {"email": email, "name": "Zoe Zephyr", "password": PASSWORD}
    body = {"name": name, "slug": slug, "plan": "custom", "subdomain": subdomain, "owner": owner}
    document = fine(await keyed(suite, key, "/create", body | {"domain": f"{slug}.example.org"}), 201)
    signed_in = await suite.sign_in(slug, email, PASSWORD)
    tenant = TenantHandle(UUID(document["id"]), slug, "custom", signed_in, document)
    await a_life(suite, tenant, await suite.user(tenant))
    await fill(owner_url, tenant.id, 1)
    words = {"id": str(tenant.id), "slug": slug, "subdomain": subdomain, "name": name, "email": email}
    assert await answers(owner_url, key) == 1
    before = await found(owner_url, words)
    assert {"users", "audit_logs", "tenant_data_keys"} <= before.keys()

    await purge(suite, tenant.id)
    path = f"{TENANTS}/{tenant.id}/deletion-certificate"
    kept = fine(await suite.client.get(path, headers=suite.operator))["claims"]["kept"]
    left = await found(owner_url, words)
    assert left.keys() <= kept.keys()
    assert left == {
        "deletion_certificates": {"id"},
        "jobs": {"id"},
        "platform_audit_logs": {"id", "slug"},
        "revocations": {"id"},
        "tenant_names": {"id", "slug", "subdomain"},
        "tenants": {"id"},
    }
    assert await answers(owner_url, key) == 0


async def test_what_a_bulk_kept_goes_with_the_tenant_that_it_tells_of(suite: Suite, owner_url: str) -> None:
    """Catalogue 119."""
    keys = [new_id().hex for _ in range(3)]
    make = {"operation": "create", "name": "Bulk", "owner": {"email": "new@acme.example"}}
    one, other = (make | {"slug": new_slug("b"), "key": key} for key in keys[:2])
    close = {"operation": "suspend", "tenantId": one["slug"], "reason": "They asked.", "key": keys[2]}
    found = await bulk(suite, one, other, close)
    assert [outcome["ok"] for outcome in found] == [True] * 3
    assert await answers(owner_url, *keys) == 3
    await purge(suite, UUID(found[0]["tenantId"]))
    assert await answers(owner_url, keys[0], keys[2]) == 0
    (again,) = await bulk(suite, other)
    assert (again["tenantId"], again["replayed"]) == (found[1]["tenantId"], True)
