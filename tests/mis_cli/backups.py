"""A deployment of a test's own that is backed up, wrecked and put back, and what a member sees of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from mis_cli.embedded import DatabaseUrls
from tests.answers import fine
from tests.database import Seeded, connected, seed_tenant
from tests.mis_cli.command_line import CommandLine, environment
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle, running_suite
from tests.tenant_service.requests import TENANTS

CONTENT = b"%PDF-1.7 " + bytes(range(256)) * 40


@dataclass(frozen=True, slots=True)
class OwnServers(TestServers):
    """The run's servers, whose database for a suite is the one that was made for it."""

    urls: DatabaseUrls = field(default=None)  # type: ignore[assignment]  # always given

    def database(self, name: str | None = None) -> DatabaseUrls:
        return self.urls


@dataclass(frozen=True, slots=True)
class Place:
    """A database and a store, with or without a suite on them; `store` has the settings of a remote one."""

    servers: TestServers
    urls: DatabaseUrls
    directory: Path
    store: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        return environment(self.servers) | {
            "MIS_DATABASE_URL": self.urls.app,
            "MIS_AUTH_DATABASE_URL": self.urls.auth,
            "MIS_PLATFORM_DATABASE_URL": self.urls.platform,
            "MIS_MIGRATION_DATABASE_URL": self.urls.owner,
            "MIS_STORAGE_URL": f"file://{self.directory}/storage",
            **self.store,
        }

    @property
    def mis(self) -> CommandLine:
        return CommandLine(self.env)

    @property
    def objects(self) -> Path:
        return self.directory / "storage" / "tenants"

    @asynccontextmanager
    async def suite(self) -> AsyncIterator[Suite]:
        """Run the suite here; a process that starts anew has forgotten nothing but its caches."""
        servers = self.servers
        own = OwnServers(servers.postgres, servers.redis_url, servers.worker, self.urls)
        async with running_suite(own, self.directory, storage_url=self.env["MIS_STORAGE_URL"]) as suite:
            yield suite

    @asynccontextmanager
    async def hand(self) -> AsyncIterator[asyncpg.Connection]:
        """A bare connection as the tables' owner."""
        async with connected(self.urls.owner) as hand:
            yield hand

    async def rows(self) -> dict[str, int]:
        """Return how many rows each table has."""
        async with self.hand() as hand:
            names = await hand.fetch(
                "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
            )
            return {
                one["relname"]: await hand.fetchval(f"select count(*) from only {one['relname']}")  # noqa: S608
                for one in names
            }


@dataclass(frozen=True, slots=True)
class Inhabited:
    """A tenant with a person, a file and a secret, and what its owner was answered about them."""

    tenant: TenantHandle
    member: Any
    media: str
    seen: dict[str, Any]


async def inhabit(suite: Suite, name: str) -> Inhabited:
    """Make a tenant whose every kind of content says `name`."""
    tenant = await suite.tenant("custom", name=f"Canary {name}")
    member = await suite.user(tenant, "member", name=f"Canary {name}")
    upload = await suite.client.post(
        f"/api/v1/media?filename={name}.pdf",
        content=CONTENT + name.encode(),
        headers=tenant.auth | {"Content-Type": "application/pdf"},
    )
    assert upload.status_code == 201, upload.text
    secret = {"configKey": "acme.secret", "configValue": f"canary-{name}", "isEncrypted": True}
    stored = await suite.client.post(f"{TENANTS}/{tenant.id}/config", json=secret, headers=tenant.auth)
    assert stored.is_success, stored.text
    made = Inhabited(tenant, member, upload.json()["id"], {})
    made.seen.update(await look(suite, made, tenant.auth))
    return made


async def look(suite: Suite, one: Inhabited, auth: dict[str, str]) -> dict[str, Any]:
    """Return what the tenant's owner sees: people, file, secret."""

    async def get(path: str) -> Any:
        return await suite.client.get(path, headers=auth)

    revealed = fine(await get(f"{TENANTS}/{one.tenant.id}/config/acme.secret?reveal=true"))
    people = fine(await get("/api/v1/users"))
    return {
        "people": {(person["id"], person["email"], person["name"]) for person in people},
        "content": (await get(f"/api/v1/media/{one.media}/content")).content,
        "secret": revealed["configValue"],
        "tenant": fine(await get(f"{TENANTS}/{one.tenant.id}"))["name"],
    }


async def seed_under_way(place: Place) -> Seeded:
    """Make a tenant of made-up rows in every table, whose work and webhooks are all under way.

    The keys of its rows are named as the tests' own is, which opens none of them.
    """
    seeded = await seed_tenant(place.urls.owner)
    async with place.hand() as hand:
        for table in ("tenant_data_keys", "audit_actor_keys"):
            await hand.execute(f"update {table} set master_key_id = 'test'")  # noqa: S608  # named above
        await hand.execute("update audit_seals set key_id = 'test', horizon = 1")
    return seeded
