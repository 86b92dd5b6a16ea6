"""The guide for adopters, followed to the letter: its files are written, migrated, imported and served."""

import asyncio
import importlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from alembic import command
from alembic.config import Config
from fastapi import FastAPI
from fastapi.requests import HTTPConnection

from mis_tenancy.fastapi import open_session, tenancy_of
from mis_tenancy.tenancy import Tenancy
from mis_tenancy.verification import isolation_faults
from tests.answers import fine, refused
from tests.database import connected
from tests.servers import TestServers
from tests.suite import MASTER_KEYS, Suite, TenantHandle

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "adopt-the-middleware.md"
FILES: Final = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Product:
    """The page's service beside the suite."""

    app: FastAPI
    alembic: Config

    @property
    def tenancy(self) -> Tenancy:
        tenancy: Tenancy = self.app.state.tenancy
        return tenancy

    def client(self, tenant: TenantHandle) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://tracker", headers=tenant.auth)


@pytest.fixture(scope="module")
async def product(
    suite: Suite, test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Product]:
    home = tmp_path_factory.mktemp("product")
    for name, text in FILES.findall(PAGE.read_text()):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    owner = test_servers.database().owner
    told = {
        "MIS_DATABASE_URL": suite.settings.database_url,
        "MIS_MIGRATION_DATABASE_URL": owner,
        "MIS_REDIS_URL": suite.settings.redis_url or "",
        "MIS_PUBLIC_URL": suite.settings.public_url,
        "MIS_BASE_DOMAINS": ",".join(suite.settings.base_domains),
        "MIS_MASTER_KEYS": MASTER_KEYS,
        "MIS_SPOOL_DIR": str(home / "spool"),
    }
    alembic = Config()
    alembic.set_main_option("script_location", str(home / "migrations"))
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(home)
        for name, value in told.items():
            patched.setenv(name, value)
        await asyncio.to_thread(command.upgrade, alembic, "head")
        settings = importlib.import_module("tracker.settings").read_settings()
        app: FastAPI = importlib.import_module("tracker.app").create_app(settings)
        async with app.router.lifespan_context(app):
            yield Product(app, alembic)
    async with connected(owner) as connection:
        await connection.execute("drop schema tracker cascade")


async def test_each_tenant_has_its_own_projects(suite: Suite, product: Product) -> None:
    ours, theirs = await suite.tenant("premium"), await suite.tenant("premium")
    async with product.client(ours) as us, product.client(theirs) as them:
        made = fine(await us.post("/projects", json={"name": "Rocket"}), 201)
        # A name that another tenant has is free, and its project is nowhere to be found.
        fine(await them.post("/projects", json={"name": "Rocket"}), 201)
        assert fine(await us.get("/projects")) == ["Rocket"]
        assert fine(await us.get(f"/projects/{made}/tasks")) == ["Invite your team"]
        assert fine(await them.get(f"/projects/{made}/tasks")) == []
        refused(await us.get("/projects", headers={"X-Tenant-ID": str(theirs.id)}), 403, "tenant_mismatch")
    counts = await importlib.import_module("tracker.welcome").count_everywhere(product.tenancy)
    assert (counts[ours.id], counts[theirs.id]) == (1, 1)


async def test_a_route_is_closed_to_strangers_and_to_who_lacks_the_permission(
    suite: Suite, product: Product
) -> None:
    tenant = await suite.tenant("premium")
    viewer = await suite.user(tenant, "viewer")
    async with product.client(tenant) as client:
        answer = await client.post("/projects", json={"name": "x"}, headers=viewer.auth)
        assert refused(answer, 403, "permission_denied")["required"] == "users:write"
        client.headers.pop("Authorization")
        refused(await client.get("/projects"), 401, "authentication_required")
        refused(await client.get("/nothing"), 404, "route_not_found")


async def test_its_tables_have_no_fault_and_its_chain_nothing_to_add(product: Product) -> None:
    base = importlib.import_module("tracker.models").Base
    assert await isolation_faults(product.tenancy.database, base) == []
    # Nor to drop: of the suite's tables it sees none.
    await asyncio.to_thread(command.check, product.alembic)


class Line:
    """An open connection, spoken to in ASGI's own words, because a client would wait for its end."""

    def __init__(self, product: Product, tenant: TenantHandle, kind: str, path: str) -> None:
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        bearer = tenant.auth["Authorization"].encode()
        scope = {
            "type": kind,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"tracker"), (b"authorization", bearer)],
            "client": ("127.0.0.1", 1),
            "server": ("tracker", 80),
            "scheme": "http",
            "http_version": "1.1",
            "state": {},
        }
        if kind == "http":
            scope["method"] = "GET"
        self.task = asyncio.create_task(product.app(scope, self.heard.get, self.sent.put))

    async def next(self) -> Any:
        async with asyncio.timeout(10):
            return await self.sent.get()


async def revoked(suite: Suite, product: Product, tenant: TenantHandle) -> None:
    answer = await suite.client.post("/api/v1/auth/logout", json={}, headers=tenant.auth)
    assert answer.status_code == 204
    await product.tenancy.feed.poll()


async def test_a_stream_ends_with_the_session_of_who_reads_it(suite: Suite, product: Product) -> None:
    tenant = await suite.tenant("premium")
    line = Line(product, tenant, "http", "/events")
    await line.heard.put({"type": "http.request", "body": b"", "more_body": False})
    assert (await line.next())["status"] == 200
    assert (await line.next())["body"] == b"data: 0\n\n"
    # While it waits it holds no connection.
    assert product.tenancy.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    await revoked(suite, product, tenant)
    assert await line.next() == {"type": "http.response.body", "body": b"", "more_body": False}
    await line.task


async def test_a_socket_closes_with_the_session_of_who_speaks(suite: Suite, product: Product) -> None:
    tenant = await suite.tenant("premium")
    line = Line(product, tenant, "websocket", "/live")
    await line.heard.put({"type": "websocket.connect"})
    assert (await line.next())["type"] == "websocket.accept"
    await line.heard.put({"type": "websocket.receive", "text": "x"})
    assert (await line.next())["text"] == "0"
    await revoked(suite, product, tenant)
    await line.heard.put({"type": "websocket.receive", "text": "x"})
    assert (await line.next())["type"] == "websocket.close"
    await line.task


async def test_a_socket_gets_no_session_for_its_whole_life() -> None:
    with pytest.raises(RuntimeError, match="lives longer than a transaction"):
        await anext(open_session(HTTPConnection({"type": "websocket"})))


async def test_an_application_that_was_given_no_tenancy_says_so() -> None:
    """One that is mounted inside another has a state of its own."""
    with pytest.raises(RuntimeError, match="Set `app"):
        tenancy_of(HTTPConnection({"type": "http", "app": FastAPI()}))
