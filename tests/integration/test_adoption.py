"""The service of docs/adopt-the-middleware.md, taken from the page and run as it stands there."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from mis_tenancy.settings import TenancySettings
from tests.servers import TestServers
from tests.suite import Suite

PAGE = Path(__file__).parents[2] / "docs" / "adopt-the-middleware.md"


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
async def adopted(suite: Suite, test_servers: TestServers) -> AsyncIterator[FastAPI]:
    owner = await asyncpg.connect(test_servers.database().owner)
    # One after the other, as Citus takes no key to the directory among several statements.
    for statement in filter(str.strip, block("sql").split(";")):
        await owner.execute(statement)
    module = ModuleType("adopted")
    exec(compile(block("python"), str(PAGE), "exec"), module.__dict__)  # noqa: S102  # the page's own code
    settings: TenancySettings = suite.settings.tenancy("projects")
    app: FastAPI = module.create_app(settings)
    async with app.router.lifespan_context(app):
        yield app
    table = module.Project.__table__
    table.metadata.remove(table)
    await owner.execute("drop table projects")
    await owner.close()


async def test_the_pages_service_shows_each_tenant_its_own_rows(adopted: FastAPI, suite: Suite) -> None:
    one, other = await asyncio.gather(suite.tenant("premium"), suite.tenant("premium"))
    transport = httpx.ASGITransport(app=adopted)
    async with httpx.AsyncClient(transport=transport, base_url="http://projects.example") as client:
        for tenant, name in ((one, "Bridge"), (other, "Tunnel")):
            made = await client.post("/projects", json={"name": name}, headers=tenant.auth)
            assert made.status_code == 201
        assert (await client.get("/projects", headers=one.auth)).json() == ["Bridge"]
        assert (await client.get("/projects", headers=other.auth)).json() == ["Tunnel"]
        crossed = await client.get("/projects", headers={**one.auth, "X-Tenant-ID": str(other.id)})
        assert (crossed.status_code, crossed.json()["code"]) == (403, "tenant_mismatch")
        assert (await client.get("/projects")).status_code == 401
        assert (await client.get("/nothing")).json()["code"] == "route_not_found"
