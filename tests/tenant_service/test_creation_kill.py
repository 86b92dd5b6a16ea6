"""A creation that is killed is whole or not there, and its retry makes it exactly once."""

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.answers import fine
from tests.database import CountingProxy, connected
from tests.servers import TestServers
from tests.suite import Suite
from tests.tenant_service.requests import TENANTS, new_slug

# What every tenant has, in tables of its own.
HAS = ("tenant_names", "tenant_profiles", "tenant_counters", "tenant_data_keys", "users", "user_terms")
# Messages between the service and Postgres from the lease of the key to the last COMMIT; there are fewer.
MOST_MESSAGES = 60


@dataclass
class Killer:
    """Has tenants created by a process that dies when the n-th message since the lease would pass."""

    child: asyncio.subprocess.Process
    proxy: CountingProxy
    suite: Suite
    directory: Path

    async def create(self, body: dict[str, Any], headers: dict[str, str], after: int) -> bool:
        """Return whether the process was killed; it is not where it has sent fewer messages than that."""
        settings = self.suite.settings.model_dump(mode="json", exclude_none=True)
        settings |= {
            "platform_database_url": self.proxy.url,
            "spool_dir": str(self.directory / new_slug("spool")),
            "base_domains": list(self.suite.settings.base_domains),
        }
        assert self.child.stdin is not None
        line = json.dumps({"settings": settings, "headers": headers, "body": body})
        self.child.stdin.write(f"{line}\n".encode())
        victim = int(await self._said())
        passed = -1

        def watch(data: bytes) -> None:
            nonlocal passed
            if passed >= 0 or b"platform_idempotency_keys" in data:
                passed += 1
            if passed == after:
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)

        self.proxy.watch = watch
        return os.WIFSIGNALED(int(await self._said()))

    async def _said(self) -> bytes:
        assert self.child.stdout is not None
        async with asyncio.timeout(60):
            return await self.child.stdout.readline()


@pytest.fixture
async def killer(suite: Suite, tmp_path: Path) -> AsyncIterator[Killer]:
    assert suite.settings.platform_database_url is not None
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.tenant_service.creation_child"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    async with CountingProxy(suite.settings.platform_database_url) as proxy:
        yield Killer(child, proxy, suite, tmp_path)
    assert child.stdin is not None
    child.stdin.close()
    await child.wait()


async def found(owner: asyncpg.Connection, slug: str) -> list[Any]:
    """Return the ids of the tenants of that slug; each must have all that a tenant has."""
    ids = [row["id"] for row in await owner.fetch("select id from tenants where slug = $1", slug)]
    for tenant_id in ids:
        for table in HAS:
            sql = f"select count(*) from {table} where tenant_id = $1"  # noqa: S608
            assert await owner.fetchval(sql, tenant_id) >= 1, table
    return ids


async def killed_and_retried(killer: Killer, owner: asyncpg.Connection, after: int) -> bool:
    """Kill a creation, retry it with its key, and return whether it was killed at all."""
    suite, slug, key = killer.suite, new_slug("kill"), new_slug("key")
    body = {"name": "Killed", "slug": slug, "owner": {"email": f"owner@{slug}.example"}}
    headers = suite.operator | {"Idempotency-Key": key}
    was_killed = await killer.create(body, headers, after)
    before = await found(owner, slug)
    # The minute that frees the key of a process that died.
    await owner.execute(
        "update platform_idempotency_keys set leased_until = now() - interval '1 second' where key = $1", key
    )
    answers = [await suite.client.post(TENANTS, json=body, headers=headers) for _ in range(2)]
    made = await found(owner, slug)
    assert len(made) == 1
    assert {fine(answer, 201)["id"] for answer in answers} == {str(made[0])}
    assert before in ([], made)
    # What was committed before the death is told again; what was not is made now, once.
    assert (answers[0].headers.get("idempotent-replayed") == "true") is bool(before)
    assert answers[1].headers["idempotent-replayed"] == "true"
    return was_killed


async def test_a_creation_killed_anywhere_leaves_nothing_half_done_and_is_retried_into_one_tenant(
    killer: Killer, test_servers: TestServers
) -> None:
    """Catalogue 118, at points taken by chance."""
    async with connected(test_servers.database().owner) as owner:
        killed = [await killed_and_retried(killer, owner, after) for after in random.sample(range(34), 3)]
    assert any(killed)


@pytest.mark.deep
async def test_a_creation_killed_before_each_of_its_messages_is_retried_into_one_tenant(
    killer: Killer, test_servers: TestServers
) -> None:
    """Catalogue 118, at every point there is."""
    async with connected(test_servers.database().owner) as owner:
        for after in range(MOST_MESSAGES):
            if not await killed_and_retried(killer, owner, after):
                break
        assert 8 < after < MOST_MESSAGES
