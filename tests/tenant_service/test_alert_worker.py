"""Alerts by themselves: workers run beside the suite, and what happens is told within the promised time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from mis_cli.embedded import DatabaseUrls
from mis_worker.app import working
from tests.answers import fine, refused
from tests.mis_mail.servers import Mailbox, mail_server
from tests.servers import TestServers
from tests.suite import OPERATOR_EMAIL, Suite, TenantHandle, running_suite
from tests.tenant_service.requests import TENANTS
from tests.tenant_service.test_alert_book import alerts

PROMISED_SECONDS = 10


class OwnDatabase(TestServers):
    """The run's servers, with a further database, because a worker works on all of it."""

    def database(self, name: str | None = None) -> DatabaseUrls:
        return super().database(name or "alert_worker")


@pytest.fixture(scope="module")
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture(scope="module")
async def watched(
    test_servers: TestServers, tmp_path_factory: pytest.TempPathFactory, mailbox: Mailbox
) -> AsyncIterator[Suite]:
    """A suite with two workers beside it, which send mail."""
    servers = OwnDatabase(test_servers.postgres, test_servers.redis_url, test_servers.worker)
    folder = tmp_path_factory.mktemp("watched")
    async with (
        mail_server(mailbox) as port,
        running_suite(servers, folder, smtp_url=f"smtp://127.0.0.1:{port}") as suite,
        working(suite.settings),
        working(suite.settings),
    ):
        yield suite


async def within_the_promise(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PROMISED_SECONDS):
        while True:
            if await is_so():
                return
            await asyncio.sleep(0.1)


async def told(suite: Suite, tenant: TenantHandle) -> set[tuple[Any, ...]]:
    answer = await suite.client.get(f"{TENANTS}/{tenant.id}/alerts", headers=suite.operator)
    return {(row["kind"], row["subject"], row["threshold"], row["status"]) for row in fine(answer)}


def mailed(mailbox: Mailbox) -> list[tuple[str, str]]:
    """Return to whom mails went, and what they said in plain text."""
    bodies = [(message["To"], message.get_body(("plain",))) for message in mailbox.messages]
    return [(str(to), body.get_content()) for to, body in bodies if body is not None]


async def test_what_happens_is_told_within_ten_seconds_and_once(watched: Suite, mailbox: Mailbox) -> None:
    full, busy, attacked = [await watched.tenant(maxUsers=1) for _ in range(3)]
    body = {"configKey": "api.rate_limit", "configValue": 5}
    fine(await watched.client.post(f"{TENANTS}/{busy.id}/config", json=body, headers=watched.operator))
    for _ in range(5):
        fine(await watched.client.get("/api/v1/users/me", headers=busy.auth))
    headers = attacked.auth | {"X-Tenant-ID": str(full.id)}
    refused(await watched.client.get("/api/v1/users", headers=headers), 403, "tenant_mismatch")
    users = {("limit", "users", threshold, "open") for threshold in (80, 90, 100)}
    requests = {("limit", "api_requests", threshold, "open") for threshold in (80, 90, 100)}
    incident = {("security", "tenant_mismatch", None, "open")}

    async def all_is_told() -> bool:
        return (
            await told(watched, full) == users
            and await told(watched, busy) == users | requests
            and await told(watched, attacked) == users | incident
        )

    await within_the_promise(all_is_told)

    async def all_is_mailed() -> bool:
        return all(
            any(to == address and words in said for to, said in mailed(mailbox))
            for address, words in (
                (full.owner_email, "100 % of the limit"),
                (attacked.owner_email, "against another tenant"),
                (OPERATOR_EMAIL, "against another tenant"),
            )
        )

    await within_the_promise(all_is_mailed)
    assert sum("1 of 1 users" in said for to, said in mailed(mailbox) if to == full.owner_email) == 1
    patched = {"maxUsers": 100}
    fine(await watched.client.patch(f"{TENANTS}/{full.id}", json=patched, headers=watched.operator))

    async def the_end_is_told() -> bool:
        return await told(watched, full) == {(*what[:3], "resolved") for what in users}

    await within_the_promise(the_end_is_told)
    for tenant, number in ((full, 3), (busy, 6), (attacked, 4)):
        assert len(await alerts(watched, tenant.id)) == number
