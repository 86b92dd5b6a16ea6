"""The suite as tests see it: three real services over real servers, and factories that use its API.

Nothing is switched off. Requests enter at the gateway through `ASGITransport`; each sign-in comes from an
address of its own, because the limiter for anonymous requests is real too.
"""

import asyncio
import base64
import itertools
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI

from auth_service.app import create_app as create_auth_service
from mis_cli.gateway import Gateway, Service
from mis_http.service.settings import ServiceSettings
from mis_tenancy.database import Database
from mis_tenancy.tenancy import Tenancy
from tenant_service.app import create_app as create_tenant_service
from tests.dns_server import NameServer, name_server
from tests.servers import TestServers
from user_service.app import create_app as create_user_service

PUBLIC_URL = "http://testserver"
PASSWORD = "Correct-Horse-7-Battery"
OPERATOR_EMAIL = "operator@platform.example"
# A worker's suites share its database, and so its wrapped keys and its first operator.
OPERATOR_PASSWORD = secrets.token_urlsafe(18) + "-Aa1"
MASTER_KEYS = f"test:{base64.b64encode(os.urandom(32)).decode()}"

_addresses = itertools.count(1)


def fresh_address() -> str:
    """Return an IPv4 address that no other request of this process has come from."""
    number = next(_addresses)
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


@dataclass(frozen=True, slots=True)
class UserHandle:
    """A user with a token."""

    id: UUID
    email: str
    password: str
    token: str
    refresh_token: str
    role: str

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True, slots=True)
class TenantHandle:
    """A tenant made through the API, and its owner, signed in."""

    id: UUID
    slug: str
    plan: str
    owner: UserHandle
    document: dict[str, Any]

    @property
    def owner_email(self) -> str:
        return self.owner.email

    @property
    def owner_password(self) -> str:
        return self.owner.password

    @property
    def owner_token(self) -> str:
        return self.owner.token

    @property
    def auth(self) -> dict[str, str]:
        return self.owner.auth


class Suite:
    """The running suite; `client` speaks to the gateway, `apps` are the services behind it.

    `dns` is where domains are verified.
    """

    def __init__(
        self, settings: ServiceSettings, apps: dict[str, FastAPI], gateway: Gateway, dns: NameServer
    ) -> None:
        self.dns = dns
        self.settings = settings
        self.apps = apps
        self.gateway = gateway
        self.client = self.client_at(fresh_address())
        self.operator_password = settings.operator_password or ""
        self.operator_token = ""

    def client_at(self, address: str, base_url: str = PUBLIC_URL) -> httpx.AsyncClient:
        """Return a client whose requests come from `address`."""
        transport = httpx.ASGITransport(app=self.gateway, client=(address, 50_000))
        return httpx.AsyncClient(transport=transport, base_url=base_url)

    def tenancy(self, service: str = "user") -> Tenancy:
        tenancy: Tenancy = self.apps[service].state.tenancy
        return tenancy

    async def hear_of_it(self) -> None:
        """Have every service read now what it else reads within half a second."""
        for service in self.apps:
            await self.tenancy(service).feed.poll()

    @property
    def database(self) -> Database:
        """The application role's database, as the user service holds it."""
        return self.tenancy().database

    @property
    def operator(self) -> dict[str, str]:
        """The headers of the signed-in operator."""
        return {"Authorization": f"Bearer {self.operator_token}"}

    async def sign_in_operator(self) -> None:
        """Sign the first operator in."""
        body = {"email": OPERATOR_EMAIL, "password": self.operator_password}
        answer = await self.post_anonymously("/api/v1/auth/operator/login", body)
        assert answer.status_code == 200, answer.text
        self.operator_token = answer.json()["token"]

    async def post_anonymously(self, path: str, body: Any, **options: Any) -> httpx.Response:
        """POST from an address of its own, so that tests do not use up one another's limit."""
        async with self.client_at(fresh_address()) as client:
            return await client.post(path, json=body, **options)

    async def tenant(self, plan: str = "basic", **overrides: Any) -> TenantHandle:
        """Create a tenant with a signed-in owner; `overrides` go into the body."""
        slug = overrides.pop("slug", f"t-{secrets.token_hex(6)}")
        owner = {"email": f"owner@{slug}.example", "name": "Olivia Owner", "password": PASSWORD}
        body = {"name": f"Tenant {slug}", "slug": slug, "plan": plan, "owner": owner} | overrides
        answer = await self.client.post("/api/v1/tenants/create", json=body, headers=self.operator)
        assert answer.status_code == 201, answer.text
        document = answer.json()
        signed_in = await self.sign_in(slug, owner["email"], PASSWORD)
        return TenantHandle(UUID(document["id"]), slug, plan, signed_in, document)

    async def user(self, tenant: TenantHandle, role: str = "member", **overrides: Any) -> UserHandle:
        """Create a user in `tenant` and sign in."""
        email = overrides.pop("email", f"{role}-{secrets.token_hex(5)}@{tenant.slug}.example")
        body = {"email": email, "name": "Uma User", "role": role, "password": PASSWORD} | overrides
        answer = await self.client.post("/api/v1/users", json=body, headers=tenant.auth)
        assert answer.status_code == 201, answer.text
        return await self.sign_in(tenant.slug, email, PASSWORD)

    async def sign_in(self, slug: str, email: str, password: str) -> UserHandle:
        """Sign in; the answer must be 200."""
        body = {"email": email, "password": password, "tenantSlug": slug}
        answer = await self.post_anonymously("/api/v1/auth/login", body)
        for _ in range(5):
            if answer.status_code != 503:
                break
            # A machine under load may be late to hear the news, and asks to come back, as it should.
            await asyncio.sleep(1)
            answer = await self.post_anonymously("/api/v1/auth/login", body)
        assert answer.status_code == 200, answer.text
        document = answer.json()
        user = document["user"]
        return UserHandle(
            UUID(user["id"]), email, password, document["token"], document["refreshToken"], user["role"]
        )


