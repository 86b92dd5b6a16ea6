"""What a creation costs in round trips to the database, counted on the wire."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.answers import fine
from tests.database import CountingProxy
from tests.servers import TestServers
from tests.suite import Suite, running_suite
from tests.tenant_service.requests import TENANTS, create, new_slug

# BEGIN with SET LOCAL; the names are claimed, and is the domain free?; the plan's price; all rows; COMMIT.
TURNS = 5
# Besides, the key's lease, which others must see at once: BEGIN, the lease, COMMIT; and the kept answer.
WITH_KEY = TURNS + 3 + 1


@dataclass(frozen=True)
class Counted:
    """A suite whose tenant service reaches Postgres through proxies that count."""

    suite: Suite
    platform: CountingProxy
    application: CountingProxy

    async def turns(self, **body: Any) -> tuple[int, int]:
        """Create a tenant and return the turns on either database role."""
        self.platform.reset()
        self.application.reset()
        headers = body.pop("headers", {})
        asked = {"name": "Counted", "slug": new_slug()} | body
        answer = await self.suite.client.post(
            f"{TENANTS}/create", json=asked, headers=self.suite.operator | headers
        )
        fine(answer, 201)
        return self.platform.turns, self.application.turns


@pytest.fixture(scope="module")
async def counted(
    test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Counted]:
    urls = test_servers.database()
    directory: Path = tmp_path_factory.mktemp("counted")
    async with CountingProxy(urls.platform) as platform, CountingProxy(urls.app) as application:
        overrides = {"platform_database_url": platform.url, "database_url": application.url}
        async with running_suite(test_servers, directory, **overrides) as suite:
            for service in suite.apps:
                # The feeds poll by the clock, which is no part of a creation.
                feed = suite.tenancy(service).feed
                await feed.stop()
                feed._stale_after = 3_600.0
            fine(await create(suite, owner={"email": "warm@up.example"}), 201)
            yield Counted(suite, platform, application)


OWNERS = [{"email": "a@b.example"}, {"email": "c@d.example", "name": "Anne-Marie van der Berg"}, None]


async def test_a_creation_takes_five_round_trips_however_much_it_makes(counted: Counted) -> None:
    """Everything is in them: names, both audits, revocation, owner, counters, key, settings, invoice."""
    for owner in OWNERS:
        body: dict[str, Any] = {"plan": "premium", "features": {"biometric_auth": False}, "owner": owner}
        for domain in (None, f"{new_slug()}.example"):
            await counted.turns(**body, domain=domain)  # Statements are prepared once on each connection.
            assert await counted.turns(**body, domain=domain) == (TURNS, 0)


async def test_an_idempotency_key_adds_its_lease_and_its_answer(counted: Counted) -> None:
    await counted.turns(headers={"Idempotency-Key": new_slug("warm")})
    assert await counted.turns(headers={"Idempotency-Key": new_slug("key")}) == (WITH_KEY, 0)


async def test_a_creation_is_known_at_once_without_asking_the_database_for_news(counted: Counted) -> None:
    slug = new_slug("late")
    headers = {"X-Tenant-Slug": slug}
    async with counted.suite.client_at("10.98.0.1") as client:
        assert fine(await client.get(f"{TENANTS}/resolve", headers=headers))["code"] == "tenant_not_found"
        assert (await counted.turns(slug=slug))[1] == 0
        assert fine(await client.get(f"{TENANTS}/resolve", headers=headers))["verdict"] == "accepted"
