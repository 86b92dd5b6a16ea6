"""Spans of a request, of what it calls and of what it causes, on their way to a receiver over OTLP."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mis_cli.embedded import DatabaseUrls
from mis_http.service import tracing
from mis_http.service.settings import ServiceSettings
from mis_tenancy.settings import SettingsError
from mis_worker.app import working
from tests.integration.otlp import Received, receiving
from tests.servers import TestServers
from tests.suite import PASSWORD, Suite, TenantHandle, running_suite
from tests.tenant_service.receiver import Receiver
from tests.tenant_service.receiver import receiving as receiving_webhooks

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
# Receivers put what nobody else may know into their addresses.
SECRET_PATH = "hooks-T024BE7LD"
STATE = "vendor=t61rcWkgMzE"
PARENT = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "tracestate": STATE}


class OwnDatabase(TestServers):
    """The run's servers, whose database for a suite is a further one, because a worker works on all of it."""

    def database(self, name: str | None = None) -> DatabaseUrls:
        return super().database(name or "tracing")


async def export_of(suite: Suite, tenant: TenantHandle) -> None:
    """Start an export within the trace and wait until the worker has made it."""
    path = f"/api/v1/tenants/{tenant.id}/export"
    body = {"dataTypes": ["users"], "format": "json"}
    started = await suite.client.post(path, json=body, headers=tenant.auth | PARENT)
    assert started.status_code == 202, started.text
    place = f"{path}s/{started.json()['exportId']}"
    async with asyncio.timeout(60):
        while True:
            if (await suite.client.get(place, headers=tenant.auth)).json()["status"] == "completed":
                return
            await asyncio.sleep(0.1)


async def webhook_of(suite: Suite, tenant: TenantHandle, receiver: Receiver) -> None:
    body = {"url": receiver.url(f"/{SECRET_PATH}"), "events": ["user.created"]}
    path = f"/api/v1/tenants/{tenant.id}/webhooks"
    assert (await suite.client.post(path, json=body, headers=tenant.auth)).status_code == 201


async def invitation_of(suite: Suite, tenant: TenantHandle, mails: Path) -> None:
    """Invite somebody within the trace and wait until the worker has sent the mail."""
    body = {"email": "yan@elsewhere.example", "role": "viewer"}
    path = "/api/v1/auth/invitations"
    assert (await suite.client.post(path, json=body, headers=tenant.auth | PARENT)).status_code == 201
    async with asyncio.timeout(60):
        while not mails.exists() or not list(mails.iterdir()):  # noqa: ASYNC110, ASYNC240  # another's doing
            await asyncio.sleep(0.1)


async def spans_of_a_visit(servers: TestServers, directory: Path) -> tuple[Received, TenantHandle]:
    own = OwnDatabase(servers.postgres, servers.redis_url, servers.worker)
    mails = directory / "mails"
    with receiving() as received:
        settings = {"traces_url": received.url, "mail_dir": mails, "webhook_allow_private": True}
        async with (
            receiving_webhooks() as receiver,
            running_suite(own, directory, **settings) as suite,
            working(suite.settings),
        ):
            tenant = await suite.tenant("custom")
            await webhook_of(suite, tenant, receiver)
            body = {"email": "zoe@somewhere.example", "name": "Zoe Zebra", "password": PASSWORD}
            made = await suite.client.post("/api/v1/users", json=body, headers=tenant.auth | PARENT)
            assert made.status_code == 201
            listed = await suite.client.get("/api/v1/users?q=zoe", headers=tenant.auth | PARENT)
            assert listed.status_code == 200
            await export_of(suite, tenant)
            await invitation_of(suite, tenant, mails)
            await receiver.wait_for(f"/{SECRET_PATH}")
    return received, tenant


async def test_a_request_its_calls_and_what_it_causes_are_spans_without_secrets(
    test_servers: TestServers, tmp_path: Path
) -> None:
    """Catalogue 134."""
    received, tenant = await spans_of_a_visit(test_servers, tmp_path)
    by_id = {one["id"]: one for one in received.spans}

    def named(name: str) -> dict[str, Any]:
        return next(one for one in received.spans if one["name"] == name and one["trace"] == TRACE)

    made = named("POST /api/v1/users")
    assert (made["service"], made["mis.tenant.id"]) == ("user", str(tenant.id))
    assert (made["mis.tenant.plan"], made["http.response.status_code"]) == ("custom", 201)
    calls = [one for one in received.spans if one["parent"] == made["id"]]
    assert {("postgresql", "INSERT"), ("redis", "EVALSHA")} <= {
        (one["db.system.name"], one["db.operation.name"]) for one in calls
    }
    assert all((one["trace"], one["state"]) == (TRACE, STATE) for one in [made, *calls])
    # The list goes through the statement door.
    listed = named("GET /api/v1/users")
    assert any(one["parent"] == listed["id"] for one in received.spans)
    caused = {one["name"]: one for one in received.spans if TRACE in one["links"]}
    assert caused.keys() == {"job exports.run", "job mail", "webhook user.created"}
    for one in caused.values():
        assert (one["service"], one["mis.tenant.id"]) == ("worker", str(tenant.id))
        assert (one["parent"], one["state"]) == ("", "")
        assert one["trace"] != TRACE
    assert caused["job exports.run"]["mis.outcome"] == caused["job mail"]["mis.outcome"] == "done"
    told = caused["webhook user.created"]
    assert (told["mis.outcome"], told["http.response.status_code"]) == ("delivered", 204)
    sent = next(one for one in received.spans if one["name"] == "send mail")
    assert by_id[sent["parent"]] is caused["job mail"]
    for secret in (PASSWORD, "zoe@", "Zebra", "yan@", SECRET_PATH, tenant.owner_token, "owner@"):
        assert secret.encode() not in received.raw


async def test_what_belongs_to_no_request_and_no_job_makes_no_spans(
    test_servers: TestServers, tmp_path: Path
) -> None:
    own = OwnDatabase(test_servers.postgres, test_servers.redis_url, test_servers.worker)
    with receiving() as received:
        async with running_suite(own, tmp_path, traces_url=received.url) as suite, working(suite.settings):
            await suite.client.get("/healthz")
            await asyncio.sleep(1)
    roots = {one["name"] for one in received.spans if not one["parent"]}
    assert roots
    assert not {name for name in roots if not name.startswith(("POST /api/v1/auth/operator/login", "job "))}


async def test_a_receiver_that_is_away_costs_no_request(test_servers: TestServers, tmp_path: Path) -> None:
    own = OwnDatabase(test_servers.postgres, test_servers.redis_url, test_servers.worker)
    async with running_suite(own, tmp_path, traces_url="http://127.0.0.1:9") as suite:
        tenant = await suite.tenant()
        assert (await suite.client.get("/api/v1/users", headers=tenant.auth)).status_code == 200


def test_a_setting_without_the_library_is_told_at_the_start(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name="opentelemetry")

    monkeypatch.setattr(tracing, "import_module", missing)
    settings = suite.settings.model_copy(update={"traces_url": "http://collector:4318"})
    with pytest.raises(SettingsError, match=r"MIS_TRACES_URL.*mis-tenancy\[tracing\]"):
        tracing.tracer_of(settings, "user")
    assert isinstance(settings, ServiceSettings)
    assert tracing.tracer_of(suite.settings, "user") is None
