"""A suite on a database of its own, and a worker's relay and sending over it, for the tests of webhooks."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prometheus_client import CollectorRegistry

from mis_cli.embedded import DatabaseUrls
from mis_http.outbound.reach import Reach
from mis_tenancy.database import Database
from mis_tenancy.encryption import TenantKeys
from mis_tenancy.redis import Redis
from tenant_service.webhooks.metrics import WebhookMetrics
from tenant_service.webhooks.relay import Relay
from tenant_service.webhooks.sending import Sending
from tenant_service.webhooks.transport import TOTAL_SECONDS, Transport
from tests.answers import fine
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle, running_suite
from tests.tenant_service.receiver import Receiver, receiving
from tests.tenant_service.requests import TENANTS

EVENTS = ["user.created", "user.updated", "user.disabled", "user.deleted"]


class OwnDatabase(TestServers):
    """The run's servers, whose database for a suite is a further one, because a relay works on all of it."""

    def database(self, name: str | None = None) -> DatabaseUrls:
        return super().database(name or "webhooks")


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook made through the API: its path at the receiver is its own."""

    tenant: TenantHandle
    id: UUID
    path: str
    secret: str

    @property
    def route(self) -> str:
        return f"{TENANTS}/{self.tenant.id}/webhooks/{self.id}"


@dataclass(frozen=True, slots=True)
class Post:
    """The suite, its database and a receiver on loopback, which the suite's setting lets webhooks reach."""

    suite: Suite
    urls: DatabaseUrls
    receiver: Receiver

    @property
    def platform(self) -> Database:
        database: Database = self.suite.apps["tenant"].state.platform
        return database

    @property
    def application(self) -> Database:
        return self.suite.tenancy("tenant").database

    @property
    def redis(self) -> Redis | None:
        return self.suite.tenancy("tenant").redis

    def sending(
        self, *, reach: Reach | None = None, total_seconds: float = TOTAL_SECONDS, **options: Any
    ) -> Sending:
        """Return a worker's sending; it does nothing until it runs, and ends without much patience."""
        reach = reach or Reach(allow_private=True)
        transport = Transport(reach, total_seconds=total_seconds)
        keys = TenantKeys(self.suite.tenancy("tenant").wrapping)
        options = {"patience": 0.5} | options
        metrics = options.pop("metrics", None) or WebhookMetrics(CollectorRegistry())
        return Sending(
            self.platform, self.application, keys, reach, transport, metrics, self.redis, **options
        )

    async def pass_on(self) -> None:
        """Turn all that lies in the outbox into deliveries."""
        while await Relay(self.platform).pass_on():
            pass

    @asynccontextmanager
    async def working(self, *sendings: Sending) -> AsyncIterator[None]:
        """Pass events on and send, as a worker does, beside what the block does."""
        wanted = sendings or (self.sending(),)
        relay = Relay(self.platform, self.redis)
        tasks = [asyncio.create_task(relay.run()), *(asyncio.create_task(one.run()) for one in wanted)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def hook(
        self, tenant: TenantHandle, path: str, events: list[str] | None = None, **url: str
    ) -> Hook:
        """Create a webhook of the tenant's at a path of the receiver's; it hears nothing of before."""
        await self.pass_on()
        body = {"url": self.receiver.url(path, **url), "events": events or EVENTS}
        answer = await self.suite.client.post(
            f"{TENANTS}/{tenant.id}/webhooks", json=body, headers=tenant.auth
        )
        made = fine(answer, 201)
        return Hook(tenant, UUID(made["id"]), path, made["secret"])

    async def ask(self, hook: Hook, method: str, under: str = "", **options: Any) -> httpx.Response:
        """Ask for something under the webhook's own route, as the tenant's owner."""
        return await self.suite.client.request(
            method, hook.route + under, headers=hook.tenant.auth, **options
        )

    async def deliveries(self, hook: Hook, **query: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = fine(await self.ask(hook, "GET", "/deliveries", params=query))
        return rows

    async def delivery(self, hook: Hook, **wanted: Any) -> dict[str, Any]:
        """Return the webhook's only delivery, once it has the wanted members."""
        async with asyncio.timeout(20):
            while True:
                rows = await self.deliveries(hook)
                if len(rows) == 1 and wanted.items() <= rows[0].items():
                    return rows[0]
                await asyncio.sleep(0.02)

    async def add_user(self, tenant: TenantHandle, name: str = "Uma User") -> str:
        """Create a user without a password and return the id."""
        body = {"email": f"{secrets.token_hex(6)}@x.example", "name": name, "role": "viewer"}
        answer = await self.suite.client.post("/api/v1/users", json=body, headers=tenant.auth)
        return str(fine(answer, 201)["id"])

    async def quiet(self, *tenants: TenantHandle) -> None:
        """Let nothing be due of any tenant but these."""
        async with self.platform.system_transaction() as system:
            await system.fetch(
                "update webhook_lanes set due_at = null where tenant_id <> all($1)",
                [tenant.id for tenant in tenants],
            )

    async def hasten(self, hook: Hook, by: timedelta = timedelta(days=2)) -> None:
        """Let so much time have passed for what waits for its next attempt."""
        async with self.platform.system_transaction(hook.tenant.id) as system:
            await system.fetch(
                "update webhook_lanes set due_at = due_at - $2::interval, "
                "paused_until = paused_until - $2::interval "
                "where webhook_id = $1",
                *(hook.id, by),
            )
        async with self.application.system_transaction(hook.tenant.id) as system:
            await system.fetch(
                # Between zones, as Citus refuses what depends on the session's.
                "update webhook_deliveries set next_attempt_at = "
                "(next_attempt_at at time zone 'UTC' - $2::interval) at time zone 'UTC' "
                "where webhook_id = $1",
                *(hook.id, by),
            )


@asynccontextmanager
async def running_post(servers: TestServers, directory: Path) -> AsyncIterator[Post]:
    """Yield a post office of its own."""
    own = OwnDatabase(servers.postgres, servers.redis_url, servers.worker)
    async with (
        running_suite(own, directory, webhook_allow_private=True) as suite,
        receiving() as receiver,
    ):
        yield Post(suite, own.database(), receiver)
