"""The tenants of a load test and their users: made by the API, signed in, and deleted in the end.

An import takes no passwords, so the users who work are made one by one and the rest are imported. Every
e-mail address, file and setting names its tenant, so that any answer tells whose it is.
"""

import asyncio
import csv
import io
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from mis_cli.load.order import LoadError, Order, Suite

API: Final = "/api/v1"
TENANTS: Final = f"{API}/tenants"
USERS: Final = f"{API}/users"
MEDIA: Final = f"{API}/media"
LOGIN: Final = f"{API}/auth/login"
# What each tenant's configuration holds its own name under.
MARK: Final = "load.tenant"
# The same people everywhere, so that a search that saw other tenants would find many more.
NAMES: Final = ("Ada Lindqvist", "Bruno Okafor", "Chiara Novak", "Dmitri Sato", "Élodie Park", "Femi Costa")
_AT_ONCE: Final = 4
_BATCH: Final = 200
_ATTEMPTS: Final = 30


@dataclass(slots=True)
class Session:
    """One signed-in user; a lock, because a refresh token is good for one refresh."""

    email: str
    password: str
    token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    renew_at: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    own_files: list[str] = field(default_factory=list)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that name the user."""
        return {"Authorization": f"Bearer {self.token}"}

    def renew(self, document: dict[str, Any]) -> None:
        """Take over the tokens of a sign-in or a refresh, to be used for half of their time."""
        self.token, self.refresh_token = document["token"], document["refreshToken"]
        self.renew_at = time.monotonic() + document["expiresIn"] / 2

    @property
    def is_stale(self) -> bool:
        """Whether it is time for a refresh."""
        return time.monotonic() > self.renew_at


@dataclass(slots=True)
class Member:
    """One tenant of the test, with those who work in it, and what is known to be its own."""

    id: str
    slug: str
    sessions: list[Session]
    users: list[str] = field(default_factory=list)
    newcomers: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    @property
    def owner(self) -> Session:
        """Its owner's session."""
        return self.sessions[0]

    @property
    def domain(self) -> str:
        """What the e-mail addresses of its users end with."""
        return f"@{self.slug}.example"

    @property
    def content(self) -> bytes:
        """What each of its files holds."""
        return f"This file belongs to {self.slug}.\n".encode() * 40


class Populace:
    """Makes the tenants at one suite; `client` speaks to it."""

    def __init__(self, client: httpx.AsyncClient, suite: Suite, order: Order) -> None:
        self._client = client
        self._suite = suite
        self._order = order
        self._operator: dict[str, str] = {}
        run = secrets.token_hex(3)
        self._slugs = [f"load-{run}-{number}" for number in range(1, order.tenants + 1)]
        self._password = f"{secrets.token_urlsafe(18)}-Aa1"

    async def sign_in(self) -> None:
        """Sign the operator in, who makes the tenants."""
        body = {"email": self._suite.operator_email, "password": self._suite.operator_password}
        answer = await self._send("POST", f"{API}/auth/operator/login", {}, 200, json=body)
        self._operator = {"Authorization": f"Bearer {answer.json()['token']}"}

    async def make(self, on_tenant: Callable[[], None]) -> list[Member]:
        """Make the tenants, some at once; call `on_tenant` after each."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(slug: str) -> Member:
            async with gate:
                member = await self._tenant(slug)
                on_tenant()
                return member

        return list(await asyncio.gather(*map(one, self._slugs)))

    async def remove(self) -> None:
        """Ask for the deletion of all that was made, without any grace; the worker purges it."""
        # The token that made them has run out where the traffic went on for long.
        await self.sign_in()
        for slug in self._slugs:
            path = f"{TENANTS}/{slug}"
            await self._send("DELETE", path, self._operator, (202, 404), params={"graceDays": 0})

    async def _tenant(self, slug: str) -> Member:
        owner = {"email": f"owner@{slug}.example", "name": NAMES[0], "password": self._password}
        body = {"name": f"Tenant {slug}", "slug": slug, "plan": self._order.plan.value, "owner": owner}
        answer = await self._send("POST", TENANTS, self._operator, 201, json=body)
        member = Member(answer.json()["id"], slug, [await self._session(slug, owner["email"])])
        workers = min(self._order.sign_ins, self._order.users) - 1
        for at in range(workers):
            member.sessions.append(await self._colleague(member, at))
        await self._crowd(member, self._order.users - 1 - workers)
        setting = {"configKey": MARK, "configValue": slug}
        await self._send("POST", f"{TENANTS}/{member.id}/config", member.owner.headers, 200, json=setting)
        answer = await self._send("GET", USERS, member.owner.headers, 200, params={"limit": 200})
        member.users = [user["id"] for user in answer.json()]
        return member

    async def _colleague(self, member: Member, number: int) -> Session:
        email = f"member-{number}{member.domain}"
        body = {"email": email, "name": NAMES[number % len(NAMES)], "password": self._password}
        await self._send("POST", USERS, member.owner.headers, 201, json=body)
        return await self._session(member.slug, email)

    async def _session(self, slug: str, email: str) -> Session:
        body = {"email": email, "password": self._password, "tenantSlug": slug}
        session = Session(email, self._password)
        session.renew((await self._send("POST", LOGIN, {}, 200, json=body)).json())
        return session

    async def _crowd(self, member: Member, count: int) -> None:
        for start in range(0, count, _BATCH):
            numbers = range(start, min(start + _BATCH, count))
            text = io.StringIO()
            rows = ((f"user-{at}{member.domain}", NAMES[at % len(NAMES)]) for at in numbers)
            csv.writer(text).writerows([("email", "name"), *rows])
            headers = member.owner.headers | {"Content-Type": "text/csv"}
            answer = await self._send("POST", f"{USERS}/import", headers, 200, content=text.getvalue())
            if answer.json()["failed"]:
                raise LoadError(
                    f"The plan {self._order.plan.value} has no seats for {self._order.users} users."
                )

    async def _send(
        self, method: str, path: str, headers: dict[str, str], expected: int | tuple[int, ...], **options: Any
    ) -> httpx.Response:
        for _ in range(_ATTEMPTS):
            answer = await self._client.request(method, path, headers=headers, **options)
            # Strangers' requests, which sign-ins are, are limited by address, and all come from this one.
            if answer.status_code not in (429, 503):
                break
            await asyncio.sleep(float(answer.headers.get("Retry-After", 1)))
        if answer.status_code not in (expected if isinstance(expected, tuple) else (expected,)):
            raise LoadError(f"{method} {path} answered {answer.status_code}: {answer.text[:300]}")
        return answer
