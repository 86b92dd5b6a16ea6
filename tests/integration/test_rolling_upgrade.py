"""Processes of this version on the next version's schema, which its migrations have expanded already."""

import secrets
from collections.abc import AsyncIterator

import httpx
import pytest

from mis_cli.backups.clusters import WITHOUT_PARTS
from tests.answers import fine
from tests.database import connected
from tests.integration.rig import AUTH, TENANTS, USERS
from tests.mis_cli.backups import OwnServers, inhabit, look
from tests.purging import purge, rows_by_table
from tests.servers import TestServers
from tests.suite import Suite, running_suite
from tests.tenant_service.exports import ask_for, job_for, jobs_of, status_of

# What a version may do to a table that the one before it still writes to.
_EXPANSIONS = (
    "alter table {} add column next_text text",
    "alter table {} add column next_number integer not null default 7",
    "create index on {} (next_text)",
)


@pytest.fixture(scope="module")
async def ahead(
    test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Suite, str]]:
    """A suite that was started on a schema it does not know yet, and the owner's URL of its database."""
    urls = test_servers.database("ahead")
    async with connected(urls.owner) as owner:
        await owner.execute(f"set {WITHOUT_PARTS}")
        tables = await owner.fetch(
            "select oid::regclass::text as name from pg_class where relkind in ('r', 'p') and not "
            "relispartition and relnamespace = 'public'::regnamespace and relname <> 'alembic_version'"
        )
        for table in tables:
            for expansion in _EXPANSIONS:
                await owner.execute(expansion.format(table["name"]))
        await owner.execute("update alembic_version set version_num = 'next'")
    own = OwnServers(test_servers.postgres, test_servers.redis_url, test_servers.worker, urls)
    async with running_suite(own, tmp_path_factory.mktemp("ahead")) as suite:
        yield suite, urls.owner


async def test_a_process_works_on_the_schema_of_the_next_version(ahead: tuple[Suite, str]) -> None:
    """Catalogue 140."""
    suite, _ = ahead
    one = await inhabit(suite, "one")
    other = await inhabit(suite, "other")
    for app in suite.apps.values():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
            fine(await client.get("/readyz"))
    tenant = one.tenant
    fine(await suite.client.patch(f"{USERS}/{one.member.id}", json={"name": "New"}, headers=tenant.auth))
    body = {"email": f"{secrets.token_hex(4)}@acme.example", "role": "member"}
    fine(await suite.client.post(f"{AUTH}/invitations", json=body, headers=tenant.auth), 201)
    moved = await suite.client.post(
        f"{TENANTS}/{tenant.id}/config",
        json={"configKey": "session.timeout", "configValue": 900},
        headers=tenant.auth,
    )
    fine(moved)
    asked = fine(await ask_for(suite, tenant), 202)
    await jobs_of(suite).run(job_for(tenant, asked["exportId"]))
    done = await status_of(suite, tenant, asked["exportId"])
    assert (done["status"], done["error"]) == ("completed", None)
    for path in ("usage", "health", "billing", "invoices", "alerts", "audit-logs/verify"):
        fine(await suite.client.get(f"{TENANTS}/{tenant.id}/{path}", headers=tenant.auth))
    verdict = await suite.client.post(f"{TENANTS}/{tenant.id}/isolation/verify", headers=tenant.auth)
    assert fine(verdict)["status"] == "isolated"
    assert await look(suite, other, other.tenant.auth) == other.seen


async def test_a_tenant_is_purged_from_the_schema_of_the_next_version(ahead: tuple[Suite, str]) -> None:
    """Catalogue 119, 140."""
    suite, owner_url = ahead
    one = await inhabit(suite, "gone")
    await purge(suite, one.tenant.id)
    left = await rows_by_table(owner_url, one.tenant.id)
    assert {name for name, count in left.items() if count} <= {"deletion_certificates", "revocations"}
