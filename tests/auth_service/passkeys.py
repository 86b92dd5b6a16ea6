"""Passkeys as people use them: at a host of their tenant, by a device of their own."""

from dataclasses import dataclass
from typing import Any

import httpx

from tests.answers import fine
from tests.auth_service.authenticator import Authenticator
from tests.auth_service.requests import AUTH
from tests.suite import Suite, TenantHandle, UserHandle, fresh_address

PASSKEYS = f"{AUTH}/passkeys"


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser at one host, from an address of its own, with a device in front of it."""

    suite: Suite
    host: str
    device: Authenticator

    async def post(
        self, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        base = f"http://{self.host}"
        async with self.suite.client_at(fresh_address(), base) as client:
            return await client.post(f"{PASSKEYS}{path}", json=body, headers=headers)

    async def ask_to_register(self, user: UserHandle) -> Any:
        """Ask with the password, so that it does not matter when the user signed in."""
        return fine(await self.post("/register/options", {"password": user.password}, user.auth))

    async def register(self, user: UserHandle, **fields: Any) -> Any:
        """Register a passkey of the user and return it."""
        asked = await self.ask_to_register(user)
        credential = self.device.create(asked["publicKey"])
        return fine(await self.keep(user, asked, credential, **fields), 201)

    async def keep(self, user: UserHandle, asked: Any, credential: Any, **fields: Any) -> httpx.Response:
        body = {"credential": credential, "challengeToken": asked["challengeToken"], **fields}
        return await self.post("/register/verify", body, user.auth)

    async def ask_to_sign_in(self) -> Any:
        return fine(await self.post("/login/options"))

    async def prove(self, asked: Any, credential: Any) -> httpx.Response:
        body = {"credential": credential, "challengeToken": asked["challengeToken"]}
        return await self.post("/login/verify", body)

    async def sign_in(self) -> httpx.Response:
        """Try to sign in with the device's newest credential."""
        asked = await self.ask_to_sign_in()
        return await self.prove(asked, self.device.get(asked["publicKey"]))


def browser_at(suite: Suite, host: str, device: Authenticator | None = None) -> Browser:
    """Return a browser at the host, with a device of its own unless one is given."""
    return Browser(suite, host, device or Authenticator(f"http://{host}"))


def browser_of(suite: Suite, tenant: TenantHandle) -> Browser:
    """Return a browser at the tenant's subdomain, with a device of its own."""
    return browser_at(suite, f"{tenant.slug}.mis.local")
