"""Signing keys are rotated while other processes verify 500 tokens a second, none of them seen before."""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from auth_service.sessions.access_tokens import Holder
from mis_tenancy.tenant import Role
from tests.answers import fine
from tests.auth_service.requests import authority_of
from tests.mis_cli.test_serve import ME, Replica, serving
from tests.servers import TestServers
from tests.suite import Suite, TenantHandle

RATE: Final = 500
SECONDS: Final = 10
ROTATIONS: Final = 5
CONNECTIONS: Final = 16

Sign = Callable[[], Awaitable[str]]


async def signing(suite: Suite, tenant: TenantHandle) -> Sign:
    """Return what signs a further token of the owner's sign-in, as a refresh would, with the current key."""
    part = tenant.owner_token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    holder = Holder(UUID(claims["sub"]), claims["ver"][0], UUID(claims["sid"]))
    known = await suite.tenancy("auth").directory.by_id(tenant.id)
    assert known is not None
    tokens = authority_of(suite).tokens

    async def sign() -> str:
        return (await tokens.for_member(holder, Role.OWNER, known, restricted=False)).text

    return sign


@dataclass
class Load:
    """Requests that are due at a steady rate, as many as the machine answers, over kept connections."""

    replicas: list[Replica]
    sign: Sign
    left: int
    statuses: Counter[int] = field(default_factory=Counter)
    reached: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def ask(self, number: int) -> None:
        url = urlsplit(self.replicas[number % len(self.replicas)].url)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        clock = asyncio.get_running_loop().time
        began, asked = clock(), 0
        while self.left:
            self.left -= 1
            await asyncio.sleep(began + asked * CONNECTIONS / RATE - clock())
            asked += 1
            lines = (
                f"GET {ME} HTTP/1.1",
                f"Host: {url.netloc}",
                f"Authorization: Bearer {await self.sign()}",
            )
            writer.write("\r\n".join((*lines, "", "")).encode())
            first, _, headers = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
            length = headers.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            self.statuses[int(first.split()[1])] += 1
            async with self.reached:
                self.reached.notify_all()
        writer.close()

    async def when_answered(self, count: int) -> None:
        async with self.reached:
            await self.reached.wait_for(lambda: self.statuses.total() >= count)


@asynccontextmanager
async def two_services(servers: TestServers, place: Path) -> AsyncIterator[list[Replica]]:
    async with AsyncExitStack() as stack:
        places = [place / name for name in ("one", "two")]
        for each in places:
            each.mkdir()
        yield [await stack.enter_async_context(serving(servers, each)) for each in places]


@pytest.mark.deep
async def test_rotations_under_load_fail_no_verification_in_any_process(
    suite: Suite, test_servers: TestServers, place: Path
) -> None:
    """Catalogue 72."""
    tenant = await suite.tenant("custom")
    async with two_services(test_servers, place) as replicas:
        load = Load(replicas, await signing(suite, tenant), RATE * SECONDS)
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(300), asyncio.TaskGroup() as group:
            for number in range(CONNECTIONS):
                group.create_task(load.ask(number))
            for number in range(ROTATIONS):
                await load.when_answered(RATE * SECONDS * (number + 1) // (ROTATIONS + 1))
                rotated = await suite.client.post("/api/v1/auth/signing-keys/rotate", headers=suite.operator)
                fine(rotated)
        seconds = asyncio.get_running_loop().time() - began
    print(f"{load.statuses.total() / seconds:.0f} verifications a second")  # noqa: T201  # to be read, not judged
    assert load.statuses == {200: RATE * SECONDS}
