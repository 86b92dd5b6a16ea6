"""Requests to the auth routes, and what their tests look up or turn back behind them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import jwt
from sqlalchemy import select, text, update
from sqlalchemy.sql.dml import ReturningUpdate, Update

from auth_service.authority import Authority
from auth_service.sessions.refresh_tokens import parse_refresh_token
from mis_models.accounts import RefreshTokenRow, SessionRow
from mis_models.platform import PlatformAuditRow
from mis_tenancy.revocations import Kind, revoke
from mis_tenancy.tables import AuditRow, TenantRow
from tests.answers import bearer
from tests.database import earlier
from tests.suite import PASSWORD, Suite, TenantHandle, fresh_address

AUTH = "/api/v1/auth"
USERS = "/api/v1/users"


def claims(token: str) -> dict[str, Any]:
    """Return what a token claims, unverified."""
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def authority_of(suite: Suite) -> Authority:
    """Return the auth service's collaborators."""
    authority: Authority = suite.apps["auth"].state.authority
    return authority


async def sign_in(
    suite: Suite,
    tenant: TenantHandle,
    *,
    address: str | None = None,
    email: str | None = None,
    password: str = PASSWORD,
) -> httpx.Response:
    """Try to sign in, as the owner unless `email` says otherwise, from an address of its own unless given."""
    body = {"email": email or tenant.owner_email, "password": password, "tenantSlug": tenant.slug}
    async with suite.client_at(address or fresh_address()) as client:
        return await client.post(f"{AUTH}/login", json=body)


async def refresh(suite: Suite, token: str, **options: Any) -> httpx.Response:
    """Try to exchange a refresh token."""
    return await suite.post_anonymously(f"{AUTH}/refresh", {"refreshToken": token}, **options)


async def logout(suite: Suite, body: Any = None, **options: Any) -> httpx.Response:
    """Try to sign out."""
    return await suite.post_anonymously(f"{AUTH}/logout", body, **options)


async def me(suite: Suite, token: str) -> httpx.Response:
    """Ask the auth service who the token's holder is."""
    return await suite.client.get(f"{AUTH}/me", headers=bearer(token))


async def security_events(suite: Suite, tenant: TenantHandle) -> list[AuditRow]:
    """Return the tenant's security events, oldest first."""
    async with suite.database.transaction(tenant.id) as session:
        events = select(AuditRow).where(AuditRow.kind == "security").order_by(AuditRow.id)
        return list(await session.scalars(events))


async def audited(suite: Suite, tenant: TenantHandle) -> list[str]:
    """Return the actions of the tenant's changes and security events, oldest first."""
    async with suite.database.transaction(tenant.id) as session:
        rows = select(AuditRow.action).where(AuditRow.kind != "request").order_by(AuditRow.id)
        return list(await session.scalars(rows))


async def platform_events(suite: Suite, action: str) -> Sequence[PlatformAuditRow]:
    """Return the platform's audit rows of an action, oldest first."""
    async with authority_of(suite).transaction(None) as session:
        rows = select(PlatformAuditRow).where(PlatformAuditRow.action == action).order_by(PlatformAuditRow.id)
        return (await session.scalars(rows)).all()


async def alter(suite: Suite, tenant: TenantHandle, statement: Update | ReturningUpdate[Any]) -> None:
    """Change rows of the tenant behind the API's back, to turn back a clock or age a fact."""
    async with suite.database.transaction(tenant.id) as session:
        await session.execute(statement.execution_options(synchronize_session=False))


async def age_session(suite: Suite, tenant: TenantHandle, session_id: UUID, **columns: Any) -> None:
    """Set columns of one session."""
    await alter(suite, tenant, update(SessionRow).where(SessionRow.id == session_id).values(**columns))


async def age_rotation(suite: Suite, tenant: TenantHandle, refresh_token: str, by: timedelta) -> None:
    """Let a refresh token have been exchanged so much longer ago."""
    parsed = parse_refresh_token(refresh_token)
    assert parsed is not None
    own = update(RefreshTokenRow).where(RefreshTokenRow.id == parsed.id)
    await alter(suite, tenant, own.values(rotated_at=earlier(RefreshTokenRow.rotated_at, by)))


async def age_counters(suite: Suite, by: timedelta) -> None:
    """Let every block by a counter have begun so much earlier."""
    async with authority_of(suite).transaction(None) as session:
        await session.execute(
            text("update login_throttles set blocked_until = blocked_until - cast(:by as interval)"),
            {"by": by},
        )


async def set_status(
    suite: Suite, tenant: TenantHandle, status: str, reason: str | None = None, *, raise_epoch: bool = False
) -> None:
    """Put the tenant into a state as the tenant service does, with the news of it."""
    async with suite.database.transaction(tenant.id) as session:
        row = await session.get_one(TenantRow, tenant.id)
        row.status, row.status_reason = status, reason
        row.purge_at = row.status_since + timedelta(days=30) if status == "pending_deletion" else None
        row.epoch += int(raise_epoch)
        revoke(session, Kind.TENANT, tenant_id=tenant.id, epoch=row.epoch if raise_epoch else None)
    for service in suite.apps:
        await suite.tenancy(service).feed.poll()
