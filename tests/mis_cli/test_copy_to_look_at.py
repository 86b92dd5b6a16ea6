"""The way in docs/backup.md to look at what was: a muted suite apart, an export there, an import here."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mis_worker.app import working
from tests.answers import fine
from tests.mis_cli.backups import CONTENT, Place, inhabit, look
from tests.servers import TestServers
from tests.suite import Suite
from tests.tenant_service.requests import TENANTS


async def ended(suite: Suite, path: str, auth: dict[str, str]) -> dict[str, Any]:
    """Return an export or import once it has come to an end."""
    for _ in range(1_200):
        found: dict[str, Any] = fine(await suite.client.get(path, headers=auth))
        if found["status"] not in ("queued", "running"):
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(found)


@pytest.mark.deep
async def test_what_was_is_looked_at_apart_and_some_of_it_brought_back(
    test_servers: TestServers, tmp_path: Path
) -> None:
    """Catalogue 47."""
    living = Place(test_servers, test_servers.database("living"), tmp_path / "living")
    apart = Place(test_servers, test_servers.database("apart"), tmp_path / "apart")
    async with living.suite() as suite, working(suite.settings):
        one = await inhabit(suite, "one")
        hook = {"url": "https://hooks.example.com/mis", "events": ["user.created", "export.completed"]}
        hooks = f"{TENANTS}/{one.tenant.id}/webhooks"
        fine(await suite.client.post(hooks, json=hook, headers=one.tenant.auth), 201)
        await living.mis.json("backup", tmp_path / "then", "--tenant", one.tenant.slug)
        fine(await suite.client.delete(f"/api/v1/media/{one.media}", headers=one.tenant.auth), 204)
        fine(await suite.client.delete(f"/api/v1/users/{one.member.id}", headers=one.tenant.auth), 204)

        async with apart.suite() as other, working(other.settings):
            words = ("restore", tmp_path / "then", "--tenant", one.tenant.slug, "--mute")
            (told,) = await apart.mis.json(*words)
            assert told["faults"] == []
            await other.hear_of_it()
            owner = await other.sign_in(one.tenant.slug, one.tenant.owner.email, one.tenant.owner.password)
            assert await look(other, one, owner.auth) == one.seen
            (muted,) = fine(await other.client.get(hooks, headers=owner.auth))
            assert muted["status"] == "disabled"
            order = {"dataTypes": ["users", "media", "configurations"], "format": "ndjson"}
            exports = f"{TENANTS}/{one.tenant.id}/export"
            started = fine(await other.client.post(exports, json=order, headers=owner.auth), 202)
            export = await ended(other, f"{exports}s/{started['exportId']}", owner.auth)
            archive = (await other.client.get(export["downloadUrl"])).content
            deliveries = f"{hooks}/{muted['id']}/deliveries"
            assert fine(await other.client.get(deliveries, headers=owner.auth)) == []

        for into in (one.tenant, await suite.tenant("custom", name="One, as it was")):
            report = await imported(suite, into.id, archive, into.auth)
            assert report["media"]["create"] == 1
            people = fine(await suite.client.get("/api/v1/users", headers=into.auth))
            assert one.member.email in {person["email"] for person in people}
            (stored,) = fine(await suite.client.get("/api/v1/media", headers=into.auth))
            content = await suite.client.get(f"/api/v1/media/{stored['id']}/content", headers=into.auth)
            assert content.content == CONTENT + b"one"
            # Into the tenant that it is from it comes back as itself.
            assert (stored["id"] == one.media) is (into is one.tenant)


async def imported(suite: Suite, tenant_id: Any, archive: bytes, auth: dict[str, str]) -> dict[str, Any]:
    """Import the archive and return the report by data type."""
    path, headers = f"{TENANTS}/{tenant_id}/import", auth | {"Content-Type": "application/zip"}
    started = fine(await suite.client.post(path, content=archive, headers=headers), 202)
    found = await ended(suite, f"{path}s/{started['importId']}", auth)
    assert found["status"] == "completed", found
    report: dict[str, Any] = found["report"]["dataTypes"]
    return report