@asynccontextmanager
async def running_suite(servers: TestServers, directory: Path, **overrides: Any) -> AsyncIterator[Suite]:
    """Yield a suite of its own on this worker's database, with the operator signed in.

    `overrides` replace settings.
    """
    async with name_server() as dns, _running(servers, directory, dns, overrides) as suite:
        yield suite


@asynccontextmanager
async def _running(
    servers: TestServers, directory: Path, dns: NameServer, overrides: dict[str, Any]
) -> AsyncIterator[Suite]:
    urls = servers.services()
    given = {
        "database_url": urls.app,
        "auth_database_url": urls.auth,
        "platform_database_url": urls.platform,
        "redis_url": servers.redis_url,
        "storage_url": f"file://{directory}/storage",
        "public_url": PUBLIC_URL,
        "base_domains": ("mis.local", "localhost"),
        "master_keys": MASTER_KEYS,
        "spool_dir": directory / "spool",
        "dns_servers": (dns.address,),
        "operator_email": OPERATOR_EMAIL,
        "operator_password": OPERATOR_PASSWORD,
    }
    settings = ServiceSettings.read(**(given | overrides))
    apps = {
        "tenant": create_tenant_service(settings),
        "auth": create_auth_service(settings),
        "user": create_user_service(settings),
    }
    gateway = Gateway(
        [
            Service("tenant", ("/api/v1/tenants", "/api/v1/plans"), apps["tenant"]),
            Service("auth", ("/api/v1/auth", "/.well-known", "/login"), apps["auth"]),
            Service("user", ("/api/v1/users", "/api/v1/media"), apps["user"]),
        ]
    )
    async with (
        apps["tenant"].router.lifespan_context(apps["tenant"]),
        apps["auth"].router.lifespan_context(apps["auth"]),
        apps["user"].router.lifespan_context(apps["user"]),
    ):
        suite = Suite(settings, apps, gateway, dns)
        await suite.sign_in_operator()
        staying = asyncio.create_task(_stay_signed_in(suite))
        yield suite
        staying.cancel()
        await suite.client.aclose()


async def _stay_signed_in(suite: Suite) -> None:
    """Sign the operator in again before the token runs out, which a run on a slow machine outlasts."""
    while True:
        await asyncio.sleep(480)
        await suite.sign_in_operator()
