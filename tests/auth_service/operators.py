"""Operators of a test's own, and the authenticator apps they sign in with."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pyotp
from sqlalchemy import update

from auth_service.operators.making import make_operator
from mis_models.platform import OperatorRow
from mis_tenancy.identifiers import new_id
from tests.answers import bearer, fine, refused
from tests.auth_service.requests import AUTH, authority_of
from tests.suite import PASSWORD, Suite, fresh_address

MFA = f"{AUTH}/operator/mfa"
TOTP = f"{MFA}/totp"


@dataclass(frozen=True, slots=True)
class Staff:
    """An operator with a token."""

    id: UUID
    email: str
    token: str

    @property
    def authorization(self) -> str:
        return bearer(self.token)["Authorization"]


@dataclass(frozen=True, slots=True)
class StaffApp:
    """An operator's authenticator app, and the recovery codes that came with it."""

    suite: Suite
    staff: Staff
    secret: str
    recovery_codes: list[str]

    async def code(self) -> str:
        """Return a code that is good now: the current one, as if its step had not been used."""
        await alter_operator(self.suite, self.staff, totp_last_step=None)
        return pyotp.TOTP(self.secret).now()


async def new_operator(suite: Suite) -> Staff:
    """Make an operator and sign in."""
    email, authority = f"{new_id()}@platform.example", authority_of(suite)
    async with authority.transaction(None) as session:
        row = await make_operator(
            session, authority.passwords, email=email, name="Opal Operator", password=PASSWORD
        )
    return Staff(row.id, email, fine(await operator_login(suite, email))["token"])


async def operator_login(suite: Suite, email: str, **fields: str) -> httpx.Response:
    """Try to sign in, from an address of its own."""
    return await suite.post_anonymously(
        f"{AUTH}/operator/login", {"email": email, "password": PASSWORD} | fields
    )


async def alter_operator(suite: Suite, staff: Staff, **values: Any) -> None:
    """Change the operator's row by hand."""
    async with authority_of(suite).transaction(None) as session:
        await session.execute(update(OperatorRow).where(OperatorRow.id == staff.id).values(values))


async def as_operator(suite: Suite, staff: Staff, method: str, path: str, body: Any = None) -> httpx.Response:
    """Send a request of the operator's, from an address of its own."""
    async with suite.client_at(fresh_address()) as client:
        return await client.request(method, path, json=body, headers=bearer(staff.token))


async def enroll_operator(suite: Suite, staff: Staff) -> str:
    """Ask for a secret and return it."""
    return str(fine(await as_operator(suite, staff, "POST", f"{TOTP}/enroll"))["secret"])


async def operator_with_app(suite: Suite) -> StaffApp:
    """Make an operator who has an authenticator app."""
    staff = await new_operator(suite)
    secret = await enroll_operator(suite, staff)
    body = {"code": pyotp.TOTP(secret).now()}
    codes = fine(await as_operator(suite, staff, "POST", f"{TOTP}/confirm", body))["recoveryCodes"]
    return StaffApp(suite, staff, secret, codes)


async def operator_asked(suite: Suite, staff: Staff) -> str:
    """Sign in with the password and return the token that waits for the second factor."""
    return str(refused(await operator_login(suite, staff.email), 401, "mfa_required")["mfaToken"])


async def operator_verify(
    suite: Suite, token: str, *, address: str | None = None, **shown: str
) -> httpx.Response:
    """Try to finish a sign-in, from an address of its own unless given."""
    async with suite.client_at(address or fresh_address()) as client:
        return await client.post(f"{TOTP}/verify", json={"mfaToken": token, **shown})
