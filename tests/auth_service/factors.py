"""Second factors as people have them: an app that shows codes, and a list of recovery codes."""

import time
from dataclasses import dataclass
from typing import Any

import httpx
import pyotp
from sqlalchemy import update

from mis_models.factors import TotpFactorRow
from tests.answers import fine, refused
from tests.auth_service.requests import AUTH, alter, sign_in
from tests.suite import Suite, TenantHandle, UserHandle, fresh_address

MFA = f"{AUTH}/mfa"
TOTP = f"{MFA}/totp"


@dataclass(frozen=True, slots=True)
class App:
    """An authenticator app with a confirmed secret, and the recovery codes that came with it."""

    suite: Suite
    tenant: TenantHandle
    user: UserHandle
    secret: str
    recovery_codes: list[str]

    async def code(self) -> str:
        """Return a code that is good now: the current one, as if its step had not been used."""
        own = update(TotpFactorRow).where(TotpFactorRow.user_id == self.user.id)
        await alter(self.suite, self.tenant, own.values(last_step=None))
        return pyotp.TOTP(self.secret).now()

    def code_at(self, seconds: float) -> str:
        """Return the code of so many seconds from now."""
        return pyotp.TOTP(self.secret).at(time.time() + seconds)


async def enroll(suite: Suite, user: UserHandle) -> Any:
    """Ask for a secret."""
    return fine(await suite.client.post(f"{TOTP}/enroll", headers=user.auth))


async def confirm(suite: Suite, user: UserHandle, code: str) -> httpx.Response:
    """Try to confirm the secret, from an address of its own."""
    return await as_user(suite, "POST", f"{TOTP}/confirm", user, {"code": code})


async def as_user(
    suite: Suite, method: str, path: str, user: UserHandle, body: Any = None, **options: Any
) -> httpx.Response:
    """Send a request of the user's, from an address of its own."""
    async with suite.client_at(fresh_address()) as client:
        return await client.request(method, path, json=body, headers=user.auth, **options)


async def with_app(suite: Suite, tenant: TenantHandle, user: UserHandle) -> App:
    """Set an authenticator app for the user."""
    secret = (await enroll(suite, user))["secret"]
    codes = fine(await confirm(suite, user, pyotp.TOTP(secret).now()))["recoveryCodes"]
    return App(suite, tenant, user, secret, codes)


async def asked(suite: Suite, app: App, **options: Any) -> str:
    """Sign in with the password and return the token that waits for the second factor."""
    answer = await sign_in(suite, app.tenant, email=app.user.email, **options)
    token: str = refused(answer, 401, "mfa_required")["mfaToken"]
    return token


async def verify(suite: Suite, token: str, *, address: str | None = None, **shown: str) -> httpx.Response:
    """Try to finish a sign-in, from an address of its own unless given."""
    async with suite.client_at(address or fresh_address()) as client:
        return await client.post(f"{TOTP}/verify", json={"mfaToken": token, **shown})
